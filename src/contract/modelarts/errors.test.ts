/** Every failure of the catalogue has its documented body in this dialect. */
import { describe, expect, test } from "vitest";
import { CATALOGUE, fail } from "../../core/errors.ts";
import type { ErrorCode } from "../../core/errors.ts";
import { MODELARTS_CODES, renderGateway, renderIam, renderModelArts } from "./errors.ts";

const CODES = Object.keys(CATALOGUE) as ErrorCode[];
/** Enough parameters for every text. */
const PARAMS = new Proxy({}, { get: (_, name) => (name === "available" ? ["a", "b"] : 7) });
const make = (code: ErrorCode) => fail(code, PARAMS as never);

describe.each(CODES)("%s", (code) => {
  test("has codes of the documented form, and texts without holes", () => {
    for (const plane of ["control", "inference"] as const) {
      const body = renderGateway(make(code), "r".repeat(32), plane);
      expect(body.error_code).toMatch(/^(ModelArts|APIGW?|IAM)\.\d{4}$/);
      expect(body.error_msg).not.toMatch(/undefined|\[object/);
      expect(body.request_id).toBe("r".repeat(32));
    }
    expect(renderIam(make(code)).error).toMatchObject({ code: CATALOGUE[code].status });
    expect(renderIam(make(code)).error.title).not.toBe("Error");
  });
});

test("control answers with APIGW codes, inference with APIG codes", () => {
  for (const [code, entry] of Object.entries(MODELARTS_CODES)) {
    if (code !== "UPSTREAM_TIMEOUT") expect(entry.code).not.toMatch(/^APIG\./);
    expect(entry.inference ?? "").not.toMatch(/^APIGW\./);
    if (entry.code.startsWith("APIGW.")) expect(entry.inference).toBeDefined();
  }
});

test("missing, damaged and refused tokens have the suffixes seen in the wild", () => {
  const text = (code: "TOKEN_MISSING" | "TOKEN_MALFORMED" | "TOKEN_REFUSED") =>
    renderModelArts(fail(code, {}), "x").error_msg;
  expect(text("TOKEN_MISSING")).toBe("Incorrect IAM authentication information: x-auth-token not found");
  expect(text("TOKEN_MALFORMED")).toBe("Incorrect IAM authentication information: decrypt token fail");
  expect(text("TOKEN_REFUSED")).toBe("Incorrect IAM authentication information: Unauthorized");
});

test("the cause of an error is in no body", () => {
  const error = fail("INTERNAL", {}, { cause: new Error("/srv/secret") });
  for (const body of [
    renderModelArts(error, "x"),
    renderIam(error),
    renderGateway(error, "x", "inference"),
  ]) {
    expect(JSON.stringify(body)).not.toContain("secret");
  }
});

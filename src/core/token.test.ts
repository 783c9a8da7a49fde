/** Tokens come apart as they were put together, and nothing else does. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { TokenPayload } from "./routing-table.ts";
import { checkToken, encodeToken, parseToken, tokenToSign } from "./token.ts";

const PAYLOAD: TokenPayload = {
  jti: "j",
  kid: "k",
  user: "u",
  domain: "d",
  project: "p",
  iat: 1000,
  exp: 2000,
};
const SIGNATURE = new Uint8Array(64).fill(7);
const facts = { now: 1500, revoked: () => false, refusedUsers: () => undefined };

test("parses what was encoded, with the signed bytes", () => {
  const toSign = tokenToSign(PAYLOAD);
  const parsed = parseToken(encodeToken(toSign, SIGNATURE));
  expect(parsed?.payload).toEqual(PAYLOAD);
  expect(new TextDecoder().decode(parsed?.signed)).toBe(toSign);
  expect(parsed?.signature).toEqual(SIGNATURE);
});

test("domain-scoped tokens have no project member", () => {
  const { project: _, ...domainScoped } = PAYLOAD;
  expect(parseToken(encodeToken(tokenToSign(domainScoped), SIGNATURE))?.payload).toEqual(domainScoped);
});

test("is null for anything that is not one of ours", () => {
  const good = encodeToken(tokenToSign(PAYLOAD), SIGNATURE);
  for (const text of [
    "",
    "MP1.",
    "MP2" + good.slice(3),
    good.slice(0, -1),
    good + "A",
    `${good}.x`,
    "a".repeat(9999),
  ]) {
    expect(parseToken(text)).toBeNull();
  }
  for (const payload of [null, [], "x", { ...PAYLOAD, exp: "2000" }, { ...PAYLOAD, user: "" }]) {
    expect(parseToken(encodeToken(tokenToSign(payload as unknown as TokenPayload), SIGNATURE))).toBeNull();
  }
  fc.assert(fc.property(fc.string(), (text) => parseToken(`MP1.${text}`) === null));
});

test("expires at its moment, not after it", () => {
  expect(checkToken(PAYLOAD, { ...facts, now: 1999 })).toBe("ok");
  expect(checkToken(PAYLOAD, { ...facts, now: 2000 })).toBe("expired");
});

test("is refused when revoked, or issued at or before the user's refusal", () => {
  expect(checkToken(PAYLOAD, { ...facts, revoked: (jti) => jti === "j" })).toBe("revoked");
  expect(checkToken(PAYLOAD, { ...facts, refusedUsers: () => 1000 })).toBe("revoked");
  expect(checkToken(PAYLOAD, { ...facts, refusedUsers: () => 999 })).toBe("ok");
});

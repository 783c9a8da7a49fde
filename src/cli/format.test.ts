import { describe, expect, test } from "vitest";
import { CliError, apiFailure } from "./failures.ts";
import { duration, errorBlock, fit, paint, relative, size, table, widthOf } from "./format.ts";

const plain = paint(false);

describe("tables", () => {
  test("cut nothing where there is no terminal", () => {
    const id = "0123456789abcdef".repeat(10);
    expect(table(["ID"], [[id]], Number.POSITIVE_INFINITY, plain)).toContain(id);
  });

  test("never get wider than the terminal, and take from the widest column first", () => {
    const text = table(["NAME", "ID"], [["iris", "x".repeat(100)]], 40, plain);
    for (const line of text.trimEnd().split("\n")) expect(widthOf(line)).toBeLessThanOrEqual(40);
    expect(text).toContain("iris  xxx");
    expect(text).toContain("…");
  });

  test("line up with Chinese names, whose characters are two columns wide", () => {
    const [, first = "", second = ""] = table(
      ["NAME", "N"],
      [
        ["模型", "1"],
        ["model", "2"],
      ],
      80,
      plain,
    ).split("\n");
    expect(widthOf(first)).toBe(widthOf(second));
  });

  test("keep their columns in place when coloured", () => {
    const colour = paint(true);
    const text = table(["A", "B"], [["running", "x"]], 80, colour, (cell) => colour("green", cell));
    expect(text).toContain("\u001b[");
    expect(
      table(["A", "B"], [["running", "x"]], 80, plain)
        .split("\n")
        .map(widthOf),
    ).toEqual(text.split("\n").map(widthOf));
  });
});

test("fit cuts to the width and marks the cut", () => {
  expect(fit("abcdef", 6)).toBe("abcdef");
  expect(fit("abcdefg", 6)).toBe("abcde…");
  expect(widthOf(fit("模型模型模型", 6))).toBeLessThanOrEqual(6);
});

test("sizes, durations and times are told in the unit people would use", () => {
  expect([0, 999, 1000, 1_500_000, 20e9].map(size)).toEqual(["0 B", "999 B", "1.0 kB", "1.5 MB", "20.0 GB"]);
  expect([12, 1234, 61_000, 3_700_000].map(duration)).toEqual(["12 ms", "1.2 s", "1 min 1 s", "1 h 1 min"]);
  const now = 1_700_000_000_000;
  expect(
    [now, now - 5000, now - 180_000, now + 7_200_000, now - 5 * 86_400_000].map((at) => relative(at, now)),
  ).toEqual(["now", "5 s ago", "3 min ago", "in 2 h", "5 days ago"]);
});

describe("failures", () => {
  test("show cause, every problem with path and fix, the next step and the request", () => {
    const body = JSON.stringify({
      error_code: "ModelArts.3015",
      error_msg: "The model package has 2 problems.",
      hint: "Correct config.json.",
      problems: [
        { path: "dependencies[0].restraint", message: 'is "LATEST"', fix: "one of EXACT, ATLEAST, ATMOST" },
        { path: "model_type", message: "is missing", fix: "add it" },
      ],
      request_id: "r1",
    });
    expect(errorBlock(apiFailure(400, body, undefined), plain)).toBe(
      [
        "error: The model package has 2 problems.",
        "",
        "  dependencies[0].restraint",
        '    is "LATEST"',
        "    fix: one of EXACT, ATLEAST, ATMOST",
        "",
        "  model_type",
        "    is missing",
        "    fix: add it",
        "",
        "  next: Correct config.json.",
        "  (ModelArts.3015, request r1)",
        "",
      ].join("\n"),
    );
  });

  test("are read from IAM's envelope, from user code and from something that is not JSON", () => {
    const iam = apiFailure(401, '{"error":{"code":401,"message":"Wrong.","title":"Unauthorized"}}', "r2");
    expect([iam.message, iam.outcome, iam.details.requestId]).toEqual(["Wrong.", "auth", "r2"]);
    const user = apiFailure(500, '{"erro_msg":"KeyError: x","error_info":"Traceback …"}', undefined);
    expect([user.message, user.details.detail, user.outcome]).toEqual([
      "KeyError: x",
      "Traceback …",
      "failed",
    ]);
    const ours = apiFailure(400, '{"erno":"PY.0105","msg":"Inference failed","error_info":"KeyError"}', "r3");
    expect([ours.message, ours.details.code, ours.details.detail]).toEqual([
      "Inference failed",
      "PY.0105",
      "KeyError",
    ]);
    expect(apiFailure(502, "<html>\nbad gateway", undefined).message).toBe("<html>");
    expect(apiFailure(502, "", undefined).message).toBe("The answer has no body.");
  });

  test("have an outcome by status, and by code where the contract answers a state with 400", () => {
    const outcome = (status: number, code: string) =>
      apiFailure(status, JSON.stringify({ error_code: code, error_msg: "x" }), undefined).outcome;
    expect(
      [
        [400, "ModelArts.0101"],
        [400, "ModelArts.3519"],
        [400, "ModelArts.4203"],
        [401, "ModelArts.4203"],
        [403, "a"],
        [404, "a"],
        [409, "a"],
        [413, "a"],
        [429, "a"],
        [503, "a"],
        [504, "a"],
        [500, "a"],
      ].map(([status, code]) => outcome(Number(status), String(code))),
    ).toEqual([
      "usage",
      "conflict",
      "conflict",
      "auth",
      "auth",
      "notFound",
      "conflict",
      "usage",
      "busy",
      "busy",
      "timeout",
      "failed",
    ]);
  });

  test("keep their cause", () => {
    const cause = new Error("below");
    expect(new CliError("failed", "x", { cause }).cause).toBe(cause);
  });
});

import { describe, expect, test } from "vitest";
import { NO_VALIDATION, apiChecks, checksWithoutSchema, readValidation } from "./api-rule.ts";
import type { Validation } from "./api-rule.ts";

const ALL: Validation = { requests: "on", answers: "log" };
const SCHEMA = { type: "object" };

describe("the rules of a version", () => {
  test("are what apis says, as an object or as its text", () => {
    const apis = [
      {
        request: { "Content-type": "multipart/form-data", data: SCHEMA },
        response: { "Content-type": "multipart/form-data", data: JSON.stringify(SCHEMA) },
      },
    ];
    expect(apiChecks({ apis }, ALL)).toEqual({
      requestRule: { contentType: "multipart/form-data", schema: SCHEMA },
      answerRule: { contentType: "application/json", schema: SCHEMA, refuses: false },
    });
    expect(apiChecks({ apis }, { requests: "off", answers: "on" })).toEqual({
      answerRule: { contentType: "application/json", schema: SCHEMA, refuses: true },
    });
    expect(apiChecks({ apis }, NO_VALIDATION)).toEqual({});
  });

  test("are none where apis has no schema, and whoever asks for them is told", () => {
    for (const apis of [undefined, [], [{}], [{ request: {} }], [{ request: { data: "text" } }], "x", [3]]) {
      expect(apiChecks({ apis }, ALL)).toEqual({});
      expect(checksWithoutSchema("iris 0.0.1", { apis }, ALL).map(({ path }) => path)).toEqual([
        "envs.MODELPORT_VALIDATE_REQUESTS",
        "envs.MODELPORT_VALIDATE_ANSWERS",
      ]);
      expect(checksWithoutSchema("iris 0.0.1", { apis }, NO_VALIDATION)).toEqual([]);
    }
  });
});

test("a service's variables go before the platform's settings, and wrong ones are all named", () => {
  expect(readValidation({}, ALL).validation).toEqual(ALL);
  expect(readValidation({ MODELPORT_VALIDATE_REQUESTS: "off" }, ALL).validation).toEqual({
    requests: "off",
    answers: "log",
  });
  expect(
    readValidation({ MODELPORT_VALIDATE_REQUESTS: "log", MODELPORT_VALIDATE_ANSWERS: "yes" }, NO_VALIDATION),
  ).toEqual({
    validation: NO_VALIDATION,
    problems: [
      { path: "envs.MODELPORT_VALIDATE_REQUESTS", message: 'is "log"', fix: "use one of off, on" },
      { path: "envs.MODELPORT_VALIDATE_ANSWERS", message: 'is "yes"', fix: "use one of off, log, on" },
    ],
  });
});

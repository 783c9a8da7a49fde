import { expect, test } from "vitest";
import { problemText } from "./errors.ts";

test("a problem reads as a sentence, of the whole where it has no path", () => {
  const problem = { message: 'is "5"', fix: "give number" };
  expect(problemText({ path: "data.a", ...problem }, "config.json")).toBe('data.a is "5"; give number');
  expect(problemText({ path: "", ...problem }, "config.json")).toBe('config.json is "5"; give number');
  expect(problemText({ path: "", ...problem })).toBe('is "5"; give number');
});

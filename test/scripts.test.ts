/** The scripts that run before and around everything else: counting results, and what they say when something fails. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readUnittest, readVitest } from "../scripts/results.ts";

const root = join(import.meta.dirname, "..");

const vitestReport = (more: object): string =>
  JSON.stringify({
    numPassedTests: 3,
    numFailedTests: 0,
    numPendingTests: 1,
    numTodoTests: 1,
    testResults: [],
    ...more,
  });

test("counts of vitest are its report's, with files that cannot be loaded as failures", () => {
  expect(readVitest(vitestReport({}), true)).toEqual({ passed: 3, failed: 0, skipped: 2 });
  const broken = { testResults: [{ status: "failed", assertionResults: [] }] };
  expect(readVitest(vitestReport(broken), false).failed).toBe(1);
});

test("a runner that fails without a failed test, or leaves no report, is a failure", () => {
  expect(readVitest(vitestReport({}), false).failed).toBe(1);
  expect(readVitest(null, false).failed).toBe(1);
  expect(readUnittest("ImportError", false)).toEqual({ passed: 0, failed: 1, skipped: 0 });
});

test("counts of unittest are those of its last lines", () => {
  expect(readUnittest("....\nRan 4 tests in 0.1s\n\nOK\n", true)).toEqual({
    passed: 4,
    failed: 0,
    skipped: 0,
  });
  expect(readUnittest("Ran 1 test in 0.1s\n\nOK (skipped=1)\n", true)).toEqual({
    passed: 0,
    failed: 0,
    skipped: 1,
  });
  const failed = "Ran 9 tests in 1s\n\nFAILED (failures=1, errors=2, skipped=3, expected failures=1)\n";
  expect(readUnittest(failed, false)).toEqual({ passed: 3, failed: 3, skipped: 3 });
});

test("an unknown command of the bootstrap names the ones there are", () => {
  const { status, stderr } = spawnSync(process.execPath, [join(root, "scripts", "bootstrap.mjs"), "tset"], {
    encoding: "utf8",
  });
  expect([status, stderr]).toEqual([1, "error: There is no command tset.\n  next: Use one of demo, test.\n"]);
});

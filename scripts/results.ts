/** Reads the counts out of what the test runners leave behind. A runner that broke off counts as one failure. */

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests?: number;
  readonly testResults?: readonly {
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

const BROKEN: Counts = { passed: 0, failed: 1, skipped: 0 };

/** vitest's JSON report; null when it wrote none. */
export const readVitest = (report: string | null, ok: boolean): Counts => {
  if (report === null) return BROKEN;
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(
    report,
  ) as VitestReport;
  // A file that cannot be loaded has no tests to count.
  const brokenFiles = (testResults ?? []).filter(
    (file) => file.status === "failed" && file.assertionResults.every((test) => test.status !== "failed"),
  ).length;
  const failed = numFailedTests + brokenFiles;
  return {
    passed: numPassedTests,
    // Errors outside of any test make the run fail without a failed test.
    failed: failed === 0 && !ok ? 1 : failed,
    skipped: numPendingTests + (numTodoTests ?? 0),
  };
};

/** The last lines of `python -m unittest`: `Ran 12 tests in 0.3s`, then `OK (skipped=1)` or `FAILED (failures=1)`. */
export const readUnittest = (output: string, ok: boolean): Counts => {
  const ran = /^Ran (\d+) tests?/m.exec(output);
  if (ran === null) return BROKEN;
  const count = (name: string): number =>
    Number(new RegExp(`${name}=(\\d+)`).exec(output.slice(ran.index))?.[1] ?? 0);
  const skipped = count("skipped");
  // "expected failures=1" is no failure.
  const failed = count("(?<!expected )failures") + count("errors") + count("unexpected successes");
  return {
    passed: Math.max(0, Number(ran[1]) - failed - skipped),
    failed: failed === 0 && !ok ? 1 : failed,
    skipped,
  };
};

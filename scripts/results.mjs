/** Reads the counts out of what the test runners leave behind. A runner that broke off counts as one failure. */

const BROKEN = { passed: 0, failed: 1, skipped: 0 };

/** vitest's JSON report; null when it wrote none. */
export const readVitest = (report, ok) => {
  if (report === null) return BROKEN;
  const {
    numPassedTests,
    numFailedTests,
    numPendingTests,
    numTodoTests = 0,
    testResults = [],
  } = JSON.parse(report);
  // A file that cannot be loaded has no tests to count.
  const brokenFiles = testResults.filter(
    (file) => file.status === "failed" && file.assertionResults.every((test) => test.status !== "failed"),
  ).length;
  const failed = numFailedTests + brokenFiles;
  return {
    passed: numPassedTests,
    // Errors outside of any test make the run fail without a failed test.
    failed: failed === 0 && !ok ? 1 : failed,
    skipped: numPendingTests + numTodoTests,
  };
};

/** The last lines of `python -m unittest`: `Ran 12 tests in 0.3s` and `OK (skipped=1)` or `FAILED (failures=1, errors=2)`. */
export const readUnittest = (output, ok) => {
  const ran = /^Ran (\d+) tests?/m.exec(output);
  if (ran === null) return BROKEN;
  const count = (name) => Number(new RegExp(`${name}=(\\d+)`).exec(output.slice(ran.index))?.[1] ?? 0);
  const skipped = count("skipped");
  // "expected failures=1" is no failure.
  const failed = count("(?<!expected )failures") + count("errors") + count("unexpected successes");
  return {
    passed: Math.max(0, Number(ran[1]) - failed - skipped),
    failed: failed === 0 && !ok ? 1 : failed,
    skipped,
  };
};

/** `npm run check`: what every commit must pass, in under two minutes: checks, architecture and unit tests. */
import { CHECKS, runChecks } from "./checks.mjs";

const UNIT = {
  name: "unit",
  command: ["vitest", "run", "--project", "unit", "--reporter=dot"],
  fix: "npm run unit shows each failure; a single file: npx vitest run --project unit PATH",
};

const failed = await runChecks([...CHECKS, UNIT]);
process.stdout.write(failed.length === 0 ? "All checks passed.\n" : `Failed: ${failed.join(", ")}.\n`);
process.exit(failed.length === 0 ? 0 : 1);

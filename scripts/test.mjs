/**
 * `npm test`: every check and every test there is, in every runner, and one line at the end that sums them up:
 * `N passed, N failed, N skipped`. Started by bootstrap.mjs, which has seen to the packages.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHECKS, run, runChecks } from "./checks.mjs";
import { root } from "./runtime.mjs";
import { readUnittest, readVitest } from "./results.ts";

const total = { passed: 0, failed: 0, skipped: 0 };
const add = (name, counts) => {
  for (const key of Object.keys(total)) total[key] += counts[key];
  process.stdout.write(
    `  ${name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`,
  );
};
const heading = (text) => process.stdout.write(`\n${text}\n`);

/** The store's suite runs on a real PostgreSQL; Debian's package is enough. */
const ensurePostgres = () => {
  const versions = "/usr/lib/postgresql";
  if (existsSync(versions) && readdirSync(versions).length > 0) return;
  if (spawnSync("initdb", ["--version"]).status === 0) return;
  const isDebian = existsSync("/etc/debian_version") && process.getuid?.() === 0;
  if (!isDebian) {
    process.stdout.write(
      "PostgreSQL is not installed; install it (initdb, postgres) for its tests to run.\n",
    );
    return;
  }
  heading("Installing PostgreSQL for the tests (apt-get) …");
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const apt = (...args) =>
    spawnSync("apt-get", ["-qq", ...args], { env, stdio: ["ignore", "ignore", "inherit"] }).status === 0;
  if (
    !(
      apt("install", "-y", "--no-install-recommends", "postgresql") ||
      (apt("update") && apt("install", "-y", "--no-install-recommends", "postgresql"))
    )
  ) {
    process.stdout.write("PostgreSQL could not be installed; install it by hand for its tests to run.\n");
  }
};

const vitest = async (project) => {
  heading(`vitest, project ${project}`);
  const folder = mkdtempSync(join(tmpdir(), "modelport-test-"));
  const file = join(folder, "results.json");
  try {
    const { ok } = await run(
      [
        "vitest",
        "run",
        "--project",
        project,
        "--passWithNoTests",
        "--reporter=default",
        "--reporter=json",
        `--outputFile.json=${file}`,
      ],
      { show: true },
    );
    add(project, readVitest(existsSync(file) ? readFileSync(file, "utf8") : null, ok));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

const python = async () => {
  const tests = join(root, "python", "tests");
  if (!existsSync(tests)) return;
  heading("Python unittest");
  const { ok, output } = await run(["python3", "-m", "unittest", "discover", "-s", tests], { show: true });
  add("python", readUnittest(output, ok));
};

heading("Checks");
const failedChecks = await runChecks(CHECKS);
add("checks", { passed: CHECKS.length - failedChecks.length, failed: failedChecks.length, skipped: 0 });
ensurePostgres();
await vitest("unit");
await vitest("system");
await python();

process.stdout.write(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
process.exit(total.failed === 0 ? 0 : 1);

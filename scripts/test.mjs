/**
 * `npm test [SUITE…]`: every check and every test but those of the heavy engines, in every runner, or the suites named,
 * and one line at the end that sums them up: `N passed, N failed, N skipped`. Started by bootstrap.mjs, which has seen
 * to the packages.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHECKS, run, runChecks } from "./checks.mjs";
import { Interpreters } from "../src/environments/interpreters.ts";
import { fail, root } from "./runtime.mjs";
import { readUnittest, readVitest } from "./results.ts";

const total = { passed: 0, failed: 0, skipped: 0 };
const add = (name, counts) => {
  for (const key of Object.keys(total)) total[key] += counts[key];
  process.stdout.write(
    `  ${name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`,
  );
};
const heading = (text) => process.stdout.write(`\n${text}\n`);

const works = (program, ...args) => spawnSync(program, args, { stdio: "ignore" }).status === 0;

/** What the tests need of the machine beyond Node, and the Debian packages that bring it. */
const NEEDS = [
  {
    what: "PostgreSQL (initdb, postgres)",
    packages: ["postgresql"],
    isThere: () =>
      works("initdb", "--version") ||
      (existsSync("/usr/lib/postgresql") && readdirSync("/usr/lib/postgresql").length > 0),
  },
  {
    what: "Python 3 with pip and venv",
    packages: ["python3", "python3-pip", "python3-venv"],
    isThere: () => works("python3", "-m", "pip", "--version") && works("python3", "-c", "import ensurepip"),
  },
  {
    what: "faketime",
    packages: ["faketime"],
    isThere: () => process.platform !== "linux" || works("faketime", "--version"),
  },
  { what: "git", packages: ["git"], isThere: () => works("git", "--version") },
  { what: "curl", packages: ["curl"], isThere: () => works("curl", "--version") },
  {
    what: "Prometheus",
    packages: ["prometheus"],
    isThere: () => works("prometheus", "--version") && works("promtool", "--version"),
  },
  { what: "openssl", packages: ["openssl"], isThere: () => works("openssl", "version") },
  { what: "ps", packages: ["procps"], isThere: () => works("ps", "--version") },
];

/** What the engines need beyond that. */
const NEEDS_OF_ENGINES = [
  { what: "Java 17", packages: ["openjdk-17-jre-headless"], isThere: () => works("java", "-version") },
];

/** Installs what is missing where we may (Debian, root); says what is missing where we may not. */
const ensureMachine = (needs) => {
  const missing = needs.filter((need) => !need.isThere());
  if (missing.length === 0) return;
  const names = missing.map((need) => need.what).join(", ");
  if (!existsSync("/etc/debian_version") || process.getuid?.() !== 0) {
    process.stdout.write(`Missing on this machine: ${names}. The tests that need them will fail.\n`);
    return;
  }
  heading(`Installing with apt-get: ${names} …`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const apt = (...args) =>
    spawnSync("apt-get", ["-qq", ...args], { env, stdio: ["ignore", "ignore", "inherit"] }).status === 0;
  const install = ["install", "-y", "--no-install-recommends", ...missing.flatMap((need) => need.packages)];
  if (!(apt(...install) || (apt("update") && apt(...install)))) {
    process.stdout.write(`apt-get could not install ${names}. The tests that need them will fail.\n`);
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

/** The worker runs on every CPython from 3.6 on: its tests do so on each one that is here, two at a time. */
const python = async () => {
  const interpreters = new Interpreters({
    named: null,
    environment: process.env,
    fetched: "",
    probe: (program, args) => {
      const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
      return Promise.resolve({ code: status, stdout: stdout ?? "", stderr: stderr ?? "" });
    },
  });
  const tests = ["-m", "unittest", "discover", "-s", join(root, "python", "tests")];
  const left = (await interpreters.all()).values();
  const next = async () => {
    for (const { executable, version } of left) {
      const { ok, output } = await run([executable, ...tests]);
      heading(`Python unittest on ${version}`);
      process.stdout.write(output);
      add(`python ${version}`, readUnittest(output, ok));
    }
  };
  await Promise.all([next(), next()]);
};

const checks = async () => {
  heading("Checks");
  const failed = await runChecks(CHECKS);
  add("checks", { passed: CHECKS.length - failed.length, failed: failed.length, skipped: 0 });
};

const SUITES = {
  checks,
  unit: () => vitest("unit"),
  system: () => vitest("system"),
  python,
  engines: () => vitest("engines"),
};
const USUAL = ["checks", "unit", "system", "python"];

const named = process.argv.slice(2);
const unknown = named.filter((name) => !Object.hasOwn(SUITES, name));
if (unknown.length > 0) {
  fail(`There is no suite ${unknown.join(", ")}.`, `Use one or more of ${Object.keys(SUITES).join(", ")}.`);
}
const suites = named.length > 0 ? named : USUAL;
ensureMachine(suites.includes("engines") ? [...NEEDS, ...NEEDS_OF_ENGINES] : NEEDS);
for (const name of suites) await SUITES[name]();

process.stdout.write(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
process.exit(total.failed === 0 ? 0 : 1);

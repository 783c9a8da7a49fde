/** The checks that need no test runner: each with the command that looks and the one that mends. */
import { spawn } from "node:child_process";
import { root, toolEnv } from "./runtime.mjs";

export const CHECKS = [
  { name: "format", command: ["oxfmt", "--check", "."], fix: "npm run format" },
  {
    name: "lint",
    command: ["oxlint", "--type-aware", "--deny-warnings", "."],
    fix: "mend the places named, then `npm run lint`",
  },
  {
    name: "types",
    command: ["tsc", "-p", "tsconfig.json"],
    fix: "mend the places named, then `npm run types`",
  },
  {
    name: "generated",
    command: ["node", "scripts/gen.ts", "--check"],
    fix: "npm run gen, and commit what changes",
  },
];

/** Runs a command to its end and keeps what it says. */
export const run = ([program, ...args], { show = false } = {}) =>
  new Promise((resolve) => {
    const startedAt = Date.now();
    const child = spawn(program, args, { cwd: root, env: toolEnv(), stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const take = (chunk) => {
      output += chunk;
      if (show) process.stdout.write(chunk);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    const end = (code) => resolve({ ok: code === 0, output, seconds: (Date.now() - startedAt) / 1000 });
    child.once("error", (error) => {
      output += `${program}: ${error.message}\n`;
      end(127);
    });
    child.once("close", end);
  });

/** Runs the checks one after the other (each uses all cores) and tells how to mend what fails. */
export const runChecks = async (checks) => {
  const failed = [];
  for (const check of checks) {
    const { ok, output, seconds } = await run(check.command);
    process.stdout.write(`${ok ? "✓" : "✗"} ${check.name.padEnd(10)} ${seconds.toFixed(1)} s\n`);
    if (!ok) {
      failed.push(check.name);
      process.stdout.write(`${output.trimEnd()}\n  fix: ${check.fix}\n`);
    }
  }
  return failed;
};

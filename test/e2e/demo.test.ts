/** `npm run demo` as a user has it: a fresh clone, the machine's own Node, npm and Python, nothing installed. */
import { execFileSync, spawn } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { REPO, processesOf, until } from "../support/platform.ts";

const dir = mkdtempSync(join(tmpdir(), "modelport-demo-"));
const clone = join(dir, "clone");
/** What npm and vitest added for this test is not what a user's shell has. */
const PATH = (process.env["PATH"] ?? "")
  .split(delimiter)
  .filter((entry) => !entry.includes("node_modules"))
  .join(delimiter);

const ANSWER = { data: { resp_data: [{ predictresult: "setosa" }] } };

const environment = (data: string, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(npm_|NODE_|VITEST|VITE_|MODELPORT_)/.test(name),
  );
  return {
    ...Object.fromEntries(own),
    PATH,
    MODELPORT_DATA: join(dir, data),
    MODELPORT_PORT: "0",
    NO_COLOR: "1",
    ...more,
  };
};

interface Run {
  readonly output: () => string;
  readonly ended: Promise<number>;
  /** A terminal's Ctrl-C reaches every process of the foreground group, npm and shells included. */
  pressCtrlC(): void;
}

const demo = (env: NodeJS.ProcessEnv): Run => {
  const child = spawn("npm", ["run", "demo"], {
    cwd: clone,
    env,
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => (output += chunk));
  }
  const ended = new Promise<number>((done, failed) => {
    child.once("error", failed);
    child.once("close", (code) => done(code ?? 1));
  });
  return {
    output: () => output,
    ended,
    pressCtrlC: () => {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGINT");
    },
  };
};

const serving = (run: Run): Promise<string> => {
  const failed = run.ended.then((code) => {
    throw new Error(`the demo ended with ${code}:\n${run.output()}`);
  });
  const found = until(
    "the demo to serve",
    () => (run.output().includes("Serving until you press Ctrl-C.") ? run.output() : null),
    240_000,
  ).catch((error: unknown) => {
    throw new Error(`the demo does not serve:\n${run.output()}`, { cause: error });
  });
  return Promise.race([found, failed]);
};

const stopped = async (run: Run, data: string): Promise<void> => {
  run.pressCtrlC();
  await run.ended;
  expect(run.output()).toContain("Stopped. What was imported is kept for the next start.");
  expect(processesOf(join(dir, data))).toEqual([]);
  expect(processesOf(clone)).toEqual([]);
  expect(existsSync(join(dir, data, "run", "control.sock"))).toBe(false);
};

/** The durations of the steps, in seconds, in order. */
const durations = (output: string): readonly number[] =>
  [...output.matchAll(/^✓ .*? {2,}([\d.]+) (ms|s)$/gm)].map(
    ([, number, unit]) => Number(number) / (unit === "ms" ? 1000 : 1),
  );
const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);

/** Ends with a sentence about what is wrong and one about what to do, and nothing else runs. */
const refused = async (data: string, more: NodeJS.ProcessEnv): Promise<string> => {
  const run = demo(environment(data, more));
  expect(await run.ended, run.output()).not.toBe(0);
  expect(run.output()).toMatch(/^error: .+\./m);
  expect(run.output()).toMatch(/^ {2}next: .+/m);
  expect(run.output()).not.toMatch(/^\s+at .+:\d+:\d+\)?$/m);
  expect(processesOf(join(dir, data))).toEqual([]);
  return run.output();
};

beforeAll(() => {
  execFileSync("git", ["clone", "--quiet", REPO, clone], { env: environment("none") });
  expect(existsSync(join(clone, "node_modules"))).toBe(false);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let first: readonly number[] = [];

it("without a network says so before anything is installed", async () => {
  const output = await refused("offline", {
    npm_config_registry: "http://127.0.0.1:9/",
    npm_config_cache: join(dir, "empty-npm-cache"),
    npm_config_fetch_retries: "0",
  });
  expect(output).toContain("The packages could not be fetched: the npm registry cannot be reached.");
  rmSync(join(clone, "node_modules"), { recursive: true, force: true });
});

it("the first run installs, imports, deploys, answers, and its curl line works", async () => {
  const run = demo(environment("data"));
  try {
    const output = await serving(run);
    expect(output).toMatch(/^Packages installed in [\d.]+ s$/m);
    expect(output).toMatch(/^✓ Platform started at http:\/\/127\.0\.0\.1:\d+ {2,}/m);
    expect(output).toMatch(/^✓ AI application iris 0\.0\.1 imported from examples\/iris {2,}/m);
    expect(output).toMatch(/^✓ Service iris deployed {2,}/m);
    expect(output).toMatch(/^✓ Prediction answered {2,}/m);
    first = durations(output);
    expect(first, output).toHaveLength(4);
    expect(JSON.parse(/^Answer: +(.+)$/m.exec(output)?.[1] ?? "")).toEqual(ANSWER);
    const url = /^Service URL: +(http:\S+\/v1\/infers\/[0-9a-f-]{36})$/m.exec(output)?.[1] ?? "no URL";
    const curl = /^ +(curl .+)$/m.exec(output)?.[1] ?? "no curl line";
    expect(curl).toContain(url);
    const pasted = execFileSync("bash", ["-c", `${curl} --silent --show-error --fail`], { encoding: "utf8" });
    expect(JSON.parse(pasted)).toEqual(ANSWER);
    // Nothing that only a terminal understands.
    // oxlint-disable-next-line no-control-regex -- what is looked for
    expect(output).not.toMatch(/[\u001b\r]/);
  } finally {
    await stopped(run, "data");
  }
});

it("the second run says what it reused and takes a fraction of the time", async () => {
  const run = demo(environment("data"));
  try {
    const output = await serving(run);
    expect(output).not.toContain("Installing packages");
    expect(output).toMatch(/^✓ AI application iris 0\.0\.1 reused, the package is unchanged {2,}/m);
    expect(output).toMatch(/^✓ Service iris reused, it was deployed before {2,}/m);
    expect(JSON.parse(/^Answer: +(.+)$/m.exec(output)?.[1] ?? "")).toEqual(ANSWER);
    // Not a time of its own: a share of what the first run took on this machine.
    expect(sum(durations(output)), output).toBeLessThan(sum(first) / 2);
  } finally {
    await stopped(run, "data");
  }
});

it("a taken port is named, and another one offered", async () => {
  const taken = createServer();
  await new Promise<void>((done) => taken.listen({ host: "127.0.0.1", port: 0 }, done));
  const { port } = taken.address() as AddressInfo;
  try {
    const output = await refused("taken", { MODELPORT_PORT: String(port) });
    expect(output).toMatch(new RegExp(`\\b${port}\\b`));
    expect(output).toContain(`MODELPORT_PORT=${port + 1}`);
  } finally {
    await new Promise((done) => taken.close(done));
  }
});

it("a machine without Python is told how to get it", async () => {
  const bin = join(dir, "bin");
  mkdirSync(bin);
  // Everything the commands need, and no Python.
  for (const name of ["node", "npm", "sh", "bash", "env", "git", "uname", "ps", "sync"]) {
    const found = PATH.split(delimiter)
      .map((folder) => join(folder, name))
      .find((path) => {
        try {
          accessSync(path, constants.X_OK);
          return true;
        } catch {
          return false;
        }
      });
    if (found !== undefined) symlinkSync(found, join(bin, name));
  }
  const output = await refused("no-python", { PATH: bin });
  expect(output).toMatch(/python3 does not run|no Python/i);
  expect(output).toMatch(/Install Python 3/);
});

it("an index that cannot be reached fails the import in words, and nothing goes on running", async () => {
  const output = await refused("no-index", {
    PIP_INDEX_URL: "http://127.0.0.1:9/simple",
    PIP_FIND_LINKS: undefined,
    PIP_EXTRA_INDEX_URL: undefined,
    UV_INDEX_URL: undefined,
    UV_DEFAULT_INDEX: undefined,
    PIP_RETRIES: "0",
    PIP_CONFIG_FILE: "/dev/null",
  });
  expect(output).toContain("The package index cannot be reached for ");
  expect(output).toMatch(/PIP_INDEX_URL|HTTPS_PROXY/);
});

import { spawn } from "node:child_process";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readConfig } from "../config.ts";
import { instant } from "../core/ids.ts";
import { systemClock } from "../telemetry/clock.ts";
import { createLogger } from "../telemetry/logger.ts";
import type { Dependency, EnvironmentOutcome, EnvironmentRequest } from "./environments.ts";
import { FakeClock } from "../../test/support/clock.ts";
import { until } from "../../test/support/until.ts";
import { runCommand } from "./command.ts";
import { Interpreters } from "./interpreters.ts";
import { openEnvironments } from "./open-environments.ts";
import { isAlive, parseIdentity } from "../telemetry/process-identity.ts";

const exec = promisify(execFile);
const config = readConfig({ ...process.env, MODELPORT_DATA: undefined });
const toolEnvironment = config.ok ? config.config.toolEnvironment : {};

/** Without one the test of the real thing has nothing to run on; the stand-in is tested everywhere. */
const has36 = (
  await new Interpreters({
    named: null,
    environment: toolEnvironment,
    fetched: "/nonexistent",
    probe: (program, args) =>
      runCommand(program, args, { cwd: "/", env: toolEnvironment, signal: new AbortController().signal }),
  }).all()
).some(({ minor }) => minor === 6);

/** uv and its cache are fetched once for the file; environments are each test's own. */
let tools = "";
let root = "";
const never = new AbortController().signal;

const open = (over: Partial<Parameters<typeof openEnvironments>[0]> = {}) =>
  openEnvironments({
    root,
    tools,
    machinePython: null,
    fetchPython: false,
    torchCpuIndex: false,
    sourceUsers: null,
    devices: null,
    buildTimeoutMs: 3_600_000,
    environment: toolEnvironment,
    clock: systemClock,
    logger: createLogger("test", "silent"),
    ...over,
  });

const request = (
  dependencies: readonly Dependency[] = [],
  over: Partial<EnvironmentRequest> = {},
): EnvironmentRequest => ({
  engine: "Scikit_Learn",
  runtime: null,
  dependencies,
  wheels: [],
  code: { dir: "/", files: [] },
  strict: false,
  ...over,
});
const pin = (
  name: string,
  version: string | null,
  restraint: Dependency["restraint"] = "EXACT",
): Dependency => ({
  name,
  version,
  restraint: version === null ? null : restraint,
});
const ready = (outcome: EnvironmentOutcome): Extract<EnvironmentOutcome, { kind: "ready" }> => {
  if (outcome.kind === "refused") throw new Error(`refused: ${outcome.message}\n${outcome.logTail}`);
  return outcome;
};
const refused = (outcome: EnvironmentOutcome): Extract<EnvironmentOutcome, { kind: "refused" }> => {
  if (outcome.kind === "ready") throw new Error(`ready: ${outcome.key}`);
  return outcome;
};
const python = async (interpreter: string, code: string): Promise<string> =>
  (await exec(interpreter, ["-c", code])).stdout.trim();

/** A wheel by hand: a zip with one module and its metadata. */
const makeWheel = async (dir: string, name: string, version: string): Promise<string> => {
  const path = join(dir, `${name}-${version}-py3-none-any.whl`);
  await exec("python3", [
    "-c",
    `
import sys, zipfile
path, name, version = sys.argv[1:]
info = f"{name}-{version}.dist-info"
with zipfile.ZipFile(path, "w") as z:
    z.writestr(f"{name}.py", f"VERSION = '{version}'\\ndef main(): print(VERSION)\\n")
    z.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    z.writestr(f"{info}/entry_points.txt", f"[console_scripts]\\n{name}-tool = {name}:main\\n")
    z.writestr(f"{info}/RECORD", "")
`,
    path,
    name,
    version,
  ]);
  return path;
};

beforeAll(async () => {
  tools = await mkdtemp(join(tmpdir(), "modelport-tools-"));
});
afterAll(() => rm(tools, { recursive: true, force: true }));
beforeEach(async () => {
  root = join(await mkdtemp(join(tmpdir(), "modelport-env-")), "environments");
});
afterEach(() => rm(join(root, ".."), { recursive: true, force: true }));

describe("environments", () => {
  test("builds scikit-learn with the guide's impossible pins replaced, shows progress, and finds it again at once", async () => {
    // The only interpreter: what stands in for 3.6 does not depend on what else this machine has.
    const environments = await open({ machinePython: "python3" });
    const log: string[] = [];
    const pins = [pin("numpy", "1.15.0"), pin("Pillow", "5.2.0")];
    const first = ready(
      await environments.ensure(request(pins, { runtime: "python3.6" }), (line) => log.push(line), never),
    );
    expect(first.reused).toBe(false);
    expect(first.substitutions.map(({ asked }) => asked)).toEqual(["numpy==1.15.0", "Pillow==5.2.0"]);
    expect(first.substitutions[0]?.got).toMatch(/^numpy==1\.23\.\d+$/);
    expect(first.substitutions[0]?.reason).toContain("no usable wheels");
    expect(first.warnings.join()).toContain("Runtime python3.6 is not available here");
    expect(log.some((line) => /^ *Downloading numpy \(/.test(line))).toBe(true);
    expect(await python(first.python, "import sklearn, numpy, PIL; print(sklearn.__version__)")).toBe(
      "1.2.2",
    );

    const second = ready(
      await (await open({ machinePython: "python3" })).ensure(request(pins), () => undefined, never),
    );
    expect(second).toMatchObject({ key: first.key, reused: true, substitutions: first.substitutions });
    expect(await environments.python(first.key)).toBe(first.python);
    expect((await readdir(join(root, ".scratch"))).toSorted()).toEqual([]);
  });

  test.skipIf(!has36)(
    "runs python3.6 on a real 3.6 with the release the guide names, where that is on the machine",
    { timeout: 300_000 },
    async () => {
      const outcome = ready(
        await (
          await open()
        ).ensure(request([], { runtime: "python3.6", strict: true }), () => undefined, never),
      );
      expect(outcome.warnings).toEqual([]);
      expect(
        await python(outcome.python, "import sys, sklearn; print(sys.version_info[:2], sklearn.__version__)"),
      ).toBe("(3, 6) 0.18.1");
    },
  );

  test("refuses Python 2 code by its lines", async () => {
    const dir = join(root, "..", "package");
    await mkdir(dir, { recursive: true });
    await writeFile(join(dir, "customize_service.py"), 'import os\nprint "loading"\n');
    const code = { dir, files: ["customize_service.py"] };
    const outcome = refused(
      await (await open()).ensure(request([], { runtime: "python2.7", code }), () => undefined, never),
    );
    expect(outcome.message).toContain('customize_service.py:2 is not Python 3: print "loading"');
    expect(outcome.problems).toHaveLength(1);
  });

  test("refuses an impossible pin when strict, naming it and why", async () => {
    const outcome = refused(
      await (
        await open()
      ).ensure(request([pin("numpy", "1.15.0")], { strict: true }), () => undefined, never),
    );
    expect(outcome.message).toContain("numpy==1.15.0");
    expect(outcome.message).toContain("no usable wheels");
    expect(outcome.problems).toHaveLength(1);
    expect(outcome.logTail).toContain("numpy==1.15.0");
    expect(await readdir(root)).toEqual([".scratch"]);
  });

  test("refuses packages and versions that do not exist", async () => {
    const environments = await open();
    const nothing = refused(
      await environments.ensure(request([pin("no-such-package-of-modelport", null)]), () => undefined, never),
    );
    expect(nothing.message).toBe(
      "Dependency no-such-package-of-modelport cannot be installed: the package index has no package of this name; correct the name, or put its wheel beside the model file.",
    );
    for (const restraint of ["EXACT", "ATLEAST"] as const) {
      const version = refused(
        await environments.ensure(request([pin("numpy", "99.0", restraint)]), () => undefined, never),
      );
      expect(version.message).toContain("no such version");
      expect(version.problems[0]?.fix).toContain("the newest for this Python is");
    }
  });

  test("takes ATLEAST within the engine's bounds and ATMOST without a build as the lowest there is", async () => {
    const environments = await open();
    const outcome = ready(
      await environments.ensure(
        request([pin("six", "1.10", "ATLEAST"), pin("numpy", "1.16.4", "ATMOST")]),
        () => undefined,
        never,
      ),
    );
    expect(outcome.substitutions.map(({ asked }) => asked)).toEqual(["numpy<=1.16.4"]);
    expect(await python(outcome.python, "import numpy; print(numpy.__version__)")).toMatch(/^1\.2[0-3]\./);
  });

  test("installs a wheel of the package, and another content is another environment", async () => {
    const dir = join(root, "..", "package");
    await mkdir(dir, { recursive: true });
    const wheel = await makeWheel(dir, "ours", "1.0");
    const environments = await open();
    const first = ready(
      await environments.ensure(request([pin("ours", "1.0")], { wheels: [wheel] }), () => undefined, never),
    );
    expect(await python(first.python, "import ours; print(ours.VERSION)")).toBe("1.0");
    // Scripts keep working although the environment was moved to its place.
    expect((await exec(join(first.python, "..", "ours-tool"))).stdout.trim()).toBe("1.0");
    await writeFile(wheel, Buffer.concat([await readFile(wheel)]));
    const same = ready(
      await environments.ensure(
        request([pin("ours-1.0-py3-none-any.whl", null)], { wheels: [wheel] }),
        () => undefined,
        never,
      ),
    );
    expect(same.key).toBe(first.key);
    await makeWheel(dir, "ours", "2.0");
    const other = await environments.ensure(
      request([pin("ours", null)], { wheels: [join(dir, "ours-2.0-py3-none-any.whl")] }),
      () => undefined,
      never,
    );
    expect(ready(other).key).not.toBe(first.key);
  });

  test("builds one set once for all its callers, and reclaims what is unused and nobody holds", async () => {
    const here = await open();
    const there = await open();
    const outcomes = await Promise.all(
      [here, here, there].map((one) => one.ensure(request(), () => undefined, never)),
    );
    expect(outcomes.filter((outcome) => !ready(outcome).reused)).toHaveLength(1);
    expect(new Set(outcomes.map((outcome) => ready(outcome).key)).size).toBe(1);
    expect((await readdir(root)).toSorted()).toHaveLength(2);
    const key = ready(outcomes[0] ?? (await here.ensure(request(), () => undefined, never))).key;
    expect(await here.reclaim(new Set())).toEqual([]);
    const later = await open();
    expect(await later.reclaim(new Set([key]))).toEqual([]);
    const letGo = await here.hold(key);
    expect(await later.reclaim(new Set())).toEqual([]);
    await letGo();
    // Whoever held it (`modelport run`) finds it again within a week.
    const inDays = (days: number): ReturnType<typeof open> =>
      open({ clock: { ...systemClock, now: () => instant(systemClock.now() + days * 24 * 3_600_000) } });
    expect(await (await inDays(6)).reclaim(new Set())).toEqual([]);
    expect(await (await inDays(8)).reclaim(new Set())).toEqual([key]);
    expect(await later.python(key)).toBeNull();
  });

  test("leaves nothing that looks finished when killed half-way, and the next open cleans up", async () => {
    await open();
    const program = join(root, "..", "build.ts");
    await writeFile(
      program,
      `
import { openEnvironments } from ${JSON.stringify(join(import.meta.dirname, "open-environments.ts"))};
import { systemClock } from ${JSON.stringify(join(import.meta.dirname, "../telemetry/clock.ts"))};
import { createLogger } from ${JSON.stringify(join(import.meta.dirname, "../telemetry/logger.ts"))};
const input = JSON.parse(process.argv[2]);
const environments = await openEnvironments({ ...input, machinePython: null, fetchPython: false, torchCpuIndex: false, sourceUsers: null, devices: null, buildTimeoutMs: 3_600_000, clock: systemClock, logger: createLogger("test", "silent") });
await environments.ensure(input.request, (line) => process.stdout.write(line + "\\n"), new AbortController().signal);
`,
    );
    // A cache of its own, so that the download takes a moment.
    const input = {
      root,
      tools,
      environment: { ...toolEnvironment, UV_CACHE_DIR: join(root, "..", "cache") },
      request: request(),
    };
    const child = spawn(process.execPath, [program, JSON.stringify(input)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise<void>((resolve, reject) => {
      let seen = "";
      child.stdout.on("data", (chunk: Buffer) => {
        seen += chunk.toString();
        if (seen.includes("Downloading")) resolve();
      });
      child.once("exit", () => reject(new Error(`ended early: ${seen}`)));
    });
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
    const scratch = join(root, ".scratch");
    const work = (await readdir(scratch)).find((name) => !name.endsWith(".lock")) ?? "";
    const installer = parseIdentity(await readFile(join(scratch, work, "program.json"), "utf8"));
    expect((await readdir(root)).filter((name) => name !== ".scratch")).toEqual([]);

    const environments = await open();
    if (installer === null) throw new Error("the installer was not recorded");
    await expect.poll(() => isAlive(installer)).toBe(false);
    expect((await readdir(scratch)).filter((name) => !name.endsWith(".lock"))).toEqual([]);
    expect(ready(await environments.ensure(request(), () => undefined, never)).reused).toBe(false);
    expect(await readdir(scratch)).toEqual([]);
  });

  test("ends the build when its last waiter leaves", async () => {
    const environments = await open({
      environment: { ...toolEnvironment, UV_CACHE_DIR: join(root, "..", "cache") },
    });
    const leave = new AbortController();
    const outcome = environments.ensure(
      request(),
      (line) => {
        if (line.includes("Downloading")) leave.abort(new Error("enough"));
      },
      leave.signal,
    );
    await expect(outcome).rejects.toThrow("enough");
    await expect.poll(() => readdir(join(root, ".scratch")), { timeout: 10_000 }).toEqual([]);
    expect(await readdir(root)).toEqual([".scratch"]);
  });

  test("says what to do without Python, with an old one, and without a network", async () => {
    const say = async (over: Parameters<typeof open>[0]): Promise<string> =>
      refused(await (await open(over)).ensure(request(), () => undefined, never)).message;
    expect(await say({ machinePython: "/nowhere/python3" })).toContain(
      "There is no working Python at /nowhere/python3",
    );
    expect(
      await say({
        environment: {
          ...toolEnvironment,
          UV_DEFAULT_INDEX: "http://127.0.0.1:9/simple",
          UV_CACHE_DIR: join(root, "..", "cache"),
        },
      }),
    ).toContain("The package index cannot be reached");
    expect(
      await say({
        tools: join(root, "..", "tools"),
        environment: {
          ...toolEnvironment,
          PIP_INDEX_URL: "http://127.0.0.1:9/simple",
          PIP_RETRIES: "0",
          UV_DEFAULT_INDEX: "",
        },
      }),
    ).toContain("The package index cannot be reached");
  });

  test("gives up an interpreter that does not answer", async () => {
    const silent = join(root, "..", "python3");
    await writeFile(silent, "#!/bin/sh\nexec sleep 600\n", { mode: 0o755 });
    const clock = new FakeClock();
    const environments = await open({ machinePython: silent, clock });
    const outcome = environments.ensure(request(), () => undefined, never);
    await until("the question", () => clock.sleepers > 0);
    await clock.advance(30_000);
    expect(refused(await outcome).message).toContain(`There is no working Python at ${silent}`);
  });
});

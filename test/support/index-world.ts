/** Environments over a package index of the test's own, with the real uv: what a user's `PIP_INDEX_URL` would name. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readConfig } from "../../src/config.ts";
import { engineSet } from "../../src/core/engines.ts";
import { runCommand } from "../../src/environments/command.ts";
import type {
  Dependency,
  EnvironmentOutcome,
  EnvironmentRequest,
} from "../../src/environments/environments.ts";
import { Interpreters } from "../../src/environments/interpreters.ts";
import type { Interpreter } from "../../src/environments/interpreter.ts";
import { openEnvironments } from "../../src/environments/open-environments.ts";
import { obtainUv } from "../../src/environments/uv.ts";
import type { Run } from "../../src/environments/uv.ts";
import { systemClock } from "../../src/telemetry/clock.ts";
import { createLogger } from "../../src/telemetry/logger.ts";
import { wheel } from "./archives.ts";
import { PackageIndex } from "./package-index.ts";

const toolsOf = (env: Readonly<Record<string, string | undefined>>): Readonly<Record<string, string>> => {
  const read = readConfig(env);
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  return read.config.toolEnvironment;
};

/** This machine's settings, its index among them. */
export const MACHINE = toolsOf({ ...process.env, MODELPORT_DATA: undefined });

const INDEX_SETTINGS = /^(?:PIP|UV)_(?:INDEX|EXTRA|DEFAULT|FIND|CACHE)/;
const without = (env: Readonly<Record<string, string>>, names: RegExp): Record<string, string> =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !names.test(name)));

const run: Run = (program, args, more = {}) =>
  runCommand(program, args, { cwd: "/", env: MACHINE, signal: new AbortController().signal, ...more });

const usual = async (): Promise<Interpreter> => {
  const probe = (program: string, args: readonly string[]) => run(program, args);
  const found = await new Interpreters({
    named: null,
    environment: MACHINE,
    fetched: "/nonexistent",
    probe,
  }).usual();
  if (!found.ok) throw new Error(found.message);
  return found.interpreter;
};

export const pin = (
  name: string,
  version: string | null = null,
  restraint: Dependency["restraint"] = "EXACT",
): Dependency => ({ name, version, restraint: version === null ? null : restraint });

/** uv and the interpreter: had once for a file of tests. */
export interface Bench {
  readonly tools: string;
  readonly interpreter: Interpreter;
  remove(): Promise<void>;
}

export const openBench = async (): Promise<Bench> => {
  const dir = await mkdtemp(join(tmpdir(), "modelport-tools-"));
  const interpreter = await usual();
  const uv = await obtainUv({ tools: dir, scratch: join(dir, "scratch"), run }, interpreter, () => undefined);
  if (!uv.ok) throw new Error(uv.message);
  return { tools: dir, interpreter, remove: () => rm(dir, { recursive: true, force: true }) };
};

type Open = Parameters<typeof openEnvironments>[0];

export class IndexWorld {
  readonly bench: Bench;
  readonly index: PackageIndex;
  readonly home: string;
  /** Lines of the last build's live log. */
  log: string[] = [];

  private constructor(bench: Bench, index: PackageIndex, home: string) {
    this.bench = bench;
    this.index = index;
    this.home = home;
  }

  /** The index has the engine Scikit_Learn's own packages, none of them with anything in it. */
  static async open(bench: Bench): Promise<IndexWorld> {
    const index = await PackageIndex.start();
    const set = engineSet("Scikit_Learn", bench.interpreter.minor, { mac: false });
    for (const line of set?.requirements ?? []) {
      const [, name = "", version = "1.0"] = /^([\w-]+)(?:==(\S+))?/.exec(line) ?? [];
      index.add(wheel({ name, version }));
    }
    return new IndexWorld(bench, index, await mkdtemp(join(tmpdir(), "modelport-index-")));
  }

  async close(): Promise<void> {
    await this.index.close();
    await rm(this.home, { recursive: true, force: true });
  }

  get root(): string {
    return join(this.home, "environments");
  }

  /** What a user would set, and nothing of this machine's own index. `beside`: the machine's index is asked as well. */
  settings(env: Readonly<Record<string, string>> = {}, beside = false): Readonly<Record<string, string>> {
    return toolsOf({
      ...(beside ? MACHINE : without(MACHINE, INDEX_SETTINGS)),
      [beside ? "PIP_EXTRA_INDEX_URL" : "PIP_INDEX_URL"]: this.index.url,
      UV_CACHE_DIR: join(this.bench.tools, "cache"),
      UV_HTTP_RETRIES: "0",
      ...env,
    });
  }

  async ensure(
    dependencies: readonly Dependency[],
    more: { readonly request?: Partial<EnvironmentRequest>; readonly open?: Partial<Open> } = {},
    signal = new AbortController().signal,
  ): Promise<EnvironmentOutcome> {
    await mkdir(this.root, { recursive: true });
    const environments = await openEnvironments({
      root: this.root,
      tools: this.bench.tools,
      machinePython: this.bench.interpreter.executable,
      fetchPython: false,
      torchCpuIndex: false,
      sourceUsers: null,
      devices: null,
      buildTimeoutMs: 120_000,
      environment: this.settings(),
      clock: systemClock,
      logger: createLogger("test", "silent"),
      ...more.open,
    });
    this.log = [];
    return environments.ensure(
      {
        engine: "Scikit_Learn",
        runtime: null,
        dependencies,
        wheels: [],
        code: { dir: "/", files: [] },
        strict: false,
        ...more.request,
      },
      (line) => this.log.push(line),
      signal,
    );
  }

  async ready(
    ...given: Parameters<IndexWorld["ensure"]>
  ): Promise<Extract<EnvironmentOutcome, { kind: "ready" }>> {
    const outcome = await this.ensure(...given);
    if (outcome.kind === "refused") throw new Error(`refused: ${outcome.message}\n${outcome.logTail}`);
    return outcome;
  }

  /** The sentence of the refusal: one, without the address of the index. */
  async refused(...given: Parameters<IndexWorld["ensure"]>): Promise<string> {
    const outcome = await this.ensure(...given);
    if (outcome.kind === "ready") throw new Error(`ready: ${this.log.join("\n")}`);
    const { message } = outcome;
    const plain = message.replaceAll(/ \([^)]*\)/g, "");
    if (/127\.0\.0\.1|https?:|\. [A-Z]|[^.]$/.test(plain)) throw new Error(`not one sentence: ${message}`);
    return message;
  }

  /** What an interpreter of an environment prints. */
  async prints(python: string, code: string): Promise<string> {
    const { stdout, stderr } = await run(python, ["-c", code]);
    return stdout.trim() || stderr;
  }
}

/** Builds one environment: uv, an empty environment, the plan, the install, one rename. Within a time, or not at all. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import type { EngineSet } from "../core/engines.ts";
import { acquireBuildLock } from "./build-lock.ts";
import { PYTHON } from "./directory.ts";
import type { EnvironmentDirectory, EnvironmentRecord } from "./directory.ts";
import type { EnvironmentOutcome, EnvironmentRequest } from "./environments.ts";
import { DISK_FULL, explainFailure, isDiskFull, nameIn } from "./explain.ts";
import type { Asked, Failure } from "./explain.ts";
import type { Interpreter } from "./interpreter.ts";
import { planRequirements } from "./plan.ts";
import type { Plan } from "./plan.ts";
import { createRun, persistent } from "./programs.ts";
import type { Requirement } from "./requirements.ts";
import { projectOf } from "./requirements.ts";
import { causeOf } from "./resolution.ts";
import { downloadLine } from "./sizes.ts";
import { SourceBuilds } from "./source-user.ts";
import type { SourceUsers } from "./source-user.ts";
import type { TorchIndex } from "./torch-index.ts";
import {
  compileArguments,
  createCompile,
  filesArguments,
  installArguments,
  obtainUv,
  readSizes,
} from "./uv.ts";
import type { Run } from "./uv.ts";

export interface BuildDeps {
  readonly directory: EnvironmentDirectory;
  /** uv and its cache. */
  readonly tools: string;
  /** The variables pip and uv get. */
  readonly environment: Readonly<Record<string, string>>;
  /** Whom packages are built from their sources as, one each; null: the platform's user. */
  readonly sourceUsers: SourceUsers | null;
  /** Of the machine's own Python, whose pip fetches uv; null: there is none. */
  readonly usual: () => Promise<Interpreter | null>;
  /** How long a build may take. */
  readonly timeoutMs: number;
  readonly clock: Clock;
}

export interface BuildRequest {
  readonly key: string;
  readonly interpreter: Interpreter;
  readonly engine: EngineSet;
  readonly requirements: readonly Requirement[];
  readonly engineName: EnvironmentRequest["engine"];
  readonly strict: boolean;
  /** Where torch comes from; null: it is not asked for, or comes from the package index like everything else. */
  readonly torchIndex: TorchIndex | null;
}

export type Built =
  | Extract<EnvironmentOutcome, { kind: "refused" }>
  | { readonly kind: "built"; readonly record: EnvironmentRecord; readonly reused: boolean };

const LOG_LINES = 40;
const NOBODY: Asked["neededBy"] = new Map();

/** Follows a build's own lines: the last of them, and what it is at. */
class Log {
  readonly #tail: string[] = [];
  readonly #open = new Set<string>();
  readonly #say: (line: string) => void;
  #step = "";

  constructor(say: (line: string) => void) {
    this.#say = say;
  }

  readonly add = (line: string): void => {
    const text = line.trimEnd();
    if (text === "") return;
    this.#tail.push(text);
    if (this.#tail.length > LOG_LINES) this.#tail.shift();
    const [, began] = /^\s*(?:Downloading|Building) (\S+)/.exec(text) ?? [];
    const [, ended] = /^\s*(?:Downloaded|Built) (\S+)/.exec(text) ?? [];
    if (began !== undefined) this.#open.add(began);
    if (ended !== undefined) this.#open.delete(ended);
    this.#say(text);
  };

  /** A step of ours, told to whoever waits. */
  step(line: string): void {
    this.#step = line;
    this.#open.clear();
    this.add(line);
  }

  tail(): string {
    return this.#tail.join("\n");
  }

  /** What the build is at: what is being fetched or built, else the step. */
  at(asked: Asked): string {
    const names = [...this.#open].map((name) => nameIn(name, asked));
    return names.length === 0 ? this.#step : `at ${names.join(", ")}`;
  }
}

/** The sentence for a set that could not be installed. */
class NotInstalled extends Error {}

class Build {
  readonly #deps: BuildDeps;
  readonly #request: BuildRequest;
  readonly #log: Log;
  readonly #signal: AbortSignal;
  #asked: Asked;
  #sources: SourceBuilds | null = null;

  constructor(deps: BuildDeps, request: BuildRequest, log: Log, signal: AbortSignal) {
    this.#deps = deps;
    this.#request = request;
    this.#log = log;
    this.#signal = signal;
    const { requirements, engine } = request;
    this.#asked = {
      lines: [...requirements.map(({ asked }) => asked), ...engine.requirements],
      neededBy: NOBODY,
    };
  }

  refused(message: string, problems: Extract<Built, { kind: "refused" }>["problems"] = []): Built {
    return { kind: "refused", message, problems, logTail: this.#log.tail() };
  }

  /** The sentence for a build that was ended because its time was over. */
  overtime(): Built {
    const minutes = Math.round(this.#deps.timeoutMs / 6_000) / 10;
    return this.refused(
      `The environment was not ready within ${minutes} minutes, which is all it may take (MODELPORT_ENVIRONMENT_TIMEOUT_MS): it was ${this.#log.at(this.#asked)}.`,
    );
  }

  async run(work: string): Promise<Built> {
    const { directory, tools, environment, clock } = this.#deps;
    const { interpreter, key } = this.#request;
    const programs = {
      env: { UV_CACHE_DIR: join(tools, "uv-cache"), ...environment, UV_PYTHON_DOWNLOADS: "never" },
      signal: this.#signal,
      note: (pid: number) => directory.note(work, pid),
    };
    const run = createRun(programs);
    // uv comes by the pip of the machine's own Python: those of old interpreters cannot fetch it.
    const fetcher = (await this.#deps.usual()) ?? interpreter;
    const uv = await obtainUv({ tools, scratch: join(work, "tools"), run }, fetcher, this.#log.add);
    if (!uv.ok) return this.refused(uv.message);
    const venv = join(work, "env");
    // Relocatable, so that the rename breaks neither scripts nor bytecode.
    const empty = ["venv", "--relocatable", "--color", "never", "--python", interpreter.executable, venv];
    const made = await run(uv.uv, empty);
    if (made.code !== 0)
      return this.refused(
        isDiskFull(made.stderr)
          ? `${DISK_FULL}.`
          : `An environment of ${interpreter.executable} could not be made: ${causeOf(made.stderr)}.`,
      );
    const python = join(venv, PYTHON);
    const sources = new SourceBuilds({
      ...programs,
      users: this.#deps.sourceUsers,
      work,
      needs: [uv.uv, interpreter.executable],
      onLog: this.#log.add,
    });
    this.#sources = sources;
    const { plan, options, warnings } = await this.#plan(work, uv.uv, python, run);
    if (plan.kind === "refused") {
      this.#log.add(plan.message);
      return this.refused(plan.message, plan.problems);
    }
    this.#asked = { ...this.#asked, neededBy: plan.neededBy };
    for (const { asked, got, reason } of plan.substitutions)
      this.#log.add(`${asked} is replaced by ${got}: ${reason}`);
    for (const warning of warnings) this.#log.add(warning);
    const size = downloadLine(await this.#sizes(run, uv.uv, python, plan, options), plan.lines.length);
    this.#log.step(size ?? `installing ${plan.lines.length} packages`);
    const install = async (by: Run, lines: readonly string[]): Promise<void> => {
      const list = join(work, "requirements.txt");
      await writeFile(list, `${lines.join("\n")}\n`);
      // The index was there a moment ago, so whatever it fails at now may pass.
      const insist = this.#persistent(by, ({ kind }) => kind === "index");
      const given = [...installArguments(python, list, plan.fromSource), ...options];
      const installed = await insist(uv.uv, given, { onLine: this.#log.add });
      if (installed.code !== 0)
        throw new NotInstalled(
          explainFailure(installed.stderr, this.#asked)?.sentence ??
            `The dependencies could not be installed: ${causeOf(installed.stderr)}.`,
        );
    };
    // What does not compile (files of Python 2 in old packages) is no failure: it is compiled when it is imported.
    const compileAll = async (by: Run): Promise<void> => {
      const began = clock.monotonicMs();
      await by(interpreter.executable, compileArguments(venv));
      this.#log.add(`Bytecode compiled in ${((clock.monotonicMs() - began) / 1000).toFixed(1)}s`);
    };
    const built = plan.lines.filter((line) => this.#runsItsCode([projectOf(line)], plan.fromSource));
    const ready = plan.lines.filter((line) => !built.includes(line));
    try {
      if (ready.length > 0) await install(run, ready);
      if (built.length === 0) await compileAll(run);
      else
        await sources.within(venv, async (by) => {
          await install(by, built);
          await compileAll(by);
        });
    } catch (error) {
      if (error instanceof NotInstalled) return this.refused(error.message);
      throw error;
    }
    const record: EnvironmentRecord = {
      version: 1,
      key,
      engine: this.#request.engineName,
      python: interpreter.version,
      lines: plan.lines,
      substitutions: plan.substitutions,
      warnings: [...warnings, ...plan.warnings],
    };
    await directory.publish(work, record, async () => {
      // Thousands of files: one flush of the file system instead of one per file. Not every system has the program.
      if (process.platform === "linux") await run("sync", ["--file-system", work]);
    });
    return { kind: "built", record, reused: false };
  }

  /** Must be called once it is over, however it ended. */
  async end(): Promise<void> {
    await this.#sources?.end();
  }

  /** Whether projects are built from their source, and are not among those that the engine's own set has so. */
  #runsItsCode(projects: readonly string[], fromSource: readonly string[]): boolean {
    const { engine } = this.#request;
    return projects.some((project) => fromSource.includes(project) && !engine.fromSource.includes(project));
  }

  #runFor(fromSource: readonly string[], run: Run): Run {
    return this.#sources !== null && this.#runsItsCode(fromSource, fromSource) ? this.#sources.run() : run;
  }

  async #plan(
    work: string,
    uv: string,
    python: string,
    run: Run,
  ): Promise<{ plan: Plan; options: readonly string[]; warnings: readonly string[] }> {
    const { engine, requirements, strict, torchIndex } = this.#request;
    const names = [...engine.requirements, ...requirements.map(({ asked }) => asked)];
    this.#log.step(`resolving ${names.join(", ")}`);
    const planWith = (options: readonly string[]): Promise<Plan> =>
      planRequirements(
        createCompile({
          uv,
          run: (fromSource) => {
            const by = this.#runFor(fromSource, run);
            // Another index than the package index has that one to fall back on.
            return options.length === 0 ? this.#persistent(by, ({ mayPass }) => mayPass) : by;
          },
          python,
          options,
          asked: this.#asked,
          writeConstraints: async (lines) => {
            const path = join(work, "constraints.txt");
            await writeFile(path, `${lines.join("\n")}\n`);
            return path;
          },
        }),
        { engine: engine.requirements, fromSource: engine.fromSource, requirements, strict },
      );
    if (torchIndex === null) return { plan: await planWith([]), options: [], warnings: [] };
    return torchIndex.plan({
      planWith,
      sizesOf: (plan) => this.#sizes(run, uv, python, plan, []),
      onLog: this.#log.add,
    });
  }

  /** Bytes to download by project; empty where neither uv nor the index tells. */
  async #sizes(
    run: Run,
    uv: string,
    python: string,
    plan: Extract<Plan, { kind: "planned" }>,
    options: readonly string[],
  ): Promise<ReadonlyMap<string, number>> {
    const asked = [...filesArguments(python, plan.fromSource), ...options];
    const by = this.#runFor(plan.fromSource, run);
    const { code, stdout } = await by(uv, asked, { input: `${plan.lines.join("\n")}\n` });
    return code === 0 ? readSizes(stdout) : new Map<string, number>();
  }

  #persistent(run: Run, mayPass: (failure: Failure) => boolean): Run {
    return persistent(run, {
      mayPass,
      explain: (log) => explainFailure(log, this.#asked),
      onLog: this.#log.add,
      clock: this.#deps.clock,
      signal: this.#signal,
    });
  }
}

/** Builds, unless another process has by the time its lock is ours. Rejects with the signal's reason when it aborts. */
export const build = async (
  deps: BuildDeps,
  request: BuildRequest,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Built> => {
  const { directory, clock } = deps;
  const onWait = (): void => say("waiting for another process that builds the same environment");
  const over = new AbortController();
  const done = new AbortController();
  const building = new Build(deps, request, new Log(say), AbortSignal.any([signal, over.signal]));
  let release = (): void => undefined;
  let work: string | null = null;
  try {
    release = await acquireBuildLock({ dir: directory.scratch, clock, onWait }, request.key, signal);
    const built = await directory.record(request.key);
    if (built !== null) return { kind: "built", record: built, reused: true };
    work = directory.begin();
    void clock.sleep(deps.timeoutMs, done.signal).then(
      () => over.abort(new Error("the build's time is over")),
      () => undefined,
    );
    return await building.run(work);
  } catch (error) {
    if (signal.aborted) throw error;
    if (over.signal.aborted) return building.overtime();
    // Our own writes meet the full disk as well as uv's.
    if (isDiskFull(String(error))) return building.refused(`${DISK_FULL}.`);
    throw error;
  } finally {
    done.abort();
    try {
      await building.end();
      if (work !== null) await directory.discard(work);
    } finally {
      release();
    }
  }
};

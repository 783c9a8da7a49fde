/**
 * Python environments on disk:
 *
 *   <root>/<key>/            complete: it came here by one rename, with its record in it, and held-at.json once it was held
 *   <root>/.scratch/<id>/    unfinished: owner.json (who builds, and the program at work) and env/
 *   <root>/.scratch/<id>/    held: owner.json (who holds) and held.json (the key of a complete one)
 *   <root>/.scratch/*.lock   one per key being built
 *
 * Environments are made relocatable, so that the rename breaks neither scripts nor bytecode. What a killed build left is
 * recognised by its owner being gone, its still running installer is ended, and it is removed at the next open.
 */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { access, mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Clock } from "../core/clock.ts";
import type { EngineSet } from "../core/engines.ts";
import { isPython2 } from "../core/runtimes.ts";
import type { RuntimeState } from "../core/runtimes.ts";
import type { Logger } from "../telemetry/logger.ts";
import { identify, isAlive, parseIdentity, self, sendSignal } from "../telemetry/process-identity.ts";
import { acquireBuildLock } from "./build-lock.ts";
import { runCommand } from "./command.ts";
import type {
  EnvironmentOutcome,
  EnvironmentRequest,
  SharedEnvironments,
  Substitution,
} from "./environments.ts";
import { DISK_FULL, explainFailure, isDiskFull } from "./explain.ts";
import type { Interpreter } from "./interpreter.ts";
import { hasAccelerator, hasDisplayLibraries, Machine } from "./machine.ts";
import { planRequirements } from "./plan.ts";
import type { Plan } from "./plan.ts";
import { linesOfPython2 } from "./python2.ts";
import { projectOf, requirementOf } from "./requirements.ts";
import type { Requirement } from "./requirements.ts";
import {
  UNREACHABLE_MESSAGE,
  causeOf,
  compileArguments,
  createCompile,
  installArguments,
  obtainUv,
} from "./uv.ts";
import type { Run } from "./uv.ts";

export interface EnvironmentsDeps {
  /** <data>/environments */
  readonly root: string;
  /** <data>/tools: uv and its cache. */
  readonly tools: string;
  /** The interpreter to use; null: the machine's python3. */
  readonly machinePython: string | null;
  /** Whether Pythons that runtimes name and this machine has not may be fetched. */
  readonly fetchPython: boolean;
  /** Whether torch comes from its vendor's index of CPU builds where there is no accelerator. */
  readonly torchCpuIndex: boolean;
  /** The variables pip and uv get; see config.toolEnvironment. */
  readonly environment: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What an environment remembers about itself. */
interface EnvironmentRecord {
  readonly version: 1;
  readonly key: string;
  readonly engine: string;
  readonly python: string;
  readonly lines: readonly string[];
  readonly substitutions: readonly Substitution[];
  readonly warnings: readonly string[];
}

const RECORD = "modelport-environment.json";
const SCRATCH = ".scratch";
const LOG_LINES = 40;
/** An environment handed out this long ago or less is not reclaimed: its version may not be recorded as using it yet. */
const GRACE_MS = 60 * 60 * 1000;
/** One that somebody worked with beside the platform is kept so long for the next time. */
const HELD_KEPT_MS = 7 * 24 * 60 * 60 * 1000;
const HELD_AT = "held-at.json";
/** An index that was out of reach is not asked again for this long. */
const TORCH_INDEX_AGAIN_MS = 3_600_000;

const PYTHON = process.platform === "win32" ? join("Scripts", "python.exe") : join("bin", "python");

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

const sha256 = (content: string): string => createHash("sha256").update(content).digest("hex");

const digestOf = async (path: string): Promise<string> => {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
};

type Build =
  | Extract<EnvironmentOutcome, { kind: "refused" }>
  | { kind: "built"; record: EnvironmentRecord; reused: boolean };

/** Builds share one flight per key; the last waiter that leaves ends it. */
interface Flight {
  readonly key: string;
  readonly result: Promise<Build>;
  readonly listeners: Set<(line: string) => void>;
  readonly abort: AbortController;
}

class DirectoryEnvironments implements SharedEnvironments {
  private readonly deps: EnvironmentsDeps;
  private readonly scratch: string;
  private readonly flights = new Map<string, Flight>();
  private readonly handedOut = new Map<string, number>();
  private readonly machine: Machine;
  /** When the vendor's index of torch was last found out of reach. */
  private torchFailedAt: number | null = null;

  constructor(deps: EnvironmentsDeps) {
    this.deps = deps;
    this.machine = new Machine(deps);
    this.scratch = join(deps.root, SCRATCH);
  }

  async ensure(
    request: EnvironmentRequest,
    onLog: (line: string) => void,
    signal: AbortSignal,
  ): Promise<EnvironmentOutcome> {
    const began = this.deps.clock.monotonicMs();
    signal.throwIfAborted();
    const found = await this.machine.stand(request);
    if (!found.ok) return { kind: "refused", message: found.message, problems: [], logTail: "" };
    const { interpreter, set } = found;
    if (found.runtime !== null && isPython2(found.runtime)) {
      const problems = await linesOfPython2(
        (program, args) => this.machine.probe(program, args),
        interpreter.executable,
        request.code,
      );
      if (problems.length > 0) {
        const message = `Runtime ${found.runtime.name} is Python 2, which nothing here runs, and this code is not Python 3: ${problems.map(({ path, message: what }) => `${path} ${what}`).join("; ")}.`;
        return { kind: "refused", message, problems, logTail: "" };
      }
    }
    const host = { hasDisplay: await hasDisplayLibraries(), hasAccelerator: await hasAccelerator() };
    const named = request.dependencies.map((dependency) =>
      requirementOf(dependency, request.wheels, (path) => pathToFileURL(path).href, host),
    );
    const key = await this.keyOf(
      interpreter,
      set.requirements,
      request,
      named.map((one) => one.requirement),
    );
    this.handedOut.set(key, this.deps.clock.now());
    const warnings = [
      ...found.warnings,
      ...named.map((one) => one.warning).filter((warning) => warning !== null),
    ];
    const ready = (record: EnvironmentRecord, reused: boolean): EnvironmentOutcome => ({
      kind: "ready",
      key,
      python: join(this.deps.root, key, PYTHON),
      reused,
      durationMs: this.deps.clock.monotonicMs() - began,
      substitutions: record.substitutions,
      warnings: [...warnings, ...record.warnings],
    });
    const before = await this.record(key);
    if (before !== null) return ready(before, true);
    const joined = this.flights.get(key);
    const flight =
      joined ??
      this.takeOff(
        key,
        interpreter,
        set,
        request,
        named.map((one) => one.requirement),
      );
    const build = await this.wait(flight, onLog, signal);
    if (build.kind === "refused") return build;
    return ready(build.record, build.reused || joined !== undefined);
  }

  async python(key: string): Promise<string | null> {
    return /^[0-9a-f]{64}$/.test(key) && (await this.record(key)) !== null
      ? join(this.deps.root, key, PYTHON)
      : null;
  }

  async reclaim(used: ReadonlySet<string>): Promise<readonly string[]> {
    await this.sweep();
    const now = this.deps.clock.now();
    const freed: string[] = [];
    for (const key of await readdir(this.deps.root)) {
      const handedOut = this.handedOut.get(key);
      if (!/^[0-9a-f]{64}$/.test(key) || used.has(key) || this.flights.has(key)) continue;
      if (handedOut !== undefined && now - handedOut < GRACE_MS) continue;
      if (now - (await this.heldAt(key)) < HELD_KEPT_MS) continue;
      if ((await this.held()).has(key)) continue;
      // Out of sight first, by one rename: an environment that is half deleted is never found. In the same turn as the
      // look at who has it: one that is asked for from now on is not there any more and is built.
      const aside = join(this.scratch, randomUUID());
      mkdirSync(aside, { recursive: true });
      renameSync(join(this.deps.root, key), join(aside, "env"));
      await rm(aside, { recursive: true, force: true });
      this.handedOut.delete(key);
      freed.push(key);
    }
    return freed;
  }

  async hold(key: string): Promise<() => Promise<void>> {
    const mark = join(this.scratch, randomUUID());
    mkdirSync(mark, { recursive: true });
    writeFileSync(join(mark, "owner.json"), JSON.stringify(self()));
    await writeFile(join(mark, "held.json"), JSON.stringify(key));
    await this.noteHeld(key);
    return async () => {
      await this.noteHeld(key);
      await rm(mark, { recursive: true, force: true });
    };
  }

  /** Only for the next time: one that is gone, or cannot be written to, is built again then. */
  private async noteHeld(key: string): Promise<void> {
    const file = join(this.deps.root, key, HELD_AT);
    await writeFile(file, JSON.stringify(this.deps.clock.now())).catch(() => undefined);
  }

  /** When it was held last; long ago for one that never was. */
  private async heldAt(key: string): Promise<number> {
    const text = await readFile(join(this.deps.root, key, HELD_AT), "utf8").catch(() => "");
    const at: unknown = /^\d{1,16}$/.test(text) ? JSON.parse(text) : null;
    return typeof at === "number" ? at : Number.NEGATIVE_INFINITY;
  }

  /** The keys that living processes hold; the marks of dead ones are removed by every sweep. */
  private async held(): Promise<ReadonlySet<string>> {
    const keys = new Set<string>();
    for (const name of await readdir(this.scratch)) {
      const path = join(this.scratch, name);
      const key = await readFile(join(path, "held.json"), "utf8").catch(() => null);
      const owner = parseIdentity(await readFile(join(path, "owner.json"), "utf8").catch(() => ""));
      if (key !== null && owner !== null && isAlive(owner)) keys.add(JSON.parse(key) as string);
    }
    return keys;
  }

  /** Removes what killed builds left. */
  async sweep(): Promise<void> {
    await mkdir(this.scratch, { recursive: true });
    for (const name of await readdir(this.scratch)) {
      const path = join(this.scratch, name);
      if (name.endsWith(".lock")) continue;
      const owner = parseIdentity(await readFile(join(path, "owner.json"), "utf8").catch(() => ""));
      if (owner !== null && isAlive(owner)) continue;
      const program = parseIdentity(await readFile(join(path, "program.json"), "utf8").catch(() => ""));
      if (program !== null && isAlive(program)) sendSignal(program.pid, "SIGKILL", "group");
      await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
      this.deps.logger.info({ name }, "removed an unfinished environment");
    }
  }

  private async keyOf(
    interpreter: Interpreter,
    engine: readonly string[],
    request: EnvironmentRequest,
    requirements: readonly Requirement[],
  ): Promise<string> {
    const lines: string[] = [];
    for (const { line, isWheel } of requirements) {
      const path = request.wheels.find((wheel) => line.endsWith(` @ ${pathToFileURL(wheel).href}`));
      lines.push(isWheel && path !== undefined ? `${basename(path)} sha256:${await digestOf(path)}` : line);
    }
    return sha256(
      JSON.stringify([1, interpreter.version, interpreter.platform, engine, lines, request.strict]),
    );
  }

  /** The record of a complete environment whose interpreter is still there; null otherwise. */
  private async record(key: string): Promise<EnvironmentRecord | null> {
    const text = await readFile(join(this.deps.root, key, RECORD), "utf8").catch(() => null);
    if (text === null || !(await exists(join(this.deps.root, key, PYTHON)))) return null;
    return JSON.parse(text) as EnvironmentRecord;
  }

  private takeOff(
    key: string,
    interpreter: Interpreter,
    engine: EngineSet,
    request: EnvironmentRequest,
    requirements: readonly Requirement[],
  ): Flight {
    const abort = new AbortController();
    const listeners = new Set<(line: string) => void>();
    const say = (line: string): void => {
      for (const listener of listeners) listener(line);
    };
    const result = this.build(key, interpreter, engine, request, requirements, say, abort.signal).finally(
      () => {
        this.forget(flight);
      },
    );
    // The waiters handle the failure; without any left it must not count as unhandled.
    result.catch(() => undefined);
    const flight: Flight = { key, result, listeners, abort };
    this.flights.set(key, flight);
    return flight;
  }

  private forget(flight: Flight): void {
    if (this.flights.get(flight.key) === flight) this.flights.delete(flight.key);
  }

  private async wait(flight: Flight, onLog: (line: string) => void, signal: AbortSignal): Promise<Build> {
    const listener = (line: string): void => onLog(line);
    flight.listeners.add(listener);
    let leave: () => void = () => undefined;
    const left = new Promise<never>((_, reject) => {
      leave = () => reject(signal.reason as Error);
      signal.addEventListener("abort", leave, { once: true });
      if (signal.aborted) leave();
    });
    try {
      return await Promise.race([flight.result, left]);
    } finally {
      signal.removeEventListener("abort", leave);
      flight.listeners.delete(listener);
      if (flight.listeners.size === 0) {
        // Forgotten at once: whoever asks from now on gets a flight of their own, not the end of this one.
        this.forget(flight);
        flight.abort.abort(new Error("nobody waits for this environment any more"));
      }
    }
  }

  private async build(
    key: string,
    interpreter: Interpreter,
    engine: EngineSet,
    request: EnvironmentRequest,
    requirements: readonly Requirement[],
    say: (line: string) => void,
    signal: AbortSignal,
  ): Promise<Build> {
    const release = await acquireBuildLock(
      {
        dir: this.scratch,
        clock: this.deps.clock,
        onWait: () => say("waiting for another process that builds the same environment"),
      },
      key,
      signal,
    );
    const work = join(this.scratch, randomUUID());
    const tail: string[] = [];
    const onLog = (line: string): void => {
      const text = line.trimEnd();
      if (text === "") return;
      tail.push(text);
      if (tail.length > LOG_LINES) tail.shift();
      say(text);
    };
    const refused = (
      message: string,
      problems: Extract<Build, { kind: "refused" }>["problems"] = [],
    ): Build => ({
      kind: "refused",
      message,
      problems,
      logTail: tail.join("\n"),
    });
    try {
      const built = await this.record(key);
      if (built !== null) return { kind: "built", record: built, reused: true };
      // In one turn: a sweep takes a folder without an owner for a leftover.
      mkdirSync(work, { recursive: true });
      writeFileSync(join(work, "owner.json"), JSON.stringify(self()));
      const run = this.runner(work, signal);
      const tools = { tools: this.deps.tools, scratch: join(work, "tools"), run };
      // uv comes by the pip of the machine's own Python: those of old interpreters cannot fetch it.
      const usual = await this.machine.usual();
      const uv = await obtainUv(tools, usual.ok ? usual.interpreter : interpreter, onLog);
      if (!uv.ok) return refused(uv.message);
      const venv = join(work, "env");
      const made = await run(uv.uv, [
        "venv",
        "--relocatable",
        "--color",
        "never",
        "--python",
        interpreter.executable,
        venv,
      ]);
      if (made.code !== 0)
        return refused(
          `An environment of ${interpreter.executable} could not be made: ${causeOf(made.stderr)}`,
        );
      const python = join(venv, PYTHON);
      const asked = [...requirements.map((one) => one.asked), ...engine.requirements];
      onLog(`resolving ${[...engine.requirements, ...requirements.map(({ asked }) => asked)].join(", ")}`);
      const planWith = (options: readonly string[]): Promise<Plan> =>
        planRequirements(
          createCompile({
            uv: uv.uv,
            run,
            python,
            options,
            asked,
            explain: explainFailure,
            writeConstraints: async (lines) => {
              const path = join(work, "constraints.txt");
              await writeFile(path, `${lines.join("\n")}\n`);
              return path;
            },
          }),
          {
            engine: engine.requirements,
            fromSource: engine.fromSource,
            requirements,
            strict: request.strict,
          },
        );
      const { plan, options, warnings } = await this.planTorch(engine, requirements, planWith, onLog);
      if (plan.kind === "refused") {
        onLog(plan.message);
        return refused(plan.message, plan.problems);
      }
      for (const { asked, got, reason } of plan.substitutions)
        onLog(`${asked} is replaced by ${got}: ${reason}`);
      const list = join(work, "requirements.txt");
      await writeFile(list, `${plan.lines.join("\n")}\n`);
      const install = [...installArguments(python, list, plan.fromSource, interpreter.minor), ...options];
      const installed = await run(uv.uv, install, { onLine: onLog });
      if (installed.code !== 0)
        return refused(
          explainFailure(installed.stderr, asked) ??
            `The dependencies could not be installed: ${causeOf(installed.stderr)}`,
        );
      // What does not compile (files of Python 2 in old packages) is no failure: it is compiled when it is imported.
      const compileAll = compileArguments(interpreter.minor);
      if (compileAll !== null) await run(python, compileAll);
      const record: EnvironmentRecord = {
        version: 1,
        key,
        engine: request.engine,
        python: interpreter.version,
        lines: plan.lines,
        substitutions: plan.substitutions,
        warnings: [...warnings, ...plan.warnings],
      };
      await this.publish(key, work, record, run);
      return { kind: "built", record, reused: false };
    } catch (error) {
      // Our own writes meet the full disk as well as uv's.
      if (signal.aborted || !isDiskFull(String(error))) throw error;
      return refused(`${DISK_FULL}.`);
    } finally {
      await rm(work, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }).finally(release);
    }
  }

  /**
   * Plans with the vendor's index of CPU builds where torch is wanted and no accelerator is here: its wheels are a tenth of
   * those on the package index. Where that index is out of reach, or has not what is asked for, without it.
   */
  private async planTorch(
    engine: EngineSet,
    requirements: readonly Requirement[],
    planWith: (options: readonly string[]) => Promise<Plan>,
    onLog: (line: string) => void,
  ): Promise<{ plan: Plan; options: readonly string[]; warnings: readonly string[] }> {
    const { clock, torchCpuIndex } = this.deps;
    const wants = [...engine.requirements.map(projectOf), ...requirements.map(({ project }) => project)];
    if (
      !torchCpuIndex ||
      process.platform !== "linux" ||
      !wants.includes("torch") ||
      (await hasAccelerator())
    )
      return { plan: await planWith([]), options: [], warnings: [] };
    const failedAt = this.torchFailedAt;
    if (failedAt === null || clock.monotonicMs() - failedAt > TORCH_INDEX_AGAIN_MS) {
      const options = ["--torch-backend", "cpu"];
      onLog("resolving with the index of torch's CPU builds");
      const plan = await planWith(options);
      if (plan.kind === "planned" && plan.substitutions.length === 0) return { plan, options, warnings: [] };
      if (plan.kind === "refused" && plan.message === UNREACHABLE_MESSAGE)
        this.torchFailedAt = clock.monotonicMs();
    }
    const warning =
      "The index of torch's CPU builds cannot be reached or has not this release: torch comes from the package index with the libraries of its accelerators, up to 3 GB to download and 5 GB on the disk.";
    onLog(warning);
    return { plan: await planWith([]), options: [], warnings: [warning] };
  }

  runtimes(): Promise<readonly RuntimeState[]> {
    return this.machine.states();
  }

  /** Makes a finished environment visible: its record in it, its content on the disk, one rename. */
  private async publish(key: string, work: string, record: EnvironmentRecord, run: Run): Promise<void> {
    await writeFile(join(work, "env", RECORD), JSON.stringify(record, null, 2));
    // Thousands of files: one flush of the file system instead of one per file. Not every system has the program.
    if (process.platform === "linux") await run("sync", ["--file-system", work]);
    const home = join(this.deps.root, key);
    // Only a broken one can be in the way (its interpreter is gone): a sound one would have been used.
    if (await exists(home)) await rename(home, join(work, "broken"));
    await rename(join(work, "env"), home);
  }

  /** Runs programs of one build, noting the one at work so that a later process can end it if we are killed. */
  private runner(work: string, signal: AbortSignal): Run {
    const env = {
      UV_CACHE_DIR: join(this.deps.tools, "uv-cache"),
      ...this.deps.environment,
      UV_PYTHON_DOWNLOADS: "never",
    };
    return async (program, args, more = {}) => {
      let noted: Promise<void> = Promise.resolve();
      const note = async (pid: number): Promise<void> => {
        const identity = identify(pid);
        if (identity !== null) await writeFile(join(work, "program.json"), JSON.stringify(identity));
      };
      // Not in the build's own folder: uv would look for a project's settings in it and above.
      const finished = await runCommand(program, args, {
        cwd: "/",
        env: await this.withFindLinks(env),
        signal,
        ...more,
        onStart: (pid) => {
          noted = note(pid).catch(() => undefined);
        },
      });
      await noted;
      return finished;
    };
  }

  /** pip passes over folders of wheels that are not there, uv stops at them. */
  private async withFindLinks(env: Readonly<Record<string, string>>): Promise<Record<string, string>> {
    const { UV_FIND_LINKS: links, ...others } = env;
    if (links === undefined) return others;
    const kept: string[] = [];
    for (const link of links.split(","))
      if (/^[a-z]+:\/\//i.test(link) || (await exists(link))) kept.push(link);
    return kept.length === 0 ? others : { ...others, UV_FIND_LINKS: kept.join(",") };
  }
}

/** Opens the environments of a data directory and removes what killed builds left there. */
export const openEnvironments = async (deps: EnvironmentsDeps): Promise<SharedEnvironments> => {
  const environments = new DirectoryEnvironments(deps);
  await environments.sweep();
  return environments;
};

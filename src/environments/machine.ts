/**
 * What this machine can run: its interpreters and those that can be fetched, the one that serves a package, what an
 * installer must know of its hardware and libraries.
 */
import { access, mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import type { EngineName, EngineSet } from "../core/engines.ts";
import {
  chooseRuntime,
  isPython2,
  minorOf,
  runtimeNamed,
  runtimeStates,
  runtimesOf,
} from "../core/runtimes.ts";
import type { Runtime, RuntimeState } from "../core/runtimes.ts";
import { runCommand } from "./command.ts";
import type { Finished } from "./command.ts";
import { PythonFetcher } from "./fetch-python.ts";
import type { Interpreter } from "./interpreter.ts";
import { Interpreters } from "./interpreters.ts";
import { obtainUv } from "./uv.ts";
import type { Run } from "./uv.ts";

export interface MachineDeps {
  /** <data>/tools */
  readonly tools: string;
  /** The only interpreter to use; null: those of the machine. */
  readonly machinePython: string | null;
  /** Whether interpreters that are not here may be fetched. */
  readonly fetchPython: boolean;
  /** The accelerators that instances may see; null: all of the machine. */
  readonly devices: readonly string[] | null;
  readonly environment: Readonly<Record<string, string>>;
  readonly clock: Clock;
}

export type Stand =
  | {
      readonly ok: true;
      readonly interpreter: Interpreter;
      readonly set: EngineSet;
      readonly runtime: Runtime | null;
      readonly warnings: readonly string[];
    }
  | { readonly ok: false; readonly message: string };

/** How long an interpreter may take to say what it is. */
const PROBE_MS = 30_000;
const MAC = { mac: process.platform === "darwin" };

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

const LIBRARY_FOLDERS = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];

/** Whether `opencv-python`, which draws windows, can be imported. */
export const hasDisplayLibraries = async (): Promise<boolean> =>
  process.platform !== "linux" ||
  (await Promise.all(LIBRARY_FOLDERS.map((dir) => exists(join(dir, "libGL.so.1"))))).includes(true);

/** Whether user code will see an accelerator: one is here, and not none are granted (`[]`; null: all of them). */
export const hasAccelerator = async (
  devices: readonly string[] | null,
  driver = "/dev/nvidiactl",
): Promise<boolean> => devices?.length !== 0 && (await exists(driver));

export class Machine {
  readonly #deps: MachineDeps;
  readonly #interpreters: Interpreters;
  readonly #fetcher: PythonFetcher;

  constructor(deps: MachineDeps) {
    this.#deps = deps;
    const fetched = join(deps.tools, "pythons");
    this.#interpreters = new Interpreters({
      named: deps.machinePython,
      environment: deps.environment,
      fetched,
      probe: (program, args) => this.probe(program, args),
    });
    this.#fetcher = new PythonFetcher({
      dir: fetched,
      isAllowed: deps.fetchPython && deps.machinePython === null,
      clock: deps.clock,
      uv: (args, env, signal) => this.#uv(args, env, signal),
    });
  }

  usual(): ReturnType<Interpreters["usual"]> {
    return this.#interpreters.usual();
  }

  /** The interpreter and the engine's set that a package gets: those its runtime names, or what stands in for them. */
  async stand(request: {
    readonly engine: EngineName;
    readonly runtime: string | null;
    readonly strict: boolean;
  }): Promise<Stand> {
    const usual = await this.#interpreters.usual();
    if (!usual.ok) return usual;
    const { engine } = request;
    const runtime = request.runtime === null ? null : runtimeNamed(engine, request.runtime);
    const choose = (among: readonly Interpreter[]) => {
      const minors = among.map(({ minor }) => minor);
      return chooseRuntime(engine, runtime, minors, usual.interpreter.minor, MAC);
    };
    let among: readonly Interpreter[] = [usual.interpreter];
    let standing = choose(among);
    if (standing?.exact !== true) {
      among = await this.#interpreters.all();
      standing = choose(among);
    }
    const wanted = runtime === null ? null : minorOf(runtime);
    if (standing?.exact !== true && wanted !== null && !among.some(({ minor }) => minor === wanted)) {
      if (await this.#fetcher.fetch(wanted)) {
        this.#interpreters.forget();
        among = await this.#interpreters.all();
        standing = choose(among);
      }
    }
    const interpreter = among.find(({ minor }) => minor === standing?.minor);
    if (standing === null || interpreter === undefined) {
      const versions = among.map(({ version }) => version).join(", ");
      return { ok: false, message: `${engine} has no release for the Pythons of this machine: ${versions}.` };
    }
    const { set } = standing;
    const what = `Python ${interpreter.version} with ${set.requirements[0] ?? engine}`;
    const warnings: string[] = [];
    const isKnown =
      runtime === null ||
      runtimesOf(engine).includes(runtime.name) ||
      // A Python that is newer than what was tested has a warning of its own.
      runtime.name === `python${runtime.python}`;
    const isExact = isKnown && standing.exact;
    if (runtime !== null && (!isExact || runtime.python === null)) {
      const isNot = isKnown ? "is not available here" : `is none that ${engine} is known to have`;
      if (!isExact && request.strict)
        return {
          ok: false,
          message: `Runtime ${runtime.name} ${isNot}, and nothing may stand in for it; ${what} would.`,
        };
      warnings.push(
        isPython2(runtime)
          ? `Runtime ${runtime.name} is Python 2, which nothing here runs; ${what} stands in for it.`
          : `Runtime ${runtime.name} ${isNot}; ${what} stands in for it.`,
      );
    }
    if (runtime?.device === "gpu" && !(await hasAccelerator(this.#deps.devices)))
      warnings.push(
        `Runtime ${runtime.name} is for accelerators; there is none here, so it runs on the processor.`,
      );
    if (!set.known)
      warnings.push(
        `Python ${interpreter.version} is newer than what ${engine} was tested with here; the newest releases are used.`,
      );
    return { ok: true, interpreter, set, runtime, warnings };
  }

  /** Every runtime of every engine and what becomes of it here. */
  async states(): Promise<readonly RuntimeState[]> {
    const usual = await this.#interpreters.usual();
    const here = (await this.#interpreters.all()).map(({ minor }) => minor);
    const preferred = usual.ok ? usual.interpreter.minor : Math.max(0, ...here);
    return runtimeStates(here, usual.ok ? this.#fetcher.fetchable() : [], preferred, MAC);
  }

  /** One that does not answer (a shim that waits for a lock, a network drive) counts as one that does not work. */
  async probe(program: string, args: readonly string[]): Promise<Finished> {
    const { clock, environment } = this.#deps;
    const over = new AbortController();
    const answered = new AbortController();
    void clock.sleep(PROBE_MS, answered.signal).then(
      () => over.abort(),
      () => undefined,
    );
    try {
      return await runCommand(program, args, { cwd: "/", env: environment, signal: over.signal });
    } catch (error) {
      if (!over.signal.aborted) throw error;
      return { code: null, stdout: "", stderr: "" };
    } finally {
      answered.abort();
    }
  }

  async #uv(
    args: readonly string[],
    env: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Finished | null> {
    const { tools, environment } = this.#deps;
    const run: Run = (program, given, more = {}) =>
      runCommand(program, given, { cwd: "/", env: { ...environment, ...env }, signal, ...more });
    const usual = await this.#interpreters.usual();
    if (!usual.ok) return null;
    const scratch = join(tools, ".unfinished");
    await mkdir(scratch, { recursive: true });
    const uv = await obtainUv({ tools, scratch, run }, usual.interpreter, () => undefined);
    return uv.ok ? run(uv.uv, args) : null;
  }
}

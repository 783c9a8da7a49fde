/** The environments of a data directory: what a request comes down to, who builds it, what is no longer needed. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { basename } from "node:path";
import { pathToFileURL } from "node:url";
import type { Clock } from "../core/clock.ts";
import { isPython2 } from "../core/runtimes.ts";
import type { RuntimeState } from "../core/runtimes.ts";
import type { Logger } from "../telemetry/logger.ts";
import { build } from "./build.ts";
import type { BuildRequest, Built } from "./build.ts";
import { EnvironmentDirectory } from "./directory.ts";
import type { EnvironmentRecord } from "./directory.ts";
import type { EnvironmentOutcome, EnvironmentRequest, SharedEnvironments } from "./environments.ts";
import { Flights } from "./flights.ts";
import { hasAccelerator, hasDisplayLibraries, Machine } from "./machine.ts";
import { linesOfPython2 } from "./python2.ts";
import { projectOf, requirementOf } from "./requirements.ts";
import type { SourceUsers } from "./source-user.ts";
import { TorchIndex, wantsTorch } from "./torch-index.ts";

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
  /** The accelerators that instances may see; null: all of the machine. */
  readonly devices: readonly string[] | null;
  /** How long a build may take. */
  readonly buildTimeoutMs: number;
  /** Whom packages are built from their sources as, one each; null: the platform's user. */
  readonly sourceUsers: SourceUsers | null;
  /** The variables pip and uv get; see config.toolEnvironment. */
  readonly environment: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** An environment handed out this long ago or less is not reclaimed: its version may not be recorded as using it yet. */
const GRACE_MS = 60 * 60 * 1000;
/** One that somebody worked with beside the platform is kept so long for the next time. */
const HELD_KEPT_MS = 7 * 24 * 60 * 60 * 1000;

const digestOf = async (path: string): Promise<string> => {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
};

/** The content hash of all that decides what is in an environment. */
const keyOf = async (
  { interpreter, engine, requirements, strict, torchIndex }: Omit<BuildRequest, "key">,
  wheels: readonly string[],
): Promise<string> => {
  const lines: string[] = [];
  for (const { line, isWheel } of requirements) {
    const path = wheels.find((wheel) => line.endsWith(` @ ${pathToFileURL(wheel).href}`));
    lines.push(isWheel && path !== undefined ? `${basename(path)} sha256:${await digestOf(path)}` : line);
  }
  const content = [1, interpreter.version, interpreter.platform, engine.requirements, lines, strict];
  // Builds for processors are none for the accelerator that comes later.
  if (torchIndex !== null) content.push("torch for processors");
  return createHash("sha256").update(JSON.stringify(content)).digest("hex");
};

class DirectoryEnvironments implements SharedEnvironments {
  readonly #deps: EnvironmentsDeps;
  readonly #directory: EnvironmentDirectory;
  readonly #machine: Machine;
  readonly #torchIndex: TorchIndex;
  readonly #flights = new Flights<Built>();
  readonly #handedOut = new Map<string, number>();

  constructor(deps: EnvironmentsDeps, directory: EnvironmentDirectory) {
    this.#deps = deps;
    this.#directory = directory;
    this.#machine = new Machine(deps);
    this.#torchIndex = new TorchIndex(deps.clock);
  }

  async ensure(
    request: EnvironmentRequest,
    onLog: (line: string) => void,
    signal: AbortSignal,
  ): Promise<EnvironmentOutcome> {
    const { clock } = this.#deps;
    const began = clock.monotonicMs();
    signal.throwIfAborted();
    const found = await this.#machine.stand(request);
    if (!found.ok) return { kind: "refused", message: found.message, problems: [], logTail: "" };
    const { interpreter, set, runtime } = found;
    if (runtime !== null && isPython2(runtime)) {
      const problems = await linesOfPython2(
        (program, args) => this.#machine.probe(program, args),
        interpreter.executable,
        request.code,
      );
      if (problems.length > 0) {
        const message = `Runtime ${runtime.name} is Python 2, which nothing here runs, and this code is not Python 3: ${problems.map(({ path, message: what }) => `${path} ${what}`).join("; ")}.`;
        return { kind: "refused", message, problems, logTail: "" };
      }
    }
    const host = {
      hasDisplay: await hasDisplayLibraries(),
      hasAccelerator: await hasAccelerator(this.#deps.devices),
      minor: interpreter.minor,
      platform: interpreter.platform,
    };
    const named = request.dependencies.map((dependency) =>
      requirementOf(dependency, request.wheels, (path) => pathToFileURL(path).href, host),
    );
    const requirements = named.map(({ requirement }) => requirement);
    const asked = [...set.requirements.map(projectOf), ...requirements.map(({ project }) => project)];
    const wanted = {
      interpreter,
      engine: set,
      requirements,
      engineName: request.engine,
      strict: request.strict,
      torchIndex: this.#takesTorchIndex(host) && wantsTorch(asked) ? this.#torchIndex : null,
    };
    const key = await keyOf(wanted, request.wheels);
    this.#handedOut.set(key, clock.now());
    const ready = (record: EnvironmentRecord, reused: boolean): EnvironmentOutcome => ({
      kind: "ready",
      key,
      python: this.#directory.pythonOf(key),
      reused,
      durationMs: clock.monotonicMs() - began,
      substitutions: record.substitutions,
      warnings: [
        ...found.warnings,
        ...named.flatMap(({ warning }) => (warning === null ? [] : [warning])),
        ...record.warnings,
      ],
    });
    const before = await this.#directory.record(key);
    if (before !== null) return ready(before, true);
    const { result, joined } = await this.#flights.wait(
      key,
      (say, given) => this.#build({ key, ...wanted }, say, given),
      onLog,
      signal,
    );
    return result.kind === "refused" ? result : ready(result.record, result.reused || joined);
  }

  async python(key: string): Promise<string | null> {
    return (await this.#directory.record(key)) === null ? null : this.#directory.pythonOf(key);
  }

  runtimes(): Promise<readonly RuntimeState[]> {
    return this.#machine.states();
  }

  async reclaim(used: ReadonlySet<string>): Promise<readonly string[]> {
    await this.#directory.sweep();
    const now = this.#deps.clock.now();
    const freed: string[] = [];
    for (const key of await this.#directory.keys()) {
      const heldAt = await this.#directory.heldAt(key);
      const held = await this.#directory.held();
      const handedOut = this.#handedOut.get(key);
      if (used.has(key) || held.has(key) || this.#flights.has(key)) continue;
      if (handedOut !== undefined && now - handedOut < GRACE_MS) continue;
      if (now - heldAt < HELD_KEPT_MS) continue;
      await this.#directory.remove(key);
      this.#handedOut.delete(key);
      freed.push(key);
    }
    return freed;
  }

  hold(key: string): Promise<() => Promise<void>> {
    return this.#directory.hold(key);
  }

  #takesTorchIndex({ hasAccelerator: has }: { readonly hasAccelerator: boolean }): boolean {
    return this.#deps.torchCpuIndex && process.platform === "linux" && !has;
  }

  #build(request: BuildRequest, say: (line: string) => void, signal: AbortSignal): Promise<Built> {
    const { tools, environment, sourceUsers, buildTimeoutMs, clock } = this.#deps;
    return build(
      {
        directory: this.#directory,
        tools,
        environment,
        sourceUsers,
        usual: async () => {
          const usual = await this.#machine.usual();
          return usual.ok ? usual.interpreter : null;
        },
        timeoutMs: buildTimeoutMs,
        clock,
      },
      request,
      say,
      signal,
    );
  }
}

/** Opens the environments of a data directory and removes what killed builds left there. */
export const openEnvironments = async (deps: EnvironmentsDeps): Promise<SharedEnvironments> => {
  const directory = new EnvironmentDirectory(deps.root, deps.logger, deps.clock);
  await directory.sweep();
  return new DirectoryEnvironments(deps, directory);
};

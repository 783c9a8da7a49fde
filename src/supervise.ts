/**
 * The supervisor: starts control and the gateway as processes of their own, restarts what dies with back-off, and
 * ends everything on a clean stop. It keeps nothing but run/supervisor.json, which says who runs here, and holds
 * run/supervisor.lock, so that of two starts at once only one touches that file.
 *
 *   supervisor ──ipc──► control   {start, config} … {ready} … {stop}
 *              ──ipc──► gateway   the same
 *
 * Roles end themselves when their channel closes (the supervisor was killed) and leave the instances running; the
 * next start finds the dead supervisor's file, waits for its roles to be gone and adopts the instances. Only a
 * {stop} from a living supervisor ends instances.
 */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { flushCompileCache, getCompileCacheDir } from "node:module";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Config } from "./config.ts";
import type { Clock } from "./core/clock.ts";
import { VERSION } from "./core/version.ts";
import { setAsideIfLarge } from "./telemetry/log-file.ts";
import { identify, isAlive, self } from "./telemetry/process-identity.ts";
import type { ProcessIdentity } from "./telemetry/process-identity.ts";
import { tryLock } from "./telemetry/process-lock.ts";

export type RoleName = "control" | "gateway";
type ToRole = { readonly type: "start"; readonly config: Config } | { readonly type: "stop" };
type FromRole =
  | { readonly type: "ready" }
  /** The role cannot run as things are; a restart would not help. */
  | { readonly type: "refused"; readonly message: string; readonly hint: string };

/** What run/supervisor.json holds. */
export interface PlatformState {
  readonly supervisor: ProcessIdentity;
  /** The processes that run now; a role that is being restarted is missing. */
  readonly roles: Readonly<Partial<Record<RoleName, ProcessIdentity>>>;
  readonly restarts: Readonly<Record<RoleName, number>>;
  /** Epoch ms of the supervisor's start. */
  readonly since: number;
  readonly url: string;
  readonly port: number;
}

/** A start that cannot work: what is wrong and what to do about it. */
export class StartRefused extends Error {
  readonly hint: string;
  constructor(message: string, hint: string) {
    super(message);
    this.name = "StartRefused";
    this.hint = hint;
  }
}

export type SupervisorEvent =
  | { readonly type: "starting"; readonly role: RoleName }
  | { readonly type: "ready"; readonly role: RoleName; readonly pid: number; readonly durationMs: number }
  | { readonly type: "restarting"; readonly role: RoleName; readonly exit: string; readonly delayMs: number }
  | { readonly type: "recovered"; readonly previous: ProcessIdentity };

interface Supervisor {
  readonly url: string;
  /** Resolves when everything has ended. */
  readonly stopped: Promise<void>;
  stop(): Promise<void>;
}

const RESTART_MS_MIN = 200;
const RESTART_MS_MAX = 10_000;
/** A role that ran this long had recovered: its next restart is quick again. */
const STEADY_MS = 30_000;
/**
 * Control's work is a little now and then, so by default its young generation grows to 16 MB before it is ever looked
 * at: 115 MB idle without, 105 MB with this. After eight imports and deployments it had 140 MB without and 133 MB with
 * --optimize-for-size. The gateway is left alone: idle it is no smaller for either, and it is on the callers' path.
 */
const NODE_OPTIONS: Readonly<Record<RoleName, readonly string[]>> = {
  control: ["--max-semi-space-size=4", "--optimize-for-size"],
  gateway: [],
};
const MAIN = fileURLToPath(new URL("./start.js", import.meta.url));

/**
 * Compiles what the roles will load, once per installation: without it the first run of all weighs what later ones do
 * not (control 159 instead of 140 MB, the gateway 94 instead of 74), because each role loads the type stripper.
 * Nothing depends on it, so a failure (an installation that cannot be written) is no failure.
 */
const compileOnce = async (): Promise<void> => {
  const cache = getCompileCacheDir();
  if (cache === undefined) return;
  const marker = join(cache, `complete-${VERSION}`);
  if (existsSync(marker)) return;
  // One process per role: compiled code is good only under the options it was compiled under.
  const compile = (role: RoleName): Promise<boolean> =>
    new Promise((resolve) => {
      const child = fork(MAIN, ["compile", role], { stdio: "ignore", execArgv: [...NODE_OPTIONS[role]] });
      child.once("error", () => resolve(false));
      child.once("exit", (code) => resolve(code === 0));
    });
  const done = await Promise.all([compile("control"), compile("gateway")]);
  try {
    if (done.every(Boolean)) writeFileSync(marker, "");
  } catch {
    // Not writable: the next start tries again.
  }
};

const stateFile = (dataDir: string): string => join(dataDir, "run", "supervisor.json");

/** What the state file says, whether its supervisor still runs or not; null without one. */
const readState = (dataDir: string): PlatformState | null => {
  try {
    return JSON.parse(readFileSync(stateFile(dataDir), "utf8")) as PlatformState;
  } catch {
    return null;
  }
};

/** The running platform of a data directory; null when none runs. */
export const runningState = (dataDir: string): PlatformState | null => {
  const state = readState(dataDir);
  return state !== null && isAlive(state.supervisor) ? state : null;
};

const writeState = (dataDir: string, state: PlatformState): void => {
  const file = stateFile(dataDir);
  writeFileSync(`${file}.new`, JSON.stringify(state), { mode: 0o600 });
  renameSync(`${file}.new`, file);
};

/** Checks that the port can be had, and picks one when it is 0. The gateway listens on it a moment later. */
const claimPort = (host: string, port: number): Promise<number> =>
  new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", (error: NodeJS.ErrnoException) => {
      const reason =
        error.code === "EADDRINUSE"
          ? new StartRefused(
              `Port ${port} on ${host} is taken by another program.`,
              `Stop that program, or choose another port: MODELPORT_PORT=${port + 1} modelport up`,
            )
          : new StartRefused(
              `Cannot listen on ${host}:${port}: ${error.message}.`,
              "Choose another MODELPORT_HOST or MODELPORT_PORT.",
            );
      reject(reason);
    });
    probe.listen({ host, port, exclusive: true }, () => {
      const address = probe.address();
      const claimed = typeof address === "object" && address !== null ? address.port : port;
      probe.close(() => resolve(claimed));
    });
  });

/** One role: its process, restarted while wanted. */
class Role {
  readonly name: RoleName;
  readonly #config: Config;
  readonly #clock: Clock;
  readonly #emit: (event: SupervisorEvent) => void;
  readonly #onPid: () => void;
  #child: ChildProcess | null = null;
  #wanted = true;
  #delayMs = RESTART_MS_MIN;
  restarts = 0;
  #ended: Promise<void> = Promise.resolve();
  readonly #abort = new AbortController();

  constructor(
    name: RoleName,
    config: Config,
    clock: Clock,
    emit: (event: SupervisorEvent) => void,
    onPid: () => void,
  ) {
    this.name = name;
    this.#config = config;
    this.#clock = clock;
    this.#emit = emit;
    this.#onPid = onPid;
  }

  get identity(): ProcessIdentity | null {
    return this.#child?.pid === undefined ? null : identify(this.#child.pid);
  }

  /** Starts the process; resolves when it said ready, rejects with StartRefused when it cannot run. */
  start(): Promise<void> {
    const startedAt = this.#clock.monotonicMs();
    this.#emit({ type: "starting", role: this.name });
    const logFile = join(this.#config.dataDir, "logs", "platform", `${this.name}.log`);
    setAsideIfLarge(logFile);
    const log = openSync(logFile, "a", 0o600);
    // Detached: a Ctrl-C in the terminal reaches the supervisor alone, which then ends the roles in order.
    const child = fork(MAIN, [this.name], {
      stdio: ["ignore", log, log, "ipc"],
      detached: true,
      execArgv: [...NODE_OPTIONS[this.name]],
    });
    closeSync(log);
    this.#child = child;
    this.#onPid();
    return new Promise((resolve, reject) => {
      let ready = false;
      child.on("message", (message: FromRole) => {
        if (message.type === "ready") {
          ready = true;
          this.#emit({
            type: "ready",
            role: this.name,
            pid: child.pid ?? 0,
            durationMs: this.#clock.monotonicMs() - startedAt,
          });
          resolve();
        } else {
          this.#wanted = false;
          reject(new StartRefused(message.message, message.hint));
        }
      });
      this.#ended = new Promise((ended) => {
        const over = (exit: string): void => {
          this.#child = null;
          this.#onPid();
          if (!ready)
            reject(
              new StartRefused(
                `The ${this.name} process ended at its start (${exit}).`,
                `Its log says why: ${join(this.#config.dataDir, "logs", "platform", `${this.name}.log`)}`,
              ),
            );
          ended();
          if (ready && this.#wanted) void this.#restart(exit, this.#clock.monotonicMs() - startedAt);
        };
        child.once("exit", (code, signal) => over(signal ?? `exit code ${code ?? "unknown"}`));
        // A closed channel shows up as an error of `send`, and the exit that follows counts; a process that could not
        // be made has no exit.
        child.on("error", (error) => {
          if (child.pid === undefined) over(error.message);
        });
      });
      child.send({ type: "start", config: this.#config } satisfies ToRole);
    });
  }

  async #restart(exit: string, ranMs: number): Promise<void> {
    this.#delayMs = ranMs > STEADY_MS ? RESTART_MS_MIN : Math.min(this.#delayMs * 2, RESTART_MS_MAX);
    this.#emit({ type: "restarting", role: this.name, exit, delayMs: this.#delayMs });
    await this.#clock.sleep(this.#delayMs, this.#abort.signal);
    if (!this.#wanted) return;
    this.restarts++;
    try {
      await this.start();
    } catch {
      // Refused or died before it was ready: what stopped it may pass (a full disk, a database that restarts).
      if (this.#abort.signal.aborted) return;
      this.#wanted = true;
      await this.#restart("failed to start", 0);
    }
  }

  /** Asks the process to end and waits for it; kills it after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.#wanted = false;
    this.#abort.abort();
    const child = this.#child;
    if (child === null) return;
    if (child.connected) child.send({ type: "stop" } satisfies ToRole);
    else child.kill("SIGTERM");
    const grace = new AbortController();
    const killed = this.#clock.sleep(graceMs, grace.signal).then(() => {
      if (!grace.signal.aborted) child.kill("SIGKILL");
    });
    await this.#ended;
    grace.abort();
    await killed;
  }
}

/** Roles of a supervisor that was killed end by themselves; their port and locks are free once they have. */
const awaitLeftovers = async (state: PlatformState, clock: Clock): Promise<void> => {
  const left = Object.values(state.roles);
  const deadline = clock.monotonicMs() + 10_000;
  while (left.some(isAlive) && clock.monotonicMs() < deadline) await clock.sleep(50);
  for (const role of left) if (isAlive(role)) process.kill(role.pid, "SIGKILL");
};

/**
 * Starts the platform of a data directory and keeps it running.
 * Throws StartRefused: it runs already, the port is taken, a role cannot run.
 */
export const startSupervisor = async (
  wanted: Config,
  deps: { readonly clock: Clock; readonly onEvent: (event: SupervisorEvent) => void },
): Promise<Supervisor> => {
  for (const dir of ["run", "logs/platform"])
    mkdirSync(join(wanted.dataDir, dir), { recursive: true, mode: 0o700 });
  const lock = tryLock(join(wanted.dataDir, "run", "supervisor.lock"));
  if (!lock.isHeld) {
    const running = runningState(wanted.dataDir);
    const where = running === null ? "" : `, at ${running.url}`;
    throw new StartRefused(
      `Modelport already runs on this data directory${where} (process ${lock.holder?.pid ?? "unknown"}).`,
      "Use it, or stop it with `modelport down`.",
    );
  }
  try {
    return await supervise(wanted, deps, lock.release);
  } catch (error) {
    lock.release();
    throw error;
  }
};

/** The part of a start that holds the lock; lets go of it at the end of `stop`. */
const supervise = async (
  wanted: Config,
  deps: { readonly clock: Clock; readonly onEvent: (event: SupervisorEvent) => void },
  release: () => void,
): Promise<Supervisor> => {
  const { clock, onEvent } = deps;
  const previous = readState(wanted.dataDir);
  if (previous !== null) {
    onEvent({ type: "recovered", previous: previous.supervisor });
    await awaitLeftovers(previous, clock);
  }
  await compileOnce();
  const port = await claimPort(wanted.host, wanted.port);
  const reachable = wanted.host === "0.0.0.0" || wanted.host === "::" ? "127.0.0.1" : wanted.host;
  const url =
    wanted.publicUrl ??
    `${wanted.tls === null ? "http" : "https"}://${reachable.includes(":") ? `[${reachable}]` : reachable}:${port}`;
  const config: Config = { ...wanted, port, publicUrl: url };

  const since = clock.now();
  const record = (): void => {
    const known: Partial<Record<RoleName, ProcessIdentity>> = {};
    for (const role of roles) {
      const identity = role.identity;
      if (identity !== null) known[role.name] = identity;
    }
    const restarts = { control: control.restarts, gateway: gateway.restarts };
    writeState(config.dataDir, { supervisor: self(), roles: known, restarts, since, url, port });
  };
  const recordLater = (): void => {
    try {
      record();
    } catch {
      // A full disk: what the file says is old until the next change, and the platform runs on.
    }
  };
  const control = new Role("control", config, clock, onEvent, recordLater);
  const gateway = new Role("gateway", config, clock, onEvent, recordLater);
  const roles = [control, gateway];

  let stopping: Promise<void> | null = null;
  let settle: () => void = () => undefined;
  const stopped = new Promise<void>((resolve) => (settle = resolve));
  const stop = (): Promise<void> => {
    stopping ??= (async () => {
      // The gateway first: it finishes what it has admitted while the instances are still there.
      await gateway.stop(config.predictTimeoutMs + 5_000);
      await control.stop(config.drainTimeoutMs + 10_000);
      rmSync(stateFile(config.dataDir), { force: true });
      release();
      settle();
    })();
    return stopping;
  };

  record();
  try {
    await control.start();
    await gateway.start();
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, stopped, stop };
};

type Start = (config: Config) => Promise<{ close(options: { stopInstances: boolean }): Promise<void> }>;
/** Each role's modules are loaded in its own process only. */
const startRole: Record<RoleName, Start> = {
  control: async (config) => (await import("./control.ts")).startControl(config),
  gateway: async (config) => (await import("./gateway.ts")).startGateway(config),
};

/** Runs inside a role's process: waits for the configuration, runs, and ends when told to or left alone. */
export const runRole = async (name: RoleName): Promise<void> => {
  if (process.send === undefined) {
    process.stderr.write(`modelport ${name} is started by \`modelport up\`.\n`);
    process.exitCode = 2;
    return;
  }
  const tell = (message: FromRole): void => {
    if (process.connected) process.send?.(message);
  };
  // The supervisor decides when a role ends; a signal meant for the whole terminal must not get ahead of it.
  process.on("SIGINT", () => undefined);
  // Listened to from the first moment: what comes while the role still starts is done once it runs.
  const told = Promise.withResolvers<Config>();
  const ended = Promise.withResolvers<{ stopInstances: boolean }>();
  process.on("message", (message: ToRole) => {
    if (message.type === "start") told.resolve(message.config);
    else ended.resolve({ stopInstances: true });
  });
  process.on("disconnect", () => {
    told.reject(new Error("the supervisor is gone"));
    ended.resolve({ stopInstances: false });
  });
  const config = await told.promise;
  let running: Awaited<ReturnType<Start>>;
  try {
    running = await startRole[name](config);
  } catch (error) {
    if (error instanceof StartRefused) {
      tell({ type: "refused", message: error.message, hint: error.hint });
      process.exitCode = 1;
      process.disconnect?.();
      return;
    }
    throw error;
  }
  process.on("SIGTERM", () => ended.resolve({ stopInstances: false }));
  tell({ type: "ready" });
  // Else node writes it at a clean end only, and a role that gets killed leaves its successor nothing (start.js).
  flushCompileCache();
  await running.close(await ended.promise);
  process.exit(0);
};

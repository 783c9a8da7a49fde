/**
 * One role of the platform as its supervisor sees it: a process, started again with growing pauses while it is wanted.
 * Also the few messages the two exchange.
 *
 *   supervisor ──ipc──► role   {start, config} … {ready} … [{leaving}] … {stop} or {retire}
 */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import type { Config } from "../config.ts";
import type { Clock } from "../core/clock.ts";
import { setAsideIfLarge } from "../telemetry/log-file.ts";
import { identify } from "../telemetry/process-identity.ts";
import type { ProcessIdentity } from "../telemetry/process-identity.ts";
import type { GatewaySeat } from "./gateway-ids.ts";
import { StartRefused } from "./state.ts";
import type { RoleName, SupervisorEvent } from "./state.ts";

export type ToRole =
  | { readonly type: "start"; readonly config: Config; readonly seat: GatewaySeat | null }
  /** The platform ends: instances end too. */
  | { readonly type: "stop" }
  /** Another process takes this one's place: instances go on, and callers are led over. */
  | { readonly type: "retire" };
export type FromRole =
  | { readonly type: "ready" }
  /** It was asked to end and serves on until it is retired, so that another can take its place first. */
  | { readonly type: "leaving" }
  /** The role cannot run as things are; a restart would not help. */
  | { readonly type: "refused"; readonly message: string; readonly hint: string };

const RESTART_MS_MIN = 200;
const RESTART_MS_MAX = 10_000;
/** A role that ran this long had recovered: its next restart is quick again. */
const STEADY_MS = 30_000;
/**
 * Control's work is a little now and then, so by default its young generation grows to 16 MB before it is ever looked
 * at: 115 MB idle without, 105 MB with this. After eight imports and deployments it had 140 MB without and 133 MB with
 * --optimize-for-size. The gateway is left alone: idle it is no smaller for either, and it is on the callers' path.
 */
export const NODE_OPTIONS: Readonly<Record<RoleName, readonly string[]>> = {
  control: ["--max-semi-space-size=4", "--optimize-for-size"],
  gateway: [],
};

export interface RoleDeps {
  readonly name: RoleName;
  /** The program: `node <main> <name>`. */
  readonly main: string;
  readonly config: Config;
  readonly logFile: string;
  readonly clock: Clock;
  readonly emit: (event: SupervisorEvent) => void;
  /** A process came or went. */
  readonly onChange: () => void;
  /** Its process says that it leaves. */
  readonly onLeaving: () => void;
  /** Asked before each start of a process, and told when that process is gone. */
  readonly seats: { next(): GatewaySeat; ended(seat: GatewaySeat): void } | null;
  /** Listening sockets that each process inherits (listening-socket.ts). */
  readonly fds: readonly number[];
}

/** One role: its process, restarted while wanted. */
export class Role {
  readonly #deps: RoleDeps;
  #child: ChildProcess | null = null;
  #wanted = true;
  #delayMs = RESTART_MS_MIN;
  #restarts = 0;
  #ended: Promise<void> = Promise.resolve();
  readonly #abort = new AbortController();

  constructor(deps: RoleDeps) {
    this.#deps = deps;
  }

  get name(): RoleName {
    return this.#deps.name;
  }

  get restarts(): number {
    return this.#restarts;
  }

  get identity(): ProcessIdentity | null {
    return this.#child?.pid === undefined ? null : identify(this.#child.pid);
  }

  /** Starts the process; resolves when it said ready, rejects with StartRefused when it cannot run. */
  start(): Promise<void> {
    const { name, clock, emit, onChange, logFile, seats, fds } = this.#deps;
    const startedAt = clock.monotonicMs();
    emit({ type: "starting", role: name });
    setAsideIfLarge(logFile);
    const log = openSync(logFile, "a", 0o600);
    const seat = seats?.next() ?? null;
    // Detached: a Ctrl-C in the terminal reaches the supervisor alone, which then ends the roles in order.
    const child = fork(this.#deps.main, [name], {
      stdio: ["ignore", log, log, "ipc", ...fds],
      detached: true,
      execArgv: [...NODE_OPTIONS[name]],
    });
    closeSync(log);
    this.#child = child;
    onChange();
    return new Promise((resolve, reject) => {
      let ready = false;
      child.on("message", (message: FromRole) => {
        if (message.type === "ready") {
          ready = true;
          const durationMs = clock.monotonicMs() - startedAt;
          emit({ type: "ready", role: name, pid: child.pid ?? 0, durationMs });
          resolve();
        } else if (message.type === "leaving") {
          this.#deps.onLeaving();
        } else {
          this.#wanted = false;
          reject(new StartRefused(message.message, message.hint));
        }
      });
      this.#ended = new Promise((ended) => {
        const over = (exit: string): void => {
          this.#child = null;
          if (seat !== null) seats?.ended(seat);
          onChange();
          if (!ready)
            reject(
              new StartRefused(
                `The ${name} process ended at its start (${exit}).`,
                `Its log says why: ${logFile}`,
              ),
            );
          ended();
          if (ready && this.#wanted) void this.#restart(exit, clock.monotonicMs() - startedAt);
        };
        child.once("exit", (code, signal) => over(signal ?? `exit code ${code ?? "unknown"}`));
        // A closed channel shows up as an error of `send`, and the exit that follows counts; a process that could not
        // be made has no exit.
        child.on("error", (error) => {
          if (child.pid === undefined) over(error.message);
        });
      });
      child.send({ type: "start", config: this.#deps.config, seat } satisfies ToRole);
    });
  }

  /** Starts it, and goes on trying when that fails: for a role whose absence is not the end of the platform. */
  async startInTheEnd(): Promise<void> {
    try {
      await this.start();
    } catch {
      if (this.#abort.signal.aborted) return;
      this.#wanted = true;
      await this.#restart("failed to start", 0);
    }
  }

  async #restart(exit: string, ranMs: number): Promise<void> {
    this.#delayMs = ranMs > STEADY_MS ? RESTART_MS_MIN : Math.min(this.#delayMs * 2, RESTART_MS_MAX);
    this.#deps.emit({ type: "restarting", role: this.name, exit, delayMs: this.#delayMs });
    await this.#deps.clock.sleep(this.#delayMs, this.#abort.signal);
    if (!this.#wanted) return;
    this.#restarts++;
    // Refused or died before it was ready: what stopped it may pass (a full disk, a database that restarts).
    await this.startInTheEnd();
  }

  /** Asks the process to end, in one of the two ways, and waits for it; kills it after `graceMs`. */
  async end(how: "stop" | "retire", graceMs: number): Promise<void> {
    this.#wanted = false;
    this.#abort.abort();
    const child = this.#child;
    if (child === null) return;
    if (child.connected) child.send({ type: how } satisfies ToRole);
    else child.kill("SIGTERM");
    const grace = new AbortController();
    const killed = this.#deps.clock.sleep(graceMs, grace.signal).then(() => {
      if (!grace.signal.aborted) child.kill("SIGKILL");
    });
    await this.#ended;
    grace.abort();
    await killed;
  }
}

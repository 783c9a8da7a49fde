/**
 * One modelserver on a package folder, as `modelport run` has it: the same program with the same launch spec that a
 * runner starts, but its output comes to us, and it ends when we do, however that happens (the channel to it closes).
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { Clock } from "../core/clock.ts";
import type { AddressFile, LaunchSpec } from "../core/launch.ts";
import type { Failure } from "../core/service.ts";
import { askHealth } from "../runners/process/health.ts";
import { sendSignal } from "../telemetry/process-identity.ts";

export interface InstanceDeps {
  readonly clock: Clock;
  /** The program of the platform: src/start.js. */
  readonly mainPath: string;
  /** What the modelserver itself sees of the environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly onOutput: (stream: "stdout" | "stderr", line: string) => void;
}

/** What a folder's instance needs to be told; the rest of the launch spec follows from where it runs. */
export type InstanceSpec = Omit<LaunchSpec, "instanceId" | "host" | "addressFile" | "scratchDir">;

const HOST = "127.0.0.1";
const LOOK_STARTING_MS = 50;
const LOOK_READY_MS = 1000;
const LOOK_ENDING_MS = 20;
const KILL_WAIT_MS = 5000;

export class Instance {
  readonly #deps: InstanceDeps;
  readonly #dir: string;
  readonly #child: ChildProcess;
  readonly #addressFile: string;
  readonly #startTimeoutMs: number;
  #exit: string | null = null;
  #ending = false;

  /** Starts it; `dir` is made, and removed at its end. */
  constructor(deps: InstanceDeps, dir: string, spec: InstanceSpec) {
    this.#deps = deps;
    this.#dir = dir;
    this.#addressFile = join(dir, "address.json");
    this.#startTimeoutMs = spec.startTimeoutMs;
    const scratchDir = join(dir, "scratch");
    mkdirSync(scratchDir, { recursive: true, mode: 0o700 });
    const specFile = join(dir, "spec.json");
    const whole: LaunchSpec = {
      ...spec,
      instanceId: "run",
      host: HOST,
      addressFile: this.#addressFile,
      scratchDir,
    };
    writeFileSync(specFile, JSON.stringify(whole), { mode: 0o600 });
    this.#child = spawn(process.execPath, [deps.mainPath, "modelserver", "--spec", specFile], {
      // A group of its own: Ctrl-C on the terminal is ours to answer.
      detached: true,
      cwd: scratchDir,
      env: { ...deps.env, HOME: scratchDir },
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    this.#child.once("error", (error) => (this.#exit ??= `could not be started: ${error.message}`));
    this.#child.once("exit", (code, signal) => {
      this.#exit ??= signal === null ? `exited with code ${code ?? "unknown"}` : `was ended by ${signal}`;
    });
    for (const stream of ["stdout", "stderr"] as const)
      readLines(this.#child[stream], (line) => deps.onOutput(stream, line));
  }

  /** Where it listens; null before that. */
  get port(): number | null {
    try {
      return (JSON.parse(readFileSync(this.#addressFile, "utf8")) as AddressFile).port;
    } catch {
      return null;
    }
  }

  /** Resolves with null once it is ready, or with why it will not be. Rejects when the signal aborts. */
  async ready(signal: AbortSignal): Promise<Failure | null> {
    const { clock } = this.#deps;
    const deadline = clock.monotonicMs() + this.#startTimeoutMs;
    for (;;) {
      signal.throwIfAborted();
      if (this.#exit !== null) return { reason: "exited", message: `The instance ${this.#exit}.` };
      const health = await this.#health(signal);
      if (health?.status === "OK") return null;
      if (health?.status === "failed") return health.failure;
      if (clock.monotonicMs() > deadline) {
        const seconds = Math.round(this.#startTimeoutMs / 1000);
        return { reason: "start-timeout", message: `The instance was not ready within ${seconds} s.` };
      }
      await clock.sleep(LOOK_STARTING_MS, signal);
    }
  }

  /** Resolves with why it no longer serves, or with null when it was ended by `end`. */
  async failed(): Promise<Failure | null> {
    const never = new AbortController().signal;
    for (;;) {
      if (this.#ending) return null;
      if (this.#exit !== null) return { reason: "exited", message: `The instance ${this.#exit}.` };
      const health = await this.#health(never);
      if (health?.status === "failed" && !this.#ending) return health.failure;
      await this.#deps.clock.sleep(LOOK_READY_MS);
    }
  }

  /** Predictions in flight finish, for `graceMs` at most; nothing of it is left when this resolves. */
  async end(graceMs: number): Promise<void> {
    this.#ending = true;
    const { pid } = this.#child;
    if (pid !== undefined) {
      sendSignal(pid, "SIGTERM", "process");
      await this.#gone(graceMs);
      // What it left in its group as well, when it was ended from outside.
      sendSignal(pid, "SIGKILL", "group");
      await this.#gone(KILL_WAIT_MS);
    }
    // Programs of the user's that outlive it may hold its output open; nobody waits for them.
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
    this.#child.unref();
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  async #gone(ms: number): Promise<void> {
    const { clock } = this.#deps;
    const until = clock.monotonicMs() + ms;
    while (this.#exit === null && clock.monotonicMs() < until) await clock.sleep(LOOK_ENDING_MS);
  }

  #health(signal: AbortSignal): ReturnType<typeof askHealth> {
    const { port } = this;
    return port === null
      ? Promise.resolve(null)
      : askHealth(`http://${HOST}:${port}`, this.#deps.clock, signal);
  }
}

/** A line is told when it is whole; one that never ends (a progress bar) in pieces of this many characters. */
const LINE_MAX = 16 * 1024;

const readLines = (stream: Readable | null, onLine: (line: string) => void): void => {
  let rest = "";
  stream?.setEncoding("utf8");
  stream?.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
    if (rest.length > LINE_MAX) {
      onLine(rest);
      rest = "";
    }
  });
  stream?.on("end", () => {
    if (rest !== "") onLine(rest);
  });
  // A reader's error carries nothing that the process's end does not.
  stream?.on("error", () => {});
};

/**
 * What the command line can do with the platform of this machine: start it here or detached, stop it, look at it.
 * Implements the CLI's PlatformControl over the supervisor; translates its refusals into the CLI's errors.
 */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CliError } from "./cli/failures.ts";
import type { DoctorProbe, PlatformControl, PlatformState, RunningPlatform } from "./cli/platform-control.ts";
import type { Config } from "./config.ts";
import type { Clock } from "./core/clock.ts";
import { instant } from "./core/ids.ts";
import { startSupervisor } from "./supervise.ts";
import { orderUpgrade } from "./supervisor/orders.ts";
import { describeEvent, runningState, StartRefused } from "./supervisor/state.ts";
import type { RoleName } from "./supervisor/state.ts";
import { isAlive } from "./telemetry/process-identity.ts";

type SupervisorState = NonNullable<ReturnType<typeof runningState>>;

const LOOK_EVERY_MS = 200;
const MAIN = fileURLToPath(new URL("./start.js", import.meta.url));
const refused = (error: unknown): unknown =>
  error instanceof StartRefused
    ? new CliError("failed", error.message, { next: error.hint, cause: error })
    : error;

const answers = async (url: string): Promise<boolean> => {
  try {
    return (await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(2_000) })).ok;
  } catch (error) {
    // Whether its certificate is to be believed here is a question that its first use answers.
    const { code = "" } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
    return /CERT/.test(code);
  }
};

export const createPlatformControl = (
  config: Config,
  deps: { readonly clock: Clock; readonly interrupt: AbortSignal; readonly probes: readonly DoctorProbe[] },
): PlatformControl => {
  const { clock, interrupt } = deps;

  /** Ends the platform whose supervisor is another process, or becomes it meanwhile; waits for that until `given` up. */
  const end = async (given: AbortSignal): Promise<boolean> => {
    let state = runningState(config.dataDir);
    const wasRunning = state !== null;
    for (; state !== null && !given.aborted; state = runningState(config.dataDir)) await endOne(state, given);
    return wasRunning;
  };

  const endOne = async (state: SupervisorState, given: AbortSignal): Promise<void> => {
    process.kill(state.supervisor.pid, "SIGTERM");
    // One that was stopped (Ctrl-Z, a debugger) hears of it only once it goes on.
    process.kill(state.supervisor.pid, "SIGCONT");
    const deadline = clock.monotonicMs() + config.predictTimeoutMs + config.drainTimeoutMs + 30_000;
    while (isAlive(state.supervisor) && !given.aborted) {
      if (clock.monotonicMs() > deadline) {
        throw new CliError(
          "timeout",
          `The platform (process ${state.supervisor.pid}) has not ended in time.`,
          {
            next: "Its log is under logs/platform in the data directory.",
          },
        );
      }
      await clock.sleep(50, given);
    }
  };

  /** After an upgrade the platform is another process's: this one waits with it, so that whoever waits for us does. */
  const accompany = async (): Promise<void> => {
    while (runningState(config.dataDir) !== null) await clock.sleep(LOOK_EVERY_MS);
  };

  const found = (url: string): RunningPlatform => ({
    url,
    alreadyRunning: true,
    // It is not ours to wait for: a command that found it running must be able to end before it.
    ended: Promise.resolve({ reason: null }),
    stop: async () => undefined,
  });

  const startDetached = async (): Promise<RunningPlatform> => {
    const dir = join(config.dataDir, "logs", "platform");
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const logFile = join(dir, "supervisor.log");
    const log = openSync(logFile, "a", 0o600);
    const logStart = statSync(logFile).size;
    const child = spawn(process.execPath, [MAIN, "supervisor"], {
      detached: true,
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    let exited = false;
    child.once("exit", () => (exited = true));
    child.unref();
    for (;;) {
      const state = runningState(config.dataDir);
      if (state?.roles.gateway !== undefined && (await answers(state.url))) {
        return {
          url: state.url,
          alreadyRunning: false,
          ended: Promise.resolve({ reason: null }),
          stop: async () => void (await end(interrupt)),
        };
      }
      if (exited) {
        const printed = readFileSync(logFile).subarray(logStart).toString("utf8").trim();
        throw new CliError("failed", "The platform did not start.", {
          detail: printed,
          next: `Its log: ${logFile}`,
        });
      }
      if (interrupt.aborted) {
        child.kill("SIGTERM");
        throw new CliError("interrupted", "Interrupted before the platform was up.");
      }
      await clock.sleep(50, interrupt);
    }
  };

  return {
    up: async ({ detach, onStep }) => {
      const running = runningState(config.dataDir);
      if (running !== null) return found(running.url);
      if (detach) return startDetached();
      try {
        const supervisor = await startSupervisor(config, {
          clock,
          onEvent: (event) => onStep(describeEvent(event)),
        });
        const ended = supervisor.ended.then(async (how) => {
          if (how === "succeeded") await accompany();
        });
        return {
          url: supervisor.url,
          alreadyRunning: false,
          ended: ended.then(() => ({ reason: null })),
          stop: async () => {
            await supervisor.stop();
            // Not given up by the Ctrl-C that asked for it.
            if ((await supervisor.ended) === "succeeded") await end(new AbortController().signal);
            await ended;
          },
        };
      } catch (error) {
        throw refused(error);
      }
    },
    down: async ({ onStep }) => {
      onStep("stopping");
      return { wasRunning: await end(interrupt) };
    },
    upgrade: async ({ onStep }) => {
      const before = runningState(config.dataDir);
      if (before === null) return { wasRunning: false };
      try {
        const pid = await orderUpgrade(config.dataDir, onStep);
        return { wasRunning: true, url: before.url, before: before.supervisor.pid, after: pid };
      } catch (error) {
        throw refused(error);
      }
    },
    state: async (): Promise<PlatformState> => {
      const state = runningState(config.dataDir);
      if (state === null) return { running: false };
      const role = (name: RoleName) => {
        const process = state.roles[name];
        return {
          role: name,
          pid: process?.pid ?? 0,
          state: process !== undefined && isAlive(process) ? ("ready" as const) : ("restarting" as const),
          restarts: state.restarts[name],
        };
      };
      return {
        running: true,
        url: state.url,
        since: instant(state.since),
        processes: [
          { role: "supervisor", pid: state.supervisor.pid, state: "ready", restarts: 0 },
          role("control"),
          role("gateway"),
        ],
      };
    },
    probes: () => deps.probes,
  };
};

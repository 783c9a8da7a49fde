/**
 * One Python worker process: start, the framed connection, and its end. It knows nothing of queues or back-off; it
 * reports what happened, each thing once, and `exited` last.
 *
 * The connection is a socket pair on the worker's descriptor 3: no path, no length limit, nobody else can connect,
 * and it closes when either side dies. The worker leads its own process group, so that whatever user code started
 * ends with it.
 */
import { spawn } from "node:child_process";
import { chownSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Socket } from "node:net";
import type { ChildProcess } from "node:child_process";
import type { Confinement } from "../core/launch.ts";
import { endMembers, outOfMemoryCount, putInto } from "../telemetry/control-groups.ts";
import { sendSignal } from "../telemetry/process-identity.ts";
import type { Timers } from "./timers.ts";
import { FrameReader, ProtocolError, encodeHead } from "./protocol.ts";
import type { Answered, FailedFrame, FrontFrame, PredictRequest, WorkerFrame } from "./protocol.ts";

export interface WorkerStart {
  readonly python: string;
  readonly env: Readonly<Record<string, string>>;
  readonly workDir: string;
  /** Where the interpreter writes its stack when it crashes. */
  readonly faultFile: string;
  /** `cgroups`: this worker's own. */
  readonly confinement: Confinement;
  readonly load: Extract<FrontFrame, { t: "load" }>;
}

/** How a worker ended. `spawnError`: it never started. */
export interface WorkerExit {
  readonly code: number | null;
  readonly signal: string | null;
  readonly spawnError: NodeJS.ErrnoException | null;
  /** The Python stack at a crash, "" when there is none. */
  readonly fault: string;
  /** The memory limit it, or something it started, came to its end at; absent: it was not that. */
  readonly outOfMemoryMb?: number;
}

export interface WorkerEvents {
  ready(frame: Extract<WorkerFrame, { t: "ready" }>): void;
  loadFailed(frame: Extract<WorkerFrame, { t: "load-failed" }>): void;
  item(frame: Extract<WorkerFrame, { t: "item" }>, body: Buffer): void;
  answer(frame: Answered & { readonly items?: number }, body: Buffer): void;
  failed(frame: FailedFrame): void;
  unanswered(frame: Extract<WorkerFrame, { t: "unanswered" }>): void;
  /** Whether it compares answers from now on, and is not free whatever it has replied. */
  proving(on: boolean): void;
  batching(frame: Extract<WorkerFrame, { t: "batching" }>): void;
  exited(exit: WorkerExit): void;
}

export interface WorkerRequest {
  readonly request: PredictRequest;
  readonly body: readonly Buffer[];
  readonly bodyBytes: number;
}

export interface Worker {
  readonly pid: number | undefined;
  /** Requests that it may join; each gets a reply of its own. */
  predict(requests: readonly WorkerRequest[]): void;
  /** Nobody takes the items of this request any more. */
  cancel(id: number): void;
  /** Whether what it sends is read; as long as it is not, it waits. */
  listen(on: boolean): void;
  /** Lets it end by itself: the connection is closed; after the grace period it is killed. */
  stop(): void;
  /** Ends it now. `dump` first makes it write its Python stack, so the log shows where it hung. */
  kill(options: { dump: boolean }): void;
}

/** Starts a worker. Only pool.ts calls it; tests pass their own. */
export type StartWorker = (start: WorkerStart, events: WorkerEvents) => Worker;

/** Bodies up to this size are written in one piece: copying them costs less than handing the kernel many. */
const COPIED_BYTES_MAX = 64 * 1024;
const STOP_GRACE_MS = 2000;
const DUMP_GRACE_MS = 500;
/** How long after the process ended its last frames may still be read (a grandchild may hold the socket open). */
const LAST_FRAMES_MS = 200;

/** The real thing: `python -m modelport_worker`. */
export const startWorkerWith =
  (timers: Timers): StartWorker =>
  (start, events) => {
    const { user, cgroups, rlimits, memoryMb } = start.confinement;
    const outOfMemoryBefore = outOfMemoryCount(cgroups);
    let child: ChildProcess | undefined;
    try {
      prepareFiles(start);
      const args = [
        "-s",
        "-m",
        "modelport_worker",
        String(process.pid),
        start.faultFile,
        JSON.stringify(rlimits),
      ];
      child = spawn(start.python, args, {
        cwd: start.workDir,
        env: { ...start.env },
        // Output goes straight to the log file this process writes to: no copy, and a flood cannot block the front.
        stdio: ["ignore", "inherit", "inherit", "pipe"],
        detached: true,
        ...user,
      });
      // The interpreter is not up yet: nothing of the user's has run outside of the group.
      if (child.pid !== undefined) putInto(cgroups, child.pid);
    } catch (error) {
      // E2BIG and the like are thrown, not emitted. Without its limits user code does not run at all.
      if (child !== undefined) killGroup(child);
      return neverStarted(timers, events, error instanceof Error ? error : new Error(String(error)));
    }
    let settled = false;
    let cancelTimer = (): void => {};
    const settle = (
      code: number | null,
      signal: string | null,
      spawnError: NodeJS.ErrnoException | null,
    ): void => {
      if (settled) return;
      settled = true;
      cancelTimer();
      // Also what left the worker's process group.
      endMembers(cgroups);
      const outOfMemory = memoryMb !== null && outOfMemoryCount(cgroups) > outOfMemoryBefore;
      events.exited({
        code,
        signal,
        spawnError,
        fault: readFault(start.faultFile),
        ...(outOfMemory ? { outOfMemoryMb: memoryMb } : {}),
      });
    };
    child.on("error", (error) => {
      if (child.pid === undefined) settle(null, null, error);
    });
    // Without descriptors left, node makes no streams, and `error` tells why.
    const streams: readonly unknown[] = child.stdio ?? [];
    const connection = streams[3];
    if (!(connection instanceof Socket)) return NO_PROCESS;
    // A broken connection shows as the process's exit; errors here (EPIPE) carry nothing more.
    connection.on("error", () => {});
    const reader = new FrameReader<WorkerFrame>(
      [
        "ready",
        "load-failed",
        "item",
        "answer",
        "answers",
        "failed",
        "unanswered",
        "proving",
        "proved",
        "batching",
      ],
      (frame, body) => {
        switch (frame.t) {
          case "ready":
            return events.ready(frame);
          case "load-failed":
            return events.loadFailed(frame);
          case "item":
            return events.item(frame, body);
          case "answer":
            return events.answer(frame, body);
          case "answers": {
            let at = 0;
            for (const answer of frame.answers) events.answer(answer, body.subarray(at, (at += answer.size)));
            return;
          }
          case "failed":
            return events.failed(frame);
          case "unanswered":
            return events.unanswered(frame);
          case "proving":
            return events.proving(true);
          case "proved":
            return events.proving(false);
          case "batching":
            return events.batching(frame);
        }
      },
    );
    connection.on("data", (chunk: Buffer) => {
      try {
        reader.push(chunk);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        // Not our worker's words: user code wrote to the connection. Nothing it says can be trusted any more.
        connection.destroy();
        kill(false);
      }
    });
    connection.on("close", () => {
      // The worker closed its side without ending, or is about to end.
      if (!settled && child.exitCode === null && child.signalCode === null) endAfter(STOP_GRACE_MS);
    });
    child.on("exit", (code, signal) => {
      killGroup(child);
      if (connection.closed) return settle(code, signal, null);
      // Frames it sent before it ended may still be unread.
      const cancel = timers.after(LAST_FRAMES_MS, () => connection.destroy());
      connection.once("close", () => {
        cancel();
        settle(code, signal, null);
      });
    });

    const endAfter = (ms: number): void => {
      cancelTimer();
      cancelTimer = timers.after(ms, () => killGroup(child));
    };
    const kill = (dump: boolean): void => {
      if (settled || child.pid === undefined) return;
      if (dump && child.exitCode === null) {
        child.kill("SIGABRT");
        endAfter(DUMP_GRACE_MS);
      } else {
        killGroup(child);
      }
    };

    connection.write(encodeHead(start.load, 0));
    return {
      pid: child.pid,
      predict: (requests) => {
        const bodyBytes = requests.reduce((sum, one) => sum + one.bodyBytes, 0);
        const head = encodeHead(
          { t: "predict", requests: requests.map(({ request }) => request) },
          bodyBytes,
        );
        const chunks = [head, ...requests.flatMap(({ body }) => body)];
        if (bodyBytes <= COPIED_BYTES_MAX) connection.write(Buffer.concat(chunks));
        else {
          connection.cork();
          for (const chunk of chunks) connection.write(chunk);
          connection.uncork();
        }
      },
      cancel: (id) => {
        connection.write(encodeHead({ t: "cancel", id }, 0));
      },
      listen: (on) => {
        if (on) connection.resume();
        else connection.pause();
      },
      stop: () => {
        connection.end();
        endAfter(STOP_GRACE_MS);
      },
      kill: ({ dump }) => kill(dump),
    };
  };

/** User code may have deleted its own directory. What it writes to itself is given to its user. */
const prepareFiles = ({ workDir, faultFile, confinement }: WorkerStart): void => {
  const { user } = confinement;
  const isNew = mkdirSync(workDir, { recursive: true, mode: 0o700 }) !== undefined;
  rmSync(faultFile, { force: true });
  if (user === null) return;
  if (isNew) chownSync(workDir, user.uid, user.gid);
  writeFileSync(faultFile, "", { flag: "wx", mode: 0o600 });
  chownSync(faultFile, user.uid, user.gid);
};

/** A worker whose process could not even be made; says so like one that ended. */
const neverStarted = (timers: Timers, events: WorkerEvents, spawnError: Error): Worker => {
  timers.after(0, () => events.exited({ code: null, signal: null, spawnError, fault: "" }));
  return NO_PROCESS;
};

const NO_PROCESS: Worker = {
  pid: undefined,
  predict: () => {},
  cancel: () => {},
  listen: () => {},
  stop: () => {},
  kill: () => {},
};

/** Kills the worker and everything user code started in its group. */
const killGroup = (child: ChildProcess): void => {
  if (child.pid !== undefined) sendSignal(child.pid, "SIGKILL", "group");
};

const readFault = (file: string): string => {
  try {
    return readFileSync(file, "utf8")
      .slice(0, 64 * 1024)
      .trim();
  } catch {
    return "";
  }
};

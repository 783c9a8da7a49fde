/**
 * The successor as the supervisor before it sees it: a process of the program as it is on disk now, led step by step
 * until the platform is its own. The order, and who serves at each point:
 *
 *   predecessor                          successor
 *   succeed{port,…} ───────────────────► checks the program and its settings, starts a gateway on the shared sockets
 *                     ◄───────────────── gatewayReady       both gateways accept
 *   ends control, instances go on
 *   controlEnded      ─────────────────► starts control, which adopts the instances
 *                     ◄───────────────── running
 *   passes the lock
 *   yours             ─────────────────► writes run/supervisor.json, takes orders
 *                     ◄───────────────── taken
 *   retires its gateway, ends            serves alone
 *
 * Until `taken` either side may die or give up, and the other goes on as if nothing had been: a successor that loses its
 * channel, or is told `giveUp`, ends with its roles and without the instances; a predecessor takes control up again.
 */
import { fork } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import type { Clock } from "../core/clock.ts";
import { identify, isAlive } from "../telemetry/process-identity.ts";
import type { ProcessIdentity } from "../telemetry/process-identity.ts";
import { StartRefused } from "./state.ts";
import type { PlatformState, RoleName } from "./state.ts";

export type ToSuccessor =
  | { readonly type: "succeed"; readonly port: number; readonly sockets: number; readonly url: string }
  | { readonly type: "controlEnded" }
  | { readonly type: "giveUp" }
  | { readonly type: "yours" };

export type Milestone = "gatewayReady" | "running" | "taken";
export type FromSuccessor =
  | { readonly type: Milestone }
  | { readonly type: "step"; readonly text: string }
  /** Its roles' processes at the moment, for whoever has to wait for their end. */
  | { readonly type: "roles"; readonly roles: PlatformState["roles"] }
  | { readonly type: "refused"; readonly message: string; readonly hint: string };

export interface Successor {
  readonly identity: ProcessIdentity;
  /** Itself and its roles, as far as they run. */
  readonly processes: readonly ProcessIdentity[];
  send(message: ToSuccessor): void;
  /** Resolves when the successor got so far; rejects when it refuses, ends, or says nothing for too long. */
  said(milestone: Milestone): Promise<void>;
  /** Lets go of one that is on its own now. */
  release(): void;
  /**
   * Has it end, with its roles and without the instances. `controlGone` resolves when control can be taken up again,
   * `gone` when the requests its gateway had taken are answered too; after `graceMs` it is killed.
   */
  end(graceMs: number): { readonly controlGone: Promise<void>; readonly gone: Promise<void> };
}

/** Without any word from it; an import of an old database into a new release may take its time. */
const SILENCE_MS = 180_000;
/** Between the end of its roles and its own. */
const LAST_WORDS_MS = 5_000;

/** Waits for processes that end by themselves, kills those that do not. */
export const awaitEnd = async (left: readonly ProcessIdentity[], clock: Clock): Promise<void> => {
  const deadline = clock.monotonicMs() + 10_000;
  while (left.some(isAlive) && clock.monotonicMs() < deadline) await clock.sleep(50);
  for (const one of left) if (isAlive(one)) process.kill(one.pid, "SIGKILL");
  while (left.some(isAlive)) await clock.sleep(20);
};

export const startSuccessor = (deps: {
  readonly main: string;
  /** Listening sockets it inherits. */
  readonly fds: readonly number[];
  readonly logFile: string;
  readonly clock: Clock;
  readonly onStep: (text: string) => void;
  /** Its processes are others now. */
  readonly onProcesses: () => void;
}): Successor => {
  const { clock } = deps;
  const log = openSync(deps.logFile, "a", 0o600);
  const child = fork(deps.main, ["successor"], {
    stdio: ["ignore", log, log, "ipc", ...deps.fds],
    detached: true,
  });
  closeSync(log);
  // A process that could not be made, or a channel that closed under a message: the exit counts, or the missing pid.
  child.on("error", () => undefined);
  const identity = child.pid === undefined ? null : identify(child.pid);
  if (identity === null)
    throw new StartRefused("A new supervisor could not be started.", `Its log: ${deps.logFile}`);

  let roles: PlatformState["roles"] = {};
  const reached = new Set<Milestone>();
  let failure: StartRefused | null = null;
  let heardAt = clock.monotonicMs();
  let wake: () => void = () => undefined;
  let isGone = false;
  const gone = Promise.withResolvers<void>();
  child.on("message", (message: FromSuccessor) => {
    heardAt = clock.monotonicMs();
    if (message.type === "step") deps.onStep(message.text);
    else if (message.type === "roles") {
      ({ roles } = message);
      deps.onProcesses();
    } else if (message.type === "refused") failure ??= new StartRefused(message.message, message.hint);
    else reached.add(message.type);
    wake();
  });
  child.once("exit", (code, signal) => {
    failure ??= new StartRefused(
      `The new supervisor ended (${signal ?? `exit code ${code ?? "unknown"}`}).`,
      `Its log says why: ${deps.logFile}`,
    );
    isGone = true;
    gone.resolve();
    wake();
  });

  return {
    identity,
    get processes() {
      return isGone ? Object.values(roles) : [identity, ...Object.values(roles)];
    },
    send: (message) => {
      if (child.connected) child.send(message);
    },
    said: async (milestone) => {
      heardAt = clock.monotonicMs();
      while (!reached.has(milestone)) {
        if (failure !== null) throw failure;
        const left = heardAt + SILENCE_MS - clock.monotonicMs();
        if (left <= 0) {
          throw new StartRefused(
            `The new supervisor said nothing for ${SILENCE_MS / 1000} s.`,
            `Its log: ${deps.logFile}`,
          );
        }
        const woken = new AbortController();
        wake = () => woken.abort();
        await clock.sleep(left, woken.signal);
      }
    },
    release: () => {
      child.removeAllListeners();
      if (child.connected) child.disconnect();
      child.unref();
    },
    end: (graceMs) => {
      failure ??= new StartRefused("The upgrade was given up: the platform is being stopped.", "");
      wake();
      if (child.connected) child.send({ type: "giveUp" } satisfies ToSuccessor);
      else child.kill("SIGKILL");
      const over = async (role: RoleName): Promise<void> => {
        const deadline = clock.monotonicMs() + graceMs;
        const remains = (): boolean => roles[role] !== undefined && isAlive(roles[role]);
        while (!isGone && remains() && clock.monotonicMs() < deadline) await clock.sleep(20);
        if (!isGone && remains()) child.kill("SIGKILL");
        if (roles[role] !== undefined) await awaitEnd([roles[role]], clock);
      };
      return {
        controlGone: over("control"),
        gone: over("gateway").then(async () => {
          if (!isGone) await Promise.race([gone.promise, clock.sleep(LAST_WORDS_MS)]);
          child.kill("SIGKILL");
          await gone.promise;
        }),
      };
    },
  };
};

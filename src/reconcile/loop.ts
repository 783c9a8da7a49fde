/**
 * The loop that drives a reconciler. It knows no domain: keys go in, passes come out. A key is never in two passes at
 * once; a change during a pass leads to another pass after it, however many changes there were.
 *
 *   idle ──enqueue──→ queued ──→ running ──done───────────────→ idle
 *                       ↑           ├──again at T / threw ────→ waiting ──T or a change──→ queued
 *                       │           ├──terminal ──────────────→ parked (only a change queues it again)
 *                       └───────────┴── changed meanwhile
 *
 * Beside the changes a slow full pass queues every key. What it finds to do was missed by the changes, so that is
 * counted: on a healthy platform the counter stays where it is.
 */
import type { Clock } from "../core/clock.ts";
import type { Instant } from "../core/ids.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Pass } from "./pass.ts";

/** How a pass tells that it changed something; the words end up in the pass's log line. */
export interface Effects {
  did(what: string): void;
}

export type PassOutcome = Pass["kind"] | "failed";

export interface LoopMetrics {
  pass(loop: string, outcome: PassOutcome, durationMs: number): void;
  corrections(loop: string, count: number): void;
  queued(loop: string, count: number): void;
}

export interface LoopDeps<K extends string> {
  readonly name: string;
  /** Every key there is, for the full pass. */
  readonly keys: () => Promise<readonly K[]>;
  readonly pass: (key: K, signal: AbortSignal, effects: Effects) => Promise<Pass>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: LoopMetrics;
  /** 0 ≤ random < 1; spreads retries. */
  readonly random: () => number;
  /** Passes at the same time. */
  readonly concurrency: number;
  readonly fullPassMs?: number;
}

export interface Loop<K extends string> {
  /** Something about the key may have changed. */
  enqueue(key: K): void;
  /** Starts with a full pass. */
  start(): void;
  /** No new passes; aborts the signal of those that run and waits for them. */
  stop(): Promise<void>;
}

interface Item {
  state: "queued" | "running" | "waiting" | "parked";
  changed: boolean;
  /** Queued by the full pass alone, so what this pass does is a correction. */
  byFullPass: boolean;
  failures: number;
  timer: AbortController | null;
}

const FULL_PASS_MS = 30_000;
/** How often a pass that waits for a moment looks whether the wall clock was set. */
const CLOCK_LOOK_MS = 30_000;
const BACKOFF_FIRST_MS = 250;
const BACKOFF_MAX_MS = 60_000;

/** See the file header. */
export const createLoop = <K extends string>(deps: LoopDeps<K>): Loop<K> => {
  const { name, clock, metrics } = deps;
  const logger = deps.logger.child({ loop: name });
  const items = new Map<K, Item>();
  const queue: K[] = [];
  const running = new Set<Promise<void>>();
  const stopping = new AbortController();
  let passes = 0;
  let fullPass: Promise<void> = Promise.resolve();

  const enqueue = (key: K, byFullPass: boolean): void => {
    if (stopping.signal.aborted) return;
    const item = items.get(key);
    if (item === undefined) {
      items.set(key, { state: "queued", changed: false, byFullPass, failures: 0, timer: null });
      queue.push(key);
    } else if (item.state === "running") {
      item.changed ||= !byFullPass;
    } else if (item.state === "queued") {
      item.byFullPass &&= byFullPass;
    } else if (!byFullPass) {
      requeue(key, item, false);
    }
    drain();
  };

  const requeue = (key: K, item: Item, byFullPass: boolean): void => {
    item.timer?.abort();
    item.timer = null;
    item.state = "queued";
    item.byFullPass = byFullPass;
    queue.push(key);
  };

  const drain = (): void => {
    while (running.size < deps.concurrency && !stopping.signal.aborted) {
      const key = queue.shift();
      if (key === undefined) break;
      const item = items.get(key);
      if (item === undefined) continue;
      item.state = "running";
      item.changed = false;
      const work = run(key, item).finally(() => {
        running.delete(work);
        drain();
      });
      running.add(work);
    }
    metrics.queued(name, queue.length);
  };

  const run = async (key: K, item: Item): Promise<void> => {
    passes += 1;
    const passId = `${name}-${passes}`;
    const did: string[] = [];
    const from = clock.monotonicMs();
    const outcome = await attempt(key, did);
    const durationMs = clock.monotonicMs() - from;
    metrics.pass(name, outcome.kind, durationMs);
    if (item.byFullPass && did.length > 0) metrics.corrections(name, did.length);
    const fields = { passId, key, outcome: outcome.kind, did, durationMs };
    if (stopping.signal.aborted) {
      logger.debug(fields, "pass ended by the stop");
      return;
    }
    if (outcome.kind === "failed") {
      item.failures += 1;
      logger.error({ ...fields, failures: item.failures, err: outcome.error }, "pass failed");
      next(key, item, backoff(item.failures));
      return;
    }
    item.failures = 0;
    if (outcome.kind === "terminal") logger.warn({ ...fields, err: outcome.error }, "pass ended for good");
    else logger[did.length > 0 ? "info" : "debug"](fields, "pass");
    if (outcome.kind === "again") next(key, item, Math.max(0, outcome.at - clock.now()), outcome.at);
    else if (item.changed) requeue(key, item, false);
    else if (outcome.kind === "terminal") item.state = "parked";
    else items.delete(key);
  };

  const attempt = async (
    key: K,
    did: string[],
  ): Promise<Pass | { readonly kind: "failed"; readonly error: unknown }> => {
    try {
      return await deps.pass(key, stopping.signal, { did: (what) => did.push(what) });
    } catch (error) {
      return { kind: "failed", error };
    }
  };

  /**
   * Queues the key again after `delayMs`, or as soon as the wall clock shows `at`: a clock that is set forward makes a
   * schedule due. One that is set back does not make a short pause long: the pass looks at the clock itself.
   */
  const next = (key: K, item: Item, delayMs: number, at: Instant | null = null): void => {
    if (item.changed || delayMs === 0) return requeue(key, item, false);
    item.state = "waiting";
    const timer = new AbortController();
    item.timer = timer;
    const dueMs = clock.monotonicMs() + delayMs;
    const wait = async (): Promise<void> => {
      for (;;) {
        const leftMs = dueMs - clock.monotonicMs();
        if (timer.signal.aborted || leftMs <= 0 || (at !== null && clock.now() >= at)) return;
        await clock.sleep(at === null ? leftMs : Math.min(leftMs, CLOCK_LOOK_MS), timer.signal);
      }
    };
    void wait().then(() => {
      if (item.timer !== timer || stopping.signal.aborted) return;
      requeue(key, item, false);
      drain();
    });
  };

  const backoff = (failures: number): number => {
    const full = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** (failures - 1));
    return full / 2 + (full / 2) * deps.random();
  };

  const repeatFullPass = async (): Promise<void> => {
    let failures = 0;
    while (!stopping.signal.aborted) {
      let delayMs = deps.fullPassMs ?? FULL_PASS_MS;
      try {
        for (const key of await deps.keys()) enqueue(key, true);
        failures = 0;
      } catch (error) {
        failures += 1;
        delayMs = Math.min(delayMs, backoff(failures));
        logger.error({ err: error, failures }, "full pass failed");
      }
      await clock.sleep(delayMs, stopping.signal);
    }
  };

  return {
    enqueue: (key) => enqueue(key, false),
    start: () => {
      fullPass = repeatFullPass();
    },
    stop: async () => {
      stopping.abort();
      for (const item of items.values()) item.timer?.abort();
      await Promise.all([fullPass, ...running]);
    },
  };
};

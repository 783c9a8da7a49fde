/** Time as a dependency: everything that asks for the time or waits takes a Clock, so tests can own it. */
import type { Instant } from "./ids.ts";

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): Instant;
  /** Monotonic milliseconds, for durations; unaffected by changes of the wall clock. */
  monotonicMs(): number;
  /** Resolves after `ms`, or after 24 days if that is sooner; resolves early, without throwing, when `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/**
 * The service reconciler's view of wall times that are written down (when a deployment began, when a gateway was heard
 * of), so that a clock that is set by hours neither ends a deployment nor loses a gateway. Between two looks of one
 * process only monotonic time passes; the wall clock counts for what happened before the process saw it. In memory only:
 * a restart goes back to the wall clock.
 */
import type { Clock } from "../core/clock.ts";
import type { Instant, ServiceId } from "../core/ids.ts";
import { instant } from "../core/ids.ts";

export interface SteadyTime {
  /** Monotonic milliseconds since this was made. */
  ageMs(): number;
  /** What time it is for a deployment that began at `since`. */
  nowIn(id: ServiceId, since: Instant): Instant;
  forget(id: ServiceId): void;
  /** A moment such that whatever was written down in the last `ms` was written down after it. */
  ago(ms: number): Instant;
}

interface Begun {
  readonly since: Instant;
  /** How long it had lasted when it was first looked at, and when that was. */
  readonly lastedMs: number;
  readonly lookedAtMs: number;
}

/** See the file header. */
export const steadyTime = (clock: Clock): SteadyTime => {
  const startedMs = clock.monotonicMs();
  const begun = new Map<ServiceId, Begun>();
  // The furthest back the wall clock was seen: after a jump forward the older reading is the one that holds; what a jump
  // back makes too early costs a lost gateway's share of patience, never a prediction.
  let wallAheadMs = Number.POSITIVE_INFINITY;
  const look = (): void => {
    wallAheadMs = Math.min(wallAheadMs, clock.now() - clock.monotonicMs());
  };
  look();
  return {
    ageMs: () => clock.monotonicMs() - startedMs,
    nowIn: (id, since) => {
      let known = begun.get(id);
      if (known === undefined || known.since !== since) {
        known = {
          since,
          lastedMs: Math.max(0, clock.now() - since),
          lookedAtMs: clock.monotonicMs(),
        };
        begun.set(id, known);
      }
      return instant(since + known.lastedMs + Math.floor(clock.monotonicMs() - known.lookedAtMs));
    },
    forget: (id) => begun.delete(id),
    ago: (ms) => {
      look();
      return instant(Math.floor(clock.monotonicMs() + wallAheadMs - ms));
    },
  };
};

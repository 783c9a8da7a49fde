/** The machine's real clock. The only file that reads the time. */
import type { Clock } from "../core/clock.ts";
import { instant } from "../core/ids.ts";

/** Longest delay a timer can hold, 24 days; a longer one would fire at once. */
const SLEEP_MS_MAX = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => instant(Date.now()),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, Math.min(ms, SLEEP_MS_MAX));
      signal?.addEventListener("abort", done, { once: true });
    }),
};

/** One moment as any thread of this process can read it. */
export interface Moment {
  readonly hrtime: readonly [seconds: number, nanoseconds: number];
  readonly monotonicMs: number;
}

export const thisMoment = (): Moment => ({
  hrtime: process.hrtime(),
  monotonicMs: systemClock.monotonicMs(),
});

/** A clock whose monotonic time is that of the thread the moment comes from: `performance.now` is each thread's own. */
export const clockSince = (moment: Moment): Clock => {
  const [seconds, nanoseconds] = process.hrtime([...moment.hrtime]);
  const offset = moment.monotonicMs + seconds * 1e3 + nanoseconds / 1e6 - performance.now();
  return { ...systemClock, monotonicMs: () => performance.now() + offset };
};

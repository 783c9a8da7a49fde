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

/** Timers of the modelserver as a dependency: deadlines, back-off and grace periods, so that tests can own them. */
export interface Timers {
  /** Calls `fn` once after `ms`; the returned function cancels it. */
  after(ms: number, fn: () => void): () => void;
  /** Calls `fn` once everything that has already arrived was read. */
  soon(fn: () => void): void;
}

/** Longest delay that a timer of the platform can hold; longer ones would fire at once. */
const DELAY_MS_MAX = 2 ** 31 - 1;

export const systemTimers: Timers = {
  after: (ms, fn) => {
    const timer = setTimeout(fn, Math.min(ms, DELAY_MS_MAX));
    return () => clearTimeout(timer);
  },
  soon: (fn) => {
    setImmediate(fn);
  },
};

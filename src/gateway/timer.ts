/**
 * Socket-level timers as a dependency. The gateway sets and clears one per request, far below what Clock.sleep with
 * its promise and abort signal is made for; tests replace this to own the time.
 */
export type TimerHandle = { readonly cancel: () => void };

export interface Timer {
  /** Calls back once after `ms` unless cancelled before. Never keeps the process alive. */
  after(ms: number, callback: () => void): TimerHandle;
}

export const systemTimer: Timer = {
  after: (ms, callback) => {
    const timeout = setTimeout(callback, ms);
    timeout.unref();
    return { cancel: () => clearTimeout(timeout) };
  },
};

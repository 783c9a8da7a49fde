/**
 * A clock that tests own: time stands still until `advance`, which wakes sleepers in the order they are due and lets
 * what they start (also real I/O such as SQLite) get its turn before it goes on.
 */
import type { Clock } from "../../src/core/clock.ts";
import type { Instant } from "../../src/core/ids.ts";
import { instant } from "../../src/core/ids.ts";

export class FakeClock implements Clock {
  #now: number;
  /** How far the wall clock has been set away from where it was. */
  #setBy = 0;
  readonly #sleepers = new Set<{ readonly due: number; readonly wake: () => void }>();

  constructor(startMs = 1_800_000_000_000) {
    this.#now = startMs;
  }

  now(): Instant {
    return instant(this.#now + this.#setBy);
  }

  /** Sets the wall clock forward or back; monotonic time does not notice. */
  jump(ms: number): void {
    this.#setBy += ms;
  }

  monotonicMs(): number {
    return this.#now;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const wake = (): void => {
        this.#sleepers.delete(sleeper);
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      const sleeper = { due: this.#now + Math.max(0, ms), wake };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", wake, { once: true });
    });
  }

  /** How many are asleep; a test can check that nothing was left waiting. */
  get sleepers(): number {
    return this.#sleepers.size;
  }

  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await turns();
    for (;;) {
      const next = [...this.#sleepers].toSorted((a, b) => a.due - b.due)[0];
      if (next === undefined || next.due > end) break;
      this.#now = Math.max(this.#now, next.due);
      next.wake();
      await turns();
    }
    this.#now = end;
    await turns();
  }

  /** Advances in steps until the condition holds; fails after `limitMs` of its own time. */
  async until(condition: () => boolean | Promise<boolean>, limitMs = 120_000, stepMs = 50): Promise<void> {
    const end = this.#now + limitMs;
    for (;;) {
      await turns();
      if (await condition()) return;
      if (this.#now >= end) throw new Error(`the condition did not come true within ${limitMs} ms`);
      await this.advance(stepMs);
    }
  }
}

/** Lets pending promises and I/O callbacks run. */
const turns = async (): Promise<void> => {
  for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve));
};

/**
 * How fast a group works off its queue: completions per second while somebody waits, the last seconds weighing most.
 * Only that time counts, since what a group completes with nobody waiting says how much was asked of it, not how much
 * it can do.
 */

const WINDOW_MS = 5_000;

export class DrainRate {
  /** Completions, each weighing less the longer it is ago. */
  #count = 0;
  #at = 0;
  #beganAt = 0;

  /** The queue was empty and is not any more. */
  begin(now: number): void {
    this.#count = 0;
    this.#at = now;
    this.#beganAt = now;
  }

  completed(now: number): void {
    this.#count = this.#count * Math.exp((this.#at - now) / WINDOW_MS) + 1;
    this.#at = now;
  }

  /**
   * The most that can be true, per second: one completion more than were seen, in the time they were seen in. So a group
   * that completes nothing approaches 0, and one that has just begun is not yet judged (infinite).
   */
  perSecond(now: number): number {
    const weight = 1 - Math.exp((this.#beganAt - now) / WINDOW_MS);
    if (weight <= 0) return Number.POSITIVE_INFINITY;
    const count = this.#count * Math.exp((this.#at - now) / WINDOW_MS);
    return ((count + 1) * 1000) / (WINDOW_MS * weight);
  }
}

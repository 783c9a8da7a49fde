/** When an instance that ended by itself is started again: at once, then after pauses that grow while each ends soon. */

const PAUSES_MS = [0, 1000, 2000, 4000, 8000, 16_000, 30_000] as const;
/** Whoever served for that long begins at the first pause. */
const SERVED_WELL_MS = 60_000;

export class Restarts {
  #ends = 0;

  /** The pause before the next start, after one that served for so long. */
  pauseAfter(servedMs: number): number {
    if (servedMs >= SERVED_WELL_MS) this.#ends = 0;
    const pause = PAUSES_MS[Math.min(this.#ends, PAUSES_MS.length - 1)] ?? 0;
    this.#ends += 1;
    return pause;
  }

  /** What is started from now on is something else. */
  forget(): void {
    this.#ends = 0;
  }
}

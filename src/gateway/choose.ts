/**
 * Which version and which instance: pure choices over plain numbers, no state of their own. Admission (admit.ts) owns
 * the numbers and applies the result.
 */

/**
 * Picks by weight. `point` in [0, 1) says where on the line of stacked weights to look; -1 when all weights are 0.
 * Over evenly spread points each candidate is picked in exact proportion to its weight.
 */
export const chooseByWeight = (weights: readonly number[], point: number): number => {
  let total = 0;
  for (const weight of weights) total += weight;
  if (total <= 0) return -1;
  let left = point * total;
  let last = -1;
  for (const [index, weight] of weights.entries()) {
    if (weight <= 0) continue;
    last = index;
    left -= weight;
    if (left < 0) return index;
  }
  // Rounding can leave a trace of `left` at the far end of the line.
  return last;
};

/**
 * The next point for chooseByWeight. Steps by the golden ratio: any run of n points spreads over [0, 1) with a
 * discrepancy of O(log n / n), so a 90:10 split is 90:10 over tens of requests already, where random numbers need
 * thousands. The price, that the sequence is predictable, does not matter here.
 */
export const nextPoint = (point: number): number => (point + 0.618033988749895) % 1;

export interface Load {
  readonly inFlight: number;
  /** A connection to it was refused a moment ago. Used only when no other has room. */
  readonly isDown: boolean;
}

/**
 * The least loaded instance with room, or -1. Among equals the first at or after `start`, going round; the caller
 * starts the next search behind the last choice, so equals take turns.
 */
export const chooseInstance = (loads: readonly Load[], concurrency: number, start: number): number => {
  const count = loads.length;
  let best = -1;
  let bestLoad = concurrency;
  let bestDown = -1;
  let bestDownLoad = concurrency;
  for (let step = 0; step < count; step += 1) {
    const index = (start + step) % count;
    const load = loads[index];
    if (load === undefined) continue;
    if (load.isDown) {
      if (load.inFlight < bestDownLoad) {
        bestDown = index;
        bestDownLoad = load.inFlight;
      }
    } else if (load.inFlight < bestLoad) {
      best = index;
      bestLoad = load.inFlight;
      if (bestLoad === 0) break;
    }
  }
  return best >= 0 ? best : bestDown;
};

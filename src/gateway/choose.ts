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
  /** Requests it may have while another is up: no limit when it is up, a few while it recovers, 0 when it is out. */
  readonly allowed: number;
  /** 0 up, 1 recovering, from 2 on out: the order of hope (health-state.ts). */
  readonly rank: number;
}

/**
 * The least loaded instance with room, or -1. Among equals the first at or after `start`, going round; the caller
 * starts the next search behind the last choice, so equals take turns.
 *
 * With nothing up, what recovers is used to the full, and with everything out, what is out, the most hopeful first.
 * Refusing then would be certain to fail the caller, and would turn a machine that is slow for a moment (every probe
 * late) into an outage; trying costs a refused instance nothing, and on a silent one no more than the caller's own
 * deadline and a bounded number of slots.
 */
export const chooseInstance = (loads: readonly Load[], concurrency: number, start: number): number => {
  const count = loads.length;
  let best = -1;
  let bestLoad = concurrency;
  let lowestRank = Number.MAX_SAFE_INTEGER;
  let last = -1;
  let lastRank = Number.MAX_SAFE_INTEGER;
  let lastLoad = concurrency;
  for (let step = 0, index = start % count; step < count; step += 1, index += 1) {
    if (index === count) index = 0;
    const load = loads[index];
    if (load === undefined) continue;
    const { inFlight, rank } = load;
    if (rank < lowestRank) lowestRank = rank;
    if (inFlight >= concurrency) continue;
    if (inFlight < load.allowed) {
      if (inFlight >= bestLoad) continue;
      best = index;
      bestLoad = inFlight;
      if (inFlight === 0) break;
    } else if (rank < lastRank || (rank === lastRank && inFlight < lastLoad)) {
      last = index;
      lastRank = rank;
      lastLoad = inFlight;
    }
  }
  if (best >= 0) return best;
  // While one is up, or one recovers, the worse wait: it will have room again.
  return lowestRank === 0 || (lowestRank === 1 && lastRank > 1) ? -1 : last;
};

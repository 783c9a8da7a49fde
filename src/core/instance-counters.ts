/**
 * What an instance tells of itself besides its health (core/launch.ts): counts since its start, for metrics. Every list
 * is fixed, so that an instance can add values but never names.
 */
export const STEPS = ["preprocess", "inference", "postprocess"] as const;
export type Step = (typeof STEPS)[number];

export const PREDICTION_OUTCOMES = ["answer", "failed", "timeout", "crashed", "unavailable"] as const;

/** Upper limits of the buckets, ms; one more bucket holds what is above. */
export const STEP_BUCKETS_MS = [0.1, 0.5, 1, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000] as const;

export interface InstanceCounters {
  /** Predictions that wait for a worker. */
  readonly queued: number;
  readonly workers: number;
  readonly busyWorkers: number;
  readonly workerRestarts: number;
  /** In the order of PREDICTION_OUTCOMES. */
  readonly predictions: readonly number[];
  /** In the order of STEPS: a count per bucket, and the sum. */
  readonly steps: readonly { readonly buckets: readonly number[]; readonly sumMs: number }[];
}

const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isFinite(value) && value >= 0;

const isCounts = (value: unknown, length: number): value is readonly number[] =>
  Array.isArray(value) && value.length === length && value.every(isCount);

/** Null for anything that is not what an instance of this release tells. */
export const parseInstanceCounters = (value: unknown): InstanceCounters | null => {
  if (typeof value !== "object" || value === null) return null;
  const given = value as Partial<Record<keyof InstanceCounters, unknown>>;
  const { queued, workers, busyWorkers, workerRestarts, predictions, steps } = given;
  if (!isCount(queued) || !isCount(workers) || !isCount(busyWorkers) || !isCount(workerRestarts)) return null;
  if (!isCounts(predictions, PREDICTION_OUTCOMES.length)) return null;
  if (!Array.isArray(steps) || steps.length !== STEPS.length) return null;
  const read = steps.map((step: { buckets?: unknown; sumMs?: unknown } | null) => {
    const buckets = step?.buckets;
    const sumMs = step?.sumMs;
    return isCounts(buckets, STEP_BUCKETS_MS.length + 1) && isCount(sumMs) ? { buckets, sumMs } : null;
  });
  const whole = read.filter((step) => step !== null);
  return whole.length === STEPS.length
    ? { queued, workers, busyWorkers, workerRestarts, predictions, steps: whole }
    : null;
};

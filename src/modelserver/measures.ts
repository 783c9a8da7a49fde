/**
 * What an instance counts for metrics, as plain numbers: predictions by outcome, and how long each step of the user's
 * code took. Kept since the instance's start and told with its health.
 */
import { PREDICTION_OUTCOMES, STEPS, STEP_BUCKETS_MS } from "../core/instance-counters.ts";
import type { InstanceCounters } from "../core/instance-counters.ts";
import type { JobOutcome } from "./jobs.ts";

/** Where the steps lie in a worker's `stepsUs`: behind what came before them. */
const FIRST_STEP = 1;
const PARTS_MAX = STEPS.length + 2;

/** One step of a prediction by the worker's own clock, counted from when it got the request. */
export interface StepTime {
  readonly name: (typeof STEPS)[number];
  readonly startMs: number;
  readonly endMs: number;
}

export interface StepTimes {
  /** How long the worker had the request. */
  readonly totalMs: number;
  readonly steps: readonly StepTime[];
}

/** Null when the worker told none, or something else: user code holds the other end of the connection. */
export const readStepTimes = (stepsUs: unknown): StepTimes | null => {
  if (!Array.isArray(stepsUs) || stepsUs.length < 2 || stepsUs.length > PARTS_MAX) return null;
  const steps: StepTime[] = [];
  let atUs = 0;
  for (const [index, part] of (stepsUs as readonly unknown[]).entries()) {
    if (typeof part !== "number" || !Number.isFinite(part) || part < 0) return null;
    const name = STEPS[index - FIRST_STEP];
    if (index >= FIRST_STEP && name !== undefined) {
      steps.push({ name, startMs: atUs / 1000, endMs: (atUs + part) / 1000 });
    }
    atUs += part;
  }
  return { totalMs: atUs / 1000, steps };
};

export class Measures {
  readonly #predictions = PREDICTION_OUTCOMES.map(() => 0);
  readonly #steps = STEPS.map(() => ({ buckets: STEP_BUCKETS_MS.map(() => 0).concat(0), sumMs: 0 }));

  count(outcome: JobOutcome["kind"], times: StepTimes | null): void {
    const at = PREDICTION_OUTCOMES.indexOf(outcome);
    this.#predictions[at] = (this.#predictions[at] ?? 0) + 1;
    for (const { name, startMs, endMs } of times?.steps ?? []) {
      const step = this.#steps[STEPS.indexOf(name)];
      if (step === undefined) continue;
      const ms = endMs - startMs;
      let bucket = 0;
      while (bucket < STEP_BUCKETS_MS.length && ms > (STEP_BUCKETS_MS[bucket] ?? 0)) bucket += 1;
      step.buckets[bucket] = (step.buckets[bucket] ?? 0) + 1;
      step.sumMs += ms;
    }
  }

  read(): Pick<InstanceCounters, "predictions" | "steps"> {
    return { predictions: this.#predictions, steps: this.#steps };
  }
}

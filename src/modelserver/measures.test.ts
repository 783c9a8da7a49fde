import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PREDICTION_OUTCOMES, STEP_BUCKETS_MS, parseInstanceCounters } from "../core/instance-counters.ts";
import { Measures, readStepTimes } from "./measures.ts";

describe("the times a worker tells", () => {
  test("become steps one after the other, behind what came before them", () => {
    expect(readStepTimes([1_000, 2_000, 3_000, 4_000, 500])).toEqual({
      totalMs: 10.5,
      steps: [
        { name: "preprocess", startMs: 1, endMs: 3 },
        { name: "inference", startMs: 3, endMs: 6 },
        { name: "postprocess", startMs: 6, endMs: 10 },
      ],
    });
  });

  test("end with the step that failed", () => {
    expect(readStepTimes([1_000, 2_000, 3_000])?.steps.map((step) => step.name)).toEqual([
      "preprocess",
      "inference",
    ]);
  });

  test("are nothing when they are not what our worker sends", () => {
    for (const odd of [
      undefined,
      null,
      [],
      [1],
      "12",
      [1, -1],
      [1, Number.NaN],
      [1, "2"],
      [1, 2, 3, 4, 5, 6],
    ]) {
      expect(readStepTimes(odd)).toBeNull();
    }
  });
});

test("counts go to control unchanged: each prediction once, each step in one bucket", () => {
  const times = fc.array(fc.nat(20_000_000), { minLength: 2, maxLength: 5 });
  const one = fc.record({ outcome: fc.constantFrom(...PREDICTION_OUTCOMES), stepsUs: times });
  fc.assert(
    fc.property(fc.array(one, { maxLength: 50 }), (predictions) => {
      const measures = new Measures();
      for (const { outcome, stepsUs } of predictions) measures.count(outcome, readStepTimes(stepsUs));
      const told = { queued: 0, workers: 1, busyWorkers: 0, workerRestarts: 0, ...measures.read() };
      const read = parseInstanceCounters(JSON.parse(JSON.stringify(told)));
      expect(read).toEqual(told);
      expect(read?.predictions.reduce((sum, count) => sum + count, 0)).toBe(predictions.length);
      for (const [index, step] of (read?.steps ?? []).entries()) {
        const counted = predictions.filter(({ stepsUs }) => stepsUs.length > index + 1).length;
        expect(step.buckets.reduce((sum, count) => sum + count, 0)).toBe(counted);
      }
    }),
  );
});

test("counters that an instance made up are not believed", () => {
  const measures = new Measures().read();
  const good = { queued: 0, workers: 1, busyWorkers: 0, workerRestarts: 0, ...measures };
  expect(parseInstanceCounters(good)).toEqual(good);
  const bad = [
    null,
    "counters",
    { ...good, queued: -1 },
    { ...good, workers: "1" },
    { ...good, predictions: [1] },
    { ...good, steps: [] },
    { ...good, steps: [null, null, null] },
    { ...good, steps: good.steps.map((step) => ({ ...step, buckets: STEP_BUCKETS_MS.map(() => 0) })) },
  ];
  for (const one of bad) expect(parseInstanceCounters(one), JSON.stringify(one)).toBeNull();
});

import fc from "fast-check";
import { expect, test } from "vitest";
import type { Load } from "./choose.ts";
import { chooseByWeight, chooseInstance, nextPoint } from "./choose.ts";

const weights = fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 1, maxLength: 8 });

test("a weight of 0 is never chosen, and something is chosen when any weight is not 0", () => {
  fc.assert(
    fc.property(weights, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (all, point) => {
      const index = chooseByWeight(all, point);
      if (all.every((weight) => weight === 0)) expect(index).toBe(-1);
      else expect(all[index]).toBeGreaterThan(0);
    }),
  );
});

test("any run of requests splits by weight to within a few, from any starting point", () => {
  fc.assert(
    fc.property(
      weights.filter((all) => all.some((weight) => weight > 0)),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.integer({ min: 1, max: 400 }),
      (all, start, requests) => {
        const total = all.reduce((sum, weight) => sum + weight, 0);
        const counts = all.map(() => 0);
        let point = start;
        for (let n = 0; n < requests; n += 1) {
          point = nextPoint(point);
          const index = chooseByWeight(all, point);
          counts[index] = (counts[index] ?? 0) + 1;
        }
        for (const [index, weight] of all.entries()) {
          expect(Math.abs((counts[index] ?? 0) - (requests * weight) / total)).toBeLessThan(5);
        }
      },
    ),
  );
});

const UP = Number.MAX_SAFE_INTEGER;
const standing = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ allowed: UP, rank: 0 }) },
  { weight: 1, arbitrary: fc.record({ allowed: fc.integer({ min: 1, max: 12 }), rank: fc.constant(1) }) },
  { weight: 2, arbitrary: fc.record({ allowed: fc.constant(0), rank: fc.integer({ min: 2, max: 5 }) }) },
);
const loads = fc.array(
  fc.tuple(fc.nat(12), standing).map(([inFlight, one]): Load => ({ inFlight, ...one })),
  { minLength: 1, maxLength: 50 },
);

test("chooses the least loaded that is open; a full one never; one that is out or at its allowance only for want of better", () => {
  fc.assert(
    fc.property(loads, fc.integer({ min: 1, max: 12 }), fc.nat(60), (all, concurrency, start) => {
      const index = chooseInstance(all, concurrency, start);
      const chosen = all[index];
      const open = all.filter((load) => load.inFlight < Math.min(concurrency, load.allowed));
      if (open.length > 0) {
        expect(chosen !== undefined && open.includes(chosen)).toBe(true);
        expect(chosen?.inFlight).toBe(Math.min(...open.map((load) => load.inFlight)));
        return;
      }
      const best = Math.min(...all.map((load) => load.rank));
      const roomy = all.filter((load) => load.inFlight < concurrency);
      const hopeful = best === 0 ? [] : best === 1 ? roomy.filter((load) => load.rank === 1) : roomy;
      if (hopeful.length === 0) {
        expect(index).toBe(-1);
        return;
      }
      const rank = Math.min(...hopeful.map((load) => load.rank));
      const first = hopeful.filter((load) => load.rank === rank);
      expect(chosen !== undefined && first.includes(chosen)).toBe(true);
      expect(chosen?.inFlight).toBe(Math.min(...first.map((load) => load.inFlight)));
    }),
    { numRuns: 500 },
  );
});

test("equals take turns: after any number of requests no instance has had two more than another", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), fc.nat(60), fc.nat(300), (count, start, requests) => {
      const all = Array.from({ length: count }, () => ({ inFlight: 0, allowed: UP, rank: 0 }));
      const counts = all.map(() => 0);
      let next = start % count;
      for (let n = 0; n < requests; n += 1) {
        const index = chooseInstance(all, 1, next);
        counts[index] = (counts[index] ?? 0) + 1;
        next = (index + 1) % count;
      }
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    }),
  );
});

test("whatever the instances' speeds, a request goes where nobody has less to do, and none is left without", () => {
  const world = fc
    .array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 50 })
    .chain((durations) =>
      fc.record({
        durations: fc.constant(durations),
        concurrency: fc.integer({ min: 1, max: 16 }),
        arrivals: fc.array(fc.nat(12), { minLength: 40, maxLength: 80 }),
      }),
    );
  fc.assert(
    fc.property(world, ({ durations, concurrency, arrivals }) => {
      const all = durations.map(() => ({ inFlight: 0, allowed: UP, rank: 0 }));
      const admitted = durations.map(() => 0);
      const ends: { at: number; index: number }[] = [];
      let next = 0;
      for (const [now, many] of arrivals.entries()) {
        for (let one = ends.findIndex((end) => end.at <= now); one >= 0;) {
          const [end] = ends.splice(one, 1);
          const load = all[end?.index ?? -1];
          if (load !== undefined) load.inFlight -= 1;
          one = ends.findIndex((other) => other.at <= now);
        }
        for (let n = 0; n < many; n += 1) {
          const index = chooseInstance(all, concurrency, next);
          const load = all[index];
          if (load === undefined) {
            expect(all.every(({ inFlight }) => inFlight >= concurrency)).toBe(true);
            break;
          }
          load.inFlight += 1;
          // With its own request it has at most one more than the least loaded.
          expect(load.inFlight - Math.min(...all.map(({ inFlight }) => inFlight))).toBeLessThanOrEqual(1);
          expect(load.inFlight).toBeLessThanOrEqual(concurrency);
          admitted[index] = (admitted[index] ?? 0) + 1;
          next = (index + 1) % all.length;
          ends.push({ at: now + (durations[index] ?? 1), index });
        }
      }
      const total = admitted.reduce((sum, count) => sum + count, 0);
      if (total >= all.length) expect(Math.min(...admitted)).toBeGreaterThan(0);
    }),
  );
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { chooseByWeight, chooseInstance, nextPoint } from "./choose.ts";

const weights = fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 1, maxLength: 8 });
const loads = fc.array(fc.record({ inFlight: fc.nat(12), isDown: fc.boolean() }), {
  minLength: 1,
  maxLength: 50,
});

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

test("an instance without room is never chosen; the least loaded that is up is, a down one only for want of others", () => {
  fc.assert(
    fc.property(loads, fc.integer({ min: 1, max: 12 }), fc.nat(60), (all, concurrency, start) => {
      const index = chooseInstance(all, concurrency, start);
      const roomy = all.filter((load) => load.inFlight < concurrency);
      const up = roomy.filter((load) => !load.isDown);
      const pool = up.length > 0 ? up : roomy;
      if (pool.length === 0) {
        expect(index).toBe(-1);
        return;
      }
      const chosen = all[index];
      expect(chosen !== undefined && pool.includes(chosen)).toBe(true);
      expect(chosen?.inFlight).toBe(Math.min(...pool.map((load) => load.inFlight)));
    }),
  );
});

test("equals take turns: over n rounds of n equal instances each is chosen n times", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), fc.nat(60), (count, start) => {
      const all = Array.from({ length: count }, () => ({ inFlight: 0, isDown: false }));
      const counts = all.map(() => 0);
      let next = start % count;
      for (let n = 0; n < count * count; n += 1) {
        const index = chooseInstance(all, 1, next);
        counts[index] = (counts[index] ?? 0) + 1;
        next = (index + 1) % count;
      }
      expect(counts).toEqual(counts.map(() => count));
    }),
  );
});

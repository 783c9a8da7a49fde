/**
 * Random sequences of everything that can happen to a service, with its invariants looked at after every step
 * (test/support/service-machine.ts). MACHINE_MS=600000 lets it search for that long instead of 15 s; MACHINE_SEED
 * repeats a search. A failure prints the shortest sequence that was found.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { ServiceMachine } from "../../test/support/service-machine.ts";
import type { Action, Wish } from "../../test/support/service-actions.ts";

const SEARCH_MS = Number(process.env["MACHINE_MS"] ?? 15_000);
const SEED = process.env["MACHINE_SEED"];

const wish: fc.Arbitrary<Wish> = fc.record({
  versions: fc.constantFrom(1, 2),
  first: fc.constantFrom(0, 1, 2),
  count: fc.integer({ min: 1, max: 3 }),
  weight: fc.constantFrom(0, 1, 50, 90, 100),
  unavailable: fc.constantFrom(0, 0, 1),
  surge: fc.constantFrom(1, 2),
  way: fc.constantFrom("ready", "ready", "ready", "slow", "fail", "flaky", "hang"),
});

const pick = fc.nat(8);
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("configure"), wish }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("deploy"), wish }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("scale"), count: fc.integer({ min: 1, max: 4 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom("stop", "start", "start", "restart", "describe") }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("delete") }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom("crash", "pause", "resume"), pick }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("wait"),
      ms: fc.constantFrom(10, 120, 400, 1500, 5000, 40_000, 190_000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("control"), downMs: fc.constantFrom(0, 200, 3000, 60_000) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("gateway"),
      which: fc.constantFrom(0, 1),
      mode: fc.constantFrom("follows", "lags", "gone"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("environment"), there: fc.boolean() }) },
) as fc.Arbitrary<Action>;

const play = async (first: Wish, actions: readonly Action[]): Promise<void> => {
  const machine = await new ServiceMachine().open();
  try {
    await machine.play({ kind: "deploy", wish: first });
    for (const next of actions) await machine.play(next);
    await machine.converge();
  } finally {
    await machine.close();
  }
};

test(
  "whatever happens to a service in whatever order, its invariants hold after every step",
  async () => {
    await fc.assert(fc.asyncProperty(wish, fc.array(action, { maxLength: 25, size: "max" }), play), {
      numRuns: 1_000_000,
      interruptAfterTimeLimit: SEARCH_MS,
      ...(SEED === undefined ? {} : { seed: Number(SEED) }),
    });
  },
  SEARCH_MS * 3 + 60_000,
);

/** Sequences that broke an invariant once. */
const KNOWN: Readonly<Record<string, readonly [Wish, ...Action[]]>> = {
  "a standby without weight does not stand for the version that serves while both are replaced": [
    { versions: 2, first: 0, count: 3, weight: 100, unavailable: 0, surge: 1, way: "ready" },
    { kind: "wait", ms: 190_000 },
    { kind: "restart" },
    { kind: "wait", ms: 40_000 },
    { kind: "wait", ms: 1500 },
  ],
};

for (const [name, [first, ...actions]] of Object.entries(KNOWN))
  test(name, async () => {
    await expect(play(first, actions)).resolves.toBeUndefined();
  });

import pino from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FakeClock } from "../../test/support/clock.ts";
import { fail } from "../core/errors.ts";
import { instant } from "../core/ids.ts";
import type { Change } from "../store/store.ts";
import { followChanges } from "./follow.ts";
import type { Effects, Loop, PassOutcome } from "./loop.ts";
import { createLoop } from "./loop.ts";
import type { Pass } from "./pass.ts";

const logger = pino({ level: "silent" });
const DONE: Pass = { kind: "done" };

describe("the loop", () => {
  let clock: FakeClock;
  let loop: Loop<string>;
  let keys: () => Promise<readonly string[]>;
  let pass: (key: string, signal: AbortSignal, effects: Effects) => Promise<Pass>;
  let outcomes: PassOutcome[];
  let corrections: number;

  beforeEach(() => {
    clock = new FakeClock();
    keys = () => Promise.resolve([]);
    pass = () => Promise.resolve(DONE);
    outcomes = [];
    corrections = 0;
    loop = createLoop({
      name: "test",
      keys: () => keys(),
      pass: (key, signal, effects) => pass(key, signal, effects),
      clock,
      logger,
      random: () => 0,
      concurrency: 2,
      metrics: {
        pass: (_loop, outcome) => outcomes.push(outcome),
        corrections: (_loop, n) => {
          corrections += n;
        },
        queued: () => undefined,
      },
    });
  });
  afterEach(async () => {
    await loop.stop();
    expect(clock.sleepers).toBe(0);
  });

  test("makes one pass of many changes, and one more for any number of changes during it", async () => {
    const gate = Promise.withResolvers<void>();
    let passes = 0;
    pass = async () => {
      passes += 1;
      if (passes === 1) await gate.promise;
      return DONE;
    };
    loop.enqueue("a");
    loop.enqueue("a");
    await clock.advance(0);
    for (let i = 0; i < 5; i += 1) loop.enqueue("a");
    expect(passes).toBe(1);
    gate.resolve();
    await clock.advance(0);
    expect(passes).toBe(2);
  });

  test("never has more passes at once than allowed, and gets to every key", async () => {
    let now = 0;
    let most = 0;
    const seen = new Set<string>();
    pass = async (key) => {
      now += 1;
      most = Math.max(most, now);
      await clock.sleep(10);
      now -= 1;
      seen.add(key);
      return DONE;
    };
    for (let i = 0; i < 9; i += 1) loop.enqueue(`k${i}`);
    await clock.advance(1000);
    expect(most).toBe(2);
    expect(seen.size).toBe(9);
  });

  test("comes back when a pass asks for it, and earlier when something changes", async () => {
    const at: number[] = [];
    const begin = clock.now();
    pass = () => {
      at.push(clock.now() - begin);
      return Promise.resolve(at.length === 3 ? DONE : { kind: "again", at: instant(clock.now() + 1000) });
    };
    loop.enqueue("a");
    await clock.advance(1500);
    loop.enqueue("a");
    await clock.advance(5000);
    expect(at).toEqual([0, 1000, 1500]);
  });

  test("retries what threw with growing delays, and starts over after a success", async () => {
    const at: number[] = [];
    const begin = clock.now();
    pass = () => {
      at.push(clock.now() - begin);
      if (at.length <= 3) throw new Error("no luck");
      return Promise.resolve(DONE);
    };
    loop.enqueue("a");
    await clock.advance(10_000);
    expect(at).toEqual([0, 125, 375, 875]);
    expect(outcomes).toEqual(["failed", "failed", "failed", "done"]);
  });

  test("leaves what ended for good alone until something changes, also in full passes", async () => {
    keys = () => Promise.resolve(["a"]);
    pass = () => Promise.resolve({ kind: "terminal", error: fail("INTERNAL", {}) });
    loop.start();
    await clock.advance(100_000);
    expect(outcomes).toEqual(["terminal"]);
    loop.enqueue("a");
    await clock.advance(0);
    expect(outcomes).toHaveLength(2);
  });

  test("repairs in its full pass what no change announced, and counts it", async () => {
    let isBroken = false;
    keys = () => Promise.resolve(["a"]);
    pass = (_key, _signal, effects) => {
      if (isBroken) effects.did("repair");
      isBroken = false;
      return Promise.resolve(DONE);
    };
    loop.start();
    await clock.advance(31_000);
    expect(corrections).toBe(0);
    isBroken = true;
    await clock.advance(31_000);
    expect(corrections).toBe(1);
    isBroken = true;
    loop.enqueue("a");
    await clock.advance(0);
    expect(corrections).toBe(1);
  });

  test("goes on with full passes after one could not list its keys", async () => {
    let asked = 0;
    keys = () => {
      asked += 1;
      return asked === 1 ? Promise.reject(new Error("database away")) : Promise.resolve(["a"]);
    };
    loop.start();
    await clock.advance(1000);
    expect(outcomes).toEqual(["done"]);
  });

  test("stops by telling passes, waiting for them and starting none", async () => {
    let isOver = false;
    pass = async (_key, signal) => {
      await clock.sleep(1e9, signal);
      isOver = signal.aborted;
      return DONE;
    };
    loop.enqueue("a");
    await clock.advance(0);
    await loop.stop();
    expect(isOver).toBe(true);
    loop.enqueue("b");
    await clock.advance(1000);
    expect(outcomes).toHaveLength(1);
  });
});

describe("following the change log", () => {
  test("hands over every change once, from the moment it starts, and survives a failing read", async () => {
    const clock = new FakeClock();
    const rows: Change[] = [{ seq: 1, kind: "service", id: "old" }];
    let listener: () => void = () => undefined;
    let failures = 1;
    const seen: string[] = [];
    const following = await followChanges({
      clock,
      logger,
      onChange: (change) => seen.push(change.id),
      changes: {
        head: () => Promise.resolve(rows.length),
        after: (seq, limit) => {
          failures -= 1;
          if (failures === 0) return Promise.reject(new Error("database away"));
          return Promise.resolve(rows.filter((r) => r.seq > seq).slice(0, limit));
        },
        onChange: (call) => {
          listener = call;
          return () => (listener = () => undefined);
        },
        prune: () => Promise.resolve(),
      },
    });
    for (let seq = 2; seq <= 1200; seq += 1) rows.push({ seq, kind: "service", id: `s${seq}` });
    listener();
    await clock.advance(5000);
    listener();
    await clock.advance(0);
    expect(seen).toHaveLength(1199);
    expect(seen[0]).toBe("s2");
    await following.stop();
    expect(clock.sleepers).toBe(0);
  });
});

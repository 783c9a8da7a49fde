import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { GroupId, ModelId } from "./ids.ts";
import { instant } from "./ids.ts";
import type { GroupCounts, RolloutInput, RolloutTarget } from "./rollout.ts";
import { planRollout } from "./rollout.ts";
import type { Failure, RevisionEntry } from "./service.ts";

const gid = (id: string): GroupId => id as GroupId;

const entry = (group: string, patch: Partial<RevisionEntry> = {}): RevisionEntry => ({
  groupId: gid(group),
  modelId: `model-${group}` as ModelId,
  modelName: "m",
  modelVersion: group,
  weight: 100,
  specification: "s",
  customSpec: null,
  instanceCount: 2,
  envs: {},
  deployTimeout: null,
  maxSurge: 1,
  maxUnavailable: 0,
  terminationGracePeriodSeconds: 240,
  ...patch,
});

const counts = (patch: Partial<GroupCounts> = {}): GroupCounts => ({
  ready: 0,
  starting: 0,
  draining: 0,
  failed: 0,
  failuresInARow: 0,
  lastFailure: null,
  ...patch,
});

const boom: Failure = { reason: "load-failed", message: "ValueError: no such file" };

const input = (
  patch: Partial<RolloutInput> & { seen?: Record<string, Partial<GroupCounts>> },
): RolloutInput => ({
  mode: "run",
  wanted: { number: 1, entries: [entry("a")] },
  serving: null,
  observed: new Map(Object.entries(patch.seen ?? {}).map(([id, c]) => [gid(id), counts(c)])),
  blocked: new Map(),
  loading: new Set(),
  since: instant(0),
  timeoutMs: 1_200_000,
  now: instant(1000),
  ...patch,
});

const one = (group: string, patch: Partial<RevisionEntry> = {}, number = 2): RolloutTarget => ({
  number,
  entries: [entry(group, patch)],
});

describe("a first deployment", () => {
  test("starts every instance at once and is ready when all are", () => {
    const plan = planRollout(input({}));
    expect(plan.replicas.get(gid("a"))).toBe(2);
    expect(plan.outcome).toMatchObject({ kind: "progressing", progress: 10 });
    const done = planRollout(input({ seen: { a: { ready: 2 } } }));
    expect(done.outcome).toEqual({ kind: "ready" });
    expect(done.weights).toEqual(new Map([[gid("a"), 100]]));
  });

  test("fails with the instance's own reason after two failed starts and leaves nothing wanted", () => {
    const plan = planRollout(input({ seen: { a: { failuresInARow: 2, lastFailure: boom, starting: 1 } } }));
    expect(plan.outcome).toMatchObject({ kind: "failed", failed: { failure: boom } });
    expect(plan.replicas.get(gid("a"))).toBe(0);
    expect(plan.weights.size).toBe(0);
  });

  test("survives a single failed start", () => {
    const plan = planRollout(input({ seen: { a: { failuresInARow: 1, lastFailure: boom } } }));
    expect(plan.outcome.kind).toBe("progressing");
  });

  test("fails when the deploy timeout passes, naming the last failure", () => {
    const late = input({
      seen: { a: { ready: 1, failuresInARow: 1, lastFailure: boom } },
      now: instant(20 * 60_000),
    });
    const plan = planRollout(late);
    expect(plan.outcome).toMatchObject({
      kind: "failed",
      failed: { failure: { reason: "start-timeout", message: expect.stringContaining(boom.message) } },
    });
  });

  test("counts as ready even when the control role was away past the timeout", () => {
    expect(planRollout(input({ seen: { a: { ready: 2 } }, now: instant(1e9) })).outcome.kind).toBe("ready");
  });

  test("fails at once when the model or its environment is gone", () => {
    const plan = planRollout(input({ blocked: new Map([[gid("a"), boom]]) }));
    expect(plan.outcome.kind).toBe("failed");
  });
});

describe("an update", () => {
  const serving = one("a", {}, 1);
  const wanted = one("b", {}, 2);

  test("sends nothing to a revision of which one version never was ready because the update itself gave an old instance up", () => {
    const two = {
      number: 2,
      entries: [
        entry("b", { weight: 50, instanceCount: 1, maxUnavailable: 1 }),
        entry("c", { weight: 50, instanceCount: 1 }),
      ],
    };
    const given = input({
      serving,
      wanted: two,
      seen: { a: { ready: 1 }, b: { ready: 1 }, c: { starting: 1 } },
    });
    expect(planRollout(given).weights).toEqual(new Map([[gid("a"), 100]]));
    const lost = input({
      serving,
      wanted: two,
      seen: { a: { ready: 0 }, b: { ready: 1 }, c: { starting: 1 } },
    });
    expect(planRollout(lost).weights).toEqual(new Map([[gid("b"), 100]]));
  });

  test("keeps the old instances until new ones are ready", () => {
    const plan = planRollout(input({ serving, wanted, seen: { a: { ready: 2 } } }));
    expect(plan.replicas).toEqual(
      new Map([
        [gid("a"), 2],
        [gid("b"), 1],
      ]),
    );
    expect(plan.weights).toEqual(new Map([[gid("a"), 100]]));
  });

  test("gives up one old instance for one new one and moves the traffic along", () => {
    const plan = planRollout(input({ serving, wanted, seen: { a: { ready: 2 }, b: { ready: 1 } } }));
    expect(plan.replicas).toEqual(
      new Map([
        [gid("a"), 1],
        [gid("b"), 2],
      ]),
    );
    expect(plan.weights).toEqual(
      new Map([
        [gid("a"), 50],
        [gid("b"), 50],
      ]),
    );
  });

  test("starts all new instances at once when the surge allows it", () => {
    const fast = one("b", { maxSurge: 1.0 * 2 }, 2);
    expect(
      planRollout(input({ serving, wanted: fast, seen: { a: { ready: 2 } } })).replicas.get(gid("b")),
    ).toBe(2);
  });

  test("never gives up the last ready instance before a new one is ready, whatever max_unavailable says", () => {
    const rough = one("b", { instanceCount: 1, maxUnavailable: 1 }, 2);
    const plan = planRollout(
      input({ serving: one("a", { instanceCount: 1 }, 1), wanted: rough, seen: { a: { ready: 1 } } }),
    );
    expect(plan.replicas.get(gid("a"))).toBe(1);
  });

  test("goes back to the serving revision when the new one fails, restoring its instances", () => {
    const plan = planRollout(
      input({
        serving,
        wanted,
        seen: { a: { ready: 1 }, b: { ready: 0, failuresInARow: 2, lastFailure: boom } },
      }),
    );
    expect(plan.outcome).toMatchObject({ kind: "rolled-back", to: 1, failed: { failure: boom } });
    expect(plan.replicas).toEqual(
      new Map([
        [gid("a"), 2],
        [gid("b"), 0],
      ]),
    );
    expect(plan.weights).toEqual(new Map([[gid("a"), 100]]));
  });

  test("does not restart groups that both revisions share, only scales them", () => {
    const scaled = one("a", { instanceCount: 4 }, 2);
    const plan = planRollout(input({ serving, wanted: scaled, seen: { a: { ready: 2 } } }));
    expect(plan.replicas).toEqual(new Map([[gid("a"), 4]]));
    expect(plan.weights).toEqual(new Map([[gid("a"), 100]]));
  });

  test("gives no traffic to a new version before all of its revision's versions have a ready instance", () => {
    const two = {
      number: 2,
      entries: [entry("b", { weight: 50, instanceCount: 1 }), entry("c", { weight: 50, instanceCount: 1 })],
    };
    const half = planRollout(input({ serving, wanted: two, seen: { a: { ready: 2 }, b: { ready: 1 } } }));
    expect(half.weights).toEqual(new Map([[gid("a"), 100]]));
    expect(half.replicas.get(gid("c"))).toBe(1);
    const full = planRollout(
      input({ serving, wanted: two, seen: { a: { ready: 2 }, b: { ready: 1 }, c: { ready: 1 } } }),
    );
    expect(full.outcome.kind).toBe("ready");
    expect(full.weights).toEqual(
      new Map([
        [gid("b"), 50],
        [gid("c"), 50],
      ]),
    );
  });

  test("drops what a skipped revision had started and keeps what it had ready until it is replaced", () => {
    const third = one("c", {}, 3);
    const plan = planRollout(
      input({ serving, wanted: third, seen: { a: { ready: 1 }, b: { ready: 1, starting: 1 } } }),
    );
    expect(plan.replicas).toEqual(
      new Map([
        [gid("b"), 1],
        [gid("a"), 1],
        [gid("c"), 1],
      ]),
    );
    const empty = planRollout(
      input({ serving, wanted: third, seen: { a: { ready: 2 }, b: { starting: 2 } } }),
    );
    expect(empty.replicas.get(gid("b"))).toBe(0);
  });
});

describe("a service that serves", () => {
  const serving = {
    number: 1,
    entries: [entry("a", { weight: 90, instanceCount: 1 }), entry("b", { weight: 10, instanceCount: 1 })],
  };

  test("hands the share of a version without instances to those that can serve", () => {
    const plan = planRollout(
      input({ serving, wanted: serving, seen: { b: { ready: 1 }, a: { starting: 1 } } }),
    );
    expect(plan.weights).toEqual(new Map([[gid("b"), 100]]));
    expect(plan.outcome).toEqual({ kind: "degraded", ready: 1, wanted: 2 });
  });

  test("is never given up for failures after it became ready once", () => {
    const plan = planRollout(
      input({
        serving,
        wanted: serving,
        now: instant(1e12),
        seen: { a: { failuresInARow: 99, lastFailure: boom } },
      }),
    );
    expect(plan.outcome.kind).toBe("degraded");
    expect(plan.replicas.get(gid("a"))).toBe(1);
  });

  test("stops by wanting nothing until nothing is left", () => {
    const stopping = planRollout(input({ mode: "stop", seen: { a: { ready: 1, draining: 1 } } }));
    expect(stopping).toEqual({
      replicas: new Map([[gid("a"), 0]]),
      weights: new Map(),
      outcome: { kind: "draining", left: 2 },
    });
    expect(planRollout(input({ mode: "stop" })).outcome.kind).toBe("empty");
  });
});

// --- random sequences -----------------------------------------------------------------------------------------------

type Live = { ready: number; starting: number; draining: number; failuresInARow: number };

/** A runner that does what the plan says, and a platform that takes the plan's outcome to heart. */
class World {
  groups = new Map<GroupId, Live>();
  wanted: RolloutTarget = { number: 1, entries: [] };
  serving: RolloutTarget | null = null;
  dead = false;

  picture(): RolloutInput {
    return {
      mode: this.dead ? "stop" : "run",
      wanted: this.wanted,
      serving: this.serving,
      observed: new Map(
        [...this.groups].map(([id, g]) => [
          id,
          counts({ ...g, lastFailure: g.failuresInARow > 0 ? boom : null }),
        ]),
      ),
      blocked: new Map(),
      loading: new Set(),
      since: instant(0),
      timeoutMs: 1_200_000,
      now: instant(1),
    };
  }

  step(): void {
    const before = this.picture();
    const readyBefore = this.ready();
    const plan = planRollout(before);
    this.check(plan, before);
    if (plan.outcome.kind === "ready") this.serving = this.wanted;
    if (plan.outcome.kind === "rolled-back" && this.serving !== null) this.wanted = this.serving;
    if (plan.outcome.kind === "failed") {
      this.dead = true;
      this.serving = null;
    }
    for (const [id, replicas] of plan.replicas) this.scale(id, replicas);
    if (!this.dead) {
      const base = this.base(before, this.wanted);
      expect(this.ready()).toBeGreaterThanOrEqual(Math.min(readyBefore, base));
      if (readyBefore > 0) expect(this.ready()).toBeGreaterThan(0);
    }
  }

  /** Fewest ready instances that the plan may leave. */
  base(before: RolloutInput, target: RolloutTarget): number {
    const unavailable = (n: number, e: RevisionEntry): number =>
      n +
      (e.maxUnavailable < 1 ? Math.floor(e.maxUnavailable * e.instanceCount) : Math.floor(e.maxUnavailable));
    const total = (t: RolloutTarget | null): number =>
      (t?.entries ?? []).reduce((n, e) => n + e.instanceCount, 0);
    const switching = this.serving !== null && this.serving.number !== target.number;
    const base = switching ? Math.max(total(target), total(before.serving)) : total(target);
    return base - target.entries.reduce(unavailable, 0);
  }

  check(plan: ReturnType<typeof planRollout>, before: RolloutInput): void {
    const total = [...plan.weights.values()].reduce((a, b) => a + b, 0);
    expect([0, 100]).toContain(total);
    const anyReady = [...before.observed.values()].some((g) => g.ready > 0);
    if (anyReady && before.mode === "run" && plan.outcome.kind !== "failed") {
      expect(total).toBe(100);
      for (const [id, weight] of plan.weights) {
        if (weight > 0) expect(before.observed.get(id)?.ready ?? 0).toBeGreaterThan(0);
        if (weight > 0) expect(plan.replicas.get(id) ?? 0).toBeGreaterThan(0);
      }
    }
    for (const n of plan.replicas.values()) expect(n).toBeGreaterThanOrEqual(0);
    const count = (t: RolloutTarget | null): number =>
      (t?.entries ?? []).reduce((n, e) => n + e.instanceCount, 0);
    const surge = (t: RolloutTarget): number =>
      t.entries.reduce(
        (n, e) =>
          n + Math.max(1, e.maxSurge < 1 ? Math.ceil(e.maxSurge * e.instanceCount) : Math.floor(e.maxSurge)),
        0,
      );
    const limit =
      Math.max(count(before.wanted), count(before.serving)) +
      Math.max(surge(before.wanted), before.serving === null ? 0 : surge(before.serving));
    expect([...plan.replicas.values()].reduce((a, b) => a + b, 0)).toBeLessThanOrEqual(limit);
  }

  ready(): number {
    return [...this.groups.values()].reduce((n, g) => n + g.ready, 0);
  }

  scale(id: GroupId, replicas: number): void {
    const g = this.groups.get(id) ?? { ready: 0, starting: 0, draining: 0, failuresInARow: 0 };
    this.groups.set(id, g);
    let surplus = g.ready + g.starting - replicas;
    const ended = Math.max(0, Math.min(g.starting, surplus));
    g.starting -= ended;
    surplus -= ended;
    if (surplus > 0) {
      g.ready -= surplus;
      g.draining += surplus;
    } else {
      g.starting += -surplus;
    }
    if (replicas === 0 && g.ready + g.starting + g.draining === 0) this.groups.delete(id);
  }
}

type Move =
  | { readonly kind: "update"; readonly entries: readonly RevisionEntry[] }
  | { readonly kind: "up" | "fail" | "crash" | "drained"; readonly pick: number };

const entries = fc
  .uniqueArray(
    fc.record({
      group: fc.constantFrom("a", "b", "c", "d", "e"),
      instanceCount: fc.integer({ min: 1, max: 4 }),
      maxSurge: fc.constantFrom(0.25, 0.5, 1, 2),
      maxUnavailable: fc.constantFrom(0, 0.25, 0.5, 1, 2),
    }),
    { minLength: 1, maxLength: 3, selector: (e) => e.group },
  )
  .chain((rows) =>
    fc
      .integer({ min: 0, max: 100 })
      .map((w) =>
        rows.map(({ group, ...rest }, i) =>
          entry(group, { ...rest, weight: rows.length === 1 ? 100 : i === 0 ? w : i === 1 ? 100 - w : 0 }),
        ),
      ),
  );

const move: fc.Arbitrary<Move> = fc.oneof(
  { weight: 1, arbitrary: entries.map((e): Move => ({ kind: "update", entries: e })) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom("up", "up", "up", "fail", "crash", "drained"),
      pick: fc.nat(20),
    }) as fc.Arbitrary<Move>,
  },
);

const play = (world: World, moved: Move): void => {
  if (moved.kind === "update") {
    if (!world.dead) world.wanted = { number: world.wanted.number + 1, entries: moved.entries };
    return;
  }
  const from =
    moved.kind === "up" || moved.kind === "fail" ? "starting" : moved.kind === "crash" ? "ready" : "draining";
  const able = [...world.groups.values()].filter((g) => g[from] > 0);
  const g = able[moved.pick % Math.max(1, able.length)];
  if (g === undefined) return;
  g[from] -= 1;
  if (moved.kind === "up") {
    g.ready += 1;
    g.failuresInARow = 0;
  }
  if (moved.kind === "fail") g.failuresInARow += 1;
};

describe("over random sequences of updates, starts, failures and crashes", () => {
  test("keeps the bounds on capacity, surge and weights, and converges once the runner cooperates", () => {
    fc.assert(
      fc.property(entries, fc.array(move, { maxLength: 40 }), (first, moves) => {
        const world = new World();
        world.wanted = { number: 1, entries: first };
        for (const m of moves) {
          play(world, m);
          world.step();
        }
        for (let i = 0; i < 60; i += 1) {
          for (const g of world.groups.values()) {
            if (g.starting > 0) {
              g.ready += 1;
              g.starting -= 1;
              g.failuresInARow = 0;
            }
            g.draining = 0;
          }
          world.step();
        }
        if (world.dead) {
          expect(world.groups.size).toBe(0);
          return;
        }
        expect(world.serving?.number).toBe(world.wanted.number);
        const left = [...world.groups].map(([id, g]) => [id, g.ready, g.starting]);
        const should = world.wanted.entries.map((e) => [e.groupId, e.instanceCount, 0]);
        expect(new Set(left.map(String))).toEqual(new Set(should.map(String)));
        const { weights } = planRollout(world.picture());
        for (const e of world.wanted.entries) expect(weights.get(e.groupId) ?? 0).toBe(e.weight);
      }),
      { numRuns: 500 },
    );
  });
});

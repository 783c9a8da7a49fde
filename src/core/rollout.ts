/**
 * The rollout plan: from what is wanted, what serves and what is seen, how many instances each group shall have and
 * which share of the traffic it gets. Pure, and without memory: the same picture always gives the same plan, so a
 * restart in the middle of an update goes on where it was.
 *
 * An update replaces old instances by new ones. With `base` = the larger of the wanted and the serving count:
 *   - at most base + maxSurge instances are wanted at any time (draining ones not counted);
 *   - a ready instance is only given up while base − maxUnavailable others stay ready, counted over all and once more
 *     over those with weight (a standby of weight 0 serves nobody), and never the last one before a new one is ready;
 *   - a new revision gets traffic once each of its groups has a ready instance (or the old one cannot carry the
 *     traffic any more), then in proportion to how much of it is ready.
 * Groups that neither revision names (of a revision that was skipped or rolled back) start nothing; what they have
 * ready counts as old capacity and goes first.
 */
import type { GroupId, Instant } from "./ids.ts";
import { instant } from "./ids.ts";
import type { Failure, RevisionEntry } from "./service.ts";

/** What is seen of one group. `ready` does not include draining instances. */
export interface GroupCounts {
  readonly ready: number;
  readonly starting: number;
  readonly draining: number;
  readonly failed: number;
  readonly failuresInARow: number;
  readonly lastFailure: Failure | null;
}

export interface RolloutTarget {
  readonly number: number;
  readonly entries: readonly RevisionEntry[];
}

export interface RolloutInput {
  /** `stop`: nothing shall run (stopped, deleted, failed). */
  readonly mode: "run" | "stop";
  readonly wanted: RolloutTarget;
  /** The revision that became ready last and runs; the wanted one itself once it has; null when none runs. */
  readonly serving: RolloutTarget | null;
  /** Every group of the service that the runner knows, whatever revision it is of. */
  readonly observed: ReadonlyMap<GroupId, GroupCounts>;
  /** Groups that cannot be started at all: their model or environment is gone. */
  readonly blocked: ReadonlyMap<GroupId, Failure>;
  /** Groups that cannot be started yet: files and dependencies of their version are being taken (dynamic loading). */
  readonly loading: ReadonlySet<GroupId>;
  /** When the deployment of the wanted revision began. */
  readonly since: Instant;
  /** How long a deployment may take whose entries do not say. */
  readonly timeoutMs: number;
  readonly now: Instant;
}

/**
 * progressing: the wanted revision is on its way. ready: it has all its instances. degraded: it had them and has fewer
 * now. rolled-back: it failed; the plan is the serving revision's. failed: it failed and there is nothing to go back
 * to; the plan is empty. draining and empty: on the way to nothing, and there.
 */
export type RolloutOutcome =
  | { readonly kind: "progressing"; readonly progress: number; readonly failsAt: Instant }
  | { readonly kind: "ready" }
  | { readonly kind: "degraded"; readonly ready: number; readonly wanted: number }
  | { readonly kind: "rolled-back"; readonly to: number; readonly failed: RolloutFailure }
  | { readonly kind: "failed"; readonly failed: RolloutFailure }
  | { readonly kind: "draining"; readonly left: number }
  | { readonly kind: "empty" };

export interface RolloutFailure {
  readonly entry: RevisionEntry;
  readonly failure: Failure;
}

export interface RolloutPlan {
  /** Instances wanted of every group that is observed or of a revision in play; 0 means the group shall go. */
  readonly replicas: ReadonlyMap<GroupId, number>;
  /** Whole numbers that sum to 100; empty when nothing shall serve. */
  readonly weights: ReadonlyMap<GroupId, number>;
  readonly outcome: RolloutOutcome;
}

/** Starts in a row that may fail before a group that was never ready is given up. */
const FAILED_STARTS_MAX = 2;

/** How long a deployment of this entry may take: what it says itself (in minutes), else the platform's setting. */
export const deployTimeoutMs = (entry: RevisionEntry, defaultMs: number): number =>
  entry.deployTimeout === null ? defaultMs : entry.deployTimeout * 60_000;

/** See the file header. */
export const planRollout = (input: RolloutInput): RolloutPlan => {
  if (input.mode === "stop") return planStop(input);
  const settled = input.serving !== null && input.serving.number === input.wanted.number;
  const failed = settled ? null : findFailure(input);
  if (failed !== null) {
    if (input.serving === null) return { ...planStop(input), outcome: { kind: "failed", failed } };
    const back = planRollout({ ...input, wanted: input.serving });
    return { ...back, outcome: { kind: "rolled-back", to: input.serving.number, failed } };
  }
  const replicas = planReplicas(input);
  return { replicas, weights: planWeights(input, replicas), outcome: outcomeOf(input, settled) };
};

const NOTHING: GroupCounts = {
  ready: 0,
  starting: 0,
  draining: 0,
  failed: 0,
  failuresInARow: 0,
  lastFailure: null,
};

const seen = (input: RolloutInput, group: GroupId): GroupCounts => input.observed.get(group) ?? NOTHING;

const sum = (numbers: Iterable<number>): number => {
  let total = 0;
  for (const n of numbers) total += n;
  return total;
};

const planStop = (input: RolloutInput): RolloutPlan => {
  const left = sum([...input.observed.values()].map((g) => g.ready + g.starting + g.draining));
  return {
    replicas: new Map([...input.observed.keys()].map((id) => [id, 0])),
    weights: new Map(),
    outcome: left === 0 ? { kind: "empty" } : { kind: "draining", left },
  };
};

const findFailure = (input: RolloutInput): RolloutFailure | null => {
  const unchanged = new Set(input.serving?.entries.map((e) => e.groupId));
  for (const entry of input.wanted.entries) {
    const group = seen(input, entry.groupId);
    if (group.ready >= entry.instanceCount) continue;
    const blocked = input.blocked.get(entry.groupId);
    if (blocked !== undefined) return { entry, failure: blocked };
    const neverReady = !unchanged.has(entry.groupId) && group.ready === 0;
    if (neverReady && group.failuresInARow >= FAILED_STARTS_MAX && group.lastFailure !== null) {
      return { entry, failure: group.lastFailure };
    }
    if (input.now >= input.since + deployTimeoutMs(entry, input.timeoutMs)) {
      return { entry, failure: timeout(entry, group, input) };
    }
  }
  return null;
};

const timeout = (entry: RevisionEntry, group: GroupCounts, { timeoutMs, loading }: RolloutInput): Failure => {
  const ms = deployTimeoutMs(entry, timeoutMs);
  const within = ms % 60_000 === 0 ? `${ms / 60_000} minutes` : `${ms / 1000} s`;
  const missing = entry.instanceCount - group.ready;
  const because = loading.has(entry.groupId)
    ? " Files and dependencies of the version were still being taken."
    : group.lastFailure === null
      ? ""
      : ` The last failure was: ${group.lastFailure.message}`;
  return {
    reason: "start-timeout",
    message: `${missing} of ${entry.instanceCount} instances did not become ready within ${within}.${because}`,
    ...(group.lastFailure?.detail === undefined ? {} : { detail: group.lastFailure.detail }),
  };
};

const outcomeOf = (input: RolloutInput, settled: boolean): RolloutOutcome => {
  const entries = input.wanted.entries;
  const wanted = sum(entries.map((e) => e.instanceCount));
  const ready = sum(entries.map((e) => Math.min(seen(input, e.groupId).ready, e.instanceCount)));
  if (ready === wanted) return { kind: "ready" };
  if (settled) return { kind: "degraded", ready, wanted };
  const unfinished = entries.filter((e) => seen(input, e.groupId).ready < e.instanceCount);
  return {
    kind: "progressing",
    progress: 10 + Math.floor((85 * ready) / wanted),
    failsAt: instant(input.since + Math.min(...unfinished.map((e) => deployTimeoutMs(e, input.timeoutMs)))),
  };
};

/** A share of the instances below 1, a count from 1 on. */
const resolveShare = (value: number, instances: number, round: (n: number) => number): number =>
  value < 1 ? round(value * instances) : Math.floor(value);

/** The parts of the picture that both halves of the plan look at. */
const survey = (input: RolloutInput) => {
  const { wanted } = input;
  const serving = input.serving?.number === wanted.number ? null : input.serving;
  const target = new Map(wanted.entries.map((e) => [e.groupId, e.instanceCount]));
  const previous = new Map(serving?.entries.map((e) => [e.groupId, e.instanceCount]));
  const strays = [...input.observed.keys()].filter((id) => !target.has(id) && !previous.has(id));
  const wantedCount = sum(target.values());
  const servingCount = sum(previous.values());
  const eachHasOne = wanted.entries.every((e) => e.weight === 0 || seen(input, e.groupId).ready > 0);
  const oldReady = sum([...previous].map(([id, count]) => Math.min(seen(input, id).ready, count)));
  const base = Math.max(wantedCount, servingCount);
  const unavailable = sum(
    wanted.entries.map((e) => resolveShare(e.maxUnavailable, e.instanceCount, Math.floor)),
  );
  /** Ready instances that are not given up. */
  const floor = Math.max(0, base - unavailable);
  /** Instances the update itself may give up do not show that the old revision cannot carry the traffic. */
  const isOldShort = oldReady < Math.max(1, Math.min(servingCount, floor));
  /** Whether the wanted revision may take traffic; see the header. */
  const open = serving === null || eachHasOne || isOldShort;
  return { serving, target, previous, strays, base, floor, wantedCount, open };
};

const planReplicas = (input: RolloutInput): Map<GroupId, number> => {
  const { target, previous, strays, base, floor, open } = survey(input);
  const entries = input.wanted.entries;
  const surge = sum(entries.map((e) => Math.max(1, resolveShare(e.maxSurge, e.instanceCount, Math.ceil))));

  // What may serve now: all old capacity, and the new groups' as soon as they may take traffic.
  const isNew = (id: GroupId): boolean => !previous.has(id);
  const newReady = open
    ? sum([...target].filter(([id]) => isNew(id)).map(([id, n]) => Math.min(seen(input, id).ready, n)))
    : 0;
  const surplus = (id: GroupId): number => Math.max(0, seen(input, id).ready - (target.get(id) ?? 0));
  const keptReady = sum(
    [...target].filter(([id]) => !isNew(id)).map(([id, n]) => Math.min(seen(input, id).ready, n)),
  );
  const old = [...strays, ...previous.keys(), ...[...target.keys()].filter(isNew)];
  const oldSurplus = sum(old.map(surplus));
  const ready = newReady + keptReady + oldSurplus;
  let removable = Math.max(0, ready - floor);
  let removableWeighted = spareWeighted(input);
  if (newReady + keptReady === 0) removable = Math.min(removable, Math.max(0, oldSurplus - 1));

  const replicas = new Map<GroupId, number>();
  let held = 0;
  for (const id of old) {
    const carries = !isStandby(input, id);
    const drained = Math.min(surplus(id), removable, carries ? removableWeighted : Number.POSITIVE_INFINITY);
    removable -= drained;
    if (carries) removableWeighted -= drained;
    const kept = surplus(id) - drained;
    held += kept;
    replicas.set(id, kept);
  }
  // Instances of the serving revision that were lost on the way are restored as far as the floor needs them.
  let missing = Math.max(0, floor - ready);
  for (const [id, count] of previous) {
    if (target.has(id)) continue;
    const kept = replicas.get(id) ?? 0;
    const restored = Math.min(Math.max(0, count - kept), missing);
    missing -= restored;
    held += restored;
    replicas.set(id, kept + restored);
  }

  const allotted = allot(input, base + surge - held);
  for (const [id, count] of allotted) replicas.set(id, count + (replicas.get(id) ?? 0));
  return replicas;
};

/** Whether every revision that names the group gives it no weight. */
const isStandby = (input: RolloutInput, id: GroupId): boolean => {
  const named = [...input.wanted.entries, ...(input.serving?.entries ?? [])].filter((e) => e.groupId === id);
  return named.length > 0 && named.every((e) => e.weight === 0);
};

/** Ready instances that carry traffic, or may, beyond those that must stay so. */
const spareWeighted = (input: RolloutInput): number => {
  const { open, previous, strays } = survey(input);
  const withWeight = (entries: readonly RevisionEntry[]): number =>
    sum(entries.filter((e) => e.weight > 0).map((e) => e.instanceCount));
  const unavailable = sum(
    input.wanted.entries
      .filter((e) => e.weight > 0)
      .map((e) => resolveShare(e.maxUnavailable, e.instanceCount, Math.floor)),
  );
  const floor =
    Math.max(withWeight(input.wanted.entries), withWeight(input.serving?.entries ?? [])) - unavailable;
  const target = new Map(input.wanted.entries.map((e) => [e.groupId, e.instanceCount]));
  const counts = [...new Set([...target.keys(), ...previous.keys(), ...strays])]
    .filter((id) => !isStandby(input, id))
    .map((id) => (previous.has(id) || !target.has(id) || open ? seen(input, id).ready : 0));
  return Math.max(0, sum(counts) - Math.max(0, floor));
};

/**
 * Spreads the budget over the wanted groups: first what is ready stays, then one for each, then what is starting stays,
 * then the rest in turn. Every step is bounded by the group's own count.
 */
const allot = (input: RolloutInput, budget: number): Map<GroupId, number> => {
  const entries = input.wanted.entries;
  const allotted = new Map<GroupId, number>();
  let left = budget;
  const raise = (entry: RevisionEntry, to: number): void => {
    const has = allotted.get(entry.groupId) ?? 0;
    const more = Math.max(0, Math.min(Math.min(to, entry.instanceCount) - has, left));
    left -= more;
    allotted.set(entry.groupId, has + more);
  };
  for (const e of entries) raise(e, seen(input, e.groupId).ready);
  for (const e of entries) raise(e, 1);
  for (const e of entries) raise(e, seen(input, e.groupId).ready + seen(input, e.groupId).starting);
  for (let turn = Math.max(...entries.map((e) => e.instanceCount)); turn > 0 && left > 0; turn -= 1) {
    for (const e of entries) raise(e, (allotted.get(e.groupId) ?? 0) + 1);
  }
  return allotted;
};

const planWeights = (
  input: RolloutInput,
  replicas: ReadonlyMap<GroupId, number>,
): ReadonlyMap<GroupId, number> => {
  const { serving, target, previous, strays, wantedCount, open } = survey(input);
  /** Ready instances that this plan leaves in place. */
  const able = (id: GroupId): number => Math.min(seen(input, id).ready, replicas.get(id) ?? 0);
  const newSide = shares(input.wanted.entries, able);
  const oldSide = new Map<GroupId, number>();
  const strayReady = sum(strays.map(able));
  const previousReady = sum([...previous.keys()].map(able));
  const strayShare = strayReady === 0 ? 0 : strayReady / (strayReady + previousReady);
  for (const [id, share] of shares(serving?.entries ?? [], able)) oldSide.set(id, share * (1 - strayShare));
  for (const id of strays) if (able(id) > 0) oldSide.set(id, (strayShare * able(id)) / strayReady);

  const newReady = sum([...target].map(([id, n]) => Math.min(able(id), n)));
  let fraction = open ? newReady / wantedCount : 0;
  if (oldSide.size === 0) fraction = 1;
  if (newSide.size === 0) fraction = 0;
  if (newSide.size === 0 && oldSide.size === 0) {
    return new Map(input.wanted.entries.map((e) => [e.groupId, e.weight]));
  }
  const mixed = new Map<GroupId, number>();
  const add = (id: GroupId, share: number): void => {
    if (share > 0) mixed.set(id, (mixed.get(id) ?? 0) + share);
  };
  for (const [id, share] of oldSide) add(id, share * (1 - fraction));
  for (const [id, share] of newSide) add(id, share * fraction);
  return toPercent(mixed);
};

/** The configured weights over the groups that can serve, as fractions of 1; a standby (weight 0) steps in last. */
const shares = (entries: readonly RevisionEntry[], able: (id: GroupId) => number): Map<GroupId, number> => {
  const serving = entries.filter((e) => able(e.groupId) > 0);
  const weighted = serving.some((e) => e.weight > 0);
  const part = (e: RevisionEntry): number => (weighted ? e.weight : able(e.groupId));
  const total = sum(serving.map(part));
  return new Map(serving.filter((e) => part(e) > 0).map((e) => [e.groupId, part(e) / total]));
};

/** Whole percents by largest remainder, so that they sum to 100. */
const toPercent = (fractions: ReadonlyMap<GroupId, number>): Map<GroupId, number> => {
  const rows = [...fractions].map(([id, f]) => ({ id, floor: Math.floor(f * 100 + 1e-9), f }));
  let left = 100 - sum(rows.map((r) => r.floor));
  const byRemainder = rows.toSorted((a, b) => b.f * 100 - b.floor - (a.f * 100 - a.floor));
  const percent = new Map(rows.map((r) => [r.id, r.floor]));
  for (const row of byRemainder) {
    if (left <= 0) break;
    percent.set(row.id, row.floor + 1);
    left -= 1;
  }
  return percent;
};

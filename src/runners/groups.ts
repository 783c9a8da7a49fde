/**
 * The part of a runner that does not depend on where instances run: which instances a group has, which of them are
 * surplus, when a failed one is tried again, and what is reported. A driver starts, watches and ends single instances.
 *
 * A slot is one instance: starting → ready → draining → ending → (gone); starting|ready → failed → (replaced).
 * An `ending` instance shows as draining until it is gone. All decisions are made in `adjust`, synchronously, so no two
 * of them can interleave.
 */
import type { BatchingDecision } from "../core/batching.ts";
import type { Clock } from "../core/clock.ts";
import type { GroupId, InstanceId, Instant, ServiceId } from "../core/ids.ts";
import type { InstanceCounters } from "../core/instance-counters.ts";
import type { Failure } from "../core/service.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { GroupObservation, GroupSpec, InstanceMeasure, InstanceObservation, Runner } from "./runner.ts";

/** What a driver sees of an instance. */
export type InstanceReport =
  | { readonly state: "starting" }
  | { readonly state: "ready"; readonly url: string }
  /** Not a state: it goes on as it is, and has decided something worth telling. */
  | { readonly state: "decided"; readonly batching: BatchingDecision }
  | { readonly state: "failed"; readonly failure: Failure };

export interface DrivenInstance {
  /** `drain`: asks it to finish and waits for drainTimeoutMs. `now`: does not wait. Resolves when nothing is left of
   *  it, and may be called again to turn a drain into a quick end. Never rejects for what the instance does. */
  end(how: "drain" | "now"): Promise<void>;
  /** What it last told of itself; absent or null for one that tells nothing. */
  counters?(): InstanceCounters | null;
  /** Stops watching; the instance runs on. */
  detach(): void;
}

export interface Driver {
  /** Starts instance `n`. What goes wrong is reported, not thrown; no report comes before this returns. */
  start(group: GroupSpec, n: number, report: (seen: InstanceReport) => void): DrivenInstance;
  /** Remembers the group before anything of it starts. */
  save(group: GroupSpec, next: number): void;
  /** The first instance number that was never used. */
  nextNumber(group: GroupId): number;
  /** Forgets the group and its files (not its logs). */
  forget(group: GroupId): Promise<void>;
}

interface Slot {
  readonly n: number;
  readonly id: InstanceId;
  driven: DrivenInstance | null;
  state: "starting" | "ready" | "draining" | "ending" | "failed";
  since: Instant;
  url: string;
  /** What it said last, also while it drains: what it is when it is wanted again. */
  takesRequests: boolean;
  /** Monotonic; null until it was ready once. */
  readyAt: number | null;
  failure: Failure | null;
  batching: BatchingDecision | null;
}

interface Group {
  spec: GroupSpec;
  /** Null after an adoption until the reconciler has said what it wants. */
  wanted: number | null;
  next: number;
  slots: Slot[];
  failuresInARow: number;
  lastFailure: Failure | null;
  /** Failed instances since one was ready for STABLE_MS; sets the back-off. */
  crashes: number;
  notBefore: number;
  wake: AbortController | null;
  removal: Promise<void> | null;
}

const BACKOFF_FIRST_MS = 200;
const BACKOFF_MAX_MS = 30_000;
/** How soon a start that could not even be written down is tried again. */
const RETRY_MS = 1000;
/** An instance that fails after having been ready for this long starts a new row of back-offs. */
const STABLE_MS = 60_000;

export const instanceIdOf = (group: GroupId, n: number): InstanceId => `${group}-${n}` as InstanceId;

/** Everything of a Runner but its logs. */
export class GroupKeeper implements Omit<Runner, "logs" | "removeLogs" | "loggedGroups"> {
  readonly #deps: { readonly driver: Driver; readonly clock: Clock; readonly logger: Logger };
  readonly #groups = new Map<GroupId, Group>();
  readonly #listeners = new Set<(group: GroupId, service: ServiceId | null) => void>();
  #closed = false;

  constructor(deps: { readonly driver: Driver; readonly clock: Clock; readonly logger: Logger }) {
    this.#deps = deps;
  }

  /** Takes over a group that an earlier process left; it is only watched until `apply` or `scale` names it. */
  adopt(
    spec: GroupSpec,
    instances: readonly {
      readonly n: number;
      readonly ending: boolean;
      readonly attach: (report: (seen: InstanceReport) => void) => DrivenInstance;
    }[],
  ): void {
    const group = this.#create(spec, null);
    for (const { n, ending, attach } of instances) {
      const slot = this.#slot(group, n);
      slot.readyAt = this.#deps.clock.monotonicMs();
      slot.driven = attach((seen) => this.#report(group, slot, seen));
      if (ending) void this.#end(group, slot, "drain");
    }
  }

  async apply(spec: GroupSpec): Promise<void> {
    await this.#groups.get(spec.id)?.removal;
    if (this.#closed) return;
    const group = this.#groups.get(spec.id) ?? this.#create(spec, 0);
    this.#want(group, spec);
  }

  async scale(id: GroupId, replicas: number): Promise<void> {
    await this.#groups.get(id)?.removal;
    const group = this.#groups.get(id);
    if (group !== undefined && !this.#closed) this.#want(group, { ...group.spec, replicas });
  }

  async release(groupId: GroupId, instance: InstanceId): Promise<void> {
    const group = this.#groups.get(groupId);
    const slot = group?.slots.find((s) => s.id === instance);
    if (group === undefined || slot === undefined) return;
    if (slot.state !== "draining" && slot.state !== "ending") return;
    await this.#end(group, slot, "drain");
  }

  async remove(id: GroupId): Promise<void> {
    const group = this.#groups.get(id);
    if (group === undefined) return;
    group.removal ??= this.#remove(group);
    await group.removal;
  }

  observe(): Promise<readonly GroupObservation[]> {
    return Promise.resolve([...this.#groups.values()].map(observation));
  }

  measure(): readonly InstanceMeasure[] {
    return [...this.#groups.values()].flatMap(({ spec, slots }) =>
      slots.flatMap((slot) => {
        if (slot.state === "failed") return [];
        const { modelVersion } = spec.instance;
        const counters = slot.driven?.counters?.() ?? null;
        return [{ id: slot.id, serviceId: spec.serviceId, modelVersion, state: slot.state, counters }];
      }),
    );
  }

  onChange(listener: (group: GroupId, service: ServiceId | null) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(options: { stopInstances: boolean }): Promise<void> {
    this.#closed = true;
    for (const group of this.#groups.values()) group.wake?.abort();
    if (options.stopInstances) {
      await Promise.all([...this.#groups.keys()].map((id) => this.remove(id)));
    } else {
      for (const group of this.#groups.values()) for (const slot of group.slots) slot.driven?.detach();
    }
    this.#listeners.clear();
  }

  #create(spec: GroupSpec, wanted: number | null): Group {
    const group: Group = {
      spec,
      wanted,
      next: this.#deps.driver.nextNumber(spec.id),
      slots: [],
      failuresInARow: 0,
      lastFailure: null,
      crashes: 0,
      notBefore: 0,
      wake: null,
      removal: null,
    };
    this.#groups.set(spec.id, group);
    return group;
  }

  #slot(group: Group, n: number): Slot {
    const slot: Slot = {
      n,
      id: instanceIdOf(group.spec.id, n),
      driven: null,
      state: "starting",
      since: this.#deps.clock.now(),
      url: "",
      takesRequests: false,
      readyAt: null,
      failure: null,
      batching: null,
    };
    group.slots.push(slot);
    group.next = Math.max(group.next, n + 1);
    return slot;
  }

  #want(group: Group, spec: GroupSpec): void {
    const known = group.wanted !== null && group.spec.replicas === spec.replicas && group.slots.length > 0;
    group.spec = spec;
    group.wanted = spec.replicas;
    if (!known) this.#deps.driver.save(spec, group.next);
    this.#adjust(group);
  }

  #adjust(group: Group): void {
    if (group.wanted === null || group.removal !== null || this.#closed) return;
    const live = (): Slot[] => group.slots.filter((s) => s.state === "starting" || s.state === "ready");
    const surplus = live().length - group.wanted;
    // The youngest go first, but what is starting before what is ready.
    const leaving = live().toSorted(
      (a, b) => Number(a.state === "ready") - Number(b.state === "ready") || b.n - a.n,
    );
    for (const slot of leaving.slice(0, Math.max(0, surplus))) {
      if (slot.readyAt === null) void this.#end(group, slot, "now");
      else this.#set(group, slot, "draining");
    }
    // What still drains is the cheapest way to more instances.
    for (const slot of group.slots) {
      if (live().length >= group.wanted) break;
      if (slot.state === "draining") this.#set(group, slot, slot.takesRequests ? "ready" : "starting");
    }
    const missing = group.wanted - live().length;
    const failed = group.slots.filter((s) => s.state === "failed");
    this.#drop(group, failed.slice(0, Math.max(0, failed.length - Math.max(0, missing))));
    if (missing <= 0) return;
    const waitMs = group.notBefore - this.#deps.clock.monotonicMs();
    if (waitMs > 0) {
      this.#wakeLater(group, waitMs);
      return;
    }
    this.#drop(group, failed);
    for (let i = 0; i < missing; i += 1) this.#start(group);
  }

  #start(group: Group): void {
    // Saved first: what cannot be remembered is not started, and leaves no slot that nothing will ever fill.
    this.#deps.driver.save(group.spec, group.next + 1);
    const slot = this.#slot(group, group.next);
    slot.driven = this.#deps.driver.start(group.spec, slot.n, (seen) => this.#report(group, slot, seen));
    this.#deps.logger.info({ group: group.spec.id, instance: slot.id }, "instance starts");
    this.#changed(group);
  }

  #report(group: Group, slot: Slot, seen: InstanceReport): void {
    if (!group.slots.includes(slot) || slot.state === "ending" || slot.state === "failed") return;
    if (seen.state === "failed") return this.#failed(group, slot, seen.failure);
    if (seen.state === "decided") {
      slot.batching = seen.batching;
      this.#changed(group);
      return;
    }
    slot.takesRequests = seen.state === "ready";
    if (seen.state === "ready") {
      slot.url = seen.url;
      slot.readyAt = this.#deps.clock.monotonicMs();
      group.failuresInARow = 0;
    }
    if (slot.state === "draining") return;
    this.#set(group, slot, seen.state);
  }

  #failed(group: Group, slot: Slot, failure: Failure): void {
    this.#deps.logger.warn(
      { group: group.spec.id, instance: slot.id, reason: failure.reason, failure: failure.message },
      "instance failed",
    );
    if (slot.state === "draining") {
      void this.#end(group, slot, "now");
      return;
    }
    const now = this.#deps.clock.monotonicMs();
    if (slot.readyAt !== null && now - slot.readyAt >= STABLE_MS) group.crashes = 0;
    group.crashes += 1;
    group.failuresInARow += 1;
    group.lastFailure = failure;
    group.notBefore = now + Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** (group.crashes - 1));
    slot.failure = failure;
    void slot.driven?.end("now");
    this.#set(group, slot, "failed");
    this.#adjust(group);
  }

  #set(group: Group, slot: Slot, state: Slot["state"]): void {
    if (slot.state === state) return;
    slot.state = state;
    slot.since = this.#deps.clock.now();
    this.#deps.logger.info({ group: group.spec.id, instance: slot.id, state }, "instance state");
    this.#changed(group);
  }

  async #end(group: Group, slot: Slot, how: "drain" | "now"): Promise<void> {
    this.#set(group, slot, "ending");
    await slot.driven?.end(how);
    this.#drop(group, [slot]);
  }

  #drop(group: Group, slots: readonly Slot[]): void {
    const before = group.slots.length;
    group.slots = group.slots.filter((s) => !slots.includes(s));
    if (group.slots.length < before) this.#changed(group);
  }

  async #remove(group: Group): Promise<void> {
    group.wake?.abort();
    group.wanted = 0;
    await Promise.all(
      group.slots.map((slot) => this.#end(group, slot, slot.readyAt === null ? "now" : "drain")),
    );
    await this.#deps.driver.forget(group.spec.id);
    this.#groups.delete(group.spec.id);
    this.#changed(group);
  }

  #wakeLater(group: Group, waitMs: number): void {
    if (group.wake !== null) return;
    const wake = new AbortController();
    group.wake = wake;
    void this.#deps.clock.sleep(waitMs, wake.signal).then(() => {
      group.wake = null;
      try {
        this.#adjust(group);
      } catch (error) {
        // No room for the record, say. Nobody else would try again before the next full pass.
        this.#deps.logger.error({ err: error, group: group.spec.id }, "instance could not be replaced");
        this.#wakeLater(group, RETRY_MS);
      }
    });
  }

  #changed(group: Group): void {
    for (const listener of this.#listeners) listener(group.spec.id, group.spec.serviceId);
  }
}

const observation = (group: Group): GroupObservation => ({
  id: group.spec.id,
  serviceId: group.spec.serviceId,
  uses: { packageDir: group.spec.instance.packageDir, python: group.spec.instance.python },
  instances: group.slots.map(instanceObservation),
  failuresInARow: group.failuresInARow,
  lastFailure: group.lastFailure,
});

const instanceObservation = (slot: Slot): InstanceObservation => {
  const { id, since, url, failure, batching } = slot;
  if (slot.state === "failed" && failure !== null) return { id, since, state: "failed", failure };
  if (slot.state === "ready") return { id, since, state: "ready", url, batching };
  if (slot.state === "draining" || slot.state === "ending") return { id, since, state: "draining", url };
  return { id, since, state: "starting" };
};

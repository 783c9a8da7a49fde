/**
 * Admission to one group: how many requests each instance has in flight, who waits, who is refused. Lives across tables:
 * the table (table.ts) updates a group in place, so slots and waiters survive every change that keeps the group.
 *
 * Invariants, over all threads of the gateway: an instance never has more than `concurrency` in flight; at most
 * `queueMax` wait, none longer than `queueAgeMs`; nobody waits while an instance may be given a request (chooseInstance);
 * who waits longest is let in first; every waiter hears exactly one of admitted, rerouted and expired, or has left by
 * itself.
 *
 * Threads see each other's slots and the queue's order in shared memory, each lets in its own waiters. Whoever frees a
 * slot while another thread's waiter is next rings that thread; who joins the queue shows it first and looks for a slot
 * once more after that. So a slot that is freed meanwhile is seen by one of the two.
 */
import { HEALTH_PATH, QUEUE_AGE_MS } from "../core/routing-table.ts";
import type { GroupRoute } from "../core/routing-table.ts";
import { chooseInstance } from "./choose.ts";
import type { Load } from "./choose.ts";
import { DrainRate } from "./drain-rate.ts";
import type { Probed, Watch } from "./health.ts";
import { FRESH, allowedOf, nextHealth, rankOf } from "./health-state.ts";
import type { FailureKind, Health, ProbeResult, Signal } from "./health-state.ts";
import { QueueOrder } from "./queue-order.ts";
import type { Shared } from "./shared.ts";
import type { TimerHandle } from "./timer.ts";
import { UpstreamPool } from "./upstream.ts";
import type { UpstreamDeps } from "./upstream.ts";

/** A request that waits for an instance of a group. */
export interface Waiter {
  /** The slot is the waiter's; it must be released. */
  admitted(instance: InstanceState): void;
  /** The group no longer takes requests: look at the table again. */
  rerouted(): void;
  /** It has waited for as long as a request of this group may: refuse it as if the queue were full. */
  expired(): void;
}

export interface GroupDeps extends UpstreamDeps {
  readonly shared: Shared;
  /** Begins to probe an instance. */
  readonly watch: (instance: Probed) => Watch;
  /** Hears every change of belief. */
  readonly onHealth?: (instance: InstanceState) => void;
  /** Hears what requests showed of an instance, where another thread's belief is the one that counts. */
  readonly onSignal?: (instance: InstanceState, signal: Signal) => void;
  /**
   * Hears when a slot is given back to a group that has left the table. The group may be back by now, under the same id
   * and with the same instance, and somebody may wait there for this slot.
   */
  readonly onLateRelease?: (groupId: string) => void;
}

export class InstanceState implements Load, Probed {
  readonly id: string;
  readonly url: string;
  readonly pool: UpstreamPool;
  /** The same in every thread; an instance that moves is another. */
  readonly key: string;
  readonly #deps: GroupDeps;
  readonly #cell: number;
  readonly #watch: Watch;
  readonly #onOpen: () => void;
  #health: Health = FRESH;
  /** Requests in flight from this thread. */
  #own = 0;
  #isGone = false;
  #hasGivenUp = false;
  healthPath: string;
  allowed = allowedOf(FRESH);
  rank = rankOf(FRESH);

  /** `onOpen` hears when it may be given more requests than before, or is the best of a bad lot by now. */
  constructor(id: string, url: string, healthPath: string, deps: GroupDeps, onOpen: () => void) {
    this.id = id;
    this.url = url;
    this.healthPath = healthPath;
    this.pool = new UpstreamPool(url, deps);
    this.#deps = deps;
    this.key = `${id} ${url}`;
    this.#cell = deps.shared.rows.claim(`instance ${this.key}`);
    this.#onOpen = onOpen;
    this.#watch = deps.watch(this);
  }

  /** From all threads. */
  get inFlight(): number {
    return this.#deps.shared.rows.read(this.#cell);
  }

  get health(): Health {
    return this.#health;
  }

  tryTake(limit: number): boolean {
    if (!this.#deps.shared.rows.tryAdd(this.#cell, 1, limit)) return false;
    this.#own += 1;
    return true;
  }

  release(): void {
    this.#deps.shared.rows.add(this.#cell, -1);
    this.#own -= 1;
    this.#giveUpWhenOver();
  }

  /** A request to it came to a complete answer, whatever its status. */
  answered(): void {
    // The hot path: nothing to learn from one more answer.
    if (this.#health.is === "up" && this.#health.failures === 0) return;
    this.hear({ kind: "answered" });
  }

  /** A request to it failed by no fault of the caller's. A probe looks at once whether it still lives. */
  failed(how: FailureKind): void {
    this.hear({ kind: "failed", how });
  }

  probed(result: ProbeResult): void {
    this.hear({ kind: "probed", result, inFlight: this.inFlight });
  }

  /** Something was learnt about it, here or in another thread. */
  hear(signal: Signal): void {
    if (this.#isGone) return;
    this.believe(nextHealth(this.#health, signal, this.#deps.monotonicMs()));
    this.#deps.onSignal?.(this, signal);
    if (signal.kind === "failed") this.#watch.hurry();
  }

  believe(health: Health): void {
    if (health === this.#health || this.#isGone) return;
    this.#health = health;
    this.allowed = allowedOf(health);
    this.rank = rankOf(health);
    this.#deps.onHealth?.(this);
    this.#onOpen();
  }

  /**
   * It has left the table: its idle connections close now, so that nothing is sent on one from here on. Its requests
   * finish on their own.
   */
  leave(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#watch.stop();
    this.pool.close();
    this.#giveUpWhenOver();
  }

  #giveUpWhenOver(): void {
    if (!this.#isGone || this.#hasGivenUp || this.#own > 0) return;
    this.#hasGivenUp = true;
    this.#deps.shared.rows.giveUp(this.#cell);
  }
}

const RETRY_AFTER_SECONDS_MAX = 60;
/** Who was turned away longer ago than this is not waited for. */
const TURNED_AWAY_SECONDS_MAX = 30;

const secondsFor = (requests: number, perSecond: number): number =>
  Math.min(RETRY_AFTER_SECONDS_MAX, Math.max(1, Math.ceil(requests / perSecond)));

export class GroupState {
  readonly id: string;
  readonly #deps: GroupDeps;
  #route: GroupRoute;
  readonly #order: QueueOrder;
  #instances: InstanceState[] = [];
  /** This thread's. Insertion order is the order of tickets; leaving from the middle costs nothing. */
  readonly #waiting = new Map<Waiter, { readonly ticket: number; readonly joinedAt: number }>();
  /** Runs while somebody waits or has waited: one timer for the queue, not one for every waiter. */
  #expiry: TimerHandle | null = null;
  readonly #drain = new DrainRate();
  #next = 0;
  /** Moving average of how long a slot is held; 0 until one was released. */
  #heldMs = 0;
  /** Callers that were told when to come back and whose time has not come, as of then. */
  #turnedAway = 0;
  #turnedAwayAt = 0;
  #isRetired = false;

  constructor(route: GroupRoute, deps: GroupDeps) {
    this.id = route.id;
    this.#deps = deps;
    this.#route = route;
    this.#order = new QueueOrder(deps.shared, route.id);
    this.#setInstances(route);
  }

  get route(): GroupRoute {
    return this.#route;
  }

  get instances(): readonly InstanceState[] {
    return this.#instances;
  }

  /** In all threads. */
  get waitingCount(): number {
    return this.#order.length;
  }

  get inFlight(): number {
    let sum = 0;
    for (const instance of this.#instances) sum += instance.inFlight;
    return sum;
  }

  /** A slot on the least loaded instance, or null when there is none now, or others wait for it. */
  take(): InstanceState | null {
    return this.#order.length > 0 ? null : this.#takeSlot();
  }

  #takeSlot(): InstanceState | null {
    const instances = this.#instances;
    const { concurrency } = this.#route;
    // Another thread may be quicker at the chosen one; then that one is full and the choice is another.
    for (let attempt = 0; attempt <= instances.length; attempt += 1) {
      const index = chooseInstance(instances, concurrency, this.#next);
      const instance = instances[index];
      if (instance === undefined) return null;
      if (!instance.tryTake(concurrency)) continue;
      this.#next = (index + 1) % instances.length;
      return instance;
    }
    return null;
  }

  /** Joins the queue; false when it is full. The waiter may be admitted before this returns. */
  wait(waiter: Waiter): boolean {
    const ticket = this.#order.join(this.#route.queueMax);
    if (ticket === null) return false;
    const now = this.#deps.monotonicMs();
    if (this.#waiting.size === 0) this.#drain.begin(now);
    this.#waiting.set(waiter, { ticket, joinedAt: now });
    if (this.#waiting.size === 1) this.#order.show(ticket);
    this.#expiry ??= this.#deps.timer.after(this.#queueAgeMs, () => this.#expire());
    this.#admitWaiting();
    return true;
  }

  leave(waiter: Waiter): void {
    this.#remove([waiter]);
    this.#admitWaiting();
  }

  /** Gives a slot back. `heldMs` feeds the estimate behind Retry-After; null when the slot was not really used. */
  release(instance: InstanceState, heldMs: number | null): void {
    instance.release();
    if (heldMs !== null) {
      this.#heldMs = this.#heldMs === 0 ? heldMs : this.#heldMs * 0.9 + heldMs * 0.1;
      if (this.#waiting.size > 0) this.#drain.completed(this.#deps.monotonicMs());
    }
    if (this.#isRetired) this.#deps.onLateRelease?.(this.id);
    else this.#admitWaiting();
  }

  /** Every slot is taken, as far as instances may be given requests now. */
  get isFull(): boolean {
    return this.inFlight >= this.#instances.length * this.#route.concurrency;
  }

  /** Seconds until what waits now is worked off. */
  retryAfterSeconds(): number {
    return secondsFor(this.#order.length + 1, this.#perSecond);
  }

  /**
   * Seconds after which a caller that is refused now may expect a place: those who were told to come back before count
   * as if they waited, so that not all come back at once. Counts this one in.
   */
  turnAway(): number {
    const now = this.#deps.monotonicMs();
    const perSecond = this.#perSecond;
    if (perSecond === Number.POSITIVE_INFINITY) return 1;
    const left = Math.max(0, this.#turnedAway - ((now - this.#turnedAwayAt) / 1000) * perSecond);
    this.#turnedAwayAt = now;
    // Each thread takes what it sees for its share of the whole.
    this.#turnedAway = Math.min(left + this.#deps.shared.threads, perSecond * TURNED_AWAY_SECONDS_MAX);
    return secondsFor(this.#order.length + left + 1, perSecond);
  }

  /**
   * The rate seen since the queue last was empty. Before that rate is known, the rate all slots together would have if
   * requests took as long as the last ones.
   */
  get #perSecond(): number {
    const slots = Math.max(1, this.#instances.length * this.#route.concurrency);
    const assumed = this.#heldMs > 0 ? (slots * 1000) / this.#heldMs : Number.POSITIVE_INFINITY;
    const seen =
      this.#waiting.size > 0 ? this.#drain.perSecond(this.#deps.monotonicMs()) : Number.POSITIVE_INFINITY;
    return Math.min(assumed, seen * this.#deps.shared.threads);
  }

  /** Takes over a new table's view of the group. `wake` must follow. */
  adopt(route: GroupRoute): void {
    this.#route = route;
    this.#setInstances(route);
  }

  /** The group has left the table. Requests in flight finish on their own. `wake` must follow. */
  retire(): void {
    this.#isRetired = true;
    this.adopt({ ...this.#route, weight: 0, instances: [] });
  }

  /** After adopt: lets waiters in where there is room now, sends back to the table those it can no longer serve. */
  wake(): void {
    if (this.#route.weight <= 0 || this.#route.instances.length === 0) this.#dismiss();
    else this.#admitWaiting();
    if (this.#isRetired) this.#order.close();
  }

  get #queueAgeMs(): number {
    return this.#route.queueAgeMs ?? QUEUE_AGE_MS;
  }

  #setInstances(route: GroupRoute): void {
    const known = new Map(this.#instances.map((instance) => [instance.id, instance]));
    const healthPath = route.healthPath ?? HEALTH_PATH;
    this.#instances = route.instances.map(({ id, url }) => {
      const kept = known.get(id);
      if (kept === undefined || kept.url !== url) {
        return new InstanceState(id, url, healthPath, this.#deps, () => this.#admitWaiting());
      }
      known.delete(id);
      kept.healthPath = healthPath;
      return kept;
    });
    // What is left has gone or moved.
    for (const gone of known.values()) gone.leave();
    if (this.#next >= this.#instances.length) this.#next = 0;
  }

  #admitWaiting(): void {
    while (this.#order.length > 0) {
      const { turn } = this.#order;
      if (turn !== this.#deps.shared.thread) {
        if (turn >= 0 && this.#hasRoom) this.#deps.shared.ring(turn);
        return;
      }
      const instance = this.#takeSlot();
      if (instance === null) return;
      const [first] = this.#waiting.keys();
      if (first === undefined) return;
      this.#remove([first]);
      first.admitted(instance);
    }
  }

  get #hasRoom(): boolean {
    return chooseInstance(this.#instances, this.#route.concurrency, this.#next) >= 0;
  }

  /** Out of the queue, as far as they are in it. */
  #remove(waiters: readonly Waiter[]): void {
    let count = 0;
    for (const waiter of waiters) if (this.#waiting.delete(waiter)) count += 1;
    if (count === 0) return;
    const [first] = this.#waiting.values();
    this.#order.show(first?.ticket ?? null);
    this.#order.leave(count);
  }

  /** Sends away who has waited too long; they stand at the front. Comes back when the next one may have. */
  #expire(): void {
    this.#expiry = null;
    const now = this.#deps.monotonicMs();
    const joinedBefore = now - this.#queueAgeMs;
    const expired: Waiter[] = [];
    for (const [waiter, { joinedAt }] of this.#waiting) {
      if (joinedAt > joinedBefore) {
        const left = Math.max(1, Math.ceil(joinedAt - joinedBefore));
        this.#expiry = this.#deps.timer.after(left, () => this.#expire());
        break;
      }
      expired.push(waiter);
    }
    this.#remove(expired);
    this.#admitWaiting();
    for (const waiter of expired) waiter.expired();
  }

  #dismiss(): void {
    const dismissed = [...this.#waiting.keys()];
    this.#remove(dismissed);
    this.#expiry?.cancel();
    this.#expiry = null;
    for (const waiter of dismissed) waiter.rerouted();
  }
}

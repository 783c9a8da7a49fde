/**
 * Admission to one group: how many requests each instance has in flight, who waits, who is refused. Lives across tables:
 * the table (table.ts) updates a group in place, so slots and waiters survive every change that keeps the group.
 *
 * Invariants: an instance never has more than `concurrency` in flight; at most `queueMax` wait; nobody waits while an
 * instance has room; every waiter hears exactly one of admitted and rerouted, or has left by itself.
 */
import type { GroupRoute } from "../core/routing-table.ts";
import { chooseInstance } from "./choose.ts";
import type { Load } from "./choose.ts";
import { UpstreamPool } from "./upstream.ts";
import type { UpstreamDeps } from "./upstream.ts";

/** A request that waits for an instance of a group. */
export interface Waiter {
  /** The slot is the waiter's; it must be released. */
  admitted(instance: InstanceState): void;
  /** The group no longer takes requests: look at the table again. */
  rerouted(): void;
}

/** How long an instance that refused a connection is passed over while others have room. */
const DOWN_MS = 1_000;

export class InstanceState implements Load {
  readonly id: string;
  readonly url: string;
  readonly pool: UpstreamPool;
  readonly #monotonicMs: () => number;
  inFlight = 0;
  #downUntil = 0;

  constructor(id: string, url: string, deps: UpstreamDeps) {
    this.id = id;
    this.url = url;
    this.pool = new UpstreamPool(url, deps);
    this.#monotonicMs = deps.monotonicMs;
  }

  get isDown(): boolean {
    return this.#downUntil > 0 && this.#downUntil > this.#monotonicMs();
  }

  markDown(): void {
    this.#downUntil = this.#monotonicMs() + DOWN_MS;
  }

  markUp(): void {
    this.#downUntil = 0;
  }
}

export class GroupState {
  readonly id: string;
  readonly #deps: UpstreamDeps;
  #route: GroupRoute;
  #instances: InstanceState[] = [];
  /** Insertion order is the queue's order; leaving from the middle costs nothing. */
  readonly #waiting = new Set<Waiter>();
  #next = 0;
  /** Moving average of how long a slot is held; 0 until one was released. */
  #heldMs = 0;

  constructor(route: GroupRoute, deps: UpstreamDeps) {
    this.id = route.id;
    this.#deps = deps;
    this.#route = route;
    this.#setInstances(route);
  }

  get route(): GroupRoute {
    return this.#route;
  }

  get instances(): readonly InstanceState[] {
    return this.#instances;
  }

  get waitingCount(): number {
    return this.#waiting.size;
  }

  get inFlight(): number {
    let sum = 0;
    for (const instance of this.#instances) sum += instance.inFlight;
    return sum;
  }

  /** A slot on the least loaded instance, or null when there is none now. */
  take(): InstanceState | null {
    const index = chooseInstance(this.#instances, this.#route.concurrency, this.#next);
    const instance = this.#instances[index];
    if (instance === undefined) return null;
    this.#next = (index + 1) % this.#instances.length;
    instance.inFlight += 1;
    return instance;
  }

  /** Joins the queue; false when it is full. */
  wait(waiter: Waiter): boolean {
    if (this.#waiting.size >= this.#route.queueMax) return false;
    this.#waiting.add(waiter);
    return true;
  }

  leave(waiter: Waiter): void {
    this.#waiting.delete(waiter);
  }

  /** Gives a slot back. `heldMs` feeds the estimate behind Retry-After; null when the slot was not really used. */
  release(instance: InstanceState, heldMs: number | null): void {
    instance.inFlight -= 1;
    if (heldMs !== null) this.#heldMs = this.#heldMs === 0 ? heldMs : this.#heldMs * 0.9 + heldMs * 0.1;
    this.#admitWaiting();
  }

  /** Seconds until a place in the full queue can be expected: the time it takes to work off what waits now. */
  retryAfterSeconds(): number {
    const slots = Math.max(1, this.#instances.length * this.#route.concurrency);
    const seconds = Math.ceil((this.#heldMs * (this.#waiting.size + 1)) / slots / 1000);
    return Math.min(60, Math.max(1, seconds));
  }

  /** Takes over a new table's view of the group. `wake` must follow. */
  adopt(route: GroupRoute): void {
    this.#route = route;
    this.#setInstances(route);
  }

  /** The group has left the table. Requests in flight finish on their own. `wake` must follow. */
  retire(): void {
    this.adopt({ ...this.#route, weight: 0, instances: [] });
  }

  /** After adopt: lets waiters in where there is room now, sends back to the table those it can no longer serve. */
  wake(): void {
    if (this.#route.weight <= 0 || this.#route.instances.length === 0) this.#dismiss();
    else this.#admitWaiting();
  }

  #setInstances(route: GroupRoute): void {
    const known = new Map(this.#instances.map((instance) => [instance.id, instance]));
    this.#instances = route.instances.map(({ id, url }) => {
      const kept = known.get(id);
      if (kept === undefined || kept.url !== url) return new InstanceState(id, url, this.#deps);
      known.delete(id);
      return kept;
    });
    // What is left has gone or moved. Its idle connections close now, so that nothing is sent on one from here on.
    for (const gone of known.values()) gone.pool.close();
    if (this.#next >= this.#instances.length) this.#next = 0;
  }

  #admitWaiting(): void {
    while (this.#waiting.size > 0) {
      const instance = this.take();
      if (instance === null) return;
      const [first] = this.#waiting;
      if (first === undefined) return;
      this.#waiting.delete(first);
      first.admitted(instance);
    }
  }

  #dismiss(): void {
    const dismissed = [...this.#waiting];
    this.#waiting.clear();
    for (const waiter of dismissed) waiter.rerouted();
  }
}

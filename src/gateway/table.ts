/**
 * The routing table in the form requests use. `apply` swaps it in one synchronous step: a request sees the old table or
 * the new one, never a mixture, and once it returns every admission is by the new one. Groups and instances that stay
 * keep their state (admit.ts); what disappears finishes what it has.
 */
import { createPublicKey } from "node:crypto";
import type { KeyObject } from "node:crypto";
import type { RoutingTable, ServiceRoute } from "../core/routing-table.ts";
import { GroupState } from "./admit.ts";
import type { GroupDeps, InstanceState } from "./admit.ts";
import { chooseByWeight, nextPoint } from "./choose.ts";
import { Prober } from "./health.ts";
import { FRESH } from "./health-state.ts";
import type { Health, Signal } from "./health-state.ts";
import { unshared } from "./shared.ts";
import type { UpstreamDeps } from "./upstream.ts";

/** Who is believed. A new object with every table: its identity tells the token cache when to look again. */
export interface Trust {
  readonly keys: ReadonlyMap<string, { readonly spki: string; readonly key: KeyObject }>;
  readonly revoked: ReadonlySet<string>;
  readonly refusedUsers: ReadonlyMap<string, number>;
}

export class ServiceState {
  readonly route: ServiceRoute;
  readonly groups: readonly GroupState[];
  /** Groups that can take a request, and their weights, prepared for the choice. */
  readonly #open: readonly GroupState[];
  readonly #weights: readonly number[];
  #point: number;

  constructor(route: ServiceRoute, groups: readonly GroupState[], before: ServiceState | undefined) {
    this.route = route;
    this.groups = groups;
    // Read from the new route, not from the groups' states: those follow later in the same step.
    const open = route.groups.map((group) => group.weight > 0 && group.instances.length > 0);
    this.#open = groups.filter((_, index) => open[index]);
    this.#weights = route.groups.filter((_, index) => open[index]).map((group) => group.weight);
    this.#point = before === undefined ? 0 : before.#point;
  }

  /**
   * The group for the next request, or null when none has a ready instance. A group without ready instances gives its
   * share to the others: an answer from the other version is worth more than an exact split.
   */
  choose(): GroupState | null {
    if (this.#open.length <= 1) return this.#open[0] ?? null;
    this.#point = nextPoint(this.#point);
    return this.#open[chooseByWeight(this.#weights, this.#point)] ?? null;
  }
}

const NOBODY: Trust = { keys: new Map(), revoked: new Set(), refusedUsers: new Map() };

/** Throws when a key is not an Ed25519 public key. */
const prepareTrust = (identity: RoutingTable["identity"]): Trust => ({
  keys: new Map(
    Object.entries(identity.keys).map(([kid, spki]) => {
      const key = createPublicKey({ key: Buffer.from(spki, "base64url"), format: "der", type: "spki" });
      if (key.asymmetricKeyType !== "ed25519") throw new Error(`key ${kid} is not an Ed25519 key`);
      return [kid, { spki, key }];
    }),
  ),
  revoked: new Set(identity.revokedTokens),
  refusedUsers: new Map(Object.entries(identity.refusedUsers)),
});

/** Slots and queues are the table's own unless several threads share them; so are the probes. */
export type TableDeps = UpstreamDeps & Partial<GroupDeps>;

export class Table {
  readonly #deps: GroupDeps;
  #version: number | null = null;
  #trust: Trust = NOBODY;
  #services = new Map<string, ServiceState>();
  #groups = new Map<string, GroupState>();

  constructor(deps: TableDeps) {
    const prober = new Prober(deps);
    this.#deps = {
      shared: unshared(),
      watch: (instance) => prober.watch(instance),
      onLateRelease: (id) => this.#groups.get(id)?.wake(),
      ...deps,
    };
  }

  /** Null until a table was applied. */
  get version(): number | null {
    return this.#version;
  }

  get trust(): Trust {
    return this.#trust;
  }

  get services(): ReadonlyMap<string, ServiceState> {
    return this.#services;
  }

  service(id: string): ServiceState | undefined {
    return this.#services.get(id);
  }

  /** By its key; undefined when it has left the table. */
  instance(key: string): InstanceState | undefined {
    for (const group of this.#groups.values()) {
      const found = group.instances.find((instance) => instance.key === key);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /**
   * What is believed of an instance after another thread has learnt something of it. One that is not in the table has
   * left it, or comes with the table that is being applied, here last of all threads: it will be believed fresh here,
   * so what the other thread made of it must not outlast that.
   */
  hear(key: string, signal: Signal): Health {
    const instance = this.instance(key);
    instance?.hear(signal);
    return instance?.health ?? FRESH;
  }

  /** Another thread has rung: a slot may be free for a waiter of this one. */
  wake(): void {
    for (const group of this.#groups.values()) group.wake();
  }

  /** Throws on a bad key, with nothing changed. */
  apply(table: RoutingTable): void {
    const trust = prepareTrust(table.identity);
    const services = new Map<string, ServiceState>();
    const groups = new Map<string, GroupState>();
    for (const route of table.services) {
      const states = route.groups.map((group) => {
        const state = this.#groups.get(group.id) ?? new GroupState(group, this.#deps);
        groups.set(group.id, state);
        return state;
      });
      services.set(route.id, new ServiceState(route, states, this.#services.get(route.id)));
    }
    const before = this.#groups;
    this.#trust = trust;
    this.#services = services;
    this.#groups = groups;
    this.#version = table.version;
    // Every group takes over its new view before any waiter is woken: a woken waiter may come to any of them at once.
    for (const service of services.values()) {
      for (const [index, group] of service.groups.entries()) {
        const route = service.route.groups[index];
        if (route === undefined) continue;
        group.adopt(service.route.state === "serving" ? route : { ...route, weight: 0 });
      }
    }
    for (const group of before.values()) if (!groups.has(group.id)) group.retire();
    for (const group of new Set([...before.values(), ...groups.values()])) group.wake();
  }

  /** Ends the probes and closes idle connections to all instances. */
  close(): void {
    for (const group of this.#groups.values()) for (const instance of group.instances) instance.leave();
  }
}

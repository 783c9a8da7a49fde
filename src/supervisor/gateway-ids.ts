/**
 * Who the gateways are to control. Every gateway process has an id of its own, because control ends an instance once each
 * gateway it knows has acknowledged a table without it: two processes under one id, as during an upgrade, could answer
 * for each other. The price is a killed gateway whose acknowledgement nobody gives any more; so a process that comes
 * after it is told the ids of the dead, and control forgets them with its first poll (core/routing-table.ts). Until then
 * they stand for it, and rightly: it starts with the table on disk, which is at least as new as what they acknowledged.
 */
import { randomUUID } from "node:crypto";

/** Forgetting twice harms nothing, so ids stay for some starts: the first one after a death may die as well. */
const DEAD_MAX = 16;

/** What a gateway process is told of its place. */
export interface GatewaySeat {
  readonly id: string;
  /** Ids of gateways that are known dead. */
  readonly replaces: readonly string[];
  /** Where it finds the listening sockets, one for each of its threads; null: it opens one. */
  readonly fds: readonly number[] | null;
}

export class GatewayIds {
  readonly #living = new Set<string>();
  #dead: readonly string[];

  /** `dead`: what the state file of a killed supervisor names; its processes must be gone. */
  constructor(dead: readonly string[]) {
    this.#dead = dead.slice(-DEAD_MAX);
  }

  next(fds: readonly number[] | null): GatewaySeat {
    const id = `embedded-${randomUUID()}`;
    this.#living.add(id);
    return { id, replaces: this.#dead, fds };
  }

  ended(id: string): void {
    this.#living.delete(id);
    this.#dead = [...this.#dead, id].slice(-DEAD_MAX);
  }

  get known(): readonly string[] {
    return [...this.#dead, ...this.#living];
  }
}

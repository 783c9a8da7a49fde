/**
 * The order of one group's queue over all threads of the gateway. Every waiter has a ticket, numbered in the order of
 * arrival; each thread keeps its own waiters (admit.ts) and shows here the ticket of its first. Whoever has a slot to
 * give sees from that whose turn it is, and the queue's bound counts everybody.
 */
import type { Shared } from "./shared.ts";

/** Cells of the group's row: how many wait, the last ticket given out, then the first ticket of each thread. */
const LENGTH = 0;
const LAST = 1;
const FIRST = 2;
/** No ticket. */
const NOBODY = 0;

export class QueueOrder {
  readonly #shared: Shared;
  readonly #row: number;
  #isClosed = false;

  constructor(shared: Shared, groupId: string) {
    this.#shared = shared;
    this.#row = shared.rows.claim(`group ${groupId}`);
  }

  /** Waiters of all threads. */
  get length(): number {
    return this.#isClosed ? 0 : this.#shared.rows.read(this.#row + LENGTH);
  }

  /** A ticket, or null when `limit` wait already. */
  join(limit: number): number | null {
    if (this.#isClosed) return null;
    const { rows } = this.#shared;
    if (!rows.tryAdd(this.#row + LENGTH, 1, limit)) return null;
    // It wraps around after four thousand million; 0 is nobody's.
    const ticket = rows.add(this.#row + LAST, 1) | 0;
    return ticket === NOBODY ? rows.add(this.#row + LAST, 1) | 0 : ticket;
  }

  leave(count = 1): void {
    this.#shared.rows.add(this.#row + LENGTH, -count);
  }

  /** The ticket of this thread's first waiter, or null when it has none. */
  show(ticket: number | null): void {
    this.#shared.rows.write(this.#row + FIRST + this.#shared.thread, ticket ?? NOBODY);
  }

  /** The thread whose first waiter has waited longest. -1: none is shown, who waits has not got that far yet. */
  get turn(): number {
    const { rows, threads } = this.#shared;
    let best = -1;
    let earliest = NOBODY;
    for (let thread = 0; thread < threads; thread += 1) {
      const ticket = rows.read(this.#row + FIRST + thread);
      // The difference, not the tickets themselves, because they wrap around.
      if (ticket === NOBODY || (best >= 0 && ((ticket - earliest) | 0) >= 0)) continue;
      best = thread;
      earliest = ticket;
    }
    return best;
  }

  /** After the last waiter of this thread has left. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#shared.rows.giveUp(this.#row);
  }
}

/**
 * In-flight counts as cells of an Int32Array, taken by compare-and-exchange: with the array on a SharedArrayBuffer the
 * limits hold exactly over several threads, and in one thread it costs a few nanoseconds. Which instance has which cell
 * is decided by whoever hands out cells: here, for one thread, LocalSlots itself.
 */

export interface Slots {
  /** Raises the cell unless it has reached `limit`. */
  tryTake(cell: number, limit: number): boolean;
  release(cell: number): void;
  read(cell: number): number;
}

/** Who has which cell. Claimed when an instance appears, given up when it is gone and its last request is over. */
export interface SlotSpace extends Slots {
  claim(instanceId: string): number;
  giveUp(cell: number): void;
}

/** The three operations over any array; the array must not move. */
export class SlotArray implements Slots {
  readonly #cells: Int32Array;

  constructor(cells: Int32Array) {
    this.#cells = cells;
  }

  tryTake(cell: number, limit: number): boolean {
    const cells = this.#cells;
    let count = Atomics.load(cells, cell);
    while (count < limit) {
      const seen = Atomics.compareExchange(cells, cell, count, count + 1);
      if (seen === count) return true;
      count = seen;
    }
    return false;
  }

  release(cell: number): void {
    Atomics.sub(this.#cells, cell, 1);
  }

  read(cell: number): number {
    return Atomics.load(this.#cells, cell);
  }
}

const PAGE = 4096;

/** Cells of one thread: as many as are asked for, in pages, because a page must not move. */
export class LocalSlots implements SlotSpace {
  readonly #pages: SlotArray[] = [];
  readonly #free: number[] = [];
  #used = 0;

  claim(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#used % PAGE === 0) this.#pages.push(new SlotArray(new Int32Array(PAGE)));
    this.#used += 1;
    return this.#used - 1;
  }

  giveUp(cell: number): void {
    this.#free.push(cell);
  }

  tryTake(cell: number, limit: number): boolean {
    return this.#page(cell).tryTake(cell % PAGE, limit);
  }

  release(cell: number): void {
    this.#page(cell).release(cell % PAGE);
  }

  read(cell: number): number {
    return this.#page(cell).read(cell % PAGE);
  }

  #page(cell: number): SlotArray {
    const page = this.#pages[Math.floor(cell / PAGE)];
    if (page === undefined) throw new Error(`slot ${cell} was never claimed`);
    return page;
  }
}

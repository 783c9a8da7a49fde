/**
 * What the threads of one gateway share: counts, so that every limit holds over all of them, and a bell, so that one can
 * wake another. A gateway of one thread shares them with nobody, through the same code.
 *
 * Counts are cells of an Int32Array on shared memory, changed by atomic operations: a few nanoseconds each. They stand in
 * rows, and a row is whoever's key asks for it first; threads that ask for the same key get the same row, without a
 * message between them.
 */
import { createHash } from "node:crypto";

/** Rows of one gateway: instances, groups, and a handful for the gateway itself. */
const ROWS_MAX = 16_384;
/** How often a thread looks again at a lock that another holds: for as long as one search through the rows takes. */
const LOCK_LOOK_MS = 1;

const LOCK = 0;
const USED = 1;
const HEADER = 4;
/** Of every row: the key's digest and how many have claimed it; then its cells. */
const KEY_WORDS = 4;
const CLAIMS = KEY_WORDS;
const ROW_HEADER = KEY_WORDS + 1;

export class SharedRows {
  readonly memory: SharedArrayBuffer;
  /** Cells each row has. */
  readonly #width: number;
  readonly #cells: Int32Array;

  /** `memory`: that of another thread's rows; new memory where absent. */
  constructor(width: number, memory?: SharedArrayBuffer) {
    const words = HEADER + ROWS_MAX * (ROW_HEADER + width);
    this.#width = width;
    this.memory = memory ?? new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT);
    this.#cells = new Int32Array(this.memory);
  }

  /** The first cell of the key's row: zeros when nobody had it. Give it up as often as it was claimed. */
  claim(key: string): number {
    // 128 bits: no two keys share a row.
    const digest = createHash("md5").update(key).digest();
    const words = Array.from({ length: KEY_WORDS }, (_, n) => digest.readInt32LE(n * 4));
    return this.#locked((cells) => {
      const used = cells[USED] ?? 0;
      let free = -1;
      for (let row = 0; row < used; row += 1) {
        const at = this.#row(row);
        if (cells[at + CLAIMS] === 0) free = free < 0 ? at : free;
        else if (words.every((word, n) => cells[at + n] === word)) {
          cells[at + CLAIMS] = (cells[at + CLAIMS] ?? 0) + 1;
          return at + ROW_HEADER;
        }
      }
      if (free < 0) {
        if (used === ROWS_MAX) throw new Error(`more than ${ROWS_MAX} instances and versions`);
        free = this.#row(used);
        cells[USED] = used + 1;
      }
      cells.set(words, free);
      cells[free + CLAIMS] = 1;
      cells.fill(0, free + ROW_HEADER, free + ROW_HEADER + this.#width);
      return free + ROW_HEADER;
    });
  }

  giveUp(row: number): void {
    this.#locked((cells) => {
      cells[row - 1] = (cells[row - 1] ?? 0) - 1;
    });
  }

  read(cell: number): number {
    return Atomics.load(this.#cells, cell);
  }

  write(cell: number, value: number): void {
    Atomics.store(this.#cells, cell, value);
  }

  /** The value after. */
  add(cell: number, count: number): number {
    return Atomics.add(this.#cells, cell, count) + count;
  }

  /** Raises the cell unless that would bring it above `limit`. */
  tryAdd(cell: number, count: number, limit: number): boolean {
    const cells = this.#cells;
    let value = Atomics.load(cells, cell);
    while (value + count <= limit) {
      const seen = Atomics.compareExchange(cells, cell, value, value + count);
      if (seen === value) return true;
      value = seen;
    }
    return false;
  }

  /** Sets a cell that is 0 to 1 and wakes who waits at it. */
  raise(cell: number): void {
    if (Atomics.exchange(this.#cells, cell, 1) === 0) Atomics.notify(this.#cells, cell);
  }

  /** Sets the cell back to 0; true when it was raised. */
  lower(cell: number): boolean {
    return Atomics.exchange(this.#cells, cell, 0) !== 0;
  }

  /** Resolves once the cell is raised. */
  async raised(cell: number): Promise<void> {
    const waiting = Atomics.waitAsync(this.#cells, cell, 0);
    if (waiting.async) await waiting.value;
  }

  #row(index: number): number {
    return HEADER + index * (ROW_HEADER + this.#width);
  }

  /** Held for microseconds, when tables change; threads that share it end together, so nobody leaves it locked. */
  #locked<T>(work: (cells: Int32Array) => T): T {
    const cells = this.#cells;
    while (Atomics.compareExchange(cells, LOCK, 0, 1) !== 0) Atomics.wait(cells, LOCK, 1, LOCK_LOOK_MS);
    try {
      return work(cells);
    } finally {
      Atomics.store(cells, LOCK, 0);
      Atomics.notify(cells, LOCK, 1);
    }
  }
}

/** One count of the whole gateway. */
export class SharedCount {
  readonly #rows: SharedRows;
  readonly #cell: number;

  constructor(rows: SharedRows, key: string) {
    this.#rows = rows;
    this.#cell = rows.claim(key);
  }

  get value(): number {
    return this.#rows.read(this.#cell);
  }

  set value(value: number) {
    this.#rows.write(this.#cell, value);
  }

  tryAdd(count: number, limit: number): boolean {
    return this.#rows.tryAdd(this.#cell, count, limit);
  }

  remove(count: number): void {
    this.#rows.add(this.#cell, -count);
  }
}

/** What a thread is told of the memory it shares; may be sent to another thread. */
export interface SharedMemory {
  readonly rows: SharedArrayBuffer;
  readonly threads: number;
}

/** Cells of a row beside those that each thread has one of. */
const COMMON_CELLS = 2;

export class Shared {
  readonly rows: SharedRows;
  /** How many threads, and which of them this one is. */
  readonly threads: number;
  readonly thread: number;
  readonly #bells: number;

  constructor(how: { readonly threads: number; readonly thread: number; readonly memory?: SharedMemory }) {
    this.threads = how.threads;
    this.thread = how.thread;
    this.rows = new SharedRows(COMMON_CELLS + how.threads, how.memory?.rows);
    this.#bells = this.rows.claim("bells");
  }

  get memory(): SharedMemory {
    return { rows: this.rows.memory, threads: this.threads };
  }

  count(key: string): SharedCount {
    return new SharedCount(this.rows, `count ${key}`);
  }

  /** Lets `onRing` of that thread be called, once however often it is rung before. */
  ring(thread: number): void {
    this.rows.raise(this.#bells + thread);
  }

  /** Calls `onRing` after each ring, until `signal` aborts. Does not keep the process alive. */
  async listen(onRing: () => void, signal: AbortSignal): Promise<void> {
    const bell = this.#bells + this.thread;
    while (!signal.aborted) {
      if (this.rows.lower(bell)) onRing();
      await this.rows.raised(bell);
    }
  }
}

/** For a gateway of one thread. */
export const unshared = (): Shared => new Shared({ threads: 1, thread: 0 });

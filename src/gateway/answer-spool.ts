/**
 * What of one answer its caller has not taken yet: in memory first, then in a file without a name, so that an instance is
 * done with a request when it has answered and not when somebody has read the answer.
 *
 *   add → [front, in memory] → [file] → [back, in memory, on its way to the file] → the caller takes it, in this order
 *
 * Bounded over all answers of the gateway. Where a bound is reached or the disk refuses, what is here stays in order in
 * memory and `add` says false: stop the instance until `onRoom`.
 */
import { randomUUID } from "node:crypto";
import * as nodeFiles from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Shared, SharedCount } from "./shared.ts";

/** What waits in memory before a file is opened, and with what is on its way to the file. */
const FRONT_BYTES = 256 * 1024;
const MEMORY_PER_ANSWER = 2 * FRONT_BYTES;
/** What a chunk costs beside its bytes. */
const CHUNK_COST = 128;
const MEMORY_TOTAL = 64 * 1024 * 1024;
const PAGE_BYTES = 4 * 1024;
const PAGES_TOTAL = (2 * 1024 * 1024 * 1024) / PAGE_BYTES;
const READ_BYTES = 64 * 1024;

/** What all answers of the gateway may take together. */
export class SpoolBudget {
  /** Bytes of memory, and pages of the disk. */
  readonly memory: SharedCount;
  readonly disk: SharedCount;

  constructor(shared: Shared) {
    this.memory = shared.count("spooled bytes");
    this.disk = shared.count("spooled pages");
  }
}

export type SpoolFiles = Pick<typeof nodeFiles, "open" | "unlink" | "writev" | "read" | "close">;

export interface SpoolDeps {
  /** A directory of the gateway's own. */
  readonly dir: string;
  readonly budget: SpoolBudget;
  readonly files?: SpoolFiles;
}

export interface SpoolSink {
  /** False: stop until `onDrain`. */
  write(chunk: Buffer): boolean;
  end(chunk: Buffer | null): void;
}

export interface SpoolEvents {
  /** `add` may go on after it said false. */
  onRoom(): void;
  /** What was written cannot be read back: the answer cannot be completed. */
  onLost(): void;
}

/** Makes the directory and removes what a gateway left that died between opening a file and taking its name away. */
export const prepareSpoolDir = async (dir: string): Promise<void> => {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  for (const name of await readdir(dir)) await rm(join(dir, name), { force: true });
};

const bytesOf = (chunks: readonly Buffer[]): number => chunks.reduce((sum, chunk) => sum + chunk.length, 0);

export class AnswerSpool {
  readonly #deps: SpoolDeps;
  readonly #files: SpoolFiles;
  readonly #sink: SpoolSink;
  readonly #events: SpoolEvents;
  #front: Buffer[] = [];
  #back: Buffer[] = [];
  /** What `back` has been handed to the disk. */
  #writing: Buffer[] | null = null;
  #isReading = false;
  #fd: number | null = null;
  /** The part of the file that is still to be taken. */
  #readAt = 0;
  #writeAt = 0;
  #pages = 0;
  /** What lies in memory, and how much of it the budget had room for. */
  #held = 0;
  #counted = 0;
  #isRefused = false;
  /** The sink said stop; so it has when the first chunk gets here. */
  #isBlocked = true;
  #isPaused = false;
  #isEnded = false;
  #isDestroyed = false;
  /** Bytes the sink has been given. */
  taken = 0;

  constructor(deps: SpoolDeps, sink: SpoolSink, events: SpoolEvents) {
    this.#deps = deps;
    this.#files = deps.files ?? nodeFiles;
    this.#sink = sink;
    this.#events = events;
  }

  get isEmpty(): boolean {
    const isInMemory = this.#front.length > 0 || this.#back.length > 0 || this.#writing !== null;
    return !isInMemory && !this.#hasFileBytes;
  }

  /** `add` said false, and there has been no room since. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** The chunk is taken in any case. False: no more until `onRoom`. */
  add(chunk: Buffer): boolean {
    if (this.#isDestroyed) return true;
    if (this.isEmpty && !this.#isBlocked) {
      this.#give(chunk);
      return true;
    }
    this.#hold(chunk);
    const isAllInFront = this.#back.length === 0 && this.#writing === null && !this.#hasFileBytes;
    const isRoom = this.#held <= FRONT_BYTES && this.#held === this.#counted;
    if (isAllInFront && (this.#isRefused || isRoom)) this.#front.push(chunk);
    else this.#back.push(chunk);
    this.#pour();
    this.#isPaused = this.#isFull;
    return !this.#isPaused;
  }

  /** `add` is over. The sink's end comes with the last piece it takes. */
  end(chunk: Buffer | null): void {
    if (this.#isDestroyed) return;
    if (this.isEmpty) return this.#sink.end(chunk);
    if (chunk !== null && chunk.length > 0) this.add(chunk);
    this.#isEnded = true;
  }

  /** The sink goes on. */
  onDrain(): void {
    this.#isBlocked = false;
    this.#drain();
  }

  destroy(): void {
    if (this.#isDestroyed) return;
    this.#isDestroyed = true;
    this.#front = [];
    this.#back = [];
    this.#release(this.#held);
    this.#closeWhenSettled();
  }

  get #hasFileBytes(): boolean {
    return this.#readAt < this.#writeAt;
  }

  get #isFull(): boolean {
    if (!this.#isRefused && this.#writing === null) return false;
    return this.#held >= MEMORY_PER_ANSWER || this.#held > this.#counted;
  }

  // --- memory -----------------------------------------------------------------------------------------------------

  #hold(chunk: Buffer): void {
    const cost = chunk.length + CHUNK_COST;
    this.#held += cost;
    if (this.#deps.budget.memory.tryAdd(cost, MEMORY_TOTAL)) this.#counted += cost;
  }

  #release(cost: number): void {
    this.#held -= cost;
    if (this.#counted <= this.#held) return;
    this.#deps.budget.memory.remove(this.#counted - this.#held);
    this.#counted = this.#held;
  }

  // --- towards the file -------------------------------------------------------------------------------------------

  #pour(): void {
    if (this.#writing !== null || this.#isRefused || this.#back.length === 0) return;
    const pages = Math.ceil((this.#writeAt + bytesOf(this.#back)) / PAGE_BYTES);
    if (pages > this.#pages) {
      if (!this.#deps.budget.disk.tryAdd(pages - this.#pages, PAGES_TOTAL))
        return void (this.#isRefused = true);
      this.#pages = pages;
    }
    this.#writing = this.#back;
    this.#back = [];
    if (this.#fd === null) this.#open();
    else this.#write(this.#fd, this.#writing);
  }

  #open(): void {
    const path = join(this.#deps.dir, randomUUID());
    this.#files.open(path, "wx+", 0o600, (error, fd) => {
      if (error !== null) return this.#onWritten(error, 0);
      this.#fd = fd;
      // Without a name it is gone with its descriptor, however this process ends.
      this.#files.unlink(path, (failure) => {
        if (failure !== null || this.#isDestroyed) this.#onWritten(failure, 0);
        else this.#write(fd, this.#writing ?? []);
      });
    });
  }

  #write(fd: number, chunks: readonly Buffer[]): void {
    this.#files.writev(fd, chunks, this.#writeAt, (error, written) => this.#onWritten(error, written));
  }

  #onWritten(error: Error | null, written: number): void {
    const chunks = this.#writing ?? [];
    this.#writing = null;
    if (this.#isDestroyed) return this.#closeWhenSettled();
    let rest = written;
    while (chunks[0] !== undefined && rest >= chunks[0].length) {
      rest -= chunks[0].length;
      this.#release(chunks[0].length + CHUNK_COST);
      chunks.shift();
    }
    if (chunks[0] !== undefined && rest > 0) {
      chunks[0] = chunks[0].subarray(rest);
      this.#release(rest);
    }
    this.#writeAt += written;
    this.#back = chunks.length === 0 ? this.#back : [...chunks, ...this.#back];
    // Nothing was written and no error told: asking again could go on for ever.
    if (error !== null || written === 0) this.#isRefused = true;
    this.#pour();
    this.#drain();
  }

  // --- towards the caller -----------------------------------------------------------------------------------------

  #drain(): void {
    while (!this.#isBlocked && !this.#isDestroyed) {
      const chunk = this.#next();
      if (chunk === null) break;
      this.#release(chunk.length + CHUNK_COST);
      if (this.#isEnded && this.isEmpty) return this.#sink.end(chunk);
      this.#give(chunk);
    }
    if (!this.#isPaused || this.#isFull || this.#isDestroyed) return;
    this.#isPaused = false;
    this.#events.onRoom();
  }

  #give(chunk: Buffer): void {
    this.taken += chunk.length;
    this.#isBlocked = !this.#sink.write(chunk);
  }

  /** Null: nothing is there, or it has to be waited for. */
  #next(): Buffer | null {
    if (this.#front.length === 0) {
      if (this.#hasFileBytes) {
        this.#read();
        return null;
      }
      if (this.#writing !== null) return null;
      // From its start again: a caller that is always a little behind needs no more of the disk for it.
      this.#readAt = this.#writeAt = 0;
      this.#front = this.#back;
      this.#back = [];
    }
    return this.#front.shift() ?? null;
  }

  #read(): void {
    if (this.#isReading || this.#fd === null) return;
    this.#isReading = true;
    const buffer = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, this.#writeAt - this.#readAt));
    this.#files.read(this.#fd, buffer, 0, buffer.length, this.#readAt, (error, bytes) => {
      this.#isReading = false;
      if (this.#isDestroyed) return this.#closeWhenSettled();
      if (error !== null || bytes === 0) {
        this.destroy();
        return this.#events.onLost();
      }
      this.#readAt += bytes;
      const chunk = buffer.subarray(0, bytes);
      this.#hold(chunk);
      this.#front.push(chunk);
      this.#drain();
    });
  }

  #closeWhenSettled(): void {
    if (this.#writing !== null || this.#isReading) return;
    const { fd, pages } = { fd: this.#fd, pages: this.#pages };
    this.#fd = null;
    this.#pages = 0;
    if (fd === null) return this.#deps.budget.disk.remove(pages);
    this.#files.close(fd, () => this.#deps.budget.disk.remove(pages));
  }
}

/**
 * How much of callers' request bodies the gateway holds in memory, over all requests together: a body is gathered before
 * an instance is bothered, and kept until its answer begins, so that it can be sent again.
 */
import type { Shared, SharedCount } from "./shared.ts";

/** A body up to this size is gathered whole; of a larger one this much, the rest is streamed. */
export const HELD_PER_REQUEST_MAX = 256 * 1024;
/** Of all requests together: enough for the largest default queue many times over, little for a machine with models. */
const HELD_TOTAL_MAX = 128 * 1024 * 1024;

export class HeldBytes {
  readonly #total: SharedCount;

  constructor(shared: Shared) {
    this.#total = shared.count("held bytes");
  }

  get total(): number {
    return this.#total.value;
  }

  /** More than half is taken: callers that send slowly have to go. */
  get isTight(): boolean {
    return this.#total.value > HELD_TOTAL_MAX / 2;
  }

  /** False: no room; nothing was added. */
  tryAdd(bytes: number): boolean {
    return this.#total.tryAdd(bytes, HELD_TOTAL_MAX);
  }

  remove(bytes: number): void {
    if (bytes > 0) this.#total.remove(bytes);
  }
}

/** Chunks below this are copied together: a buffer costs a hundred bytes and more beside what is in it. */
const JOIN_BELOW = 4 * 1024;
const TAIL_BYTES = 16 * 1024;

/** A body as far as it is kept. What it costs is close to its bytes, however small the pieces it came in. */
export class GatheredBody {
  /** Whole chunks, then what is in the tail. */
  #chunks: Buffer[] = [];
  #tail: Buffer | null = null;
  #tailBytes = 0;
  bytes = 0;

  add(chunk: Buffer): void {
    this.bytes += chunk.length;
    // Most bodies come in one piece, which is kept as it is.
    if (this.#chunks.length === 0 && this.#tail === null) this.#chunks.push(chunk);
    else if (chunk.length >= JOIN_BELOW) {
      this.#closeTail();
      this.#chunks.push(chunk);
    } else {
      if (this.#tail === null || this.#tailBytes + chunk.length > TAIL_BYTES) {
        this.#closeTail();
        this.#tail = Buffer.allocUnsafeSlow(TAIL_BYTES);
      }
      chunk.copy(this.#tail, this.#tailBytes);
      this.#tailBytes += chunk.length;
    }
  }

  /** In order; not to be changed. */
  get chunks(): readonly Buffer[] {
    if (this.#tail === null) return this.#chunks;
    return [...this.#chunks, this.#tail.subarray(0, this.#tailBytes)];
  }

  clear(): void {
    if (this.bytes === 0) return;
    this.#chunks = [];
    this.#tail = null;
    this.#tailBytes = 0;
    this.bytes = 0;
  }

  #closeTail(): void {
    if (this.#tail !== null) this.#chunks.push(this.#tail.subarray(0, this.#tailBytes));
    this.#tail = null;
    this.#tailBytes = 0;
  }
}

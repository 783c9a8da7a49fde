/**
 * How much of callers' request bodies the gateway holds in memory, over all requests together: a body is gathered before
 * an instance is bothered, and kept until its answer begins, so that it can be sent again.
 */

/** A body up to this size is gathered whole; of a larger one this much, the rest is streamed. */
export const HELD_PER_REQUEST_MAX = 256 * 1024;
/** Of all requests together: enough for the largest default queue many times over, little for a machine with models. */
const HELD_TOTAL_MAX = 128 * 1024 * 1024;

export class HeldBytes {
  #total = 0;

  get total(): number {
    return this.#total;
  }

  /** More than half is taken: callers that send slowly have to go. */
  get isTight(): boolean {
    return this.#total > HELD_TOTAL_MAX / 2;
  }

  /** False: no room; nothing was added. */
  tryAdd(bytes: number): boolean {
    if (this.#total + bytes > HELD_TOTAL_MAX) return false;
    this.#total += bytes;
    return true;
  }

  remove(bytes: number): void {
    this.#total -= bytes;
  }
}

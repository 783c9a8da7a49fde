/**
 * Remembers the last head read on a connection. Callers and instances mostly repeat theirs byte for byte (same token,
 * same client, bodies of one size), and comparing 600 bytes costs a tenth of reading them. Where heads differ every time
 * it stops trying.
 */
const BYTES_MAX = 2 * 1024;
const MISSES_MAX = 8;

export class HeadMemo<Head> {
  #bytes: Buffer | null = null;
  #head: Head | null = null;
  #misses = 0;

  /** The remembered head, when `data` has exactly its bytes from `at` on; they end at `at + size`. */
  recall(data: Buffer, at: number): Head | null {
    const bytes = this.#bytes;
    if (bytes === null || data.length - at < bytes.length) return null;
    if (bytes.compare(data, at, at + bytes.length) !== 0) return null;
    this.#misses = 0;
    return this.#head;
  }

  /** Of the remembered head, its final empty line included. */
  get size(): number {
    return this.#bytes?.length ?? 0;
  }

  /** `from` to `end` in `data`: the head's bytes with its final empty line. */
  remember(head: Head, data: Buffer, from: number, end: number): void {
    if (this.#misses >= MISSES_MAX || end - from > BYTES_MAX) return;
    this.#misses += 1;
    this.#head = head;
    // A copy: `data` is as large as what was read at once.
    this.#bytes = this.#misses >= MISSES_MAX ? null : Buffer.from(data.subarray(from, end));
  }
}

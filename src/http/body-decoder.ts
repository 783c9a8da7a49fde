/**
 * The framing of HTTP/1.x bodies, for both sides of the hop: by length, by chunks with trailers, to the end of the
 * connection. Incremental and strict (RFC 9112 §7.1); holds at most one unfinished line. Chunk extensions and trailers
 * are read to their end and dropped, within limits: nothing here would pass them on safely. Small chunks that come
 * together are handed on together: one by one, a byte in a chunk of its own would cost 400 times what it costs to send.
 */
export interface BodyEvents {
  /** `isLast` when this completes a body of known length: onBodyEnd follows at once. */
  onBody(chunk: Buffer, isLast: boolean): void;
  onBodyEnd(): void;
}

export class Malformed extends Error {}

export type Framing = "length" | "chunked" | "to-close";
type State = "length" | "chunk-size" | "chunk-data" | "chunk-end" | "trailers" | "to-close" | "done";

const LINE_BYTES_MAX = 4 * 1024;
const TRAILER_BYTES_MAX = 16 * 1024;
/** Of all chunk extensions of a body together. */
const EXTENSION_BYTES_MAX = 16 * 1024;
/** RFC 9112 §7.1.1, extensions by its grammar and without the white space it deprecates. */
const CHUNK_SIZE =
  /^([0-9a-fA-F]{1,13})((?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]*"))?)*)$/;
const TRAILER = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*$/;
/** Larger chunks are handed on without copying them. */
const SMALL_CHUNK_BYTES = 4 * 1024;
const EMPTY = Buffer.alloc(0);

/** Reads a chunk-size line of digits alone, as nearly all are; null leaves any other to the strict reader of lines. */
const plainSize = (data: Buffer, at: number): { size: number; next: number } | null => {
  let size = 0;
  for (let i = at; i < data.length - 1 && i - at < 8; i += 1) {
    const code = data[i] ?? 0;
    if (code === 13) return i > at && data[i + 1] === 10 ? { size, next: i + 2 } : null;
    const digit = code >= 48 && code <= 57 ? code - 48 : code >= 97 && code <= 102 ? code - 87 : -1;
    if (digit < 0) return null;
    size = size * 16 + digit;
  }
  return null;
};

export class BodyDecoder {
  readonly #events: BodyEvents;
  #state: State = "done";
  #remaining = 0;
  #line: Buffer = EMPTY;
  /** Small chunks of this push; `#smallBytes` of it are filled. */
  #small: Buffer | null = null;
  #smallBytes = 0;
  #extensionBytes = 0;
  #trailerBytes = 0;

  constructor(events: BodyEvents) {
    this.#events = events;
  }

  get isDone(): boolean {
    return this.#state === "done";
  }

  /** Prepares for a body. A length of 0 is complete at once, without an event. */
  begin(framing: Framing, length: number): void {
    this.#line = EMPTY;
    this.#remaining = length;
    this.#extensionBytes = 0;
    this.#trailerBytes = 0;
    if (framing === "length") this.#state = length === 0 ? "done" : "length";
    else this.#state = framing === "chunked" ? "chunk-size" : "to-close";
  }

  /** The connection has ended. True when that completes the body. */
  end(): boolean {
    if (this.#state !== "to-close") return false;
    this.#finish();
    return true;
  }

  /** Feeds `data` from `at`; returns the position behind the body's last byte. Throws Malformed. */
  push(data: Buffer, at: number): number {
    let position = at;
    this.#small = null;
    try {
      while (position < data.length && this.#state !== "done") position = this.#step(data, position);
    } finally {
      // Before a malformed byte, too: what was good of an answer tells its caller that it had begun.
      this.#handOn();
    }
    return position;
  }

  #step(data: Buffer, at: number): number {
    switch (this.#state) {
      case "length": {
        const take = Math.min(this.#remaining, data.length - at);
        this.#remaining -= take;
        const isLast = this.#remaining === 0;
        this.#events.onBody(at === 0 && take === data.length ? data : data.subarray(at, at + take), isLast);
        if (isLast) this.#finish();
        return at + take;
      }
      case "chunk-data": {
        const take = Math.min(this.#remaining, data.length - at);
        this.#remaining -= take;
        if (this.#remaining === 0) this.#state = "chunk-end";
        this.#takeChunk(data, at, at + take);
        return at + take;
      }
      case "to-close":
        this.#events.onBody(at === 0 ? data : data.subarray(at), false);
        return data.length;
      case "chunk-size": {
        const plain = this.#line.length === 0 ? plainSize(data, at) : null;
        if (plain === null) return this.#readLine(data, at);
        this.#beginChunk(plain.size);
        return plain.next;
      }
      case "chunk-end":
        if (this.#line.length > 0 || data[at] !== 13 || data[at + 1] !== 10) return this.#readLine(data, at);
        this.#state = "chunk-size";
        return at + 2;
      case "trailers":
        return this.#readLine(data, at);
      case "done":
        return at;
    }
  }

  /** Lines end with CRLF; a part of one is kept until its end has come. */
  #readLine(data: Buffer, at: number): number {
    const lf = data.indexOf(10, at);
    const end = lf < 0 ? data.length : lf + 1;
    if (this.#line.length + end - at > LINE_BYTES_MAX) throw new Malformed("line too long");
    const part = data.subarray(at, end);
    const line = this.#line.length === 0 ? part : Buffer.concat([this.#line, part]);
    if (lf < 0) {
      this.#line = line;
      return end;
    }
    this.#line = EMPTY;
    if (line.length < 2 || line[line.length - 2] !== 13) throw new Malformed("bare LF");
    this.#onLine(line.toString("latin1", 0, line.length - 2));
    return end;
  }

  #onLine(line: string): void {
    if (this.#state === "chunk-end") {
      if (line !== "") throw new Malformed("chunk longer than its size");
      this.#state = "chunk-size";
    } else if (this.#state === "chunk-size") {
      const match = CHUNK_SIZE.exec(line);
      const size = match?.[1];
      if (size === undefined) throw new Malformed("bad chunk size");
      this.#extensionBytes += match?.[2]?.length ?? 0;
      if (this.#extensionBytes > EXTENSION_BYTES_MAX) throw new Malformed("chunk extensions too large");
      this.#beginChunk(parseInt(size, 16));
    } else {
      this.#trailerBytes += line.length + 2;
      if (this.#trailerBytes > TRAILER_BYTES_MAX) throw new Malformed("trailers too large");
      if (line === "") this.#finish();
      else if (!TRAILER.test(line)) throw new Malformed("bad trailer");
    }
  }

  #beginChunk(size: number): void {
    this.#remaining = size;
    this.#state = size === 0 ? "trailers" : "chunk-data";
  }

  #takeChunk(data: Buffer, from: number, to: number): void {
    if (to - from >= SMALL_CHUNK_BYTES) {
      this.#handOn();
      this.#events.onBody(data.subarray(from, to), false);
      return;
    }
    if (this.#small === null) {
      // All that can still come of this push; behind the last chunk of most bodies there is next to nothing.
      this.#small = Buffer.allocUnsafe(data.length - from);
      this.#smallBytes = 0;
    }
    data.copy(this.#small, this.#smallBytes, from, to);
    this.#smallBytes += to - from;
  }

  #handOn(): void {
    const small = this.#small;
    if (small === null) return;
    this.#small = null;
    this.#events.onBody(small.subarray(0, this.#smallBytes), false);
  }

  #finish(): void {
    this.#handOn();
    this.#state = "done";
    this.#events.onBodyEnd();
  }
}

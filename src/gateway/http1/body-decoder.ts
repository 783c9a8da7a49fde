/**
 * The framing of HTTP/1.x bodies, for both sides of the hop: by length, by chunks with trailers, to the end of the
 * connection. Incremental and strict (RFC 9112 §7.1); holds at most one unfinished line. Chunk extensions and trailers
 * are read to their end and dropped, within limits: nothing here would pass them on safely.
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
const CHUNK_SIZE = /^([0-9a-fA-F]{1,13})((?:;[\t\x20-\x7e\x80-\xff]*)?)$/;
const TRAILER = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*$/;
const EMPTY = Buffer.alloc(0);

export class BodyDecoder {
  readonly #events: BodyEvents;
  #state: State = "done";
  #remaining = 0;
  #line: Buffer = EMPTY;
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
    while (position < data.length && this.#state !== "done") position = this.#step(data, position);
    return position;
  }

  #step(data: Buffer, at: number): number {
    switch (this.#state) {
      case "length":
      case "chunk-data": {
        const take = Math.min(this.#remaining, data.length - at);
        this.#remaining -= take;
        const isLast = this.#remaining === 0 && this.#state === "length";
        if (this.#remaining === 0 && !isLast) this.#state = "chunk-end";
        this.#events.onBody(at === 0 && take === data.length ? data : data.subarray(at, at + take), isLast);
        if (isLast) this.#finish();
        return at + take;
      }
      case "to-close":
        this.#events.onBody(at === 0 ? data : data.subarray(at), false);
        return data.length;
      case "chunk-size":
      case "chunk-end":
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
      this.#remaining = parseInt(size, 16);
      this.#state = this.#remaining === 0 ? "trailers" : "chunk-data";
    } else {
      this.#trailerBytes += line.length + 2;
      if (this.#trailerBytes > TRAILER_BYTES_MAX) throw new Malformed("trailers too large");
      if (line === "") this.#finish();
      else if (!TRAILER.test(line)) throw new Malformed("bad trailer");
    }
  }

  #finish(): void {
    this.#state = "done";
    this.#events.onBodyEnd();
  }
}

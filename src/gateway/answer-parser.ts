/**
 * An incremental, strict parser of HTTP/1.x answers, for the upstream side only. node:http's client costs twice what the
 * rest of the hop does (bench/hop), and this side needs little: one answer at a time, framing, nothing rebuilt.
 *
 * head → (1xx: head again) → body by length | body by chunks → trailers | body to close → complete. Whatever two parsers
 * could read differently (both framings, repeated lengths, bare CR or LF, folded lines) is an error, never a guess.
 */
export interface AnswerEvents {
  /** Final answer only; 1xx answers are skipped. `headers` alternates names and values. */
  onHead(status: number, reason: string, headers: string[]): void;
  /** `isLast` when this completes a body of known length: onComplete follows at once. */
  onBody(chunk: Buffer, isLast: boolean): void;
  onComplete(): void;
}

/** How long the connection may idle before the next request, as the answer allows. */
export interface Persistence {
  /** False: the connection carries no further request. */
  readonly reusable: boolean;
  /** From `Keep-Alive: timeout=N`; null when not told. */
  readonly timeoutMs: number | null;
}

export class AnswerMalformed extends Error {}

const HEAD_BYTES_MAX = 64 * 1024;
const LINE_BYTES_MAX = 4 * 1024;
const TRAILER_BYTES_MAX = 16 * 1024;

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: (.*))?$/;
const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const FORBIDDEN = /[^\t\r\n\x20-\x7e\x80-\xff]/;
const DIGITS = /^\d{1,15}$/;
const CHUNK_SIZE = /^([0-9a-fA-F]{1,13})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/;
const KEEP_ALIVE_TIMEOUT = /(?:^|[,;\s])timeout=(\d{1,6})/i;

type State = "head" | "length" | "chunk-size" | "chunk-data" | "chunk-end" | "trailers" | "to-close" | "done";

export class AnswerParser {
  #events: AnswerEvents;
  #state: State = "done";
  #isHead = false;
  #remaining = 0;
  #held: Buffer | null = null;
  #trailerBytes = 0;
  #persistence: { reusable: boolean; timeoutMs: number | null } = { reusable: false, timeoutMs: null };

  constructor(events: AnswerEvents) {
    this.#events = events;
  }

  /** Prepares for the answer to the next request. */
  begin(requestMethod: string): void {
    this.#state = "head";
    this.#isHead = requestMethod === "HEAD";
    this.#held = null;
    this.#persistence = { reusable: false, timeoutMs: null };
  }

  /** Meaningful once complete. */
  get persistence(): Persistence {
    return this.#persistence;
  }

  /** Feeds bytes. Returns how many belong to this answer; throws AnswerMalformed. */
  push(bytes: Buffer): number {
    let data = bytes;
    let carried = 0;
    if (this.#held !== null) {
      carried = this.#held.length;
      data = Buffer.concat([this.#held, bytes]);
      this.#held = null;
    }
    let at = 0;
    while (at < data.length && this.#state !== "done") {
      const next = this.#step(data, at, carried);
      if (next < 0) {
        this.#held = data.subarray(at);
        return bytes.length;
      }
      at = next;
    }
    return at - carried;
  }

  /** The connection has ended. True when the answer is complete with that. */
  end(): boolean {
    if (this.#state !== "to-close") return false;
    this.#complete();
    return true;
  }

  /** Consumes from `at`; returns the next position, or -1 when more bytes are needed. */
  #step(data: Buffer, at: number, carried: number): number {
    switch (this.#state) {
      case "head": {
        const end = data.indexOf("\r\n\r\n", Math.max(at, carried - 3), "latin1");
        if ((end < 0 ? data.length : end) - at > HEAD_BYTES_MAX)
          throw new AnswerMalformed("header too large");
        if (end < 0) return -1;
        this.#readHead(data.toString("latin1", at, end));
        return end + 4;
      }
      case "length":
      case "chunk-data": {
        const take = Math.min(this.#remaining, data.length - at);
        this.#remaining -= take;
        const chunk = data.subarray(at, at + take);
        if (this.#remaining === 0 && this.#state === "chunk-data") this.#state = "chunk-end";
        const isLast = this.#remaining === 0 && this.#state === "length";
        this.#events.onBody(chunk, isLast);
        if (isLast) this.#complete();
        return at + take;
      }
      case "to-close":
        this.#events.onBody(at === 0 ? data : data.subarray(at), false);
        return data.length;
      case "chunk-size": {
        const line = this.#line(data, at);
        if (line === null) return -1;
        const size = CHUNK_SIZE.exec(line)?.[1];
        if (size === undefined) throw new AnswerMalformed("bad chunk size");
        this.#remaining = parseInt(size, 16);
        this.#trailerBytes = 0;
        this.#state = this.#remaining === 0 ? "trailers" : "chunk-data";
        return at + line.length + 2;
      }
      case "chunk-end":
        if (data.length - at < 2) return -1;
        if (data[at] !== 13 || data[at + 1] !== 10) throw new AnswerMalformed("chunk longer than its size");
        this.#state = "chunk-size";
        return at + 2;
      case "trailers": {
        // Trailers are read to their end and dropped: nothing here would merge them safely.
        const line = this.#line(data, at);
        if (line === null) return -1;
        this.#trailerBytes += line.length + 2;
        if (this.#trailerBytes > TRAILER_BYTES_MAX) throw new AnswerMalformed("trailers too large");
        if (line === "") this.#complete();
        return at + line.length + 2;
      }
      case "done":
        return at;
    }
  }

  #line(data: Buffer, at: number): string | null {
    const end = data.indexOf("\r\n", at, "latin1");
    if ((end < 0 ? data.length : end) - at > LINE_BYTES_MAX) throw new AnswerMalformed("line too long");
    return end < 0 ? null : data.toString("latin1", at, end);
  }

  #complete(): void {
    this.#state = "done";
    this.#events.onComplete();
  }

  #readHead(text: string): void {
    if (FORBIDDEN.test(text)) throw new AnswerMalformed("control characters in the header");
    const lines = text.split("\r\n");
    const status = STATUS_LINE.exec(lines[0] ?? "");
    if (status === null) throw new AnswerMalformed("bad status line");
    const code = Number(status[2]);
    const headers: string[] = [];
    let length: number | null = null;
    let chunked = false;
    let keepAlive = status[1] === "1";
    let timeoutMs: number | null = null;
    for (let i = 1; i < lines.length; i += 1) {
      const line = lines[i] ?? "";
      const colon = line.indexOf(":");
      const name = line.slice(0, Math.max(colon, 0));
      if (!FIELD_NAME.test(name) || line.includes("\r") || line.includes("\n")) {
        throw new AnswerMalformed("bad header line");
      }
      const value = line.slice(colon + 1).trim();
      headers.push(name, value);
      switch (name.length) {
        case 14:
          if (name.toLowerCase() !== "content-length") break;
          if (length !== null || !DIGITS.test(value)) throw new AnswerMalformed("bad content-length");
          length = Number(value);
          break;
        case 17:
          if (name.toLowerCase() !== "transfer-encoding") break;
          if (chunked || value.toLowerCase() !== "chunked")
            throw new AnswerMalformed("unknown transfer-encoding");
          chunked = true;
          break;
        case 10: {
          const lower = name.toLowerCase();
          if (lower === "connection") {
            const options = value.toLowerCase();
            if (options.includes("close")) keepAlive = false;
            else if (status[1] === "0" && options.includes("keep-alive")) keepAlive = true;
          } else if (lower === "keep-alive") {
            const seconds = KEEP_ALIVE_TIMEOUT.exec(value)?.[1];
            if (seconds !== undefined) timeoutMs = Number(seconds) * 1000;
          }
          break;
        }
        default:
      }
    }
    // A switch of protocols was never asked for: `Upgrade` does not cross the gateway.
    if (code === 101) throw new AnswerMalformed("unasked upgrade");
    if (code < 200) return;
    if (chunked && length !== null) throw new AnswerMalformed("both content-length and transfer-encoding");
    const bodiless = this.#isHead || code === 204 || code === 304;
    const toClose = !bodiless && !chunked && length === null;
    this.#persistence = { reusable: keepAlive && !toClose, timeoutMs };
    this.#remaining = length ?? 0;
    if (bodiless || length === 0) this.#state = "length";
    else this.#state = toClose ? "to-close" : chunked ? "chunk-size" : "length";
    // RFC 9110 §8.6: a 204 has no length, and a client that believed one would wait for it.
    const told = code === 204 && length !== null ? withoutLength(headers) : headers;
    this.#events.onHead(code, status[3] ?? "", told);
    if (bodiless || length === 0) this.#complete();
  }
}

const withoutLength = (headers: readonly string[]): string[] => {
  const index = headers.findIndex((text, i) => i % 2 === 0 && text.toLowerCase() === "content-length");
  return headers.toSpliced(index, 2);
};

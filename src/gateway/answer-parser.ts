/**
 * An incremental, strict parser of HTTP/1.x answers, for the upstream side only. node:http's client costs twice what the
 * rest of the hop does (bench/hop), and this side needs little: one answer at a time, framing, nothing rebuilt.
 *
 * head → (1xx: head again) → body (http/body-decoder.ts) → complete. Whatever two parsers could read differently (both
 * framings, repeated lengths, bare CR or LF, folded lines) is an error, never a guess.
 */
import { fieldName } from "../http/field-name.ts";
import { answerLines } from "./headers.ts";
import { BodyDecoder, Malformed } from "../http/body-decoder.ts";
import type { BodyEvents, Framing } from "../http/body-decoder.ts";
import { HeadMemo } from "../http/head-memo.ts";
import { isClean, trimmed } from "../http/request-head.ts";

export { Malformed as AnswerMalformed } from "../http/body-decoder.ts";

export interface AnswerHead {
  readonly status: number;
  readonly reason: string;
  /** The fields that go on to the caller, each a line with its CRLF. */
  readonly lines: string;
  /** Of the body, as told; null when it comes in chunks or to the connection's end. */
  readonly length: number | null;
  readonly hasDate: boolean;
}

interface ReadHead extends AnswerHead {
  readonly framing: Framing;
  readonly bodyLength: number;
  readonly persistence: Persistence;
}

export interface AnswerEvents {
  /** Final answer only; 1xx answers are skipped. */
  onHead(head: AnswerHead): void;
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

const NOT_REUSABLE: Persistence = { reusable: false, timeoutMs: null };
const HEAD_BYTES_MAX = 64 * 1024;
/** Interim answers before the final one: more than this is no server that means well. */
const INTERIM_MAX = 16;

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: (.*))?$/;
const DIGITS = /^\d{1,15}$/;
const KEEP_ALIVE_TIMEOUT = /(?:^|[,;\s])timeout=(\d{1,6})/i;

export class AnswerParser implements BodyEvents {
  readonly #events: AnswerEvents;
  readonly #decoder = new BodyDecoder(this);
  #state: "head" | "body" | "done" = "done";
  #isHead = false;
  #held: Buffer | null = null;
  #interim = 0;
  #persistence: Persistence = NOT_REUSABLE;
  readonly #memo = new HeadMemo<ReadHead>();

  constructor(events: AnswerEvents) {
    this.#events = events;
  }

  /** Prepares for the answer to the next request. */
  begin(requestMethod: string): void {
    this.#state = "head";
    this.#isHead = requestMethod === "HEAD";
    this.#held = null;
    this.#interim = 0;
    this.#persistence = NOT_REUSABLE;
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
    // What a HEAD request gets has no body, whatever its head says: not the same head.
    const same = this.#state === "head" && !this.#isHead ? this.#memo.recall(data, 0) : null;
    if (same !== null) {
      at = this.#memo.size;
      this.#begin(same);
    }
    while (this.#state === "head" && at < data.length) {
      const end = data.indexOf("\r\n\r\n", Math.max(at, carried - 3), "latin1");
      if ((end < 0 ? data.length : end) - at > HEAD_BYTES_MAX) throw new Malformed("header too large");
      if (end < 0) {
        this.#held = data.subarray(at);
        return bytes.length;
      }
      const head = this.#readHead(data, at, end);
      if (head !== null) {
        if (at === 0 && !this.#isHead) this.#memo.remember(head, data, 0, end + 4);
        this.#begin(head);
      }
      at = end + 4;
    }
    if (this.#state === "body") at = this.#decoder.push(data, at);
    return at - carried;
  }

  /** The connection has ended. True when the answer is complete with that. */
  end(): boolean {
    return this.#state === "body" && this.#decoder.end();
  }

  onBody(chunk: Buffer, isLast: boolean): void {
    this.#events.onBody(chunk, isLast);
  }

  onBodyEnd(): void {
    this.#state = "done";
    this.#events.onComplete();
  }

  #begin(head: ReadHead): void {
    this.#persistence = head.persistence;
    this.#state = "body";
    this.#decoder.begin(head.framing, head.bodyLength);
    this.#events.onHead(head);
    if (this.#decoder.isDone) this.onBodyEnd();
  }

  /** Null for an interim answer. */
  #readHead(data: Buffer, from: number, headEnd: number): ReadHead | null {
    if (!isClean(data, from, headEnd + 2)) throw new Malformed("control characters in the header");
    const text = data.toString("latin1", from, headEnd);
    let end = text.indexOf("\r\n");
    if (end < 0) end = text.length;
    const status = STATUS_LINE.exec(text.slice(0, end));
    if (status === null) throw new Malformed("bad status line");
    const code = Number(status[2]);
    const isModern = status[1] === "1";
    const fields: string[] = [];
    let length: number | null = null;
    let chunked = false;
    let hasDate = false;
    let connection: string | undefined;
    let timeoutMs: number | null = null;
    let at = end + 2;
    while (at < text.length) {
      end = text.indexOf("\r\n", at);
      if (end < 0) end = text.length;
      const colon = text.indexOf(":", at);
      const field = colon < 0 || colon >= end ? null : fieldName(text.slice(at, colon));
      if (field === null) throw new Malformed("bad header line");
      const value = trimmed(text, colon + 1, end);
      fields.push(text.slice(at, colon), value);
      switch (field.lower) {
        case "content-length":
          if (length !== null || !DIGITS.test(value)) throw new Malformed("bad content-length");
          length = Number(value);
          break;
        case "transfer-encoding":
          if (chunked || value.toLowerCase() !== "chunked") throw new Malformed("unknown transfer-encoding");
          chunked = true;
          break;
        case "connection":
          connection = connection === undefined ? value : `${connection},${value}`;
          break;
        case "keep-alive": {
          const seconds = KEEP_ALIVE_TIMEOUT.exec(value)?.[1];
          if (seconds !== undefined) timeoutMs = Number(seconds) * 1000;
          break;
        }
        case "date":
          hasDate = true;
          break;
        default:
      }
      at = end + 2;
    }
    // A switch of protocols was never asked for: `Upgrade` does not cross the gateway.
    if (code === 101) throw new Malformed("unasked upgrade");
    if (code < 200) {
      this.#interim += 1;
      if (this.#interim > INTERIM_MAX) throw new Malformed("too many interim answers");
      return null;
    }
    if (chunked && length !== null) throw new Malformed("both content-length and transfer-encoding");
    const bodiless = this.#isHead || code === 204 || code === 304;
    const toClose = !bodiless && !chunked && length === null;
    return {
      status: code,
      reason: status[3] ?? "",
      lines: answerLines(fields, connection),
      length,
      hasDate,
      framing: toClose ? "to-close" : chunked && !bodiless ? "chunked" : "length",
      bodyLength: bodiless ? 0 : (length ?? 0),
      persistence: { reusable: !toClose && persists(connection, isModern), timeoutMs },
    };
  }
}

const persists = (connection: string | undefined, isModern: boolean): boolean => {
  if (connection === undefined) return isModern;
  const options = connection.toLowerCase().split(",");
  if (options.some((option) => option.trim() === "close")) return false;
  return isModern || options.some((option) => option.trim() === "keep-alive");
};

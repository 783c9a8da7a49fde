/**
 * What is left of a request: one access record as a JSON line, and a count for its service's usage. Records are written
 * in batches and lost rather than waited for when the log cannot take them; the loss is counted. Bodies, tokens and
 * query strings are never recorded.
 */
import type { Writable } from "node:stream";
import type { Outcome, Owner } from "./metrics.ts";
import type { Timer, TimerHandle } from "./timer.ts";

export interface AccessRecord {
  readonly time: string;
  readonly request_id: string;
  readonly client: string;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly status: number;
  readonly outcome: Outcome;
  readonly owner: Owner;
  /** Catalogue code when the gateway answered itself. */
  readonly error: string | null;
  readonly project: string | null;
  readonly user: string | null;
  readonly service: string | null;
  readonly version: string | null;
  readonly instance: string | null;
  /** Absent when the request is not traced. */
  readonly trace_id?: string | undefined;
  readonly attempts: number;
  readonly bytes_in: number;
  readonly bytes_out: number;
  readonly auth_ms: number;
  readonly queue_ms: number;
  readonly upstream_ms: number;
  readonly total_ms: number;
}

const FLUSH_MS = 250;
const BATCH_LINES = 256;
/** What may lie unwritten in a slow log's buffer before records are dropped. */
const BUFFERED_BYTES_MAX = 4 * 1024 * 1024;

/** What a record is made of. `time`: epoch ms. `target`: with the query, which is not recorded. */
export type AccessEntry = Omit<AccessRecord, "time" | "path"> & {
  readonly time: number;
  readonly target: string;
};

export const outcomeOf = (status: number): Outcome =>
  status < 300 ? "2xx" : status < 400 ? "3xx" : status < 500 ? "4xx" : "5xx";

let second = -1;
let secondText = "";
/** ISO 8601; all but the milliseconds is prepared once a second. */
const isoTime = (time: number): string => {
  const now = Math.floor(time / 1000);
  if (now !== second) {
    second = now;
    secondText = new Date(now * 1000).toISOString().slice(0, -4);
  }
  return `${secondText}${String(Math.floor(time) - now * 1000).padStart(3, "0")}Z`;
};

const UNSAFE = /["\\]|[^\x20-\x7e]/;
const quoted = (text: string | null): string =>
  text === null ? "null" : UNSAFE.test(text) ? JSON.stringify(text) : `"${text}"`;

/** By hand: JSON.stringify of an object of this many fields costs four times as much, a twentieth of the whole hop. */
const lineOf = (e: AccessEntry): string => {
  const question = e.target.indexOf("?");
  const path = question < 0 ? e.target : e.target.slice(0, question);
  return (
    `{"time":"${isoTime(e.time)}","request_id":"${e.request_id}","client":${quoted(e.client)},"method":"${e.method}","path":${quoted(path)},` +
    `"status":${e.status},"outcome":"${e.outcome}","owner":"${e.owner}","error":${quoted(e.error)},"project":${quoted(e.project)},` +
    `"user":${quoted(e.user)},"service":${quoted(e.service)},"version":${quoted(e.version)},"instance":${quoted(e.instance)},` +
    // Hexadecimal, whatever the caller sent.
    `${e.trace_id === undefined ? "" : `"trace_id":"${e.trace_id}",`}"attempts":${e.attempts},"bytes_in":${e.bytes_in},"bytes_out":${e.bytes_out},` +
    `"auth_ms":${e.auth_ms},"queue_ms":${e.queue_ms},"upstream_ms":${e.upstream_ms},"total_ms":${e.total_ms}}\n`
  );
};

/** Takes whole lines, so many of them. */
export type LineSink = (lines: string, count: number) => void;

/** Writes to a stream, and loses lines rather than wait for it; `onLost` hears how many. */
export const lineSink = (destination: Writable, onLost: (count: number) => void): LineSink => {
  // A full disk must not end the gateway; what cannot be written is lost and counted.
  destination.on("error", () => undefined);
  destination.on("dropped", onLost);
  return (lines, count) => {
    if (!destination.writable || destination.writableLength > BUFFERED_BYTES_MAX) onLost(count);
    else destination.write(lines);
  };
};

export class AccessLog {
  readonly #sink: LineSink;
  readonly #timer: Timer;
  #lines = "";
  #count = 0;
  #flush: TimerHandle | null = null;

  constructor(deps: { sink: LineSink; timer: Timer }) {
    this.#sink = deps.sink;
    this.#timer = deps.timer;
  }

  write(entry: AccessEntry): void {
    this.#lines += lineOf(entry);
    this.#count += 1;
    if (this.#count >= BATCH_LINES) this.flush();
    else this.#flush ??= this.#timer.after(FLUSH_MS, () => this.flush());
  }

  flush(): void {
    this.#flush?.cancel();
    this.#flush = null;
    if (this.#count === 0) return;
    const { lines, count } = { lines: this.#lines, count: this.#count };
    this.#lines = "";
    this.#count = 0;
    this.#sink(lines, count);
  }
}

/**
 * What is left of a request: one access record as a JSON line, and a count for its service's usage. Records are written
 * in batches and lost rather than waited for when the log cannot take them; the loss is counted. Bodies, tokens and
 * query strings are never recorded.
 */
import type { Writable } from "node:stream";
import type { Metrics, Outcome, Owner } from "./metrics.ts";
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

const recordOf = ({ time, target, ...entry }: AccessEntry): AccessRecord => {
  const question = target.indexOf("?");
  return {
    ...entry,
    time: new Date(time).toISOString(),
    path: question < 0 ? target : target.slice(0, question),
  };
};

export class AccessLog {
  readonly #destination: Writable;
  readonly #metrics: Metrics;
  readonly #timer: Timer;
  #lines: string[] = [];
  #flush: TimerHandle | null = null;

  constructor(deps: { destination: Writable; metrics: Metrics; timer: Timer }) {
    this.#destination = deps.destination;
    this.#metrics = deps.metrics;
    this.#timer = deps.timer;
    // A full disk must not end the gateway; what cannot be written is lost and counted below.
    this.#destination.on("error", () => undefined);
  }

  write(entry: AccessEntry): void {
    this.#lines.push(JSON.stringify(recordOf(entry)));
    if (this.#lines.length >= BATCH_LINES) this.flush();
    else this.#flush ??= this.#timer.after(FLUSH_MS, () => this.flush());
  }

  flush(): void {
    this.#flush?.cancel();
    this.#flush = null;
    if (this.#lines.length === 0) return;
    const lines = this.#lines;
    this.#lines = [];
    if (!this.#destination.writable || this.#destination.writableLength > BUFFERED_BYTES_MAX) {
      this.#metrics.recordsDropped += lines.length;
      return;
    }
    this.#destination.write(`${lines.join("\n")}\n`);
  }
}

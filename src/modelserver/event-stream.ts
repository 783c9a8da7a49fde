/**
 * A streamed answer as server-sent events (WHATWG HTML §9.2): each item of the iterator that user code returned is one event
 * with its JSON as data. A failure in the middle is an event of its own, `error`, with the body that a failure has otherwise.
 */
import type { Exchange } from "../http/exchange.ts";
import type { ItemSink } from "./jobs.ts";

export const EVENT_STREAM = "text/event-stream";

/** Whether a caller asks for events by name; taking any type is not asking for them. */
export const takesEvents = (accept: string | undefined): boolean =>
  accept !== undefined &&
  accept
    .split(",")
    .some(
      (range) =>
        range.split(";")[0]?.trim().toLowerCase() === EVENT_STREAM &&
        !/;\s*q=0(?:\.0*)?\s*(?:;|$)/i.test(range),
    );

const BEFORE = Buffer.from("data: ");
/** JSON holds no line ends. */
const BEHIND = Buffer.from("\n\n");

export class EventStream implements ItemSink {
  readonly #exchange: Exchange;
  /** Items that have come since the last write: those of one read of the worker leave in one. */
  #pieces: Buffer[] = [];
  #isFull = false;
  #onDrain = (): void => {};

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  get hasBegun(): boolean {
    return this.#exchange.isHeadSent || this.#pieces.length > 0;
  }

  write(item: Buffer, onDrain: () => void): boolean {
    if (this.#pieces.length === 0) queueMicrotask(() => this.#flush());
    this.#pieces.push(BEFORE, item, BEHIND);
    if (!this.#isFull) return true;
    this.#onDrain = onDrain;
    return false;
  }

  /** The caller takes more again, or nobody is left who could. */
  onDrain(): void {
    this.#isFull = false;
    this.#onDrain();
    this.#onDrain = () => {};
  }

  fail(body: Buffer | string): void {
    this.#flush();
    this.#exchange.end(Buffer.from(`event: error\ndata: ${body.toString()}\n\n`));
  }

  end(): void {
    this.#flush();
    this.#begin();
    this.#exchange.end(null);
  }

  #begin(): void {
    if (this.#exchange.isHeadSent) return;
    this.#exchange.sendHead(200, "OK", `Content-Type: ${EVENT_STREAM}\r\nCache-Control: no-cache\r\n`, null);
  }

  #flush(): void {
    if (this.#pieces.length === 0) return;
    this.#begin();
    const bytes = Buffer.concat(this.#pieces);
    this.#pieces = [];
    if (!this.#exchange.write(bytes)) this.#isFull = true;
  }
}

/**
 * A streamed answer as server-sent events (WHATWG HTML §9.2): each item of the iterator that user code returned is one event
 * with its JSON as data. A failure in the middle is an event of its own, `error`, with the body that a failure has otherwise.
 */
import type { ServerResponse } from "node:http";
import type { ItemSink } from "./pool.ts";

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

export class EventStream implements ItemSink {
  readonly #res: ServerResponse;

  constructor(res: ServerResponse) {
    this.#res = res;
  }

  get hasBegun(): boolean {
    return this.#res.headersSent;
  }

  begin(): void {
    if (!this.hasBegun)
      this.#res.writeHead(200, { "Content-Type": EVENT_STREAM, "Cache-Control": "no-cache" });
  }

  write(item: Buffer, onDrain: () => void): boolean {
    this.begin();
    // One write, so that an event is one chunk and mostly one packet. JSON holds no line ends.
    const hasRoom = this.#res.write(`data: ${item.toString("utf8")}\n\n`);
    if (!hasRoom) this.#res.once("drain", onDrain);
    return hasRoom;
  }

  fail(body: Buffer | string): void {
    this.#res.end(`event: error\ndata: ${body.toString()}\n\n`);
  }

  end(): void {
    this.begin();
    this.#res.end();
  }
}

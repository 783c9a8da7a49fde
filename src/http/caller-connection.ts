/**
 * One caller's HTTP/1.x connection: reads heads, hands out one exchange at a time, frames the answers.
 *
 *   head → exchange (request arriving ∥ answer leaving) → head …
 *                     → discarding the rest of a request that was answered early → head …
 *        → lingering (our half is closed, what still comes is thrown away) → closed
 *
 * Bounded: a head in size and time, idling in time, pipelined bytes to one read (the socket is paused), what is thrown
 * away in bytes and time. Times are kept by the listener's sweep (`expire`), to the second; nothing here sets a timer.
 * A caller that closes its sending half while its answer is awaited counts as gone, as with most servers.
 */
import type { Socket } from "node:net";
import { NO_LISTENER } from "./exchange.ts";
import type { Exchange, ExchangeHandler, ExchangeListener } from "./exchange.ts";
import type { KnownFields } from "./field-name.ts";
import { BodyDecoder, Malformed } from "./body-decoder.ts";
import type { BodyEvents } from "./body-decoder.ts";
import { HeadMemo } from "./head-memo.ts";
import { NOT_CLEAN, isClean, readHead } from "./request-head.ts";
import type { HeadLimits, HeadRefusal, RequestHead } from "./request-head.ts";

export type DoorRefusal =
  | HeadRefusal
  | { readonly kind: "too-large" }
  | { readonly kind: "late"; readonly limitMs: number };

export interface CallerConnectionDeps {
  readonly handle: ExchangeHandler;
  readonly limits: HeadLimits;
  /** How long a body may take to come; null: whoever handles its exchange sees to that. */
  readonly bodyMs: number | null;
  /** The whole answer, head included, for a request that cannot be read; the connection ends with it. */
  readonly refusal: (refusal: DoorRefusal) => string;
  /** Monotonic ms of the last sweep: exact enough for times of seconds. */
  readonly sweptAt: () => number;
  /** True while the server closes: answers then end their connection. */
  readonly isClosing: () => boolean;
  readonly onClosed: (connection: CallerConnection) => void;
}

export const HEAD_MS = 10_000;
export const IDLE_MS = 65_000;
const DISCARD_MS = 5_000;
const DISCARD_BYTES_MAX = 16 * 1024 * 1024;
const LINGER_MS = 2_000;
/** For the last bytes of a whole answer, at most a buffer of the kernel's and one of ours, to be taken. */
const TAKE_MS = 30_000;
/** Chunks up to this size are sent in one piece with what frames them; above, copying costs more than a second write. */
const JOIN_BYTES_MAX = 16 * 1024;
const KEEP_LINES = `Connection: keep-alive\r\nKeep-Alive: timeout=${IDLE_MS / 1000}\r\n\r\n`;
const CLOSE_LINES = "Connection: close\r\n\r\n";
const EMPTY = Buffer.alloc(0);

type Phase = "head" | "exchange" | "discarding" | "lingering" | "closed";

export class CallerConnection implements BodyEvents {
  readonly socket: Socket;
  readonly peer: string;
  readonly #deps: CallerConnectionDeps;
  readonly #decoder = new BodyDecoder(this);
  readonly #memo = new HeadMemo<RequestHead>();
  #phase: Phase = "head";
  #exchange: Http1Exchange | null = null;
  /** Received and not yet used: an unfinished head, or what came behind the current request. */
  #held: Buffer = EMPTY;
  #discarded = 0;
  #isPumping = false;
  #isBodyPaused = false;
  /** When `expire` acts, by the sweep's clock. */
  #dueAt: number;

  constructor(socket: Socket, deps: CallerConnectionDeps) {
    this.socket = socket;
    this.peer = socket.remoteAddress ?? "unknown";
    this.#deps = deps;
    this.#dueAt = deps.sweptAt() + HEAD_MS;
    socket.on("data", (bytes: Buffer) => this.#onData(bytes));
    socket.on("drain", () => this.#exchange?.listener.onDrain());
    socket.on("end", () => this.#onEnd());
    // `close` follows; what there is to do is done then.
    socket.on("error", () => undefined);
    socket.on("close", () => this.#onClose());
  }

  get isIdle(): boolean {
    return this.#phase === "head" && this.#held.length === 0;
  }

  /** The listener's sweep: acts when the connection's time is over. */
  expire(now: number): void {
    if (now < this.#dueAt) return;
    if (this.#phase === "head" && this.#held.length > 0) this.#refuse({ kind: "late", limitMs: HEAD_MS });
    else if (this.#phase !== "exchange" || this.#exchange?.isEnded === true) this.socket.destroy();
    else if (this.#deps.bodyMs !== null && this.#exchange?.isReceived === false)
      this.#breakOff({ kind: "late", limitMs: this.#deps.bodyMs });
  }

  /** For a closing server: idle connections end now, the others with their answer. */
  closeIfIdle(): void {
    if (this.isIdle) this.#linger();
  }

  // --- from the caller --------------------------------------------------------------------------------------------

  #onData(bytes: Buffer): void {
    switch (this.#phase) {
      case "head":
        if (this.#held.length === 0) this.#dueAt = this.#deps.sweptAt() + HEAD_MS;
        this.#held = this.#held.length === 0 ? bytes : this.#append(bytes);
        return this.#pump();
      case "exchange":
      case "discarding":
        if (this.#decoder.isDone) {
          // Pipelined: one read's worth waits for its turn, the rest stays in the kernel.
          this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
          this.socket.pause();
          return;
        }
        this.#held = this.#readBody(bytes, 0);
        this.#goOn();
        return this.#pump();
      case "lingering":
      case "closed":
    }
  }

  /** A head that comes in small pieces is gathered in a buffer that doubles: copying stays linear. */
  #gather: Buffer = EMPTY;
  #append(bytes: Buffer): Buffer {
    const length = this.#held.length + bytes.length;
    if (this.#gather.length < length || this.#held.buffer !== this.#gather.buffer) {
      const grown = Buffer.allocUnsafeSlow(Math.max(1024, length * 2));
      this.#held.copy(grown);
      this.#gather = grown;
    }
    bytes.copy(this.#gather, this.#held.length);
    return this.#gather.subarray(0, length);
  }

  /** Reads heads as long as there are whole ones and nothing is under way. A loop: pipelines must not grow the stack. */
  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    while (this.#phase === "head" && this.#held.length > 0 && this.#readHead());
    this.#isPumping = false;
  }

  /** False: more bytes are needed. */
  #readHead(): boolean {
    let data = this.#held;
    const same = this.#memo.recall(data, 0);
    if (same !== null) {
      this.#begin(same, data, this.#memo.size);
      return true;
    }
    let at = 0;
    // Empty lines before a request are skipped (RFC 9112 §2.2).
    while (at + 1 < data.length && data[at] === 13 && data[at + 1] === 10) at += 2;
    if (at > 0) data = data.subarray(at);
    const end = data.indexOf("\r\n\r\n", 0, "latin1");
    if ((end < 0 ? data.length : end) > this.#deps.limits.bytes) {
      this.#refuse({ kind: "too-large" });
      return false;
    }
    if (end < 0) {
      this.#held = at > 0 ? Buffer.from(data) : data;
      // Looked at when it is short: later pieces of a long one are judged when it is whole.
      if (data.length <= 1024 && !isClean(data, 0, data.length)) this.#refuse(NOT_CLEAN);
      return false;
    }
    const head = readHead(data, 0, end, this.#deps.limits.fields);
    if ("kind" in head) {
      this.#refuse(head);
      return false;
    }
    this.#memo.remember(head, data, 0, end + 4);
    this.#begin(head, data, end + 4);
    return true;
  }

  #begin(head: RequestHead, data: Buffer, bodyAt: number): void {
    // What is behind the head may lie in it, and not at its start: to gather on there would bring the head back.
    this.#gather = EMPTY;
    this.#phase = "exchange";
    this.#decoder.begin(head.bodyLength === null ? "chunked" : "length", head.bodyLength ?? 0);
    const exchange = new Http1Exchange(this, head, this.#deps.isClosing);
    exchange.isReceived = this.#decoder.isDone;
    if (this.#deps.bodyMs !== null) this.#dueAt = this.#deps.sweptAt() + this.#deps.bodyMs;
    this.#exchange = exchange;
    // Until the body is looked at nothing is held: a handler that answers at once must find things in order.
    this.#held = data.length > bodyAt ? data.subarray(bodyAt) : EMPTY;
    this.#deps.handle(exchange);
    if (this.#exchange !== exchange) return;
    if (this.#decoder.isDone) exchange.listener.onBodyEnd();
    else if (this.#held.length > 0) {
      const body = this.#held;
      this.#held = EMPTY;
      const rest = this.#readBody(body, 0);
      if (rest.length > 0) this.#held = rest;
      this.#goOn();
    }
    if (this.#held.length > 0 && this.#phase === "exchange" && this.#decoder.isDone) this.socket.pause();
  }

  /** A request that was answered early may have ended with what was just read. */
  #goOn(): void {
    if (this.#phase === "discarding" && this.#decoder.isDone) this.#nextHead();
  }

  /** Feeds the body; returns what is behind its end. */
  #readBody(bytes: Buffer, at: number): Buffer {
    try {
      const end = this.#decoder.push(bytes, at);
      return end < bytes.length ? bytes.subarray(end) : EMPTY;
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.#breakOff({
        kind: "malformed",
        reason: `The request's body is not well-formed: ${error.message}.`,
      });
      return EMPTY;
    }
  }

  onBody(chunk: Buffer): void {
    if (this.#phase === "discarding") {
      this.#discarded += chunk.length;
      if (this.#discarded > DISCARD_BYTES_MAX) this.#linger();
      return;
    }
    this.#exchange?.listener.onBody(chunk);
  }

  onBodyEnd(): void {
    const exchange = this.#exchange;
    if (exchange === null) return;
    exchange.isReceived = true;
    exchange.listener.onBodyEnd();
  }

  #onEnd(): void {
    // A half-closed caller is a caller that is gone (see above); the socket's `close` follows.
    if (this.#phase !== "lingering") this.socket.destroy();
  }

  #onClose(): void {
    this.#phase = "closed";
    this.#held = EMPTY;
    const exchange = this.#exchange;
    this.#exchange = null;
    exchange?.listener.onClose(false);
    this.#deps.onClosed(this);
  }

  // --- to the caller ----------------------------------------------------------------------------------------------

  /** The request cannot be read: an answer of the door's own, then the end. */
  #refuse(refusal: DoorRefusal): void {
    this.socket.write(this.#deps.refusal(refusal), "latin1");
    this.#linger();
  }

  /** The body turned out malformed, or does not come. Where an answer has begun, only the cut connection can tell. */
  #breakOff(refusal: DoorRefusal): void {
    const exchange = this.#exchange;
    if (exchange === null) return this.#linger();
    this.#exchange = null;
    exchange.detach();
    if (exchange.isHeadSent) this.socket.destroy();
    else this.#refuse(refusal);
    exchange.listener.onClose(false);
  }

  /** The exchange has given its last byte. */
  ended(exchange: Http1Exchange, keepAlive: boolean): void {
    if (this.#exchange !== exchange) return;
    if (this.socket.writableLength === 0) return this.#settled(exchange, keepAlive);
    // What the kernel did not take at once is sent on; a write of nothing tells when it has gone. A caller that does not
    // read holds the connection for so long and no longer.
    this.#dueAt = this.#deps.sweptAt() + TAKE_MS;
    this.socket.write(EMPTY, (error) => {
      if (!error && this.#exchange === exchange) this.#settled(exchange, keepAlive);
    });
  }

  #settled(exchange: Http1Exchange, keepAlive: boolean): void {
    this.#exchange = null;
    if (!keepAlive || this.#deps.isClosing()) this.#linger();
    else if (this.#decoder.isDone) this.#nextHead();
    else {
      this.#phase = "discarding";
      this.#discarded = 0;
      this.#dueAt = this.#deps.sweptAt() + DISCARD_MS;
      this.resumeBody();
      // What lies here of the body when the answer came before it was looked at.
      if (this.#held.length > 0) {
        const body = this.#held;
        this.#held = EMPTY;
        this.#held = this.#readBody(body, 0);
        this.#goOn();
      }
    }
    exchange.listener.onClose(true);
  }

  #nextHead(): void {
    if (this.#phase === "lingering" || this.#phase === "closed") return;
    this.#phase = "head";
    this.#isBodyPaused = false;
    this.#dueAt = this.#deps.sweptAt() + (this.#held.length > 0 ? HEAD_MS : IDLE_MS);
    if (this.socket.isPaused()) this.socket.resume();
    if (this.#held.length === 0 || this.#isPumping) return;
    // Not from within the old exchange's last call.
    queueMicrotask(() => this.#pump());
  }

  #linger(): void {
    if (this.#phase === "lingering" || this.#phase === "closed") return;
    this.#phase = "lingering";
    this.#held = EMPTY;
    this.#dueAt = this.#deps.sweptAt() + LINGER_MS;
    this.socket.end();
    // Read on: closing with unread bytes resets the connection, which could take the answer from the caller.
    this.socket.resume();
  }

  pauseBody(): void {
    this.#isBodyPaused = true;
    this.socket.pause();
  }

  resumeBody(): void {
    if (!this.#isBodyPaused) return;
    this.#isBodyPaused = false;
    this.socket.resume();
  }
}

class Http1Exchange implements Exchange {
  readonly #connection: CallerConnection;
  readonly #socket: Socket;
  readonly #head: RequestHead;
  readonly #isClosing: () => boolean;
  /** Null once it has begun to leave. */
  #pendingHead: string | null = null;
  #isChunked = false;
  #isBodiless = false;
  #keepAlive: boolean;
  #hasContinued = false;
  #isDetached = false;
  isReceived = false;
  isHeadSent = false;
  isEnded = false;
  status = 0;
  listener: ExchangeListener = NO_LISTENER;

  constructor(connection: CallerConnection, head: RequestHead, isClosing: () => boolean) {
    this.#connection = connection;
    this.#socket = connection.socket;
    this.#head = head;
    this.#keepAlive = head.keepAlive;
    this.#isClosing = isClosing;
  }

  get method(): string {
    return this.#head.method;
  }

  get target(): string {
    return this.#head.target;
  }

  get fields(): readonly string[] {
    return this.#head.fields;
  }

  get known(): KnownFields {
    return this.#head.known;
  }

  get peer(): string {
    return this.#connection.peer;
  }

  get bodyLength(): number | null {
    return this.#head.bodyLength;
  }

  get expectsContinue(): boolean {
    return this.#head.expectsContinue;
  }

  /** The connection speaks for itself from here on. */
  detach(): void {
    this.#isDetached = true;
  }

  sendContinue(): void {
    if (this.#hasContinued || this.isReceived || this.isHeadSent) return;
    this.#hasContinued = true;
    this.#socket.write("HTTP/1.1 100 Continue\r\n\r\n", "latin1");
  }

  pauseBody(): void {
    this.#connection.pauseBody();
  }

  resumeBody(): void {
    this.#connection.resumeBody();
  }

  sendHead(status: number, reason: string, lines: string, length: number | null): void {
    this.isHeadSent = true;
    this.status = status;
    // A caller that still waits for 100 Continue may send its body or not: the next head's place is not known.
    if (this.expectsContinue && !this.#hasContinued && !this.isReceived) this.#keepAlive = false;
    if (this.#isClosing()) this.#keepAlive = false;
    let framing = "";
    this.#isBodiless = this.method === "HEAD" || status === 204 || status === 304;
    if (length !== null) {
      // RFC 9110 §8.6: a 204 has no length, and a client that believed one would wait for it.
      if (status !== 204) framing = `Content-Length: ${length}\r\n`;
    } else if (!this.#isBodiless) {
      if (this.#head.isModern) {
        this.#isChunked = true;
        framing = "Transfer-Encoding: chunked\r\n";
      } else this.#keepAlive = false;
    }
    const persistence = this.#keepAlive ? KEEP_LINES : CLOSE_LINES;
    this.#pendingHead = `HTTP/1.1 ${status} ${reason}\r\n${lines}${framing}${persistence}`;
  }

  write(chunk: Buffer): boolean {
    if (this.#isDetached || this.#isBodiless || chunk.length === 0) return true;
    const head = this.#takeHead();
    const prefix = this.#isChunked ? `${head}${chunk.length.toString(16)}\r\n` : head;
    const suffix = this.#isChunked ? "\r\n" : "";
    return this.#send(prefix, chunk, suffix);
  }

  end(chunk: Buffer | null): void {
    if (this.isEnded || this.#isDetached) return;
    this.isEnded = true;
    const head = this.#takeHead();
    const body = this.#isBodiless ? null : chunk;
    if (body === null || body.length === 0) {
      const last = this.#isChunked && !this.#isBodiless ? `${head}0\r\n\r\n` : head;
      if (last !== "") this.#socket.write(last, "latin1");
    } else if (this.#isChunked) {
      this.#send(`${head}${body.length.toString(16)}\r\n`, body, "\r\n0\r\n\r\n");
    } else this.#send(head, body, "");
    this.#connection.ended(this, this.#keepAlive);
  }

  flush(): void {
    if (this.#isDetached) return;
    const head = this.#takeHead();
    if (head !== "") this.#socket.write(head, "latin1");
  }

  destroy(): void {
    if (!this.#isDetached) this.#socket.destroy();
  }

  #takeHead(): string {
    const head = this.#pendingHead ?? "";
    this.#pendingHead = null;
    return head;
  }

  /** One write where it is small: each costs more than copying 16 KB. */
  #send(prefix: string, chunk: Buffer, suffix: string): boolean {
    const socket = this.#socket;
    if (prefix === "" && suffix === "") return socket.write(chunk);
    if (chunk.length <= JOIN_BYTES_MAX) {
      return socket.write(prefix + chunk.toString("latin1", 0, chunk.length) + suffix, "latin1");
    }
    socket.cork();
    if (prefix !== "") socket.write(prefix, "latin1");
    let goesOn = socket.write(chunk);
    if (suffix !== "") goesOn = socket.write(suffix, "latin1");
    socket.uncork();
    return goesOn;
  }
}

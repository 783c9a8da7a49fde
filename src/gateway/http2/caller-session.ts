/**
 * One caller's HTTP/2 connection: hands out an exchange per stream. Framing, flow control and header compression are
 * nghttp2's, by node:http2's sessions without its servers.
 *
 * Bounded: streams at a time, header block, what a stream may send unread (its window), idling, how long an answer that
 * is complete may wait for the caller's window, and what costs us more than the caller: streams that are opened and
 * reset at once (CVE-2023-44487, also when the caller makes us reset them), pings, settings. Too much of the last ends
 * the connection with ENHANCE_YOUR_CALM. Times are kept by the listener's sweep (`expire`).
 */
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { NO_LISTENER } from "../../http/exchange.ts";
import type { Exchange, ExchangeHandler, ExchangeListener } from "../../http/exchange.ts";
import type { KnownFields } from "../../http/field-name.ts";
import { HEAD_MS, IDLE_MS } from "../../http/caller-connection.ts";
import type { DoorRefusal } from "../../http/caller-connection.ts";
import { CALLER_LIMITS } from "../../http/request-head.ts";
import type { RequestHead } from "../../http/request-head.ts";
import { answerFields, readHttp2Head } from "./request-head.ts";

export interface CallerSessionDeps {
  readonly handle: ExchangeHandler;
  /** Answers a request whose head is refused. */
  readonly refuse: (exchange: Exchange, refusal: DoorRefusal) => void;
  /** False: the gateway has too many requests open. Told of each stream that begins and, by `onStreamClosed`, ends. */
  readonly mayBegin: () => boolean;
  readonly onStreamClosed: () => void;
  /** Monotonic ms of the last sweep. */
  readonly sweptAt: () => number;
  readonly isClosing: () => boolean;
  readonly onClosed: (session: CallerSession) => void;
}

const STREAMS_MAX = 128;
const WINDOW_BYTES = 64 * 1024;
const PAIRS_MAX = CALLER_LIMITS.fields + 4;
const SESSION_MEGABYTES = 2;
const LINGER_MS = 2_000;
/** Resets, pings and settings a caller may have to its account, and how many are forgiven in a second. */
const NUISANCES_MAX = 300;
const FORGIVEN_PER_SWEEP = 50;
const END_STREAM = 1;
const NO_ERROR = 0;
const PROTOCOL_ERROR = 1;
const INTERNAL_ERROR = 2;
const REFUSED_STREAM = 7;
const ENHANCE_YOUR_CALM = 11;

export class CallerSession {
  readonly socket: Socket;
  readonly peer: string;
  readonly #deps: CallerSessionDeps;
  readonly #session: ServerHttp2Session;
  readonly #exchanges = new Set<Http2Exchange>();
  #nuisances = 0;
  #dueAt: number;

  constructor(socket: Socket, deps: CallerSessionDeps) {
    this.socket = socket;
    this.peer = socket.remoteAddress ?? "unknown";
    this.#deps = deps;
    this.#dueAt = deps.sweptAt() + HEAD_MS;
    // Loaded with the first such connection: a gateway that speaks plain HTTP never needs it.
    const session = process.getBuiltinModule("node:http2").performServerHandshake(socket, {
      maxHeaderListPairs: PAIRS_MAX,
      maxSessionMemory: SESSION_MEGABYTES,
      maxSessionInvalidFrames: NUISANCES_MAX,
      streamResetBurst: NUISANCES_MAX,
      streamResetRate: FORGIVEN_PER_SWEEP,
      // An instance that repeats a field which should come once is passed on as it is, as over HTTP/1.1.
      strictSingleValueFields: false,
      settings: {
        enablePush: false,
        maxConcurrentStreams: STREAMS_MAX,
        initialWindowSize: WINDOW_BYTES,
        maxHeaderListSize: CALLER_LIMITS.bytes,
      },
    });
    this.#session = session;
    session.on("stream", (stream, _headers, flags, raw) => this.#onStream(stream, flags, raw));
    session.on("ping", () => this.#nuisance());
    session.on("remoteSettings", () => this.#nuisance());
    // `close` follows; what there is to do is done then.
    session.on("error", () => undefined);
    session.on("close", () => this.#onClose());
  }

  /** The listener's sweep: acts when the connection's time is over. */
  expire(now: number): void {
    this.#nuisances = Math.max(0, this.#nuisances - FORGIVEN_PER_SWEEP);
    for (const exchange of this.#exchanges) exchange.expire(now);
    if (this.#exchanges.size > 0 || now < this.#dueAt) return;
    if (this.#session.closed) return void this.socket.destroy();
    this.#dueAt = now + LINGER_MS;
    this.#session.close();
  }

  /** For a closing gateway: the caller is told to send nothing more here; what has begun is finished. */
  closeIfIdle(): void {
    if (!this.#session.closed) this.#session.close();
  }

  isClosing(): boolean {
    return this.#deps.isClosing();
  }

  sweptAt(): number {
    return this.#deps.sweptAt();
  }

  #onStream(stream: ServerHttp2Stream, flags: number, raw: string[]): void {
    if (!this.#deps.mayBegin()) {
      stream.on("error", () => undefined);
      stream.close(REFUSED_STREAM);
      return;
    }
    const isEnded = (flags & END_STREAM) !== 0;
    const head = readHttp2Head(raw, isEnded);
    const exchange = new Http2Exchange(this, stream, "kind" in head ? NO_HEAD : head, isEnded);
    this.#exchanges.add(exchange);
    if ("kind" in head) this.#deps.refuse(exchange, head);
    else this.#deps.handle(exchange);
    exchange.begin();
  }

  /** The stream is gone. `isCallersDoing`: before its answer was complete, and not cut by us. */
  over(exchange: Http2Exchange, isCallersDoing: boolean): void {
    this.#exchanges.delete(exchange);
    this.#deps.onStreamClosed();
    if (this.#exchanges.size === 0) this.#dueAt = this.#deps.sweptAt() + IDLE_MS;
    if (isCallersDoing) this.#nuisance();
  }

  #nuisance(): void {
    this.#nuisances += 1;
    if (this.#nuisances > NUISANCES_MAX && !this.#session.destroyed)
      this.#session.destroy(undefined, ENHANCE_YOUR_CALM);
  }

  #onClose(): void {
    for (const exchange of this.#exchanges) exchange.lost();
    this.socket.destroy();
    this.#deps.onClosed(this);
  }
}

const NO_HEAD: RequestHead = {
  method: "",
  target: "",
  fields: [],
  known: {},
  bodyLength: 0,
  keepAlive: true,
  isModern: true,
  expectsContinue: false,
};

class Http2Exchange implements Exchange {
  readonly #session: CallerSession;
  readonly #stream: ServerHttp2Stream;
  readonly #head: RequestHead;
  /** Null once it has begun to leave. */
  #pendingHead: string[] | null = null;
  #isBodiless = false;
  #hasContinued = false;
  #received = 0;
  #endedAt = Infinity;
  #isSettled = false;
  #isCut = false;
  #isOver = false;
  isReceived: boolean;
  isHeadSent = false;
  isEnded = false;
  status = 0;
  listener: ExchangeListener = NO_LISTENER;

  constructor(session: CallerSession, stream: ServerHttp2Stream, head: RequestHead, isEnded: boolean) {
    this.#session = session;
    this.#stream = stream;
    this.#head = head;
    this.isReceived = isEnded;
    stream.on("drain", () => {
      if (!this.#isSettled) this.listener.onDrain();
    });
    // All that was written has been sent. HEAD's writable half ends before there is an answer.
    stream.on("finish", () => {
      if (this.isEnded) this.#settle(true);
    });
    // Told before node ends the readable half of what was cut off: that end must not pass for the body's.
    stream.on("aborted", () => this.#settle(false));
    stream.on("error", () => undefined);
    stream.on("close", () => this.lost());
  }

  /** After the handler's call. */
  begin(): void {
    if (this.#isSettled) return;
    if (this.isReceived) return this.listener.onBodyEnd();
    this.#stream.on("data", (chunk: Buffer) => {
      this.#received += chunk.length;
      if (!this.#isSettled) this.listener.onBody(chunk);
    });
    this.#stream.on("end", () => {
      if (this.#isSettled || this.isReceived) return;
      const { bodyLength } = this.#head;
      if (bodyLength !== null && bodyLength !== this.#received) return this.#stream.close(PROTOCOL_ERROR);
      this.isReceived = true;
      this.listener.onBodyEnd();
    });
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
    return this.#session.peer;
  }

  get bodyLength(): number | null {
    return this.#head.bodyLength;
  }

  get expectsContinue(): boolean {
    return this.#head.expectsContinue;
  }

  sendContinue(): void {
    if (this.#hasContinued || this.isReceived || this.isHeadSent || this.#isSettled) return;
    this.#hasContinued = true;
    if (!this.#stream.destroyed) this.#stream.additionalHeaders({ ":status": 100 });
  }

  pauseBody(): void {
    this.#stream.pause();
  }

  resumeBody(): void {
    this.#stream.resume();
  }

  sendHead(status: number, _reason: string, lines: string, length: number | null): void {
    this.isHeadSent = true;
    this.status = status;
    this.#isBodiless = this.method === "HEAD" || status === 204 || status === 205 || status === 304;
    this.#pendingHead = [":status", String(status), ...answerFields(lines)];
    if (length !== null && status !== 204) this.#pendingHead.push("content-length", String(length));
    if (this.#session.isClosing()) this.#session.closeIfIdle();
  }

  write(chunk: Buffer): boolean {
    if (this.#isSettled || this.#isBodiless || chunk.length === 0) return true;
    this.#respond(false);
    return this.#stream.destroyed ? true : this.#stream.write(chunk);
  }

  end(chunk: Buffer | null): void {
    if (this.isEnded || this.#isSettled) return;
    this.isEnded = true;
    this.#endedAt = this.#session.sweptAt();
    const body = this.#isBodiless || chunk === null || chunk.length === 0 ? null : chunk;
    if (this.#pendingHead !== null) this.#respond(body === null);
    if (this.#stream.destroyed) return;
    if (body !== null) this.#stream.end(body);
    else if (!this.#stream.writableEnded) this.#stream.end();
    else if (this.#stream.writableFinished) queueMicrotask(() => this.#settle(true));
  }

  flush(): void {
    if (!this.#isSettled) this.#respond(false);
  }

  destroy(): void {
    this.#isCut = true;
    // Not `close`: that ends the writable half first, which could pass for the end of a whole answer.
    if (!this.#stream.destroyed) this.#stream.destroy(new Error("cut off"));
  }

  /** The sweep: a complete answer that the caller gives no window for is given up. */
  expire(now: number): void {
    if (now - this.#endedAt > IDLE_MS) this.destroy();
  }

  /** The stream or its whole connection is gone. */
  lost(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    // Both halves may be closed, and the connection with them, before node tells that the last write is done.
    const stream = this.#stream;
    this.#settle(this.isEnded && !this.#isCut && stream.rstCode === NO_ERROR && stream.writableLength === 0);
    this.#session.over(this, !this.#isWhole && !this.#isCut);
  }

  #isWhole = false;
  #settle(isWhole: boolean): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#isWhole = isWhole;
    if (isWhole) {
      // The rest of a request that was answered early: not wanted, and no fault (RFC 9113 §8.1).
      if (!this.isReceived && !this.#stream.destroyed) this.#stream.close(NO_ERROR);
    } else this.#stream.destroy();
    this.listener.onClose(isWhole);
  }

  #respond(isAll: boolean): void {
    const head = this.#pendingHead;
    this.#pendingHead = null;
    if (head === null || this.#stream.destroyed || this.#stream.closed) return;
    try {
      this.#stream.respond(head, { endStream: isAll });
    } catch {
      // Something that cannot be said in HTTP/2. An answer that is not given as it is is not given.
      this.#isCut = true;
      this.#stream.close(INTERNAL_ERROR);
    }
  }
}

/**
 * Connections to one instance: dial, keep-alive pool, one request at a time on each. Knows HTTP's framing and nothing of
 * callers, tables or errors.
 *
 * The keep-alive race: a server may close an idle connection in the moment a request is written to it. Mostly avoided:
 * a connection idles here for at least a second less than the server announces, 1.5 s when it announces nothing (the
 * shortest default of common servers is 2 s). What remains is reported as `lost` with `reused`, and prediction.ts sends
 * the request again on a connection of its own; what cannot be sent again goes on a fresh connection from the start,
 * which no server takes for idle.
 *
 * Instances declared with https bring certificates they made themselves, as the guide for custom images has it, so no
 * certificate is verified: an instance is known by the address our own runner gave it, on loopback or the pod network,
 * and no authority could vouch for such an address. TLS here satisfies a server that speaks nothing else; it is not
 * what tells that server apart from another.
 */
import { connect, isIP } from "node:net";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { AnswerMalformed, AnswerParser } from "./answer-parser.ts";
import type { AnswerEvents, AnswerHead } from "./answer-parser.ts";
import type { Timer, TimerHandle } from "./timer.ts";

export type UpstreamFailure =
  /** No connection was made; nothing was sent. `isTls`: somebody answered the dial, but the TLS handshake failed. */
  | { readonly kind: "dial"; readonly isTls: boolean; readonly cause: string }
  /** The connection ended before the answer's first byte. `reused`: it had carried requests before. */
  | { readonly kind: "lost"; readonly reused: boolean; readonly cause: string }
  /** The answer was malformed or ended before it was complete. */
  | { readonly kind: "broken"; readonly cause: string };

/** What one request on a connection hears. After onComplete or onFailure nothing more. */
export interface UpstreamListener {
  /** Connected: the request may be written now. */
  onReady(): void;
  onHead(head: AnswerHead): void;
  /** Bytes of the answer's body. `isLast`: onComplete follows at once. */
  onAnswer(chunk: Buffer, isLast: boolean): void;
  onComplete(): void;
  onFailure(failure: UpstreamFailure): void;
  /** All of one read was told; what was held back may be sent on. Not after the last one. */
  onRead(): void;
  /** The socket takes request bytes again. */
  onWritable(): void;
}

const DIAL_TIMEOUT_MS = 2_000;
const IDLE_MS_UNTOLD = 1_500;
const IDLE_MS_MAX = 30_000;
const IDLE_MARGIN_MS = 1_000;
const JOIN_BYTES_MAX = 16 * 1024;

export interface UpstreamDeps {
  readonly timer: Timer;
  readonly monotonicMs: () => number;
}

export class UpstreamConnection implements AnswerEvents {
  readonly #pool: UpstreamPool;
  readonly #socket: Socket;
  readonly #parser: AnswerParser;
  #dialing: TimerHandle | null;
  #listener: UpstreamListener | null = null;
  readonly #isTls: boolean;
  #isDialled = false;
  #isConnected = false;
  #isReused = false;
  #isDead = false;
  #answered = false;
  #requestDone = false;
  #answerDone = false;
  #chunked = false;
  idleUntil = 0;
  /** Dialled although idle ones may have been there: not kept beside them, or they would grow with every such request. */
  isExtra = false;

  constructor(pool: UpstreamPool, dial: () => Socket, isTls: boolean, deps: UpstreamDeps) {
    this.#pool = pool;
    this.#parser = new AnswerParser(this);
    this.#socket = dial();
    this.#dialing = deps.timer.after(DIAL_TIMEOUT_MS, () => this.#fail("dial timed out"));
    this.#isTls = isTls;
    this.#socket.on("connect", () => (this.#isDialled = true));
    this.#socket.on(isTls ? "secureConnect" : "connect", () => this.#onConnect());
    this.#socket.on("data", (bytes: Buffer) => this.#onData(bytes));
    this.#socket.on("end", () => this.#onEnd());
    this.#socket.on("error", (error: NodeJS.ErrnoException) => this.#fail(error.code ?? error.message));
    this.#socket.on("close", () => this.#fail("closed"));
    this.#socket.on("drain", () => this.#listener?.onWritable());
  }

  /** Takes the connection for one request; `onReady` comes at once when it is connected. */
  begin(listener: UpstreamListener, method: string): void {
    this.#listener = listener;
    this.#answered = false;
    this.#requestDone = false;
    this.#answerDone = false;
    this.#parser.begin(method);
    if (this.#isConnected) listener.onReady();
  }

  /**
   * Writes the request's head and what there is of its body, in one piece where it is small: a second write costs more
   * than copying 16 KB. `chunked`: the body goes in chunks, else as it is.
   */
  send(head: string, body: readonly Buffer[], chunked: boolean): void {
    this.#chunked = chunked;
    const [first] = body;
    if (first === undefined) this.#socket.write(head, "latin1");
    else if (body.length === 1 && !chunked && first.length <= JOIN_BYTES_MAX) {
      this.#socket.write(head + first.toString("latin1", 0, first.length), "latin1");
    } else {
      this.#socket.cork();
      this.#socket.write(head, "latin1");
      for (const chunk of body) this.writeBody(chunk);
      this.#socket.uncork();
    }
  }

  /** False: stop until onDrain. */
  writeBody(chunk: Buffer): boolean {
    if (!this.#chunked) return this.#socket.write(chunk);
    this.#socket.cork();
    this.#socket.write(`${chunk.length.toString(16)}\r\n`, "latin1");
    this.#socket.write(chunk);
    const goesOn = this.#socket.write("\r\n", "latin1");
    this.#socket.uncork();
    return goesOn;
  }

  endRequest(): void {
    if (this.#chunked) this.#socket.write("0\r\n\r\n", "latin1");
    this.#requestDone = true;
    this.#settle();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Ends the connection now; the listener hears nothing more. */
  destroy(): void {
    this.#listener = null;
    this.#die();
  }

  /** The instance does not take what was written to it. */
  get isBlocked(): boolean {
    return this.#socket.writableNeedDrain;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  onHead(head: AnswerHead): void {
    this.#listener?.onHead(head);
  }

  onBody(chunk: Buffer, isLast: boolean): void {
    this.#listener?.onAnswer(chunk, isLast);
  }

  onComplete(): void {
    this.#answerDone = true;
  }

  #onConnect(): void {
    this.#isConnected = true;
    this.#dialing?.cancel();
    this.#dialing = null;
    this.#listener?.onReady();
  }

  #onData(bytes: Buffer): void {
    // Bytes nobody asked for: an answer to nothing could be taken for the next request's.
    if (this.#listener === null || this.#answerDone) return this.#die();
    this.#answered = true;
    let used: number;
    try {
      used = this.#parser.push(bytes);
    } catch (error) {
      if (!(error instanceof AnswerMalformed)) throw error;
      return this.#fail(error.message);
    }
    if (!this.#answerDone) return this.#listener?.onRead();
    // More than one answer's worth: deliver what was asked for, trust the rest of the connection no further.
    if (used < bytes.length) this.#requestDone = false;
    this.#deliverEnd();
  }

  #onEnd(): void {
    if (this.#listener !== null && !this.#answerDone && this.#parser.end()) return this.#deliverEnd();
    this.#fail("closed");
  }

  #deliverEnd(): void {
    const listener = this.#listener;
    if (!this.#requestDone || !this.#parser.persistence.reusable) {
      // An answer before the end of the request: the rest of the request has no reader, so the connection goes.
      this.destroy();
    } else {
      this.#settle();
    }
    listener?.onComplete();
  }

  /** Back to the pool once both directions are done. */
  #settle(): void {
    if (!this.#requestDone || !this.#answerDone || this.#isDead) return;
    this.#listener = null;
    this.#isReused = true;
    this.#socket.resume();
    const told = this.#parser.persistence.timeoutMs;
    const idleMs = told === null ? IDLE_MS_UNTOLD : Math.min(told - IDLE_MARGIN_MS, IDLE_MS_MAX);
    this.#pool.takeBack(this, idleMs);
  }

  #fail(cause: string): void {
    const listener = this.#listener;
    this.#listener = null;
    this.#die();
    if (listener === null) return;
    if (!this.#isConnected)
      listener.onFailure({ kind: "dial", isTls: this.#isTls && this.#isDialled, cause });
    else if (this.#answered) listener.onFailure({ kind: "broken", cause });
    else listener.onFailure({ kind: "lost", reused: this.#isReused, cause });
  }

  #die(): void {
    if (this.#isDead) return;
    this.#isDead = true;
    this.#dialing?.cancel();
    this.#dialing = null;
    this.#socket.destroy();
    this.#pool.forget(this);
  }
}

export class UpstreamPool {
  /** `host:port`, for the Host field. */
  readonly authority: string;
  readonly #dial: () => Socket;
  readonly #isTls: boolean;
  readonly #deps: UpstreamDeps;
  /** The most recently used last: it is taken first, so that a quiet instance's surplus grows old and goes. */
  #idle: UpstreamConnection[] = [];
  #sweep: TimerHandle | null = null;
  #isClosed = false;

  /** `origin`: `http://host:port`, the same with https, or `unix:` and the path of a socket. */
  constructor(origin: string, deps: UpstreamDeps) {
    this.#deps = deps;
    this.#isTls = origin.startsWith("https:");
    if (origin.startsWith("unix:")) {
      this.authority = "localhost";
      const path = origin.slice("unix:".length);
      this.#dial = () => connect({ path });
      return;
    }
    const url = new URL(origin);
    this.authority = url.host;
    const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
    const port = url.port === "" ? (this.#isTls ? 443 : 80) : Number(url.port);
    this.#dial = this.#isTls ? tlsDial(host, port) : () => connect({ host, port, noDelay: true });
  }

  /** A new connection that is being dialled; `begin` a request on it next. */
  fresh(): UpstreamConnection {
    const connection = this.#new();
    connection.isExtra = true;
    return connection;
  }

  /** An idle connection, else a new one. */
  take(): UpstreamConnection {
    const now = this.#deps.monotonicMs();
    let connection = this.#idle.pop();
    while (connection !== undefined && (connection.isDead || connection.idleUntil <= now)) {
      connection.destroy();
      connection = this.#idle.pop();
    }
    return connection ?? this.#new();
  }

  #new(): UpstreamConnection {
    return new UpstreamConnection(this, this.#dial, this.#isTls, this.#deps);
  }

  takeBack(connection: UpstreamConnection, idleMs: number): void {
    if (this.#isClosed || idleMs <= 0) return connection.destroy();
    if (connection.isExtra && this.#idle.length > 0) return connection.destroy();
    connection.isExtra = false;
    connection.idleUntil = this.#deps.monotonicMs() + idleMs;
    this.#idle.push(connection);
    this.#sweep ??= this.#deps.timer.after(1_000, () => this.#sweepIdle());
  }

  forget(connection: UpstreamConnection): void {
    const index = this.#idle.indexOf(connection);
    if (index >= 0) this.#idle.splice(index, 1);
  }

  /** Closes idle connections; those in use close when their answer is complete. */
  close(): void {
    this.#isClosed = true;
    this.#sweep?.cancel();
    const idle = this.#idle;
    this.#idle = [];
    for (const connection of idle) connection.destroy();
  }

  get idleCount(): number {
    return this.#idle.length;
  }

  #sweepIdle(): void {
    this.#sweep = null;
    const now = this.#deps.monotonicMs();
    for (const connection of this.#idle.filter((one) => one.idleUntil <= now)) connection.destroy();
    if (this.#idle.length > 0) this.#sweep = this.#deps.timer.after(1_000, () => this.#sweepIdle());
  }
}

/** Dials with TLS, unverified (see above); a session is used again, which spares the instance most of a handshake. */
const tlsDial = (host: string, port: number): (() => TLSSocket) => {
  // Loaded with the first such instance.
  const tls = process.getBuiltinModule("node:tls");
  let session: Buffer | undefined;
  return () => {
    const socket = tls.connect({
      host,
      port,
      rejectUnauthorized: false,
      ALPNProtocols: ["http/1.1"],
      // An address is no server name (RFC 6066 §3).
      servername: isIP(host) === 0 ? host : "",
      ...(session === undefined ? {} : { session }),
    });
    socket.setNoDelay(true);
    socket.on("session", (fresh: Buffer) => (session = fresh));
    return socket;
  };
};

/**
 * Everything that is not a prediction goes to control over its private socket, streaming both ways. Credentials and the
 * Host field pass; control authenticates for itself. A call may take as long as bytes keep moving.
 */
import type { Clock } from "../core/clock.ts";
import { fail } from "../core/errors.ts";
import type { AppError } from "../core/errors.ts";
import { dateLine } from "../http/answer-head.ts";
import { requestIdOf, sendError } from "./answer.ts";
import type { AnswerHead } from "./answer-parser.ts";
import type { Exchange, ExchangeListener } from "../http/exchange.ts";
import { controlLines, forwardedFor } from "./headers.ts";
import { outcomeOf } from "./record.ts";
import type { AccessLog } from "./record.ts";
import type { Timer, TimerHandle } from "./timer.ts";
import { UpstreamPool } from "./upstream.ts";
import type { UpstreamConnection, UpstreamFailure, UpstreamListener } from "./upstream.ts";

export interface ControlProxyDeps {
  readonly socketPath: string;
  readonly accessLog: AccessLog;
  readonly clock: Clock;
  readonly timer: Timer;
}

export interface ControlProxy {
  forward(exchange: Exchange): void;
  close(): void;
}

/** A call without a byte in either direction for this long is given up: a hanging control holds nobody for ever. */
const STILL_MS = 120_000;

const REPEATABLE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

export const createControlProxy = (deps: ControlProxyDeps): ControlProxy => {
  const pool = new UpstreamPool(`unix:${deps.socketPath}`, {
    timer: deps.timer,
    monotonicMs: () => deps.clock.monotonicMs(),
  });
  return {
    forward: (exchange) => new ControlCall(deps, pool, exchange).start(),
    close: () => pool.close(),
  };
};

class ControlCall implements ExchangeListener, UpstreamListener {
  readonly #deps: ControlProxyDeps;
  readonly #pool: UpstreamPool;
  readonly #exchange: Exchange;
  readonly #requestId: string;
  readonly #startedAt: number;
  #connection: UpstreamConnection | null = null;
  #isSent = false;
  #lastMoveAt: number;
  #watch: TimerHandle | null = null;
  #lastChunk: Buffer | null = null;
  #bytesIn = 0;
  #bytesOut = 0;
  #error: AppError | null = null;

  constructor(deps: ControlProxyDeps, pool: UpstreamPool, exchange: Exchange) {
    this.#deps = deps;
    this.#pool = pool;
    this.#exchange = exchange;
    this.#requestId = requestIdOf(exchange.known.requestId);
    this.#startedAt = deps.clock.monotonicMs();
    this.#lastMoveAt = this.#startedAt;
  }

  start(): void {
    const exchange = this.#exchange;
    exchange.listener = this;
    exchange.pauseBody();
    this.#watchStillness();
    // What cannot be sent again goes on a connection that control does not take for idle.
    const isRepeatable = exchange.bodyLength === 0 && REPEATABLE.has(exchange.method);
    this.#connection = isRepeatable ? this.#pool.take() : this.#pool.fresh();
    this.#connection.begin(this, exchange.method);
  }

  #watchStillness(): void {
    this.#watch = this.#deps.timer.after(STILL_MS, () => {
      if (this.#deps.clock.monotonicMs() - this.#lastMoveAt >= STILL_MS) return this.#giveUp();
      this.#watchStillness();
    });
  }

  onReady(): void {
    const { method, target, fields, known, peer, bodyLength } = this.#exchange;
    const framing =
      bodyLength === null ? "Transfer-Encoding: chunked\r\n" : `Content-Length: ${bodyLength}\r\n`;
    const head = `${method} ${target} HTTP/1.1\r\n${controlLines(fields, known)}X-Request-Id: ${this.#requestId}\r\nX-Forwarded-For: ${forwardedFor(known, peer)}\r\n${framing}\r\n`;
    const early = this.#early;
    this.#early = [];
    this.#connection?.send(head, early, bodyLength === null);
    this.#isSent = true;
    if (this.#exchange.isReceived) return this.#connection?.endRequest();
    if (this.#exchange.expectsContinue) this.#exchange.sendContinue();
    this.#exchange.resumeBody();
  }

  /** What came of the body together with the head, before control's socket was connected. */
  #early: Buffer[] = [];

  onBody(chunk: Buffer): void {
    this.#bytesIn += chunk.length;
    this.#lastMoveAt = this.#deps.clock.monotonicMs();
    if (!this.#isSent) this.#early.push(chunk);
    else if (this.#connection !== null && !this.#connection.writeBody(chunk)) this.#exchange.pauseBody();
  }

  onBodyEnd(): void {
    if (this.#isSent) this.#connection?.endRequest();
  }

  onWritable(): void {
    this.#exchange.resumeBody();
  }

  onHead(head: AnswerHead): void {
    const date = head.hasDate ? "" : dateLine(this.#deps.clock.now());
    const lines = `${head.lines}${date}X-Request-Id: ${this.#requestId}\r\n`;
    this.#exchange.sendHead(head.status, head.reason, lines, head.length);
  }

  onAnswer(chunk: Buffer, isLast: boolean): void {
    this.#bytesOut += chunk.length;
    this.#lastMoveAt = this.#deps.clock.monotonicMs();
    if (isLast) this.#lastChunk = chunk;
    else if (!this.#exchange.write(chunk)) this.#connection?.pause();
  }

  onRead(): void {
    this.#exchange.flush();
  }

  onDrain(): void {
    this.#connection?.resume();
  }

  onComplete(): void {
    this.#connection = null;
    this.#exchange.resumeBody();
    this.#exchange.end(this.#lastChunk);
  }

  onFailure(failure: UpstreamFailure): void {
    this.#connection = null;
    if (failure.kind === "lost" && failure.reused) {
      // Control closed an idle connection in this moment: once more, on a connection of its own.
      this.#isSent = false;
      this.#connection = this.#pool.fresh();
      return this.#connection.begin(this, this.#exchange.method);
    }
    this.#giveUp();
  }

  #giveUp(): void {
    const exchange = this.#exchange;
    this.#connection?.destroy();
    this.#connection = null;
    this.#error = fail("CONTROL_UNAVAILABLE", {});
    if (exchange.isHeadSent) return exchange.destroy();
    sendError(exchange, this.#error, {
      requestId: this.#requestId,
      plane: "control",
      now: this.#deps.clock.now(),
      lines: "Retry-After: 2\r\n",
    });
    exchange.resumeBody();
  }

  onClose(isWhole: boolean): void {
    this.#watch?.cancel();
    this.#connection?.destroy();
    this.#connection = null;
    const { accessLog, clock } = this.#deps;
    const exchange = this.#exchange;
    const status = exchange.isHeadSent ? exchange.status : 499;
    const isOurs = this.#error !== null || status >= 500;
    accessLog.write({
      time: clock.now(),
      request_id: this.#requestId,
      client: exchange.peer,
      method: exchange.method,
      target: exchange.target,
      status,
      outcome: isWhole ? outcomeOf(status) : "aborted",
      owner: isOurs ? "platform" : !isWhole || status >= 400 ? "client" : "none",
      error: this.#error?.code ?? null,
      project: null,
      user: null,
      service: null,
      version: null,
      instance: null,
      attempts: 1,
      bytes_in: this.#bytesIn,
      bytes_out: this.#bytesOut,
      auth_ms: 0,
      queue_ms: 0,
      upstream_ms: 0,
      total_ms: Math.round((clock.monotonicMs() - this.#startedAt) * 10) / 10,
    });
  }
}

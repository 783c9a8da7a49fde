/**
 * The front door: accepts connections within bounds, and switches by target. docs/http.md says what becomes of every
 * odd request; the reading itself is in src/http/.
 *
 *   headers over 128 KB 494; target over 32 KB 414; headers slower than 10 s 408; anything malformed 400: all closing
 *   connections over the limit are closed at once; idle ones after 65 s
 *
 * With a certificate the port speaks TLS only, and the caller chooses between HTTP/2 (http2/) and HTTP/1.1.
 */
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import type { SecureContextOptions, Server as TlsServer } from "node:tls";
import { fail } from "../core/errors.ts";
import type { AppError } from "../core/errors.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Certificate } from "./certificate.ts";
import { dateLine, reasonOf } from "../http/answer-head.ts";
import { refusalError } from "../http/refusal.ts";
import { CALLER_LIMITS } from "../http/request-head.ts";
import { renderError, requestIdOf, sendError, sendText } from "./answer.ts";
import type { ControlProxy } from "./control-proxy.ts";
import type { Exchange } from "../http/exchange.ts";
import { refuseScrape } from "./metrics-access.ts";
import { CallerConnection } from "../http/caller-connection.ts";
import type { DoorRefusal } from "../http/caller-connection.ts";
import { CallerSession } from "./http2/caller-session.ts";
import { Prediction } from "./prediction.ts";
import type { PredictionDeps } from "./prediction.ts";
import type { Shared, SharedCount } from "./shared.ts";
import { readTarget } from "./target.ts";

const CONNECTIONS_MAX = 10_000;
const SWEEP_MS = 1_000;
/** From the first byte of a TLS connection to the end of its handshake. */
const HANDSHAKE_MS = 10_000;
/** Requests over HTTP/2 that may be open at a time, over all connections: as many as HTTP/1.1 could have. */
const STREAMS_MAX = CONNECTIONS_MAX;
/** RFC 9110 §11.6.1: a 401 says how to authenticate. */
const BEARER = "WWW-Authenticate: Bearer\r\n";

export interface ListenerDeps extends PredictionDeps {
  readonly control: ControlProxy;
  /** The whole gateway's metrics, and control's as far as it answers. Never rejects. */
  readonly scrape: () => Promise<string>;
  /** Null: /metrics answers callers on this machine. */
  readonly metricsToken: string | null;
  readonly isClosing: () => boolean;
  /** Null: plain HTTP/1.1, the embedded default. Else TLS with HTTP/2 and HTTP/1.1. */
  readonly certificate: Certificate | null;
  readonly logger: Logger;
  readonly shared: Shared;
}

export class Listener {
  readonly #deps: ListenerDeps;
  readonly #connections = new Set<CallerConnection | CallerSession>();
  readonly #tls: TlsServer | null;
  /** Both of the whole gateway: connections that are open, and requests over HTTP/2. */
  readonly #open: SharedCount;
  readonly #streams: SharedCount;
  #sweptAt: number;
  readonly server: Server;

  constructor(deps: ListenerDeps) {
    this.#deps = deps;
    this.#open = deps.shared.count("connections");
    this.#streams = deps.shared.count("streams");
    this.#sweptAt = deps.clock.monotonicMs();
    this.#tls = deps.certificate === null ? null : this.#createTls(deps.certificate);
    this.server = this.#tls ?? createServer({ noDelay: true }, (socket) => this.#accept(socket));
    this.server.prependListener("connection", (socket: Socket) => this.#bound(socket));
    this.#sweepLater();
  }

  /** Of the whole gateway, those in their handshake included. */
  get connectionCount(): number {
    return this.#open.value;
  }

  /** Idle connections end now, the others with their answers. */
  closeIdle(): void {
    for (const connection of this.#connections) connection.closeIfIdle();
  }

  closeAll(): void {
    for (const connection of this.#connections) connection.socket.destroy();
  }

  /** For connections from now on; those that are there keep theirs. */
  useCertificate(certificate: Certificate): void {
    this.#tls?.setSecureContext(secureContext(certificate));
  }

  #createTls(certificate: Certificate): TlsServer {
    const server = process.getBuiltinModule("node:tls").createServer({
      ...secureContext(certificate),
      ALPNProtocols: ["h2", "http/1.1"],
      handshakeTimeout: HANDSHAKE_MS,
      noDelay: true,
    });
    server.on("secureConnection", (socket) => {
      if (socket.alpnProtocol === "h2") this.#acceptHttp2(socket);
      else this.#accept(socket);
    });
    // Also plain HTTP on this port: there is no form in which both sides would understand a refusal.
    server.on("tlsClientError", (_error, socket) => socket.destroy());
    return server;
  }

  #acceptHttp2(socket: Socket): void {
    this.#connections.add(
      new CallerSession(socket, {
        handle: (exchange) => this.#guarded(exchange),
        refuse: (exchange, refusal) => {
          this.#deps.metrics.count(null, "", "4xx", "client", 0);
          this.#refuse(exchange, refusalError(refusal), true);
        },
        mayBegin: () => this.#streams.tryAdd(1, STREAMS_MAX),
        onStreamClosed: () => this.#streams.remove(1),
        sweptAt: () => this.#sweptAt,
        isClosing: this.#deps.isClosing,
        onClosed: (session) => this.#connections.delete(session),
      }),
    );
  }

  /** Before anything is read. `server.maxConnections` would be of one thread. */
  #bound(socket: Socket): void {
    if (!this.#open.tryAdd(1, CONNECTIONS_MAX)) return void socket.destroy();
    socket.once("close", () => this.#open.remove(1));
  }

  #accept(socket: Socket): void {
    if (socket.destroyed) return;
    this.#connections.add(
      new CallerConnection(socket, {
        handle: (exchange) => this.#guarded(exchange),
        limits: CALLER_LIMITS,
        bodyMs: null,
        refusal: (refusal) => this.#refusal(refusal),
        sweptAt: () => this.#sweptAt,
        isClosing: this.#deps.isClosing,
        onClosed: (connection) => this.#connections.delete(connection),
      }),
    );
  }

  /** One timer for the times of all connections: they are of seconds, and there may be thousands. */
  #sweepLater(): void {
    this.#deps.timer.after(SWEEP_MS, () => {
      this.#sweptAt = this.#deps.clock.monotonicMs();
      for (const connection of this.#connections) connection.expire(this.#sweptAt);
      this.#sweepLater();
    });
  }

  #guarded(exchange: Exchange): void {
    try {
      this.#handle(exchange);
    } catch (error) {
      // A defect of ours must cost this request only.
      this.#deps.logger.error({ err: error, target: exchange.target }, "request failed");
      if (exchange.isHeadSent) exchange.destroy();
      else this.#refuse(exchange, fail("INTERNAL", {}), true);
    }
  }

  #handle(exchange: Exchange): void {
    const target = readTarget(exchange.target);
    switch (target.kind) {
      case "prediction":
        return new Prediction(this.#deps, exchange, target).start();
      case "control":
        return this.#deps.control.forward(exchange);
      case "service-missing":
        return this.#refuse(exchange, fail("SERVICE_ID_MISSING", {}), true);
      case "health":
        return this.#sendText(exchange, this.#health());
      case "metrics": {
        const refusal = refuseScrape(exchange, this.#deps.metricsToken);
        if (refusal !== null)
          return this.#refuse(exchange, refusal, false, refusal.status === 401 ? BEARER : "");
        void this.#deps.scrape().then((text) =>
          this.#sendText(exchange, {
            status: 200,
            type: "text/plain; version=0.0.4; charset=utf-8",
            text,
          }),
        );
        return;
      }
      case "internal":
        return this.#refuse(exchange, fail("ROUTE_NOT_FOUND", {}), false);
      case "too-long":
        return this.#refuse(exchange, fail("URI_TOO_LONG", {}), exchange.target.startsWith("/v1/infers/"));
      case "malformed":
        return this.#refuse(
          exchange,
          fail("REQUEST_MALFORMED", target),
          exchange.target.startsWith("/v1/infers/"),
        );
    }
  }

  #refuse(exchange: Exchange, error: AppError, isPrediction: boolean, lines = ""): void {
    sendError(exchange, error, {
      requestId: requestIdOf(exchange.known.requestId),
      plane: isPrediction ? "inference" : "control",
      now: this.#deps.clock.now(),
      lines,
    });
  }

  #sendText(exchange: Exchange, answer: { status: number; type: string; text: string }): void {
    if (exchange.method !== "GET" && exchange.method !== "HEAD") {
      return this.#refuse(exchange, fail("METHOD_NOT_ALLOWED", { method: exchange.method }), false);
    }
    sendText(exchange, answer, {
      requestId: requestIdOf(exchange.known.requestId),
      now: this.#deps.clock.now(),
      lines: "Cache-Control: no-store\r\n",
    });
  }

  /** Own health: serving depends on a table, not on control, so a control that is down is told and not an error. */
  #health(): { status: number; type: string; text: string } {
    const { version } = this.#deps.table;
    const text = JSON.stringify({
      status: version === null ? "starting" : "ok",
      table: version,
      control: this.#deps.metrics.isControlReachable ? "reachable" : "unreachable",
    });
    return { status: version === null ? 503 : 200, type: "application/json", text };
  }

  /** A request that cannot be read has no exchange: its answer is written as it is, and ends the connection. */
  #refusal(refusal: DoorRefusal): string {
    const error = refusalError(refusal);
    const requestId = requestIdOf(undefined);
    const body = renderError(error, requestId, "inference", "");
    this.#deps.metrics.count(null, "", "4xx", "client", 0);
    return `HTTP/1.1 ${error.status} ${reasonOf(error.status)}\r\n${dateLine(this.#deps.clock.now())}Content-Type: application/json\r\nX-Request-Id: ${requestId}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`;
  }
}

/** Node's ciphers, which are those of Mozilla's intermediate recommendation and better; no certificate is asked of callers. */
const secureContext = ({ cert, key }: Certificate): SecureContextOptions => ({
  cert,
  key,
  minVersion: "TLSv1.2",
});

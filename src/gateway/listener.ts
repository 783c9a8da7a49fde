/**
 * The front door: one node:http server with strict limits, and the switch by target. One outcome for each odd request:
 *
 *   two Content-Lengths, Content-Length with Transfer-Encoding, bad chunks, bare LF, control bytes   400, connection closed (llhttp)
 *   a transfer coding other than chunked, absolute-form, `.`/`..` segments, raw non-ASCII, bad escapes 400
 *   headers over 128 KB 494; target over 32 KB 414; headers slower than 10 s 408; all closing or keeping as HTTP allows
 *   Upgrade: ignored, as the field does not cross the gateway; CONNECT: connection closed
 *   Expect: 100-continue answered when the body is wanted, other expectations 417 (node:http)
 *   trailers: read and dropped, both ways; 1xx from an instance: dropped; HEAD, 204, 304: no body whatever is sent
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { fail } from "../core/errors.ts";
import type { AppError } from "../core/errors.ts";
import type { Logger } from "../telemetry/logger.ts";
import { discardRest, renderError, requestIdOf, sendError } from "./answer.ts";
import type { ControlProxy } from "./control-proxy.ts";
import type { Metrics } from "./metrics.ts";
import { Prediction } from "./prediction.ts";
import type { PredictionDeps } from "./prediction.ts";
import { readTarget } from "./target.ts";

// Not imported: an `import` of node:http runs its lazy exports, which load fetch and WebSocket (15 MB).
const { createServer } = process.getBuiltinModule("node:http");

const HEADER_BYTES_MAX = 128 * 1024;
const HEADERS_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 65_000;
const CONNECTIONS_MAX = 10_000;

export interface ListenerDeps extends PredictionDeps {
  readonly control: ControlProxy;
  readonly metrics: Metrics;
  /** Control's own metrics in the same text form; "" when it does not answer. Never rejects. */
  readonly controlMetrics: () => Promise<string>;
  readonly logger: Logger;
}

export const createListener = (deps: ListenerDeps): Server => {
  /** The answer a connection is at, for errors the parser finds in the middle of one. */
  const current = new WeakMap<Socket, ServerResponse>();

  const refuse = (
    request: IncomingMessage,
    response: ServerResponse,
    error: AppError,
    isPrediction: boolean,
  ): void => {
    sendError(response, error, {
      requestId: requestIdOf(request),
      plane: isPrediction ? "inference" : "control",
      url: request.url ?? "",
      fields: deps.isClosing() ? ["Connection", "close"] : [],
    });
    discardRest(request, deps.timer);
  };

  const sendText = (
    request: IncomingMessage,
    response: ServerResponse,
    answer: { status: number; type: string; text: string },
  ): void => {
    if (request.method !== "GET" && request.method !== "HEAD") {
      return refuse(request, response, fail("METHOD_NOT_ALLOWED", { method: request.method ?? "" }), false);
    }
    response.writeHead(answer.status, [
      "Content-Type",
      answer.type,
      "Content-Length",
      String(Buffer.byteLength(answer.text)),
      "Cache-Control",
      "no-store",
      "X-Request-Id",
      requestIdOf(request),
    ]);
    response.end(answer.text);
    discardRest(request, deps.timer);
  };

  /** Own health: serving depends on a table, not on control, so a control that is down is told and not an error. */
  const health = (): { status: number; type: string; text: string } => {
    const { version } = deps.table;
    const text = JSON.stringify({
      status: version === null ? "starting" : "ok",
      table: version,
      control: deps.metrics.isControlReachable ? "reachable" : "unreachable",
    });
    return { status: version === null ? 503 : 200, type: "application/json", text };
  };

  const handle = (request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void => {
    const url = request.url ?? "";
    const target = readTarget(url);
    const encoding = request.headers["transfer-encoding"];
    if (encoding !== undefined && encoding.toLowerCase() !== "chunked") {
      const reason = "The only transfer coding supported is chunked.";
      return refuse(request, response, fail("REQUEST_MALFORMED", { reason }), target.kind === "prediction");
    }
    switch (target.kind) {
      case "prediction":
        return new Prediction(deps, request, response, target, expectsContinue).start();
      case "control":
        return deps.control.forward(request, response, expectsContinue);
      case "service-missing":
        return refuse(request, response, fail("SERVICE_ID_MISSING", {}), true);
      case "health":
        return sendText(request, response, health());
      case "metrics":
        void deps.controlMetrics().then((ofControl) =>
          sendText(request, response, {
            status: 200,
            type: "text/plain; version=0.0.4; charset=utf-8",
            text: deps.metrics.render() + ofControl,
          }),
        );
        return;
      case "internal":
        return refuse(request, response, fail("ROUTE_NOT_FOUND", {}), false);
      case "too-long":
        return refuse(request, response, fail("URI_TOO_LONG", {}), url.startsWith("/v1/infers/"));
      case "malformed":
        return refuse(request, response, fail("REQUEST_MALFORMED", target), url.startsWith("/v1/infers/"));
    }
  };

  const guarded = (request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void => {
    current.set(request.socket, response);
    try {
      handle(request, response, expectsContinue);
    } catch (error) {
      // A defect of ours must cost this request only.
      deps.logger.error({ err: error, url: request.url }, "request failed");
      if (response.headersSent) response.destroy();
      else refuse(request, response, fail("INTERNAL", {}), true);
    }
  };

  const server = createServer({
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: HEADERS_TIMEOUT_MS,
    // Bodies are bounded by each prediction's deadline; uploads to control may take as long as they progress.
    requestTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: 2_000,
    insecureHTTPParser: false,
    noDelay: true,
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.on("request", (request, response) => guarded(request, response, false));
  server.on("checkContinue", (request, response) => guarded(request, response, true));
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    const response = current.get(socket as Socket);
    const isBusy = response !== undefined && !response.writableFinished && response.headersSent;
    if (error.code === "ECONNRESET" || !socket.writable || isBusy) return void socket.destroy();
    const refusal = refusalOf(error.code);
    const requestId = requestIdOf({ headers: {} });
    const body = renderError(refusal, requestId, "inference", "");
    // The parser cannot go on from here, so this is written by hand and ends the connection.
    socket.end(
      `HTTP/1.1 ${refusal.status} ${refusal.status === 400 ? "Bad Request" : "Refused"}\r\nConnection: close\r\nX-Request-Id: ${requestId}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
  });
  return server;
};

const refusalOf = (code: string | undefined): AppError => {
  if (code === "HPE_HEADER_OVERFLOW") return fail("HEADERS_TOO_LARGE", {});
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return fail("REQUEST_INCOMPLETE", { limitMs: HEADERS_TIMEOUT_MS });
  return fail("REQUEST_MALFORMED", { reason: "The request is not valid HTTP/1.1." });
};

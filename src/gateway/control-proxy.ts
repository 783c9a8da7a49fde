/**
 * Everything that is not a prediction goes to control over its private socket, streaming both ways. Not a hot path:
 * node:http's own client does it. Credentials and the Host field pass; control authenticates for itself.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "../core/clock.ts";
import { fail } from "../core/errors.ts";
import { discardRest, requestIdOf, sendError } from "./answer.ts";
import { answerHeaders, controlHeaders } from "./headers.ts";
import type { AccessLog } from "./record.ts";
import type { Timer } from "./timer.ts";

// Not imported: an `import` of node:http runs its lazy exports, which load fetch and WebSocket (15 MB).
const { Agent, request: httpRequest } = process.getBuiltinModule("node:http");

export interface ControlProxyDeps {
  readonly socketPath: string;
  readonly accessLog: AccessLog;
  readonly clock: Clock;
  readonly timer: Timer;
  readonly isClosing: () => boolean;
}

export interface ControlProxy {
  forward(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void;
  close(): void;
}

export const createControlProxy = (deps: ControlProxyDeps): ControlProxy => {
  const agent = new Agent({ keepAlive: true });
  return {
    forward: (request, response, expectsContinue) => {
      const requestId = requestIdOf(request);
      const startedAt = deps.clock.monotonicMs();
      const client = request.socket.remoteAddress ?? "";
      const call = httpRequest({
        socketPath: deps.socketPath,
        agent,
        method: request.method,
        path: request.url,
        headers: controlHeaders(request, requestId, client),
      });
      const closing = (): string[] => (deps.isClosing() ? ["Connection", "close"] : []);
      let bytesIn = 0;
      let bytesOut = 0;
      let error: "CONTROL_UNAVAILABLE" | null = null;
      call.on("response", (answer) => {
        const fields = [...answerHeaders(answer.rawHeaders), "X-Request-Id", requestId, ...closing()];
        response.writeHead(answer.statusCode ?? 502, answer.statusMessage ?? "", fields);
        answer.on("data", (chunk: Buffer) => {
          bytesOut += chunk.length;
        });
        answer.on("error", () => response.destroy());
        answer.pipe(response);
        answer.on("end", () => discardRest(request, deps.timer));
      });
      call.on("error", () => {
        if (response.headersSent || response.destroyed) return void response.destroy();
        error = "CONTROL_UNAVAILABLE";
        request.unpipe(call);
        sendError(response, fail(error, {}), {
          requestId,
          plane: "control",
          url: request.url ?? "",
          fields: ["Retry-After", "2", ...closing()],
        });
        discardRest(request, deps.timer);
      });
      request.on("error", () => call.destroy());
      response.once("close", () => {
        if (!response.writableFinished) call.destroy();
        const status = response.headersSent ? response.statusCode : 499;
        const isCut = !response.writableFinished;
        const url = request.url ?? "";
        const question = url.indexOf("?");
        deps.accessLog.write({
          time: new Date(deps.clock.now()).toISOString(),
          request_id: requestId,
          client,
          method: request.method ?? "",
          path: question < 0 ? url : url.slice(0, question),
          status,
          outcome: isCut
            ? "aborted"
            : status < 300
              ? "2xx"
              : status < 400
                ? "3xx"
                : status < 500
                  ? "4xx"
                  : "5xx",
          owner: error !== null || status >= 500 ? "platform" : isCut || status >= 400 ? "client" : "none",
          error,
          project: null,
          user: null,
          service: null,
          version: null,
          instance: null,
          attempts: 1,
          bytes_in: bytesIn,
          bytes_out: bytesOut,
          auth_ms: 0,
          queue_ms: 0,
          upstream_ms: 0,
          total_ms: Math.round((deps.clock.monotonicMs() - startedAt) * 10) / 10,
        });
      });
      if (expectsContinue) response.writeContinue();
      request.on("data", (chunk: Buffer) => {
        bytesIn += chunk.length;
      });
      request.pipe(call);
    },
    close: () => agent.destroy(),
  };
};

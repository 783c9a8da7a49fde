/** The gateway's own small requests to control, over its private Unix socket. */
import type { Timer } from "./timer.ts";

// Not imported: an `import` of node:http runs its lazy exports, which load fetch and WebSocket (15 MB).
const { Agent, request } = process.getBuiltinModule("node:http");

const ANSWER_BYTES_MAX = 256 * 1024 * 1024;

export interface ControlAnswer {
  readonly status: number;
  readonly text: string;
}

export interface ControlClient {
  /** Rejects when control cannot be reached, does not answer within `timeoutMs`, or `signal` aborts. */
  send(call: {
    method: "GET" | "POST" | "DELETE";
    path: string;
    json?: unknown;
    timeoutMs: number;
    signal?: AbortSignal;
  }): Promise<ControlAnswer>;
  close(): void;
}

export const createControlClient = (deps: { socketPath: string; timer: Timer }): ControlClient => {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  return {
    send: ({ method, path, json, timeoutMs, signal }) =>
      new Promise((resolve, reject) => {
        const body = json === undefined ? null : Buffer.from(JSON.stringify(json));
        const call = request({
          socketPath: deps.socketPath,
          agent,
          method,
          path,
          headers: {
            host: "control",
            ...(body === null ? {} : { "content-type": "application/json", "content-length": body.length }),
          },
        });
        const timeout = deps.timer.after(timeoutMs, () => call.destroy(new Error("control did not answer")));
        const abort = (): void => void call.destroy(new Error("closing"));
        const settle = (): void => {
          timeout.cancel();
          signal?.removeEventListener("abort", abort);
        };
        signal?.addEventListener("abort", abort, { once: true });
        if (signal?.aborted) abort();
        call.on("error", (error) => {
          settle();
          reject(error);
        });
        call.on("response", (answer) => {
          const chunks: Buffer[] = [];
          let size = 0;
          answer.on("data", (chunk: Buffer) => {
            size += chunk.length;
            if (size > ANSWER_BYTES_MAX) call.destroy(new Error("control's answer is too large"));
            else chunks.push(chunk);
          });
          answer.on("end", () => {
            settle();
            resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") });
          });
          answer.on("error", (error) => {
            settle();
            reject(error);
          });
        });
        call.end(body ?? undefined);
      }),
    close: () => agent.destroy(),
  };
};

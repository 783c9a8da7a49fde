/** One call to a gateway under test, over each of the transports it offers. */
import { request as httpRequest } from "node:http";
import type { IncomingHttpHeaders } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest } from "node:https";

export type Transport = "http1" | "https1" | "http2";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly json: Record<string, unknown>;
}

export interface CallOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: Buffer | string;
  /** Null: no token. Absent: a good one. */
  readonly token?: string | null;
}

const answerOf = (status: number, headers: IncomingHttpHeaders, chunks: readonly Buffer[]): Answer => {
  const body = Buffer.concat(chunks);
  return {
    status,
    headers,
    body,
    get json() {
      return JSON.parse(body.toString()) as Record<string, unknown>;
    },
  };
};

const methodOf = (call: CallOptions): string => call.method ?? (call.body === undefined ? "GET" : "POST");
const headersOf = (call: CallOptions): Record<string, string | string[]> => ({
  ...(call.token === null || call.token === undefined ? {} : { "x-auth-token": call.token }),
  ...call.headers,
});

export const callOver = (
  transport: Transport,
  port: number,
  path: string,
  call: CallOptions,
): Promise<Answer> =>
  transport === "http2"
    ? overHttp2(port, path, call)
    : new Promise((resolve, reject) => {
        const request = transport === "http1" ? httpRequest : httpsRequest;
        const outgoing = request({
          host: "127.0.0.1",
          port,
          path,
          method: methodOf(call),
          agent: false,
          rejectUnauthorized: false,
          headers: headersOf(call),
        });
        outgoing.on("error", reject);
        outgoing.on("response", (answer) => {
          const chunks: Buffer[] = [];
          answer.on("data", (chunk: Buffer) => chunks.push(chunk));
          answer.on("error", reject);
          answer.on("end", () => resolve(answerOf(answer.statusCode ?? 0, answer.headers, chunks)));
        });
        outgoing.end(call.body);
      });

const overHttp2 = (port: number, path: string, call: CallOptions): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const session = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
    const over = (error: Error): void => {
      session.destroy();
      reject(error);
    };
    session.on("error", over);
    const { "transfer-encoding": _, ...sent } = headersOf(call);
    const stream = session.request({ ":method": methodOf(call), ":path": path, ...sent });
    const chunks: Buffer[] = [];
    let status = 0;
    let headers: IncomingHttpHeaders = {};
    stream.on("response", (head) => {
      status = Number(head[":status"]);
      headers = head;
    });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", over);
    stream.on("aborted", () => over(new Error("aborted")));
    stream.on("end", () => {
      if (status === 0) return over(new Error("aborted"));
      session.close();
      resolve(answerOf(status, headers, chunks));
    });
    stream.end(call.body);
  });

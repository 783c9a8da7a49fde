/**
 * Calls to a control role that may be killed under them. A call comes back with its whole answer, or as unanswered: then
 * the caller cannot know whether it was done. Counts both, and fails on an answer that blames the platform.
 */
import { Agent, request } from "node:http";
import type { IncomingHttpHeaders } from "node:http";

export interface Answered {
  readonly status: number;
  // oxlint-disable-next-line typescript/no-explicit-any -- answers of every shape
  readonly body: any;
  readonly bytes: Buffer;
  readonly headers: IncomingHttpHeaders;
}

export interface CallOptions {
  readonly body?: unknown;
  /** Sent instead of JSON, in pieces with a turn of the event loop in between. */
  readonly pieces?: readonly Buffer[];
  /** The caller goes away after so many pieces, having promised all of them. */
  readonly leaveAfter?: number;
  readonly token?: string;
  readonly headers?: Record<string, string>;
}

export interface Tally {
  acknowledged: number;
  refused: number;
  unanswered: number;
}

export interface Client {
  /** Null: no answer, or not all of it. */
  call(method: string, path: string, options?: CallOptions): Promise<Answered | null>;
  readonly tally: Tally;
  /** Called with every whole answer to a write; the test kills at such moments too. */
  onAnswer: () => void;
  /** A call got no answer: control is gone, and callers end their round. */
  isLost: boolean;
  close(): void;
}

export const createClient = (socketPath: string, tokenOf: () => string, tally: Tally): Client => {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const client: Client = {
    tally,
    onAnswer: () => undefined,
    isLost: false,
    close: () => agent.destroy(),
    call: async (method, path, options = {}) => {
      const answer = await send(agent, socketPath, method, path, {
        ...options,
        headers: { "x-auth-token": options.token ?? tokenOf(), ...options.headers },
      });
      if (answer === null && options.leaveAfter === undefined) client.isLost = true;
      if (method !== "GET" && method !== "HEAD") {
        if (answer === null) tally.unanswered += 1;
        else if (answer.status < 300) tally.acknowledged += 1;
        else tally.refused += 1;
        if (answer !== null) client.onAnswer();
      }
      if (answer !== null && answer.status >= 500)
        throw new Error(`${method} ${path} was answered ${answer.status}: ${answer.bytes.toString()}`);
      return answer;
    },
  };
  return client;
};

const send = (
  agent: Agent,
  socketPath: string,
  method: string,
  path: string,
  options: CallOptions & { readonly headers: Record<string, string> },
): Promise<Answered | null> =>
  new Promise((resolve) => {
    const json = options.body === undefined ? null : Buffer.from(JSON.stringify(options.body));
    const pieces = options.pieces ?? (json === null ? [] : [json]);
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const outgoing = request({
      agent,
      socketPath,
      method,
      path,
      headers: {
        ...options.headers,
        ...(json === null ? {} : { "content-type": "application/json" }),
        ...(pieces.length === 0 && method === "GET" ? {} : { "content-length": String(length) }),
      },
    });
    outgoing.once("error", () => resolve(null));
    outgoing.once("response", (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.once("error", () => resolve(null));
      incoming.once("close", () => resolve(null));
      incoming.once("end", () => {
        const bytes = Buffer.concat(chunks);
        const isJson = String(incoming.headers["content-type"] ?? "").startsWith("application/json");
        resolve({
          status: incoming.statusCode ?? 0,
          bytes,
          body: isJson && bytes.length > 0 ? JSON.parse(bytes.toString()) : undefined,
          headers: incoming.headers,
        });
      });
    });
    void write();
    async function write(): Promise<void> {
      for (const [index, piece] of pieces.entries()) {
        if (options.leaveAfter === index) {
          outgoing.destroy();
          return;
        }
        outgoing.write(piece);
        await new Promise((turn) => setImmediate(turn));
      }
      outgoing.end();
    }
  });

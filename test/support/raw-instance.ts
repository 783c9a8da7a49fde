/**
 * An instance that is only a socket: it keeps the bytes it got exactly as they came, and answers with the bytes it is
 * told to. What it got counts as a request only when it can be read strictly.
 */
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { readRequests } from "./wire.ts";
import type { Message } from "./wire.ts";

export interface Recorded {
  /** Everything since the connection was made or `forget` was called, latin1. */
  bytes: string;
  /** The beginning of a request that is not whole yet. */
  rest: string;
  requests: number;
  isClosed: boolean;
}

export interface Reply {
  readonly bytes: string;
  /** Written a turn later, as a packet of its own. */
  readonly later?: string;
  readonly afterwards?: "keep" | "end" | "reset";
}

export interface RawInstance {
  readonly origin: string;
  readonly authority: string;
  readonly connections: Recorded[];
  /** Answers a whole request; null: not at all. */
  onRequest: (message: Message) => Reply | null;
  /** Answers as soon as the head of a request is there; the rest is read and dropped. Null: waits for the whole. */
  onHead: (() => Reply) | null;
  /** Hears of every connection that got whole requests and nothing else, with those bytes, and forgets them. */
  onWhole: ((bytes: string) => void) | null;
  close(): Promise<void>;
}

export const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

export const startRawInstance = async (): Promise<RawInstance> => {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    const recorded: Recorded = { bytes: "", rest: "", requests: 0, isClosed: false };
    instance.connections.push(recorded);
    let isAnsweredEarly = false;
    const reply = (answer: Reply): void => {
      socket.write(answer.bytes, "latin1");
      const over = (): void => {
        if (answer.afterwards === "end") socket.end();
        if (answer.afterwards === "reset") socket.resetAndDestroy();
      };
      const { later } = answer;
      if (later === undefined || later === "") return over();
      setImmediate(() => {
        if (socket.writable) socket.write(later, "latin1");
        over();
      });
    };
    socket.on("data", (chunk: Buffer) => {
      const text = chunk.toString("latin1");
      recorded.bytes += text;
      recorded.rest += text;
      if (instance.onHead !== null) {
        if (!isAnsweredEarly && recorded.rest.includes("\r\n\r\n")) {
          isAnsweredEarly = true;
          reply(instance.onHead());
        }
        return;
      }
      const read = readRequests(recorded.rest, "strict");
      recorded.rest = read.rest;
      recorded.requests += read.messages.length;
      if (read.rest === "" && instance.onWhole !== null) {
        instance.onWhole(recorded.bytes);
        recorded.bytes = "";
      }
      for (const message of read.messages) {
        const answer = instance.onRequest(message);
        if (answer !== null) reply(answer);
      }
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      recorded.isClosed = true;
      sockets.delete(socket);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const authority = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const instance: RawInstance = {
    origin: `http://${authority}`,
    authority,
    connections: [],
    onRequest: () => ({ bytes: OK }),
    onHead: null,
    onWhole: null,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return instance;
};

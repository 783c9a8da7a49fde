/** A caller that is only a socket: sends bytes, reads answers strictly, and tries whether the connection goes on. */
import { connect } from "node:net";
import { readAnswers, statusOf } from "./wire.ts";
import type { Message } from "./wire.ts";

export interface Conversation {
  /** Answers to what was sent, interim ones included. */
  readonly answers: readonly Message[];
  /** Everything that came back, latin1. */
  readonly text: string;
  /** Why what came back is not a row of answers; null when it is, or breaks off in the middle of one. */
  readonly problem: string | null;
  /** A further request on the connection was answered. */
  readonly isKept: boolean;
  readonly isHanging: boolean;
}

export interface Call {
  readonly port: number;
  /** Each piece is a write of its own; latin1. */
  readonly pieces: readonly string[];
  /** How many final answers to wait for before the connection is tried. */
  readonly finals: number;
  readonly isHead?: boolean;
  /** The caller's side ends behind the bytes, so nothing can be tried. */
  readonly ends?: boolean;
  /** Counts as hanging after this. */
  readonly limitMs?: number;
}

const PROBE = "GET /healthz HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n";
const isFinal = (message: Message): boolean => statusOf(message) >= 200;

export const converse = (call: Call): Promise<Conversation> =>
  new Promise((resolve) => {
    const socket = connect({ port: call.port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    let text = "";
    let hasProbed = false;
    let isHanging = false;
    const limit = setTimeout(() => {
      isHanging = true;
      socket.destroy();
    }, call.limitMs ?? 20_000);
    const read = (hasEnded: boolean): ReturnType<typeof readAnswers> =>
      readAnswers(text, "strict", { hasEnded, isHead: (n) => call.isHead === true && n < call.finals });
    const probe = (): void => {
      if (hasProbed || call.ends === true || call.finals === 0) return;
      if (read(false).messages.filter(isFinal).length < call.finals) return;
      hasProbed = true;
      socket.write(PROBE);
    };
    socket.on("connect", () => {
      const [first = "", ...others] = call.pieces;
      socket.write(first, "latin1");
      const next = (): void => {
        const piece = others.shift();
        if (piece === undefined) return void (call.ends === true && socket.end());
        if (!socket.writable) return;
        socket.write(piece, "latin1");
        // A turn apart, so that the pieces are packets of their own.
        setImmediate(next);
      };
      setImmediate(next);
    });
    socket.on("data", (bytes: Buffer) => {
      text += bytes.toString("latin1");
      probe();
    });
    socket.on("end", () => socket.end());
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearTimeout(limit);
      const { messages, problem } = read(true);
      const last = messages.at(-1);
      const finals = messages.filter(isFinal).length;
      const isKept =
        hasProbed && finals > call.finals && last !== undefined && last.body.includes('"status":"ok"');
      resolve({ answers: isKept ? messages.slice(0, -1) : messages, text, problem, isKept, isHanging });
    });
  });

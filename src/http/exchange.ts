/**
 * One request of a caller and the answer to it, whatever version of HTTP carries them: the seam between the door
 * (caller-connection.ts, gateway/http2/) and what is done with a request.
 *
 * A handler gets an exchange whose head is read. It sets `listener` before it returns; body bytes come to it from then
 * on, and `onClose` exactly once as the last call of all.
 */
import type { KnownFields } from "./field-name.ts";

export interface ExchangeListener {
  onBody(chunk: Buffer): void;
  /** The request is complete. Comes for requests without a body too, once `onBody` could have come. */
  onBodyEnd(): void;
  /** The caller takes answer bytes again (after `write` said false). */
  onDrain(): void;
  /** The end. `isWhole`: the complete answer was handed to the kernel; else it was cut or the caller went away. */
  onClose(isWhole: boolean): void;
}

export interface Exchange {
  readonly method: string;
  /** The request target as sent. */
  readonly target: string;
  /** All header fields as sent, names and values alternating. */
  readonly fields: readonly string[];
  readonly known: KnownFields;
  /** The caller's address. */
  readonly peer: string;
  /** Null: not told beforehand. */
  readonly bodyLength: number | null;
  /** The caller waits for 100 Continue before it sends the body. */
  readonly expectsContinue: boolean;
  /** The whole request has arrived. */
  readonly isReceived: boolean;
  readonly isHeadSent: boolean;
  /** `end` was called. */
  readonly isEnded: boolean;
  /** Of the answer; 0 before `sendHead`. */
  readonly status: number;
  listener: ExchangeListener;

  sendContinue(): void;
  pauseBody(): void;
  resumeBody(): void;
  /**
   * The answer's head, held back until bytes follow or `flush`. `lines`: header fields, each ended by CRLF, without
   * framing and connection fields. `length`: of the body, null when not known beforehand.
   */
  sendHead(status: number, reason: string, lines: string, length: number | null): void;
  /** False: stop until onDrain. */
  write(chunk: Buffer): boolean;
  /** Completes the answer. A request that is not complete by then is thrown away, within limits. */
  end(chunk: Buffer | null): void;
  /** Sends a head that is held back. */
  flush(): void;
  /** Cuts the answer off: the only way to say after the head that it will not be complete. */
  destroy(): void;
}

/** For the moment between a handler's call and its taking over. */
export const NO_LISTENER: ExchangeListener = {
  onBody: () => undefined,
  onBodyEnd: () => undefined,
  onDrain: () => undefined,
  onClose: () => undefined,
};

/** Gets every exchange. Never throws. */
export type ExchangeHandler = (exchange: Exchange) => void;

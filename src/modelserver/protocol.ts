/**
 * Frames between the front and its Python workers; mirrored by python/modelport_worker/protocol.py, and both are held
 * to the files in test/fixtures/protocol.
 *
 * A frame is two big-endian u32 (length of the header, length of the body), the header as JSON, the body as raw bytes.
 * Files and request bodies travel in the body, never inside JSON. Several requests, and small answers to several, share a
 * frame: their bodies follow each other, and reading a header costs as much as the rest of a frame.
 */
import type { BatchingMode } from "../core/batching.ts";
import type { EngineName } from "../core/engines.ts";

export const PROTOCOL_VERSION = 2;

/** One part of a request's body, in the order of the bytes. Machine-learning engines get one unnamed part. */
export interface Part {
  readonly name: string;
  readonly size: number;
  readonly filename?: string;
  readonly contentType?: string;
}

export interface PredictRequest {
  readonly id: number;
  readonly contentType: string;
  readonly query: string;
  /** Sizes add up to the request's share of the body. */
  readonly parts: readonly Part[];
  /** The caller takes the answer item by item, when it is an iterator. */
  readonly stream?: true;
}

/** What the front says. `load` comes once, first; `predict` only after `ready`, the next after all replies to the last. */
export type FrontFrame =
  | {
      readonly t: "load";
      readonly protocol: typeof PROTOCOL_VERSION;
      readonly engine: EngineName;
      readonly packageDir: string;
      readonly modelFile: string;
      readonly modelName: string;
      readonly modelVersion: string;
      readonly batching?: BatchingMode;
    }
  /** Requests that may be joined; each gets a reply of its own, in any order. */
  | { readonly t: "predict"; readonly requests: readonly PredictRequest[] }
  /** Whoever took the items of this answer is gone. */
  | { readonly t: "cancel"; readonly id: number };

/**
 * Why a prediction failed: `input`: the body is not usable; `lookup`: KeyError or TypeError; `code`: any other
 * exception. `exits`: user code asked to exit, and the worker does so after this frame.
 */
export interface FailedFrame {
  readonly t: "failed";
  readonly id: number;
  readonly kind: "input" | "lookup" | "code";
  /** Class and message: `ValueError: bad row`. */
  readonly exception: string;
  readonly traceback: string;
  readonly exits: boolean;
  readonly stepsUs?: readonly number[];
}

export interface Answered {
  readonly id: number;
  readonly stepsUs?: readonly number[];
}

/**
 * What a worker says. `stepsUs`: how long it had the request, in parts: before the first step, preprocess, inference,
 * postprocess, after them; a failure ends the list with the step it came from. Absent when user code replaced
 * `inference` as a whole.
 */
export type WorkerFrame =
  | {
      readonly t: "ready";
      readonly protocol: number;
      readonly service: string;
      readonly python: string;
      readonly loadMs: number;
    }
  | { readonly t: "load-failed"; readonly exception: string; readonly traceback: string }
  /** The next item of a streamed answer. */
  | { readonly t: "item"; readonly id: number }
  /** `items`: how many were streamed; the body is empty then. */
  | ({ readonly t: "answer"; readonly items?: number } & Answered)
  /** Several answers; the bodies follow each other in this order. */
  | { readonly t: "answers"; readonly answers: readonly (Answered & { readonly size: number })[] }
  | FailedFrame
  /** One of several requests that the worker has not begun, since user code asked to exit before. */
  | { readonly t: "unanswered"; readonly id: number }
  /** It goes on with what it has in hand after its replies: it compares joined answers with single ones, and is free after `proved`. */
  | { readonly t: "proving" }
  | { readonly t: "proved" }
  /** What it decided about joining requests, and on what evidence. */
  | { readonly t: "batching"; readonly state: "on" | "off"; readonly text: string };

const PREFIX_BYTES = 8;
const HEADER_BYTES_MAX = 1024 * 1024;
const BODY_BYTES_MAX = 1024 * 1024 * 1024;

/** The bytes before the body; the body's chunks are written after it as they are. */
export const encodeHead = (header: FrontFrame | WorkerFrame, bodyBytes: number): Buffer => {
  const json = JSON.stringify(header);
  const headerBytes = Buffer.byteLength(json);
  const head = Buffer.allocUnsafe(PREFIX_BYTES + headerBytes);
  head.writeUInt32BE(headerBytes, 0);
  head.writeUInt32BE(bodyBytes, 4);
  head.write(json, PREFIX_BYTES);
  return head;
};

const FAILURES: readonly unknown[] = ["input", "lookup", "code"] satisfies FailedFrame["kind"][];
const TEXTS: Readonly<Record<string, readonly string[]>> = {
  "load-failed": ["exception", "traceback"],
  failed: ["exception", "traceback"],
  batching: ["text"],
};

/** Both ends ship together, but user code holds the worker's: what would break us is looked at, nothing else. */
const isWellFormed = (header: object, t: string): boolean => {
  const fields = header as Readonly<Record<string, unknown>>;
  if (t === "failed" && !FAILURES.includes(fields["kind"])) return false;
  if (t === "answers") {
    const { answers } = fields;
    return Array.isArray(answers) && answers.every((one: unknown) => typeof one === "object" && one !== null);
  }
  return TEXTS[t]?.every((name) => typeof fields[name] === "string") ?? true;
};

/** A peer sent something that is not a frame of this protocol. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/** Cuts a byte stream into frames. A frame that arrives in one chunk is not copied. */
export class FrameReader<F extends { readonly t: string }> {
  readonly #kinds: ReadonlySet<string>;
  readonly #onFrame: (frame: F, body: Buffer) => void;
  #chunks: Buffer[] = [];
  #held = 0;
  #wanted = PREFIX_BYTES;

  constructor(kinds: readonly F["t"][], onFrame: (frame: F, body: Buffer) => void) {
    this.#kinds = new Set(kinds);
    this.#onFrame = onFrame;
  }

  /** Throws ProtocolError on anything that cannot be a frame; the stream is then unusable. */
  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
    if (this.#held < this.#wanted) return;
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#held);
    let at = 0;
    this.#wanted = PREFIX_BYTES;
    while (bytes.length - at >= PREFIX_BYTES) {
      const headerBytes = bytes.readUInt32BE(at);
      const bodyBytes = bytes.readUInt32BE(at + 4);
      if (headerBytes > HEADER_BYTES_MAX || bodyBytes > BODY_BYTES_MAX) {
        throw new ProtocolError(`a frame of ${headerBytes} + ${bodyBytes} bytes`);
      }
      const end = at + PREFIX_BYTES + headerBytes + bodyBytes;
      if (end > bytes.length) {
        this.#wanted = end - at;
        break;
      }
      const bodyAt = at + PREFIX_BYTES + headerBytes;
      const frame = this.#parse(bytes.toString("utf8", at + PREFIX_BYTES, bodyAt));
      at = end;
      this.#onFrame(frame, bytes.subarray(bodyAt, end));
    }
    this.#chunks = at === bytes.length ? [] : [at === 0 ? bytes : bytes.subarray(at)];
    this.#held = bytes.length - at;
  }

  #parse(json: string): F {
    let header: unknown;
    try {
      header = JSON.parse(json);
    } catch (cause) {
      throw new ProtocolError("a frame whose header is not JSON", { cause });
    }
    const t = typeof header === "object" && header !== null && "t" in header ? header.t : undefined;
    if (typeof t !== "string" || !this.#kinds.has(t)) throw new ProtocolError(`a frame of kind ${String(t)}`);
    if (!isWellFormed(header as object, t))
      throw new ProtocolError(`a frame of kind ${t} without its fields`);
    return header as F;
  }
}

/**
 * One HTTP exchange over node:http(s). Not fetch: its idle limit of five minutes would cut a followed log and a long
 * prediction, and it cannot send a large file with its length and report how far it got.
 */
import type { IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Readable } from "node:stream";
import { CliError } from "./failures.ts";

// Not imported: an `import` of node:http runs its lazy exports, which load fetch and WebSocket (15 MB, also in the
// process of a running `modelport up`).
const { request: httpRequest } = process.getBuiltinModule("node:http");

export interface Exchange {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** A stream is sent once; text and bytes can be sent again when a kept connection turns out dead. */
  readonly body?: string | Uint8Array | { readonly stream: Readable; readonly length: number };
  readonly signal?: AbortSignal;
}

const REFUSED: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing answers there",
  ENOTFOUND: "the host is not known",
  EAI_AGAIN: "the host's name cannot be looked up",
  EHOSTUNREACH: "there is no way to the host",
  ENETUNREACH: "there is no network",
  ETIMEDOUT: "the host does not answer",
  ECONNRESET: "the connection was closed",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate names another host",
  CERT_HAS_EXPIRED: "its certificate has expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is self-made and not trusted here (see NODE_EXTRA_CA_CERTS)",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate's authority is not trusted here (see NODE_EXTRA_CA_CERTS)",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    "its certificate's authority is not trusted here (see NODE_EXTRA_CA_CERTS)",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    "its certificate's authority is not trusted here (see NODE_EXTRA_CA_CERTS)",
  EPROTO: "it does not speak TLS",
};

const unreachable = (url: URL, cause: unknown): CliError => {
  const code = (cause as { code?: string }).code ?? "";
  const because = REFUSED[code] ?? (cause instanceof Error ? cause.message : String(cause));
  return new CliError("unreachable", `The platform at ${url.origin} cannot be reached: ${because}.`, {
    next: "Start it with `modelport up`, or log in elsewhere with `modelport login --endpoint URL`.",
    cause,
  });
};

const attempt = (exchange: Exchange): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const { body } = exchange;
    const open = exchange.url.protocol === "https:" ? httpsRequest : httpRequest;
    const length =
      body === undefined
        ? undefined
        : typeof body === "string"
          ? Buffer.byteLength(body)
          : "stream" in body
            ? body.length
            : body.byteLength;
    const request = open(exchange.url, {
      method: exchange.method,
      headers: { ...exchange.headers, ...(length === undefined ? {} : { "content-length": String(length) }) },
      ...(exchange.signal === undefined ? {} : { signal: exchange.signal }),
    });
    request.once("response", resolve);
    request.once("error", (error: NodeJS.ErrnoException) =>
      reject(Object.assign(error, { onKeptConnection: request.reusedSocket })),
    );
    if (body !== undefined && typeof body === "object" && "stream" in body) {
      body.stream.once("error", (error) => request.destroy(error));
      body.stream.pipe(request);
    } else {
      request.end(body);
    }
  });

/** Sends one request and resolves with the answer's head. Throws `interrupted`, `timeout` or `unreachable`. */
export const exchange = async (what: Exchange): Promise<IncomingMessage> => {
  const replayable = what.body === undefined || typeof what.body === "string" || !("stream" in what.body);
  for (let again = replayable; ; again = false) {
    try {
      return await attempt(what);
    } catch (error) {
      if (what.signal?.aborted) {
        const reason: unknown = what.signal.reason;
        if (reason instanceof Error && reason.name === "TimeoutError") {
          throw new CliError("timeout", `The platform at ${what.url.origin} did not answer in time.`, {
            next: "`modelport status` shows whether it is well.",
            cause: error,
          });
        }
        throw new CliError("interrupted", "Interrupted.", { cause: error });
      }
      const kept = (error as { onKeptConnection?: boolean }).onKeptConnection === true;
      if (!(again && kept)) throw unreachable(what.url, error);
    }
  }
};

/** The whole answer as bytes. */
export const readAll = async (message: Readable): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
};

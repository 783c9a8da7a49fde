/** The second opinion: Node's own HTTP parser, strict as node:http uses it, on whole texts. */

export interface Verdict {
  readonly requests: readonly { readonly url: string; readonly body: string }[];
  /** Its code, such as HPE_INVALID_HEADER_TOKEN; null when it took everything. */
  readonly error: string | null;
}

interface Parser {
  initialize(type: number, resource: object, maxHeaderSize: number, lenient: number): void;
  execute(bytes: Buffer): number | (Error & { readonly code?: string });
  finish(): unknown;
  remove(): void;
  /** Without it the parser is never collected. */
  close(): void;
  [callback: number]: unknown;
}

interface HttpCommon {
  readonly HTTPParser: {
    new (): Parser;
    readonly REQUEST: number;
    readonly kOnHeaders: number;
    readonly kOnHeadersComplete: number;
    readonly kOnBody: number;
    readonly kOnMessageComplete: number;
  };
}

// node:http shows its parser only through a whole server; a hundred thousand texts want the parser alone.
const builtin = process as unknown as { getBuiltinModule(name: "_http_common"): HttpCommon };
const { HTTPParser } = builtin.getBuiltinModule("_http_common");

/** More than the gateway's 128 KB: how large a head may be is its own business, and the two count differently. */
const HEAD_BYTES_MAX = 256 * 1024;

export const judge = (text: string): Verdict => {
  const requests: { url: string; body: string }[] = [];
  let current = { url: "", body: "" };
  let lateUrl = "";
  const parser = new HTTPParser();
  parser.initialize(HTTPParser.REQUEST, {}, HEAD_BYTES_MAX, 0);
  parser[HTTPParser.kOnHeaders] = (_headers: unknown, url: string): void => {
    lateUrl += url;
  };
  parser[HTTPParser.kOnHeadersComplete] = (
    _major: number,
    _minor: number,
    _headers: unknown,
    _method: number,
    url: string | undefined,
  ): number => {
    current = { url: url ?? lateUrl, body: "" };
    lateUrl = "";
    return 0;
  };
  parser[HTTPParser.kOnBody] = (bytes: Buffer): void => {
    current.body += bytes.toString("latin1");
  };
  parser[HTTPParser.kOnMessageComplete] = (): void => {
    requests.push(current);
    // Trailers come with the target once more.
    lateUrl = "";
  };
  const result = parser.execute(Buffer.from(text, "latin1"));
  parser.remove();
  parser.close();
  return { requests, error: typeof result === "number" ? null : (result.code ?? result.message) };
};

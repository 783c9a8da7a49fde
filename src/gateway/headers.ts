/**
 * Which header fields cross the gateway. Hop-by-hop fields and those the Connection field names end here, in both
 * directions; credentials for this platform end here on the way in.
 *
 * Names are compared case-insensitively and with `_` read as `-`: CGI-style servers (WSGI) cannot tell the two apart, so
 * `X_Request_Id` would otherwise pass for the field the gateway sets.
 */
import type { IncomingMessage } from "node:http";

const HOP_BY_HOP = [
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
];

/**
 * Not forwarded to an instance. `x-auth-token` is dropped because it is valid for the whole control plane of the caller's
 * project, and the code behind the route may be anybody's. The others are set anew by the gateway.
 */
const REQUEST_DROPPED: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  "host",
  "expect",
  "content-length",
  "x-auth-token",
  "x-request-id",
  "x-request-deadline-ms",
  "x-forwarded-for",
]);

/** Not forwarded to control, which does its own authentication; all but the first are set anew. */
const CONTROL_DROPPED: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  "expect",
  "content-length",
  "x-request-id",
  "x-forwarded-for",
]);

/** Not passed back. `x-request-id` is the gateway's; content-length is kept, node:http then does not chunk. */
const ANSWER_DROPPED: ReadonlySet<string> = new Set([...HOP_BY_HOP, "x-request-id"]);

/** Folding a name costs more than looking it up, and callers send the same few dozen spellings. Bounded. */
const MEMO_MAX = 2_000;
const memoOf = (dropped: ReadonlySet<string>): ((name: string) => boolean) => {
  const memo = new Map<string, boolean>();
  return (name) => {
    const known = memo.get(name);
    if (known !== undefined) return known;
    const verdict = dropped.has(name.toLowerCase().replaceAll("_", "-"));
    if (memo.size < MEMO_MAX) memo.set(name, verdict);
    return verdict;
  };
};
const isDroppedFromRequest = memoOf(REQUEST_DROPPED);
const isDroppedForControl = memoOf(CONTROL_DROPPED);
const isDroppedFromAnswer = memoOf(ANSWER_DROPPED);

/** The fields a Connection value names, lower-case; null for the usual `keep-alive` or `close` alone. */
const nominated = (connection: string | undefined): ReadonlySet<string> | null => {
  if (connection === undefined) return null;
  if (/^(?:keep-alive|close)$/i.test(connection)) return null;
  return new Set(connection.split(",").map((name) => name.trim().toLowerCase()));
};

/** The forwardable fields of a request as header lines, each ended by CRLF. `raw` alternates names and values. */
export const requestHeaderLines = (raw: readonly string[], connection: string | undefined): string => {
  const named = nominated(connection);
  let lines = "";
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? "";
    if (isDroppedFromRequest(name) || (named !== null && named.has(name.toLowerCase()))) continue;
    lines += `${name}: ${raw[i + 1] ?? ""}\r\n`;
  }
  return lines;
};

/** The value for X-Forwarded-For: what came, then who we see. */
export const forwardedFor = (request: IncomingMessage, peer: string): string => {
  const before = request.headers["x-forwarded-for"];
  return before === undefined ? peer : `${String(before)}, ${peer}`;
};

/** The fields of a request to control, names and values alternating, with its framing made explicit. */
export const controlHeaders = (request: IncomingMessage, requestId: string, peer: string): string[] => {
  const { rawHeaders, headers } = request;
  const named = nominated(headers.connection);
  const kept: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? "";
    if (isDroppedForControl(name) || (named !== null && named.has(name.toLowerCase()))) continue;
    kept.push(name, rawHeaders[i + 1] ?? "");
  }
  kept.push("X-Request-Id", requestId, "X-Forwarded-For", forwardedFor(request, peer));
  if (headers["transfer-encoding"] !== undefined) kept.push("Transfer-Encoding", "chunked");
  else kept.push("Content-Length", headers["content-length"] ?? "0");
  return kept;
};

/** The fields of an instance's answer that go back to the caller, names and values alternating. */
export const answerHeaders = (raw: readonly string[]): string[] => {
  let connection: string | undefined;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (raw[i]?.toLowerCase() !== "connection") continue;
    connection = connection === undefined ? raw[i + 1] : `${connection},${raw[i + 1] ?? ""}`;
  }
  const named = nominated(connection);
  const kept: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? "";
    if (isDroppedFromAnswer(name) || (named !== null && named.has(name.toLowerCase()))) continue;
    kept.push(name, raw[i + 1] ?? "");
  }
  return kept;
};

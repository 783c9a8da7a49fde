/**
 * Header fields: which cross the gateway, and their form as lines. Hop-by-hop fields and those the
 * Connection field names end here, in both directions; credentials for this platform end here on the way in.
 *
 * Names are compared case-insensitively and with `_` read as `-`: CGI-style servers (WSGI) cannot tell the two apart, so
 * `X_Request_Id` would otherwise pass for the field the gateway sets. Only the exact spelling is *believed*, though.
 */
import { fieldName, rememberedByName } from "../http/field-name.ts";
import type { FieldName, KnownFields } from "../http/field-name.ts";
import type { Span } from "../telemetry/tracing.ts";

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

/** Not passed back: `x-request-id` is the gateway's, and the framing is told apart from the fields. */
const ANSWER_DROPPED: ReadonlySet<string> = new Set([...HOP_BY_HOP, "x-request-id", "content-length"]);

/** All there is to know of a field that may cross. */
interface CrossingField extends FieldName {
  readonly toInstance: boolean;
  readonly toControl: boolean;
  readonly toCaller: boolean;
}

const crossingField = rememberedByName((name: string): CrossingField | null => {
  const field = fieldName(name);
  if (field === null) return null;
  const folded = field.lower.replaceAll("_", "-");
  return {
    ...field,
    toInstance: !REQUEST_DROPPED.has(folded),
    toControl: !CONTROL_DROPPED.has(folded),
    toCaller: !ANSWER_DROPPED.has(folded),
  };
});

/** The fields a Connection value names, lower-case; null for the usual `keep-alive` or `close` alone. */
const nominated = (connection: string | undefined): ReadonlySet<string> | null => {
  if (connection === undefined || connection === "keep-alive" || connection === "close") return null;
  return new Set(connection.split(",").map((name) => name.trim().toLowerCase()));
};

const forwardable = (
  fields: readonly string[],
  connection: string | undefined,
  direction: "toInstance" | "toControl" | "toCaller",
  replaced: ReadonlySet<keyof KnownFields> | null = null,
): string => {
  const named = nominated(connection);
  let lines = "";
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? "";
    const field = crossingField(name);
    if (field === null || !field[direction] || (named !== null && named.has(field.lower))) continue;
    if (replaced !== null && field.known !== null && replaced.has(field.known)) continue;
    lines += `${name}: ${fields[i + 1] ?? ""}\r\n`;
  }
  return lines;
};

/** What a span of the gateway's replaces: of a trace that begins here, a caller's `tracestate` is no part. */
const REPLACED_BY_CHILD: ReadonlySet<keyof KnownFields> = new Set(["traceparent"]);
const REPLACED_BY_ROOT: ReadonlySet<keyof KnownFields> = new Set(["traceparent", "tracestate"]);

/** The forwardable fields of a request as header lines, each ended by CRLF. `span`: the gateway's, when it is traced. */
export const requestLines = (
  fields: readonly string[],
  known: KnownFields,
  span: Pick<Span, "traceparent" | "isRoot"> | null = null,
): string => {
  if (span === null) return forwardable(fields, known.connection, "toInstance");
  const replaced = span.isRoot ? REPLACED_BY_ROOT : REPLACED_BY_CHILD;
  return `${forwardable(fields, known.connection, "toInstance", replaced)}traceparent: ${span.traceparent}\r\n`;
};

export const controlLines = (fields: readonly string[], known: KnownFields): string =>
  forwardable(fields, known.connection, "toControl");

/** The fields of an answer that go back to the caller. `connection`: the answer's own Connection field. */
export const answerLines = (fields: readonly string[], connection: string | undefined): string =>
  forwardable(fields, connection, "toCaller");

/** The value for X-Forwarded-For: what came, then who we see. */
export const forwardedFor = (known: KnownFields, peer: string): string =>
  known.forwardedFor === undefined ? peer : `${known.forwardedFor}, ${peer}`;

/** Names of header fields, and those that a server here reads itself. */

/** What a server itself reads of a request, joined with ", " where a field came more than once. */
export interface KnownFields {
  accept?: string;
  connection?: string;
  contentLength?: string;
  contentType?: string;
  /** Milliseconds that the caller still waits; believed by instances only. */
  deadlineMs?: string;
  expect?: string;
  forwardedFor?: string;
  host?: string;
  requestId?: string;
  token?: string;
  traceparent?: string;
  tracestate?: string;
  transferEncoding?: string;
}

const KNOWN: ReadonlyMap<string, keyof KnownFields> = new Map([
  ["accept", "accept"],
  ["connection", "connection"],
  ["content-length", "contentLength"],
  ["content-type", "contentType"],
  ["expect", "expect"],
  ["x-forwarded-for", "forwardedFor"],
  ["host", "host"],
  ["x-request-deadline-ms", "deadlineMs"],
  ["x-request-id", "requestId"],
  ["x-auth-token", "token"],
  ["traceparent", "traceparent"],
  ["tracestate", "tracestate"],
  ["transfer-encoding", "transferEncoding"],
] as const);

export interface FieldName {
  readonly lower: string;
  readonly known: keyof KnownFields | null;
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Reading a name costs more than looking it up, and callers send the same few dozen spellings. Bounded. */
const MEMO_MAX = 2_000;

/** `read`, remembered by name. Null is not: there are too many things that are no names. */
export const rememberedByName = <T>(read: (name: string) => T | null): ((name: string) => T | null) => {
  const memo = new Map<string, T>();
  return (name) => {
    const remembered = memo.get(name);
    if (remembered !== undefined) return remembered;
    const value = read(name);
    if (value !== null && memo.size < MEMO_MAX && name.length <= 64) memo.set(name, value);
    return value;
  };
};

/** Null when `name` is not a field name (RFC 9110 §5.1). */
export const fieldName = rememberedByName((name: string): FieldName | null => {
  if (!TOKEN.test(name)) return null;
  const lower = name.toLowerCase();
  return { lower, known: KNOWN.get(lower) ?? null };
});

/**
 * Reads the head of an HTTP/1.x request, pure and strict (RFC 9112): whatever two parsers could read differently is
 * refused, never repaired. Ours instead of llhttp because node exposes that only inside node:http, which costs twice
 * what the rest of the hop does (bench/hop).
 */
import { fieldName } from "./field-name.ts";
import type { KnownFields } from "./field-name.ts";

export interface RequestHead {
  readonly method: string;
  readonly target: string;
  /** Names and values alternating, as sent. */
  readonly fields: readonly string[];
  readonly known: KnownFields;
  /** Null: chunked. */
  readonly bodyLength: number | null;
  /** The connection may carry another request after this one. */
  readonly keepAlive: boolean;
  /** HTTP/1.1: the caller understands chunks and 100 Continue. */
  readonly isModern: boolean;
  readonly expectsContinue: boolean;
}

export type HeadRefusal =
  | { readonly kind: "malformed"; readonly reason: string }
  | { readonly kind: "method"; readonly method: string }
  | { readonly kind: "expectation" }
  | { readonly kind: "version" };

export interface HeadLimits {
  readonly bytes: number;
  readonly fields: number;
}
/** What a caller may send. */
export const CALLER_LIMITS: HeadLimits = { bytes: 128 * 1024, fields: 256 };
/** What an instance reads: the gateway's own fields come on top. */
export const INSTANCE_LIMITS: HeadLimits = { bytes: 136 * 1024, fields: 272 };
/** Each field it names has to be looked for: without a bound the costliest thing a caller can send (bench/amplification). */
const CONNECTION_LENGTH_MAX = 1024;
const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
const REQUEST_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}) ([\x21-\xff]+) (HTTP\/\d\.\d)$/;
/** RFC 9110 §7.2, without the comma no host has: a repeated field, which is joined with one, is never a host. */
const HOST = /^(?:[A-Za-z0-9\-._~!$&'()*+;=%]*|\[[A-Za-z0-9:.]+\])(?::\d{0,5})?$/;
const LENGTH = /^(?:0|[1-9]\d{0,14})$/;

const malformed = (reason: string): HeadRefusal => ({ kind: "malformed", reason });

/**
 * True when the bytes may be a head: no control character but tab, no CR without LF and no LF without CR. A CR at the
 * very end passes: its LF may still come. By bytes: a regular expression over the text takes twice as long.
 */
export const isClean = (data: Buffer, from: number, end: number): boolean => {
  for (let i = from; i < end; i += 1) {
    const byte = data[i] ?? 0;
    if (byte >= 32 ? byte === 127 : byte !== 9) {
      if (byte !== 13 || (i + 1 < end && data[i + 1] !== 10)) return false;
      i += 1;
    }
  }
  return true;
};

const join = (known: KnownFields, field: keyof KnownFields, value: string): void => {
  const before = known[field];
  known[field] = before === undefined ? value : `${before}, ${value}`;
};

/** Without the spaces and tabs around it; not String.trim, which also takes bytes that are part of UTF-8 letters. */
export const trimmed = (text: string, from: number, to: number): string => {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
};
const isBlank = (code: number): boolean => code === 32 || code === 9;

export const NOT_CLEAN = malformed("The header has a control character, a bare CR or a bare LF.");

/** Reads a head; `headEnd` is where its empty line's CRLFCRLF starts. */
export const readHead = (
  data: Buffer,
  from: number,
  headEnd: number,
  fieldsMax: number,
): RequestHead | HeadRefusal => {
  // With the CRLF behind the last line: a CR before that one is a bare one.
  if (!isClean(data, from, headEnd + 2)) return NOT_CLEAN;
  const text = data.toString("latin1", from, headEnd);
  let end = text.indexOf("\r\n");
  if (end < 0) end = text.length;
  const first = text.slice(0, end);
  const line = REQUEST_LINE.exec(first);
  const method = line?.[1];
  const target = line?.[2];
  const version = line?.[3];
  if (method === undefined || target === undefined || version === undefined) {
    return malformed("The request line must be METHOD, target and HTTP/1.1, with one space between them.");
  }
  if (version !== "HTTP/1.1" && version !== "HTTP/1.0") return { kind: "version" };
  const isModern = version === "HTTP/1.1";
  const fields: string[] = [];
  const known: KnownFields = {};
  let at = end + 2;
  while (at < text.length) {
    end = text.indexOf("\r\n", at);
    if (end < 0) end = text.length;
    const colon = text.indexOf(":", at);
    if (colon < 0 || colon >= end) return malformed("A header line has no colon.");
    const name = text.slice(at, colon);
    const field = fieldName(name);
    // Also a folded line, which starts with white space, and white space before the colon.
    if (field === null) return malformed("A header line does not start with a field name and a colon.");
    const value = trimmed(text, colon + 1, end);
    fields.push(name, value);
    if (field.known !== null) {
      if (known[field.known] === undefined) known[field.known] = value;
      else join(known, field.known, value);
    }
    at = end + 2;
  }
  if (fields.length > fieldsMax * 2) return malformed(`There are more than ${fieldsMax} header fields.`);
  return checkFraming({ method, target, fields, known, isModern });
};

/** What a head says of its body, host and connection, the same for every version of HTTP. */
export const checkFraming = (
  head: Pick<RequestHead, "method" | "target" | "fields" | "known" | "isModern">,
): RequestHead | HeadRefusal => {
  const { known, isModern, method } = head;
  const { host, contentLength, transferEncoding, connection, expect } = known;
  if ((host === undefined && isModern) || (host !== undefined && !HOST.test(host))) {
    return malformed("There must be exactly one Host field, with a host and perhaps a port.");
  }
  if (connection !== undefined && connection.length > CONNECTION_LENGTH_MAX) {
    return malformed(`The Connection field is longer than ${CONNECTION_LENGTH_MAX} characters.`);
  }
  let bodyLength: number | null = 0;
  if (transferEncoding !== undefined) {
    if (contentLength !== undefined) {
      return malformed("Content-Length and Transfer-Encoding must not come together.");
    }
    if (!isModern || transferEncoding.toLowerCase() !== "chunked") {
      return malformed("The only transfer coding supported is chunked, in HTTP/1.1.");
    }
    bodyLength = null;
  } else if (contentLength !== undefined) {
    // A repeated field was joined with a comma, which is no digit.
    if (!LENGTH.test(contentLength)) return malformed("Content-Length must be one whole number.");
    bodyLength = Number(contentLength);
  }
  if (!METHODS.has(method)) return { kind: "method", method };
  const expectsContinue = isModern && expect?.toLowerCase() === "100-continue";
  if (isModern && expect !== undefined && !expectsContinue) return { kind: "expectation" };
  let keepAlive = isModern;
  if (connection !== undefined && connection !== "keep-alive") {
    const options = connection.toLowerCase().split(",");
    if (options.some((option) => option.trim() === "close")) keepAlive = false;
    else if (!isModern) keepAlive = options.some((option) => option.trim() === "keep-alive");
  } else if (connection === "keep-alive") keepAlive = true;
  return { ...head, bodyLength, keepAlive, expectsContinue: expectsContinue && bodyLength !== 0 };
};

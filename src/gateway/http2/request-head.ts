/**
 * Turns the header block of an HTTP/2 request into the head that HTTP/1.1 gives, pure: one set of rules judges both,
 * and what goes on to an instance is the same. nghttp2 has refused before what RFC 9113 §8 calls malformed: connection
 * fields, upper-case names, missing or repeated pseudo-fields, a body of another length than told.
 */
import { fieldName } from "../../http/field-name.ts";
import type { KnownFields } from "../../http/field-name.ts";
import type { DoorRefusal } from "../../http/caller-connection.ts";
import { CALLER_LIMITS, checkFraming } from "../../http/request-head.ts";
import type { HeadRefusal, RequestHead } from "../../http/request-head.ts";

const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const malformed = (reason: string): HeadRefusal => ({ kind: "malformed", reason });

/** `raw`: names and values alternating, pseudo-fields first. `isEnded`: no body follows. */
export const readHttp2Head = (raw: readonly string[], isEnded: boolean): RequestHead | DoorRefusal => {
  const fields: string[] = [];
  const known: KnownFields = {};
  let method = "";
  let target = "";
  let authority: string | undefined;
  let cookies = "";
  let size = 0;
  const add = (name: string, value: string): boolean => {
    const field = fieldName(name);
    if (field === null) return false;
    fields.push(name, value);
    if (field.known !== null) {
      const before = known[field.known];
      known[field.known] = before === undefined ? value : `${before}, ${value}`;
    }
    return true;
  };
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const [name = "", value = ""] = [raw[i], raw[i + 1]];
    // As the limit that callers are told is counted (RFC 9113 §6.5.2).
    size += name.length + value.length + 32;
    if (size > CALLER_LIMITS.bytes) return { kind: "too-large" };
    if (!VALUE.test(value)) return malformed("A header field has a control character.");
    switch (name) {
      case ":method":
        method = value;
        break;
      case ":path":
        target = value;
        break;
      case ":authority":
        authority = value;
        break;
      case ":scheme":
        if (value !== "https") return malformed("The scheme must be https.");
        break;
      case "cookie":
        // Sent in pieces for the sake of compression; one field again (RFC 9113 §8.2.3).
        cookies += cookies === "" ? value : `; ${value}`;
        break;
      default:
        if (!add(name, value)) return malformed("A header field has a name that is none.");
    }
  }
  if (cookies !== "") add("cookie", cookies);
  if (authority !== undefined) {
    if (known.host === undefined) add("host", authority);
    else if (known.host !== authority) return malformed("Host and :authority must be the same.");
  }
  const head = checkFraming({ method, target, fields, known, isModern: true });
  if ("kind" in head || head.bodyLength === null || isEnded) return head;
  return known.contentLength === undefined
    ? { ...head, bodyLength: null, expectsContinue: known.expect !== undefined }
    : head;
};

/** The fields of an answer from header lines, names in lower case as HTTP/2 wants them. */
export const answerFields = (lines: string): string[] => {
  const fields: string[] = [];
  let at = 0;
  while (at < lines.length) {
    const colon = lines.indexOf(": ", at);
    const end = lines.indexOf("\r\n", at);
    fields.push(lines.slice(at, colon).toLowerCase(), lines.slice(colon + 2, end));
    at = end + 2;
  }
  return fields;
};

/**
 * `multipart/form-data` cut into its parts (RFC 7578, RFC 2046 §5.1). Strict: what two parsers could read differently is
 * refused with a reason. Pure; parts are views of the body, nothing is copied.
 */
import type { Part } from "./protocol.ts";

export type Multipart =
  | { readonly ok: true; readonly parts: readonly Part[]; readonly contents: readonly Buffer[] }
  | { readonly ok: false; readonly reason: string };

const PARTS_MAX = 500;
/** All heads of a request together: their names, twice as long where JSON escapes them, travel in a frame's header of
 * at most 128 KB. */
const NAMES_BYTES_MAX = 40 * 1024;
const HEAD_BYTES_MAX = 16 * 1024;
const CRLF = "\r\n";

class Malformed extends Error {}

/** The boundary of a content type; null when it is not multipart/form-data at all. */
const boundaryOf = (contentType: string): string | null => {
  if (!/^multipart\/form-data\s*(?:;|$)/i.test(contentType.trim())) return null;
  const boundary = parameters(contentType.trim().slice("multipart/form-data".length)).get("boundary") ?? "";
  if (!/^[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]$/.test(boundary))
    throw new Malformed("the content type names no usable boundary");
  return boundary;
};

const PARAMETER = /\s*;?\s*([!#$%&'*+\-.^_`|~\w]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s";]*))\s*/y;

/** `a=b; c="d"` by lower-case names; a name that comes twice is refused. */
const parameters = (text: string): Map<string, string> => {
  const found = new Map<string, string>();
  PARAMETER.lastIndex = 0;
  while (PARAMETER.lastIndex < text.length) {
    const at = PARAMETER.lastIndex;
    const match = PARAMETER.exec(text);
    if (match === null)
      throw new Malformed(`${JSON.stringify(text.slice(at, at + 40))} is no list of parameters`);
    const name = (match[1] ?? "").toLowerCase();
    if (found.has(name)) throw new Malformed(`the parameter ${name} comes twice`);
    // Browsers send a backslash of a file name as it is; only a quotation mark is ever escaped with one.
    found.set(name, match[2]?.replaceAll('\\"', '"') ?? match[3] ?? "");
  }
  return found;
};

/** RFC 5987: `UTF-8''na%C3%AFve.png`. */
const extended = (value: string): string => {
  const encoded = /^utf-8'[^']*'(.*)$/i.exec(value)?.[1];
  try {
    if (encoded !== undefined) return decodeURIComponent(encoded);
  } catch {
    // Not percent-encoded UTF-8: refused below.
  }
  throw new Malformed("filename* is not UTF-8 in percent encoding");
};

const describePart = (head: string, size: number): Part => {
  const fields = new Map<string, string>();
  for (const line of head.split(CRLF)) {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon)).toLowerCase();
    if (!/^[!#$%&'*+\-.^_`|~\w]+$/.test(name)) throw new Malformed("a part has a header line without a name");
    if (fields.has(name)) throw new Malformed(`a part has two headers ${name}`);
    fields.set(name, line.slice(colon + 1).trim());
  }
  const disposition = fields.get("content-disposition") ?? "";
  if (!/^form-data\s*(?:;|$)/i.test(disposition))
    throw new Malformed("a part has no Content-Disposition: form-data");
  const given = parameters(disposition.slice("form-data".length));
  const name = given.get("name");
  if (name === undefined) throw new Malformed("a part has no name");
  const encoding = fields.get("content-transfer-encoding")?.toLowerCase() ?? "binary";
  if (!["7bit", "8bit", "binary"].includes(encoding))
    throw new Malformed(`a part has the transfer encoding ${encoding}, which forms do not have`);
  const star = given.get("filename*");
  const filename = star === undefined ? given.get("filename") : extended(star);
  const contentType = fields.get("content-type");
  return {
    name,
    size,
    ...(filename === undefined ? {} : { filename }),
    ...(contentType === undefined ? {} : { contentType }),
  };
};

const parse = (boundary: string, body: Buffer): Multipart => {
  const delimiter = Buffer.from(`${CRLF}--${boundary}`, "latin1");
  const opening = delimiter.subarray(2);
  // What stands before the first delimiter and after the last says nothing (RFC 2046).
  let at: number;
  if (body.subarray(0, opening.length).equals(opening)) at = opening.length;
  else {
    const first = body.indexOf(delimiter);
    if (first < 0) throw new Malformed("the boundary of the content type does not occur in the body");
    at = first + delimiter.length;
  }
  const parts: Part[] = [];
  const contents: Buffer[] = [];
  let names = 0;
  for (;;) {
    if (body[at] === 0x2d && body[at + 1] === 0x2d) return { ok: true, parts, contents };
    while (body[at] === 0x20 || body[at] === 0x09) at += 1;
    if (body[at] !== 0x0d || body[at + 1] !== 0x0a)
      throw new Malformed("a boundary is followed by other bytes");
    // From the line end of the boundary, so that a part without any header has its empty line as well.
    const headEnd = body.indexOf("\r\n\r\n", at, "latin1");
    if (headEnd < 0) throw new Malformed("a part's header does not end");
    if (headEnd - at > HEAD_BYTES_MAX)
      throw new Malformed(`a part's header has more than ${HEAD_BYTES_MAX} bytes`);
    const start = headEnd + 4;
    const end = body.indexOf(delimiter, start - 2);
    if (end < 0) throw new Malformed("the last boundary is missing: the body was cut off");
    const content = body.subarray(start, Math.max(start, end));
    const head = body.toString("utf8", Math.min(at + 2, headEnd), headEnd);
    // Six times as long in JSON, and no client sends them: browsers put them in percent encoding.
    if (/[^\P{Cc}\t\r\n]/u.test(head)) throw new Malformed("a part's header holds control characters");
    names += headEnd - at;
    if (names > NAMES_BYTES_MAX)
      throw new Malformed(`the parts' headers have more than ${NAMES_BYTES_MAX} bytes`);
    if (parts.length === PARTS_MAX) throw new Malformed(`the form has more than ${PARTS_MAX} parts`);
    parts.push(describePart(head, content.length));
    contents.push(content);
    at = end + delimiter.length;
  }
};

/** The parts of a form in the order they came; null for another content type. */
export const readMultipart = (contentType: string, body: Buffer): Multipart | null => {
  try {
    const boundary = boundaryOf(contentType);
    return boundary === null ? null : parse(boundary, body);
  } catch (error) {
    if (error instanceof Malformed) return { ok: false, reason: error.message };
    throw error;
  }
};

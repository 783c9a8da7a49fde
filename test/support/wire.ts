/**
 * HTTP/1.1 as it is on the wire, read twice: once as strictly as RFC 9112 allows and once as carelessly as the most
 * forgiving servers do. Bytes that both read alike cannot be used to make two parsers disagree. Knows nothing of the
 * gateway's own parsers: it judges them. Whole texts in latin1, not streams.
 */
export type Reading = "strict" | "lenient";
export type Field = readonly [name: string, value: string];

export interface Message {
  /** Request line or status line. */
  readonly start: string;
  readonly fields: readonly Field[];
  readonly framing: "none" | "length" | "chunked" | "to-close";
  readonly body: string;
  readonly trailers: readonly string[];
}

export interface Messages {
  readonly messages: readonly Message[];
  /** What is left behind the last whole message: empty, the beginning of one, or what cannot be read. */
  readonly rest: string;
  /** Why the rest cannot be the beginning of a message; null when it can. */
  readonly problem: string | null;
}

class Unreadable extends Error {}
/** Not a whole message yet. */
class Short extends Error {}

const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";
const REQUEST_LINE = new RegExp(`^${TOKEN} [\\x21-\\x7e\\x80-\\xff]+ HTTP/1\\.[01]$`);
const STATUS_LINE = /^HTTP\/1\.[01] ([1-5]\d\d) [\t\x20-\x7e\x80-\xff]*$/;
const FIELD = new RegExp(`^(${TOKEN}):([\\t\\x20-\\x7e\\x80-\\xff]*)$`);
const CHUNK = /^([0-9a-fA-F]{1,16})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?$/;
const BREAKS = /\r\n|\r|\n/g;

/** Without the spaces and tabs around it, in linear time. */
const withoutBlanks = (text: string): string => {
  let from = 0;
  let to = text.length;
  while (from < to && (text[from] === " " || text[from] === "\t")) from += 1;
  while (to > from && (text[to - 1] === " " || text[to - 1] === "\t")) to -= 1;
  return text.slice(from, to);
};

interface Line {
  readonly text: string;
  readonly next: number;
}

const strictLine = (text: string, at: number): Line => {
  const end = text.indexOf("\r\n", at);
  const line = text.slice(at, end < 0 ? undefined : end);
  if (/[\r\n]/.test(end < 0 && line.endsWith("\r") ? line.slice(0, -1) : line)) {
    throw new Unreadable("a bare CR or LF");
  }
  if (end < 0) throw new Short();
  return { text: line, next: end + 2 };
};

const lenientLine = (text: string, at: number): Line => {
  BREAKS.lastIndex = at;
  const found = BREAKS.exec(text);
  if (found === null) throw new Short();
  return { text: text.slice(at, found.index), next: found.index + found[0].length };
};

interface Head {
  readonly start: string;
  readonly fields: readonly Field[];
  readonly next: number;
}

const strictHead = (text: string, from: number, startLine: RegExp): Head => {
  let line = strictLine(text, from);
  const start = line.text;
  if (!startLine.test(start)) throw new Unreadable("a bad start line");
  const fields: Field[] = [];
  for (;;) {
    line = strictLine(text, line.next);
    if (line.text === "") return { start, fields, next: line.next };
    const field = FIELD.exec(line.text);
    if (field === null) throw new Unreadable("a bad field line");
    fields.push([field[1] ?? "", withoutBlanks(field[2] ?? "")]);
  }
};

const lenientHead = (text: string, from: number): Head => {
  let line = lenientLine(text, from);
  const start = line.text;
  const fields: [string, string][] = [];
  for (;;) {
    line = lenientLine(text, line.next);
    if (line.text === "") return { start, fields, next: line.next };
    const last = fields.at(-1);
    if (/^[\t ]/.test(line.text) && last !== undefined) {
      last[1] = `${last[1]} ${line.text.trim()}`.trim();
      continue;
    }
    const colon = line.text.indexOf(":");
    // A careless server ignores what it cannot read, drops white space and takes `_` for `-`.
    if (colon > 0)
      fields.push([line.text.slice(0, colon).trim().replaceAll("_", "-"), line.text.slice(colon + 1).trim()]);
  }
};

const valuesOf = (fields: readonly Field[], name: string): string[] =>
  fields.filter(([given]) => given.toLowerCase() === name).map(([, value]) => value);

interface Framing {
  readonly framing: Message["framing"];
  readonly length: number;
}

const NONE: Framing = { framing: "none", length: 0 };

const strictFraming = (fields: readonly Field[], unframed: Framing): Framing => {
  const codings = valuesOf(fields, "transfer-encoding");
  const lengths = valuesOf(fields, "content-length");
  if (codings.length > 0) {
    if (lengths.length > 0) throw new Unreadable("both framings");
    if (codings.length > 1 || codings[0]?.toLowerCase() !== "chunked")
      throw new Unreadable("an unknown coding");
    return { framing: "chunked", length: 0 };
  }
  if (lengths.length === 0) return unframed;
  if (lengths.length > 1 || !/^\d{1,15}$/.test(lengths[0] ?? "")) throw new Unreadable("a bad length");
  return { framing: "length", length: Number(lengths[0]) };
};

const lenientFraming = (fields: readonly Field[], unframed: Framing): Framing => {
  if (valuesOf(fields, "transfer-encoding").some((value) => /chunked/i.test(value))) {
    return { framing: "chunked", length: 0 };
  }
  const length = valuesOf(fields, "content-length").at(-1);
  if (length === undefined) return unframed;
  return { framing: "length", length: Math.max(0, Number.parseInt(length, 10) || 0) };
};

interface Body {
  readonly body: string;
  readonly trailers: readonly string[];
  readonly next: number;
}

const chunkedBody = (text: string, from: number, reading: Reading): Body => {
  const readLine = reading === "strict" ? strictLine : lenientLine;
  let body = "";
  let at = from;
  for (;;) {
    const line = readLine(text, at);
    const digits = reading === "strict" ? CHUNK.exec(line.text)?.[1] : line.text.trim();
    if (digits === undefined) throw new Unreadable("a bad chunk size");
    const size = Math.max(0, Number.parseInt(digits, 16) || 0);
    at = line.next;
    if (size === 0) break;
    if (at + size > text.length) throw new Short();
    body += text.slice(at, at + size);
    const end = readLine(text, at + size);
    if (reading === "strict" && end.text !== "") throw new Unreadable("a chunk longer than its size");
    at = end.next;
  }
  const trailers: string[] = [];
  for (;;) {
    const line = readLine(text, at);
    at = line.next;
    if (line.text === "") return { body, trailers, next: at };
    if (reading === "strict" && !FIELD.test(line.text)) throw new Unreadable("a bad trailer");
    trailers.push(line.text);
  }
};

const bodyOf = (text: string, head: Head, framing: Framing, reading: Reading): Body => {
  switch (framing.framing) {
    case "none":
      return { body: "", trailers: [], next: head.next };
    case "to-close":
      return { body: text.slice(head.next), trailers: [], next: text.length };
    case "length":
      if (head.next + framing.length > text.length) throw new Short();
      return {
        body: text.slice(head.next, head.next + framing.length),
        trailers: [],
        next: head.next + framing.length,
      };
    case "chunked":
      return chunkedBody(text, head.next, reading);
  }
};

const readAll = (
  text: string,
  reading: Reading,
  startLine: RegExp,
  unframedOf: (head: Head) => Framing | null,
  skipsEmptyLines: boolean,
): Messages => {
  const messages: Message[] = [];
  let at = 0;
  const over = (problem: string | null): Messages => ({ messages, rest: text.slice(at), problem });
  try {
    while (at < text.length) {
      // RFC 9112 §2.2: empty lines before a request line are to be ignored.
      while (skipsEmptyLines && text.startsWith("\r\n", at)) at += 2;
      while (skipsEmptyLines && reading === "lenient" && /[\r\n]/.test(text[at] ?? "")) at += 1;
      if (at === text.length) break;
      const head = reading === "strict" ? strictHead(text, at, startLine) : lenientHead(text, at);
      const unframed = unframedOf(head);
      const framing =
        unframed === null
          ? NONE
          : reading === "strict"
            ? strictFraming(head.fields, unframed)
            : lenientFraming(head.fields, unframed);
      const { body, trailers, next } = bodyOf(text, head, framing, reading);
      messages.push({ start: head.start, fields: head.fields, framing: framing.framing, body, trailers });
      at = next;
    }
  } catch (error) {
    if (error instanceof Short) return over(null);
    if (error instanceof Unreadable) return over(error.message);
    throw error;
  }
  return over(null);
};

/** The requests in what a caller sent or an instance got. */
export const readRequests = (text: string, reading: Reading): Messages =>
  readAll(text, reading, REQUEST_LINE, () => NONE, true);

/**
 * The answers in what a caller got, interim ones included. `isHead` says of the n-th final answer whether it is one to
 * HEAD; `hasEnded` whether the connection is over, which completes an answer without framing.
 */
export const readAnswers = (
  text: string,
  reading: Reading,
  more: { readonly isHead?: (n: number) => boolean; readonly hasEnded?: boolean } = {},
): Messages => {
  let finals = 0;
  const unframedOf = (head: Head): Framing | null => {
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head.start)?.[1] ?? 0);
    if (status >= 100 && status < 200) return null;
    const isHead = more.isHead?.(finals) ?? false;
    finals += 1;
    if (isHead || status === 204 || status === 304) return null;
    return { framing: "to-close", length: 0 };
  };
  const read = readAll(text, reading, STATUS_LINE, unframedOf, false);
  const last = read.messages.at(-1);
  if (more.hasEnded === true || last?.framing !== "to-close") return read;
  return { ...read, messages: read.messages.slice(0, -1), rest: last.body };
};

/** The value of a field that must be there at most once; undefined when it is not. */
export const fieldOf = (message: Message, name: string): string | undefined =>
  valuesOf(message.fields, name.toLowerCase())[0];

export const statusOf = (message: Message): number => Number(message.start.slice(9, 12));

/** What two readings of the same bytes disagree about, in words; null when they agree. */
export const disagreement = (strict: Messages, lenient: Messages): string | null => {
  if (strict.problem !== null) return `not strictly readable: ${strict.problem}`;
  if (strict.messages.length !== lenient.messages.length) {
    return `${strict.messages.length} messages or ${lenient.messages.length}`;
  }
  for (const [n, one] of strict.messages.entries()) {
    const other = lenient.messages[n];
    if (other === undefined) continue;
    if (one.start !== other.start) return `message ${n} starts ${one.start} or ${other.start}`;
    if (one.framing !== other.framing) return `message ${n} is framed by ${one.framing} or ${other.framing}`;
    if (one.body !== other.body) return `message ${n} has two bodies`;
    const names = one.fields.map(([name]) => name.replaceAll("_", "-"));
    if (names.join() !== other.fields.map(([name]) => name).join()) return `message ${n} has other fields`;
  }
  return null;
};

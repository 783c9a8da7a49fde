/**
 * Random requests and answers, mutated: in what they say (lengths, codings, chunks, fields) and in their bytes (near the
 * delimiters above all), joined, cut into pieces. Everything follows from a seed and the number of the case.
 */
import { randomOf } from "./random.ts";
import type { Random } from "./random.ts";

/** What a case is made for: the path of its service, a good token, and names that tell its requests apart. */
export interface Aim {
  readonly url: string;
  readonly token: string;
}

export interface Case {
  /** latin1. */
  readonly text: string;
  /** The same text in the writes it is sent in. */
  readonly pieces: readonly string[];
}

interface Parts {
  start: string;
  fields: string[];
  body: string;
}

const SPECIALS = [
  "\r",
  "\n",
  "\0",
  " ",
  "\t",
  ":",
  "\r\n",
  "\x0b",
  "\x7f",
  "\x80",
  ",",
  ";",
  "\r\n\r\n",
  "\n\n",
] as const;
const HARMLESS = [
  "Content-Type: application/json",
  "Accept: */*",
  "User-Agent: fuzz/1",
  'X-Note: "a, b"',
  "Connection: keep-alive",
  "Connection: X-Note",
  "Keep-Alive: timeout=5",
  "Cookie: a=1; b=2",
  "Expect: 100-continue",
  "X-Request-Id: fuzz-1",
  "TE: trailers",
  "Upgrade: h2c",
] as const;
const CODINGS = [
  "Transfer-Encoding: chunked",
  "Transfer-Encoding: Chunked",
  "Transfer-Encoding:\tchunked",
  "Transfer-Encoding : chunked",
  "Transfer-Encoding: xchunked",
  "Transfer-Encoding: chunked, identity",
  "Transfer-Encoding: gzip, chunked",
  "Transfer-Encoding: chunked, chunked",
  "Transfer-Encoding: \x0bchunked",
  "Transfer_Encoding: chunked",
  "Transfer-Encoding: identity",
  "Transfer-Encoding:\r\n chunked",
  "X-A: 1\nTransfer-Encoding: chunked",
  "X-A: 1\rTransfer-Encoding: chunked",
] as const;
const VERSIONS = [
  "HTTP/1.0",
  "HTTP/1.2",
  "HTTP/2.0",
  "HTTP/0.9",
  "http/1.1",
  "HTTP/1.1 ",
  " HTTP/1.1",
  "HTTP/11",
  "RTSP/1.0",
] as const;
const SIZES = [
  "-1",
  "+3",
  "0x3",
  " 3",
  "3 ",
  "3;a=b",
  '3;a="\r\n"',
  "3;a\n",
  "ffffffffffffffff",
  "10000000000000003",
  "",
  "g",
  "3\r",
  "00000000000000000003",
  "3;",
] as const;
const METHODS = ["GET", "POST", "POST", "POST", "PUT", "HEAD", "OPTIONS", "DELETE"] as const;

const chunksOf = (random: Random, body: string): string => {
  let text = "";
  let at = 0;
  while (at < body.length) {
    const size = 1 + random.int(Math.min(40, body.length - at));
    const extension = random.chance(10) ? ";a=b" : "";
    text += `${size.toString(16)}${extension}\r\n${body.slice(at, at + size)}\r\n`;
    at += size;
  }
  return `${text}0\r\n${random.chance(15) ? "X-Trailer: 1\r\n" : ""}\r\n`;
};

/** A request nobody sends: it only ever stands inside a body. */
const hidden = (aim: Aim): string =>
  `POST ${aim.url}/hidden HTTP/1.1\r\nHost: h\r\nX-Auth-Token: ${aim.token}\r\nContent-Length: 0\r\n\r\n`;

const request = (random: Random, aim: Aim, n: number): Parts => {
  const method = random.pick(METHODS);
  const fields = ["Host: fuzz", `X-Auth-Token: ${aim.token}`];
  for (let more = random.int(4); more > 0; more -= 1) fields.push(random.pick(HARMLESS));
  const content = random.pick([
    "",
    "a",
    "abc",
    "abcdefghijklmnopqrstuvwxyz",
    hidden(aim),
    `0\r\n\r\n${hidden(aim)}`,
  ]);
  let body = "";
  if (method !== "GET" || random.chance(30)) {
    if (random.chance(50)) {
      fields.splice(random.int(fields.length + 1), 0, `Content-Length: ${content.length}`);
      body = content;
    } else {
      fields.splice(random.int(fields.length + 1), 0, "Transfer-Encoding: chunked");
      body = chunksOf(random, content);
    }
  }
  return { start: `${method} ${aim.url}/r${n} HTTP/1.1`, fields, body };
};

const written = (parts: Parts): string =>
  `${[parts.start, ...parts.fields].join("\r\n")}\r\n\r\n${parts.body}`;

type PartsMutation = (random: Random, parts: Parts) => void;
const someField = (random: Random, parts: Parts): number => random.int(Math.max(1, parts.fields.length));
const lengthAt = (parts: Parts): number => parts.fields.findIndex((field) => /^content-length/i.test(field));

const LENGTH_LIES = [
  "+N",
  "-N",
  "0xN",
  "N,",
  "N, N",
  "0N",
  "N ",
  " N",
  "N\t",
  "N.0",
  "NN",
  "",
  "N\x0b",
  '"N"',
  "1e1",
] as const;

const PARTS: readonly [PartsMutation, ...PartsMutation[]] = [
  (random, parts) =>
    parts.fields.splice(someField(random, parts), 0, parts.fields[someField(random, parts)] ?? ""),
  (random, parts) => parts.fields.splice(someField(random, parts), 1),
  (random, parts) => {
    const from = someField(random, parts);
    const [moved = ""] = parts.fields.splice(from, 1);
    parts.fields.splice(someField(random, parts), 0, moved);
  },
  (random, parts) => {
    const at = someField(random, parts);
    const field = parts.fields[at] ?? "";
    parts.fields[at] = random.chance(50) ? field.toUpperCase() : field.toLowerCase();
  },
  (random, parts) => {
    const at = someField(random, parts);
    parts.fields[at] = (parts.fields[at] ?? "").replace("-", "_");
  },
  (random, parts) => {
    const at = lengthAt(parts);
    if (at < 0) return void parts.fields.push(`Content-Length: ${random.int(40)}`);
    const told = Number(/\d+/.exec(parts.fields[at] ?? "")?.[0] ?? 0);
    parts.fields[at] = `Content-Length: ${Math.max(0, told + random.int(41) - 20)}`;
  },
  (random, parts) => {
    const at = lengthAt(parts);
    const told = /\d+/.exec(parts.fields[at] ?? "")?.[0] ?? "3";
    parts.fields[Math.max(at, 0)] = `Content-Length: ${random.pick(LENGTH_LIES).replaceAll("N", told)}`;
  },
  (random, parts) => parts.fields.splice(someField(random, parts), 0, `Content-Length: ${random.int(30)}`),
  (random, parts) => parts.fields.splice(someField(random, parts), 0, random.pick(CODINGS)),
  (random, parts) => {
    const at = parts.fields.findIndex((field) => /^transfer/i.test(field));
    if (at >= 0) parts.fields[at] = random.pick(CODINGS);
  },
  (random, parts) => {
    const lines = parts.body.split("\r\n");
    lines[random.int(lines.length)] = random.pick(SIZES);
    parts.body = lines.join("\r\n");
  },
  (random, parts) => {
    const lines = parts.body.split("\r\n");
    const at = random.int(lines.length);
    const size = Number.parseInt(lines[at] ?? "", 16);
    if (Number.isFinite(size)) lines[at] = Math.max(0, size + random.int(5) - 2).toString(16);
    parts.body = lines.join("\r\n");
  },
  (random, parts) => {
    parts.start = parts.start.replace(/HTTP\/1\.1$/, random.pick(VERSIONS));
  },
  (random, parts) => {
    const at = someField(random, parts);
    parts.fields[at] = (parts.fields[at] ?? "").replace(
      ": ",
      random.pick([":", " : ", ":\t", "\t: ", ":\r\n ", ":  "]),
    );
  },
  (random, parts) =>
    parts.fields.push(`X-Long: ${"a".repeat(1 + random.int(random.chance(5) ? 150_000 : 3_000))}`),
  (random, parts) => {
    const many = random.int(random.chance(5) ? 3_000 : 150);
    for (let n = 0; n < many; n += 1) parts.fields.push(`X-${n}: 1`);
  },
  (random, parts) => {
    const odd = random.pick(["/..", "/%2e%2e", "//", "/%00", "\\", "#a", "?", "%", "/\x80", "/;/.", " "]);
    parts.start = parts.start.replace(" HTTP", `${odd} HTTP`);
  },
];

const DELIMITERS = /[\r\n: ,;]|\d+\r/g;
/** Mostly somewhere near a delimiter: that is where parsers decide. */
const somewhere = (random: Random, text: string): number => {
  if (text === "" || random.chance(25)) return random.int(text.length + 1);
  const places = [...text.matchAll(DELIMITERS)].map((found) => found.index);
  return (places[random.int(Math.max(1, places.length))] ?? 0) + random.int(3);
};

type TextMutation = (random: Random, text: string) => string;
const splice = (text: string, at: number, remove: number, insert: string): string =>
  text.slice(0, at) + insert + text.slice(at + remove);

const TEXT: readonly [TextMutation, ...TextMutation[]] = [
  (random, text) => {
    const at = Math.min(somewhere(random, text), Math.max(0, text.length - 1));
    return splice(text, at, 1, String.fromCharCode((text.charCodeAt(at) || 0) ^ (1 << random.int(8))));
  },
  (random, text) => splice(text, somewhere(random, text), 0, random.pick(SPECIALS)),
  (random, text) => splice(text, somewhere(random, text), 0, random.pick(SPECIALS)),
  (random, text) => splice(text, somewhere(random, text), 1, ""),
  (random, text) => splice(text, somewhere(random, text), 1, random.pick(SPECIALS)),
  (random, text) => {
    const from = somewhere(random, text);
    return splice(text, somewhere(random, text), 0, text.slice(from, from + random.int(60)));
  },
  (random, text) => splice(text, somewhere(random, text), random.int(60), ""),
  (random, text) => text.slice(0, somewhere(random, text)),
  (random, text) => {
    const ends = [...text.matchAll(/\r\n/g)].map((found) => found.index);
    return splice(
      text,
      ends[random.int(Math.max(1, ends.length))] ?? 0,
      2,
      random.pick(["\n", "\r", "\r\r\n", "\n\r", "\r\n\r\n"]),
    );
  },
  (random, text) => text.slice(0, somewhere(random, text)) + text.slice(somewhere(random, text)),
];

const cutUp = (random: Random, text: string): string[] => {
  if (random.chance(60) || text.length < 2) return [text];
  if (random.chance(3) && text.length < 600) return text.split("");
  const cuts = Array.from({ length: 1 + random.int(4) }, () => 1 + random.int(text.length - 1)).toSorted(
    (a, b) => a - b,
  );
  return [0, ...cuts]
    .map((from, n) => text.slice(from, cuts[n] ?? text.length))
    .filter((piece) => piece !== "");
};

const finish = (random: Random, text: string): Case => ({ text, pieces: cutUp(random, text) });

/** One to three requests, some mutated. */
export const requestCase = (seed: number, index: number, aim: Aim): Case => {
  const random = randomOf(seed, index);
  const all = Array.from({ length: random.pick([1, 1, 2, 2, 3]) }, (_, n) => request(random, aim, n));
  // Heads that repeat byte for byte, or nearly: the gateway remembers the last one.
  const [first] = all;
  if (first !== undefined && random.chance(25)) {
    all.splice(1, 2, ...all.slice(1).map(() => ({ ...first, fields: [...first.fields] })));
  }
  const target = all[random.int(all.length)];
  if (target !== undefined) {
    for (let n = random.int(3); n > 0; n -= 1) random.pick(PARTS)(random, target);
  }
  let text = all.map(written).join("");
  for (let n = random.int(3); n > 0; n -= 1) text = random.pick(TEXT)(random, text);
  return finish(random, text);
};

const ANSWER_FIELDS = [
  "Content-Type: text/plain",
  "Set-Cookie: a=1",
  "Connection: keep-alive",
  "Connection: close",
  "Keep-Alive: timeout=5",
  "Upgrade: h2c",
  "X-Request-Id: other",
] as const;
const INTERIM = [
  "HTTP/1.1 100 Continue\r\n\r\n",
  "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
] as const;

/** An answer, mutated, with another one in its body that must never be taken for an answer. */
export const answerCase = (seed: number, index: number): Case & { readonly ends: boolean } => {
  const random = randomOf(seed, index);
  const content = random.pick([
    "",
    "ok",
    "abcdefghij",
    "HTTP/1.1 200 OK\r\nX-Echo: hidden\r\nContent-Length: 2\r\n\r\nno",
  ]);
  const fields: string[] = [];
  for (let more = random.int(3); more > 0; more -= 1) fields.push(random.pick(ANSWER_FIELDS));
  let body = content;
  const how = random.int(10);
  if (how < 5) fields.push(`Content-Length: ${content.length}`);
  else if (how < 9) {
    fields.push("Transfer-Encoding: chunked");
    body = chunksOf(random, content);
  }
  const parts: Parts = {
    start: `HTTP/1.1 ${random.pick([200, 200, 200, 404, 204, 304, 500])} OK`,
    fields,
    body,
  };
  for (let n = random.int(3); n > 0; n -= 1) random.pick(PARTS)(random, parts);
  let text = (random.chance(10) ? random.pick(INTERIM) : "") + written(parts);
  for (let n = random.int(3); n > 0; n -= 1) text = random.pick(TEXT)(random, text);
  return { ...finish(random, text), ends: random.chance(70) };
};

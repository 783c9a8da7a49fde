/** Odd requests, part 2: header fields, and the lines they stand on. */
import { get, GET, HEAD, passed, post, posted, refused, withFields } from "./row.ts";
import type { RequestRow } from "./row.ts";

const named = (code: number): string => `0x${code.toString(16).padStart(2, "0")}`;
/** Everything below space but tab, CR and LF, and DEL. */
const CONTROLS = [...Array.from({ length: 32 }, (_, code) => code), 127].filter(
  (code) => ![9, 10, 13].includes(code),
);

const LINES: readonly RequestRow[] = [
  {
    what: "LF alone behind the request line",
    send: get().replace("HTTP/1.1\r\n", "HTTP/1.1\n"),
    ...refused(),
  },
  { what: "LF alone behind a field", send: get("X-A: 1\n"), ...refused() },
  { what: "LF alone as the end of the header", send: `GET {url}/x HTTP/1.1\r\n${HEAD}\n`, ...refused() },
  { what: "LF alone everywhere", send: get().replaceAll("\r\n", "\n"), ...refused() },
  {
    what: "CR alone behind the request line",
    send: get().replace("HTTP/1.1\r\n", "HTTP/1.1\r"),
    ...refused(),
  },
  { what: "CR alone behind a field", send: get("X-A: 1\rX-B: 2\r\n"), ...refused() },
  {
    what: "CR alone as the end of the header",
    send: `GET {url}/x HTTP/1.1\r\n${HEAD}\r${get()}`,
    ...refused(),
  },
  { what: "CR CR LF behind a field", send: get("X-A: 1\r\r\nX-B: 1\r\n"), ...refused() },
  { what: "CR CR LF behind the last field", send: get("X-A: 1\r\r\n"), ...refused() },
  { what: "a line folded with a space", send: get("X-A: 1\r\n b\r\n"), ...refused() },
  { what: "a line folded with a tab", send: get("X-A: 1\r\n\tb\r\n"), ...refused() },
  { what: "a first field that begins with a space", send: get().replace("Host:", " Host:"), ...refused() },
  { what: "a line of white space alone", send: get("X-A: 1\r\n \r\n"), ...refused() },
  { what: "a space before the colon", send: get("X-A : 1\r\n"), ...refused() },
  { what: "a tab before the colon", send: get("X-A\t: 1\r\n"), ...refused() },
  { what: "a space inside a name", send: get("X A: 1\r\n"), ...refused() },
  { what: "an empty name", send: get(": 1\r\n"), ...refused() },
  { what: "a line without a colon", send: get("X-A\r\n"), ...refused() },
  { what: 'a name with a character of `()<>@,;\\"/[]?={}`', send: get("X(A: 1\r\n"), ...refused() },
  { what: "a name with a byte over 0x7f", send: get("X-\xc3\xa4: 1\r\n"), ...refused() },
  { what: "a CR in a name", send: get("X\r-A: 1\r\n"), ...refused() },
  ...CONTROLS.map((code): RequestRow => ({
    what: `the byte ${named(code)} in a value`,
    send: get(`X-A: 1${String.fromCharCode(code)}2\r\n`),
    ...refused(),
  })),
  ...[0, 8, 11, 127].map((code): RequestRow => ({
    what: `the byte ${named(code)} in a name`,
    send: get(`X${String.fromCharCode(code)}A: 1\r\n`),
    ...refused(),
  })),
  { what: "an empty value", send: get("X-A:\r\n"), ...passed(withFields("X-A: ")) },
  { what: "white space around a value", send: get("X-A: \t 1 2 \t \r\n"), ...passed(withFields("X-A: 1 2")) },
  { what: "a tab inside a value", send: get("X-A: 1\t2\r\n"), ...passed(withFields("X-A: 1\t2")) },
  { what: "UTF-8 in a value", send: get("X-A: \xc3\xa4\r\n"), ...passed(withFields("X-A: \xc3\xa4")) },
  {
    what: "bytes 0x80, 0x85, 0xff in a value",
    send: get("X-A: 1\x802\x853\xff4\r\n"),
    ...passed(withFields("X-A: 1\x802\x853\xff4")),
  },
  {
    what: "a CRLF inside quotes",
    send: get('X-A: "1\r\nX-B: 2"\r\n'),
    ...passed(withFields('X-A: "1', 'X-B: 2"')),
  },
  {
    what: "fields named `constructor` and `__proto__`",
    send: get("constructor: 1\r\n__proto__: 2\r\n"),
    ...passed(withFields("constructor: 1", "__proto__: 2")),
  },
  { what: "a repeated field", send: get("X-A: 1\r\nx-a: 2\r\n"), ...passed(withFields("X-A: 1", "x-a: 2")) },
  {
    what: "names of every token character",
    send: get("!#$%&'*+-.^`|~09AZaz: 1\r\n"),
    ...passed(withFields("!#$%&'*+-.^`|~09AZaz: 1")),
  },
];

const SIZES: readonly RequestRow[] = [
  {
    what: "a header of over 128 KB in one field",
    send: get(`X-A: ${"a".repeat(140_000)}\r\n`),
    ...refused(494),
  },
  {
    what: "a header of over 128 KB in 1,400 fields",
    send: get(Array.from({ length: 1_400 }, (_, n) => `X-${n}: ${"a".repeat(100)}\r\n`).join("")),
    ...refused(494),
  },
  { what: "a name of over 128 KB", send: get(`${"X".repeat(140_000)}: 1\r\n`), ...refused(494) },
  {
    what: "a field of 60 KB",
    send: get(`X-A: ${"a".repeat(60_000)}\r\n`),
    ...passed(withFields(`X-A: ${"a".repeat(60_000)}`)),
    shown: "`GET /x` with the field",
  },
  {
    what: "257 fields, `Host` and `X-Auth-Token` among them",
    send: get("X-A: 1\r\n".repeat(255)),
    ...refused(),
  },
  {
    what: "256 fields, `Host` and `X-Auth-Token` among them",
    send: get("X-A: 1\r\n".repeat(254)),
    ...passed(withFields(...Array.from({ length: 254 }, () => "X-A: 1"))),
    shown: "`GET /x` with the fields",
  },
  {
    what: "5,000 fields",
    send: get(Array.from({ length: 5_000 }, (_, n) => `X-${n}: 1\r\n`).join("")),
    ...refused(),
  },
];

const GATEWAYS_OWN: readonly RequestRow[] = [
  {
    what: "`X-Request-Id: caller-1`",
    send: get("X-Request-Id: caller-1\r\n"),
    ...passed(GET),
    shown: "`X-Request-Id: caller-1`",
  },
  {
    what: "`X-Request-Id` with a space in it",
    send: get("X-Request-Id: a b\r\n"),
    ...passed(GET),
    shown: "`GET /x`, an id of the gateway's",
  },
  {
    what: "`X-Request-Id` of 10,000 characters",
    send: get(`X-Request-Id: ${"a".repeat(10_000)}\r\n`),
    ...passed(GET),
    shown: "`GET /x`, an id of the gateway's",
  },
  {
    what: "`X-Request-Id` twice",
    send: get("X-Request-Id: a\r\nX-Request-Id: b\r\n"),
    ...passed(GET),
    shown: "`GET /x`, an id of the gateway's",
  },
  {
    what: "`X_Request_Id`, `X_Forwarded_For`, `x_auth_token` (underscores)",
    send: get("X_Request_Id: a\r\nX_Forwarded_For: 1.2.3.4\r\nx_auth_token: a\r\n"),
    ...passed(GET),
  },
  {
    what: "`X-Request-Deadline-Ms: 1`",
    send: get("X-Request-Deadline-Ms: 1\r\n"),
    ...passed(GET),
    shown: "`GET /x`, with the gateway's deadline",
  },
  { what: "`X-Auth-Token` twice", send: get("X-Auth-Token: {token}\r\n"), ...refused(401, "kept") },
  {
    what: "`X-Auth-Token` of 100 KB",
    send: get().replace("{token}", "a".repeat(100_000)),
    ...refused(401, "kept"),
  },
  {
    what: "no `X-Auth-Token`",
    send: "GET {url}/x HTTP/1.1\r\nHost: caller\r\n\r\n",
    ...refused(401, "kept"),
  },
  {
    what: "a `Cookie` twice",
    send: get("Cookie: a=1\r\nCookie: b=2\r\n"),
    ...passed(withFields("Cookie: a=1", "Cookie: b=2")),
  },
  {
    what: "`Authorization: Basic YTpi`",
    send: get("Authorization: Basic YTpi\r\n"),
    ...passed(withFields("Authorization: Basic YTpi")),
  },
];

const HOP_BY_HOP: readonly RequestRow[] = [
  { what: "`Connection: X-A` with `X-A`", send: get("X-A: 1\r\nConnection: X-A\r\n"), ...passed(GET) },
  {
    what: "`Connection: keep-alive, x-a ,X-B` with `X-A`, `X-B`, `X-C`",
    send: get("Connection: keep-alive, x-a ,X-B\r\nX-A: 1\r\nX-B: 1\r\nX-C: 1\r\n"),
    ...passed(withFields("X-C: 1")),
  },
  {
    what: "`Connection: X-A`, then `Connection: X-B`",
    send: get("Connection: X-A\r\nConnection: X-B\r\nX-A: 1\r\nX-B: 1\r\n"),
    ...passed(GET),
  },
  { what: "`Connection: Host`", send: get("Connection: Host\r\n"), ...passed(GET) },
  { what: "`Connection: X-Auth-Token`", send: get("Connection: X-Auth-Token\r\n"), ...passed(GET) },
  {
    what: "`Connection: X-Request-Id, X-Forwarded-For, X-Request-Deadline-Ms`",
    send: get("Connection: X-Request-Id, X-Forwarded-For, X-Request-Deadline-Ms\r\nX-Request-Id: a\r\n"),
    ...passed(GET),
    shown: "`GET /x`, with those fields of the gateway",
  },
  {
    what: "`Connection: Content-Length` with a body",
    send: post("Connection: Content-Length\r\nContent-Length: 3\r\n", "abc"),
    ...passed(posted("abc")),
  },
  {
    what: "`Connection: Transfer-Encoding` with a chunked body",
    send: post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
    ...passed(posted("abc")),
  },
  {
    what: "`Connection: Content-Type` with `Content-Type`",
    send: post("Connection: Content-Type\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n", "abc"),
    ...passed(posted("abc")),
  },
  {
    what: "`Connection:` of 500 names",
    send: get(`Connection: ${"a,".repeat(500)}b\r\nX-A: 1\r\n`),
    ...passed(withFields("X-A: 1")),
  },
  {
    what: "`Connection:` of more than 1,024 characters",
    send: get(`Connection: ${"a,".repeat(512)}b\r\nX-A: 1\r\n`),
    ...refused(),
  },
  { what: "`Connection: close`", send: get("Connection: close\r\n"), ...passed(GET), connection: "closed" },
  {
    what: "`Connection: Close` in capitals and a list",
    send: get("Connection: x, CLOSE\r\n"),
    ...passed(GET),
    connection: "closed",
  },
  {
    what: "`Connection: keep-alive, close`",
    send: get("Connection: keep-alive, close\r\n"),
    ...passed(GET),
    connection: "closed",
  },
  {
    what: "`Keep-Alive`, `Proxy-Connection`, `TE`, `Trailer`",
    send: get("Keep-Alive: timeout=9\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: X-A\r\n"),
    ...passed(GET),
  },
  {
    what: "`Proxy-Authorization`, `Proxy-Authenticate`",
    send: get("Proxy-Authorization: Basic YTpi\r\nProxy-Authenticate: Basic\r\n"),
    ...passed(GET),
  },
  {
    what: "`Upgrade: websocket` with `Connection: Upgrade`",
    send: get("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n"),
    ...passed(withFields("Sec-WebSocket-Key: a")),
  },
  {
    what: "`Upgrade: h2c` with `HTTP2-Settings`",
    send: get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
    ...passed(GET),
  },
  {
    what: "`Upgrade: websocket` with a body",
    send: post("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n", "abc"),
    ...passed(posted("abc")),
  },
];

export const FIELDS: Readonly<Record<string, readonly RequestRow[]>> = {
  "Lines, names and values": LINES,
  "Sizes of a header": SIZES,
  "Fields the gateway sets itself": GATEWAYS_OWN,
  "Hop-by-hop fields and upgrades": HOP_BY_HOP,
};

/** Odd requests, part 3: the request line, Host, expectations, and several requests on one connection. */
import { chunked, get, GET, HEAD, passed, post, posted, refused } from "./row.ts";
import type { Outcome, RequestRow } from "./row.ts";

const line = (text: string): string => `${text}\r\n${HEAD}\r\n`;
const to = (target: string): string => get("", target);
const SILENT: Outcome = { answers: [], connection: "closed", gets: "nothing" };
const to404 = refused(404, "kept");

const LINE: readonly RequestRow[] = [
  { what: "two spaces behind the method", send: line("GET  {url}/x HTTP/1.1"), ...refused() },
  { what: "two spaces before the version", send: line("GET {url}/x  HTTP/1.1"), ...refused() },
  { what: "a tab behind the method", send: line("GET\t{url}/x HTTP/1.1"), ...refused() },
  { what: "a tab before the version", send: line("GET {url}/x\tHTTP/1.1"), ...refused() },
  { what: "a space behind the version", send: line("GET {url}/x HTTP/1.1 "), ...refused() },
  { what: "a space before the method", send: line(" GET {url}/x HTTP/1.1"), ...refused() },
  { what: "an empty method", send: line("{url}/x HTTP/1.1"), ...refused() },
  { what: "an empty target", send: line("GET HTTP/1.1"), ...refused() },
  { what: "an empty line before the request line", send: `\r\n${get()}`, ...passed(GET) },
  {
    what: "one hundred thousand empty lines before the request line",
    send: "\r\n".repeat(100_000),
    ends: true,
    ...SILENT,
  },
  { what: "LF before the request line", send: `\n${get()}`, ...refused() },
  { what: "CR before the request line", send: `\r${get()}`, ...refused() },
  {
    what: "bytes that are not HTTP",
    send: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ...refused(),
  },
  { what: "nothing at all", send: "", ends: true, ...SILENT },
  { what: "the beginning of a request line", send: "GET /v1/in", ends: true, ...SILENT },
  {
    what: "the beginning of a header",
    send: "GET {url}/x HTTP/1.1\r\nHost: caller\r\n",
    ends: true,
    ...SILENT,
  },
];

const METHODS: readonly RequestRow[] = [
  { what: "`get` in lower case", send: line("get {url}/x HTTP/1.1"), ...refused(405) },
  { what: "a method nobody knows, `FROB`", send: line("FROB {url}/x HTTP/1.1"), ...refused(405) },
  { what: "a method of 10,000 letters", send: line(`${"A".repeat(10_000)} {url}/x HTTP/1.1`), ...refused() },
  { what: "a NUL in the method", send: line("GE\0T {url}/x HTTP/1.1"), ...refused() },
  { what: "`CONNECT example.com:443`", send: line("CONNECT example.com:443 HTTP/1.1"), ...refused(405) },
  { what: "`TRACE`", send: line("TRACE {url}/x HTTP/1.1"), ...refused(405) },
  { what: "`OPTIONS *`", send: line("OPTIONS * HTTP/1.1"), ...refused(400, "kept") },
  {
    what: "`PUT` and `PATCH` without a length",
    send: line("PUT {url}/x HTTP/1.1") + line("PATCH {url}/x HTTP/1.1"),
    ...passed({ line: "PUT /x", body: "" }, { line: "PATCH /x", body: "" }),
  },
];

const VERSIONS: readonly RequestRow[] = [
  { what: "HTTP/0.9: no version", send: "GET {url}/x\r\n", ends: true, ...SILENT },
  { what: "HTTP/1.0", send: line("GET {url}/x HTTP/1.0"), ...passed(GET), connection: "closed" },
  {
    what: "HTTP/1.0 without `Host`",
    send: "GET {url}/x HTTP/1.0\r\nX-Auth-Token: {token}\r\n\r\n",
    ...passed(GET),
    connection: "closed",
  },
  {
    what: "HTTP/1.0 with `Connection: keep-alive`",
    send: `GET {url}/x HTTP/1.0\r\n${HEAD}Connection: keep-alive\r\n\r\n`,
    ...passed(GET),
  },
  {
    what: "HTTP/1.0 with `Content-Length`",
    send: post("Content-Length: 3\r\n", "abc").replace("HTTP/1.1", "HTTP/1.0"),
    ...passed(posted("abc")),
    connection: "closed",
  },
  { what: "`HTTP/1.2`", send: line("GET {url}/x HTTP/1.2"), ...refused(505) },
  { what: "`HTTP/2.0`", send: line("GET {url}/x HTTP/2.0"), ...refused(505) },
  { what: "`HTTP/0.9` in words", send: line("GET {url}/x HTTP/0.9"), ...refused(505) },
  { what: "`http/1.1` in lower case", send: line("GET {url}/x http/1.1"), ...refused() },
  { what: "`HTTP/1.10`", send: line("GET {url}/x HTTP/1.10"), ...refused() },
  { what: "`HTTP/01.1`", send: line("GET {url}/x HTTP/01.1"), ...refused() },
  { what: "`HTTP/1,1`", send: line("GET {url}/x HTTP/1,1"), ...refused() },
  { what: "`HTTP/11`", send: line("GET {url}/x HTTP/11"), ...refused() },
  { what: "`RTSP/1.0`", send: line("GET {url}/x RTSP/1.0"), ...refused() },
  { what: "the HTTP/2 preface", send: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ...refused(505) },
];

const TARGETS: readonly RequestRow[] = [
  {
    what: "`http://example.com/…` (absolute form)",
    send: to("http://example.com{url}/x"),
    ...refused(400, "kept"),
  },
  { what: "`https://example.com/…`", send: to("https://example.com{url}/x"), ...refused(400, "kept") },
  {
    what: "`example.com:80` (authority form) with `GET`",
    send: to("example.com:80"),
    ...refused(400, "kept"),
  },
  { what: "`*` with `GET`", send: to("*"), ...refused(400, "kept") },
  { what: "a target without `/`", send: to("v1/infers/x"), ...refused(400, "kept") },
  { what: "`/../` behind the service", send: to("{url}/../x"), ...refused(400, "kept") },
  { what: "`/./` behind the service", send: to("{url}/./x"), ...refused(400, "kept") },
  { what: "`/..` at the end", send: to("{url}/.."), ...refused(400, "kept") },
  { what: "`/..;/x`", send: to("{url}/..;/x"), ...refused(400, "kept") },
  { what: "`/%2e%2e/`", send: to("{url}/%2e%2e/x"), ...refused(400, "kept") },
  { what: "`/.%2E/`", send: to("{url}/.%2E/x"), ...refused(400, "kept") },
  { what: "`/..%2fx`", send: to("{url}/..%2fx"), ...refused(400, "kept") },
  { what: "`..` before the service", send: to("/v1/x/..{url}"), ...refused(400, "kept") },
  { what: "a backslash", send: to("{url}/a\\..\\b"), ...refused(400, "kept") },
  { what: "a fragment", send: to("{url}/x#y"), ...refused(400, "kept") },
  { what: "`%zz`", send: to("{url}/%zz"), ...refused(400, "kept") },
  { what: "`%` at the end", send: to("{url}/x%"), ...refused(400, "kept") },
  { what: "a space in the target", send: to("{url}/x y"), ...refused() },
  { what: "a NUL in the target", send: to("{url}/x\0y"), ...refused() },
  { what: "a tab in the target", send: to("{url}/x\ty"), ...refused() },
  { what: "DEL in the target", send: to("{url}/x\x7fy"), ...refused() },
  { what: "a byte over 0x7f in the target", send: to("{url}/\xc3\xa4"), ...refused(400, "kept") },
  { what: "a target of over 32 KB", send: to(`{url}/${"a".repeat(40_000)}`), ...refused(414, "kept") },
  { what: "`/v1//infers/…`", send: to("/v1//infers/x"), ...to404 },
  { what: "`//v1/infers/…`", send: to("/{url}/x"), ...to404 },
  { what: "`/V1/INFERS/…`", send: to("/V1/INFERS/x"), ...to404 },
  { what: "`//x` behind the service", send: to("{url}//x"), ...passed({ line: "GET //x" }) },
  {
    what: "`%00`, `%0d%0a`, `%2f` behind the service",
    send: to("{url}/%00%0d%0a%2f"),
    ...passed({ line: "GET /%00%0d%0a%2f" }),
  },
  { what: "`..` in the query", send: to("{url}/x?a=/../b"), ...passed({ line: "GET /x?a=/../b" }) },
  { what: "`?` directly behind the service", send: to("{url}?a=1"), ...passed({ line: "GET /?a=1" }) },
  { what: "the service alone", send: to("{url}"), ...passed({ line: "GET /" }) },
  { what: "`/internal/table`", send: to("/internal/table"), ...to404 },
];

const host = (lines: string): string => `GET {url}/x HTTP/1.1\r\n${lines}X-Auth-Token: {token}\r\n\r\n`;
const HOSTS: readonly RequestRow[] = [
  { what: "no `Host` with HTTP/1.1", send: host(""), ...refused() },
  { what: "`Host` twice, different", send: host("Host: a\r\nHost: b\r\n"), ...refused() },
  { what: "`Host` twice, equal", send: host("Host: a\r\nHost: a\r\n"), ...refused() },
  { what: "`Host: a b`", send: host("Host: a b\r\n"), ...refused() },
  { what: "`Host: a,b`", send: host("Host: a,b\r\n"), ...refused() },
  { what: "`Host: user@a`", send: host("Host: user@a\r\n"), ...refused() },
  { what: "`Host: a/b`", send: host("Host: a/b\r\n"), ...refused() },
  { what: "`Host: http://a`", send: host("Host: http://a\r\n"), ...refused() },
  { what: "`Host: a:port`", send: host("Host: a:port\r\n"), ...refused() },
  { what: "`Host:` without a value", send: host("Host:\r\n"), ...passed(GET) },
  { what: "`Host: [::1]:8080`", send: host("Host: [::1]:8080\r\n"), ...passed(GET) },
];

const continued: Outcome = { answers: [100, 200], connection: "kept", gets: [posted("abc")] };
const EXPECTATIONS: readonly RequestRow[] = [
  {
    what: "`Expect: 100-continue` with a body",
    send: post("Expect: 100-continue\r\nContent-Length: 3\r\n", "abc"),
    ...continued,
  },
  {
    what: "`Expect: 100-Continue` with a chunked body",
    send: post("Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
    ...continued,
    gets: [{ line: "POST /x", body: "abc" }],
  },
  { what: "`Expect: 100-continue` without a body", send: get("Expect: 100-continue\r\n"), ...passed(GET) },
  {
    what: "`Expect: 100-continue` with a bad token",
    send: post("Expect: 100-continue\r\nContent-Length: 3\r\n").replace("{token}", "x"),
    ...refused(401),
  },
  {
    what: "`Expect: 100-continue` with a body over the limit",
    send: post("Expect: 100-continue\r\nContent-Length: 1048577\r\n"),
    ...refused(413),
  },
  {
    what: "`Expect: 100-continue` over HTTP/1.0",
    send: post("Expect: 100-continue\r\nContent-Length: 3\r\n", "abc").replace("HTTP/1.1", "HTTP/1.0"),
    answers: [200],
    connection: "closed",
    gets: [posted("abc")],
  },
  { what: "`Expect: something`", send: get("Expect: something\r\n"), ...refused(417) },
  {
    what: "`Expect: 100-continue, something`",
    send: get("Expect: 100-continue, something\r\n"),
    ...refused(417),
  },
];

const MANY = 100;
const PIPELINES: readonly RequestRow[] = [
  { what: "two requests at once", send: get() + get("", "{url}/y"), ...passed(GET, { line: "GET /y" }) },
  {
    what: "a hundred requests at once",
    send: Array.from({ length: MANY }, (_, n) => get("", `{url}/${n}`)).join(""),
    ...passed(...Array.from({ length: MANY }, (_, n) => ({ line: `GET /${n}` }))),
    shown: "all of them, one after the other",
  },
  {
    what: "a request behind a body with a length",
    send: post("Content-Length: 3\r\n", "abc") + get(),
    ...passed(posted("abc"), GET),
  },
  {
    what: "a request behind a chunked body",
    send: chunked("3\r\nabc\r\n0\r\n\r\n") + get(),
    ...passed(posted("abc"), GET),
  },
  {
    what: "a request behind `Connection: close`",
    send: get("Connection: close\r\n") + get("", "{url}/y"),
    ...passed(GET),
    connection: "closed",
  },
  {
    what: "a request behind an HTTP/1.0 request",
    send: line("GET {url}/x HTTP/1.0") + get("", "{url}/y"),
    ...passed(GET),
    connection: "closed",
  },
  { what: "a request behind a malformed one", send: get("X-A : 1\r\n") + get("", "{url}/y"), ...refused() },
  {
    what: "a request behind one with two lengths",
    send: post("Content-Length: 3\r\nContent-Length: 0\r\n", "abc") + get("", "{url}/y"),
    ...refused(),
  },
  {
    what: "a request behind an unknown coding",
    send: post("Transfer-Encoding: gzip\r\n") + get("", "{url}/y"),
    ...refused(),
  },
  {
    what: "a request behind an oversize header",
    send: get(`X-A: ${"a".repeat(140_000)}\r\n`) + get("", "{url}/y"),
    ...refused(494),
  },
  {
    what: "a request behind a bad chunk",
    send: chunked("zz\r\n") + get("", "{url}/y"),
    answers: [400],
    connection: "closed",
    gets: "nothing whole",
  },
  {
    what: "a request behind CONNECT",
    send: line("CONNECT a:1 HTTP/1.1") + get("", "{url}/y"),
    ...refused(405),
  },
  {
    what: "a request behind the HTTP/2 preface",
    send: `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${get()}`,
    ...refused(505),
  },
  {
    what: "a request behind `Upgrade: h2c`",
    send: get("Connection: Upgrade\r\nUpgrade: h2c\r\n") + get("", "{url}/y"),
    ...passed(GET, { line: "GET /y" }),
  },
  {
    what: "a request behind one with a bad token",
    send: get().replace("{token}", "x") + get(),
    answers: [401, 200],
    connection: "kept",
    gets: [GET],
  },
  {
    what: "a malformed request behind a good one",
    send: get() + get("X-A : 1\r\n"),
    answers: [200, 400],
    connection: "closed",
    gets: [GET],
  },
];

export const REQUESTS: Readonly<Record<string, readonly RequestRow[]>> = {
  "The request line": LINE,
  Methods: METHODS,
  Versions: VERSIONS,
  Targets: TARGETS,
  Host: HOSTS,
  Expectations: EXPECTATIONS,
  "Several requests on a connection": PIPELINES,
};

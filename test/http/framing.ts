/** Odd requests, part 1: where a body begins and ends. */
import { chunked, cut, get, GET, HEAD, passed, post, posted, refused } from "./row.ts";
import type { RequestRow } from "./row.ts";

const length = (value: string, body = "abcde"): string => post(`Content-Length:${value}\r\n`, body);
const coding = (lines: string): string => post(lines, "3\r\nabc\r\n0\r\n\r\n");

const LENGTHS: readonly RequestRow[] = [
  {
    what: "`Content-Length` twice, equal",
    send: post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"),
    ...refused(),
  },
  {
    what: "`Content-Length` twice, different",
    send: post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"),
    ...refused(),
  },
  { what: "`Content-Length: 3, 3`", send: length(" 3, 3", "abc"), ...refused() },
  { what: "`Content-Length: 3,`", send: length(" 3,", "abc"), ...refused() },
  { what: "`Content-Length: +5`", send: length(" +5"), ...refused() },
  { what: "`Content-Length: -1`", send: length(" -1"), ...refused() },
  { what: "`Content-Length: 0x5`", send: length(" 0x5"), ...refused() },
  { what: "`Content-Length: 1e3`", send: length(" 1e3"), ...refused() },
  { what: "`Content-Length: 5.0`", send: length(" 5.0"), ...refused() },
  { what: "`Content-Length: 5 5`", send: length(" 5 5"), ...refused() },
  { what: '`Content-Length: "5"`', send: length(' "5"'), ...refused() },
  { what: "`Content-Length:` without a value", send: length(""), ...refused() },
  { what: "`Content-Length: 5` with a vertical tab before the number", send: length(" \x0b5"), ...refused() },
  {
    what: "`Content-Length: 5` with a no-break space behind the number",
    send: length(" 5\xa0"),
    ...refused(),
  },
  { what: "`Content-Length` of 30 digits", send: length(` ${"9".repeat(30)}`), ...refused() },
  {
    what: "`Content-Length: 18446744073709551621` (2^64 + 5)",
    send: length(" 18446744073709551621"),
    ...refused(),
  },
  { what: "`Content-Length: 005`", send: length(" 005"), ...refused() },
  {
    what: "`Content-Length` with tabs and spaces around the number",
    send: length(" \t 5 \t"),
    ...passed(posted("abcde")),
  },
  { what: "`CONTENT-LENGTH: 5`", send: post("CONTENT-LENGTH: 5\r\n", "abcde"), ...passed(posted("abcde")) },
  {
    what: "`Content_Length: 5` (underscore) with a `GET` behind it",
    send: get("Content_Length: 5\r\n") + get(),
    ...passed(GET, GET),
  },
  {
    what: "`Content-Length` over the limit of a prediction's body, which comes all the same",
    send: length(" 1048577", "a".repeat(1_048_577)),
    ...refused(413, "kept"),
  },
  { what: "`POST` without a length", send: post(""), ...passed({ line: "POST /x", body: "" }) },
  {
    what: "`GET` with a body",
    send: `${get("Content-Length: 3\r\n")}abc`,
    ...passed({ line: "GET /x", body: "abc" }),
  },
  { what: "`GET` with `Content-Length: 0`", send: get("Content-Length: 0\r\n"), ...passed(GET) },
  {
    what: "`GET` with a chunked body",
    send: `${get("Transfer-Encoding: chunked\r\n")}3\r\nabc\r\n0\r\n\r\n`,
    ...passed({ line: "GET /x", body: "abc" }),
  },
  {
    what: "`DELETE` with a body",
    send: `DELETE {url}/x HTTP/1.1\r\n${HEAD}Content-Length: 3\r\n\r\nabc`,
    ...passed({ line: "DELETE /x", body: "abc" }),
  },
  { what: "a body that ends before its length", send: length(" 9"), ends: true, ...cut, answers: [] },
];

const CODINGS: readonly RequestRow[] = [
  {
    what: "`Content-Length`, then `Transfer-Encoding: chunked`",
    send: coding("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
    ...refused(),
  },
  {
    what: "`Transfer-Encoding: chunked`, then `Content-Length`",
    send: coding("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
    ...refused(),
  },
  {
    what: "`Transfer-Encoding: chunked` with `Content-Length: 0`",
    send: coding("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
    ...refused(),
  },
  {
    what: "`Transfer-Encoding: chunked, chunked`",
    send: coding("Transfer-Encoding: chunked, chunked\r\n"),
    ...refused(),
  },
  {
    what: "`Transfer-Encoding: chunked` twice",
    send: coding("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    ...refused(),
  },
  {
    what: "`Transfer-Encoding: identity`, then `Transfer-Encoding: chunked`",
    send: coding("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
    ...refused(),
  },
  { what: "`Transfer-Encoding: xchunked`", send: coding("Transfer-Encoding: xchunked\r\n"), ...refused() },
  { what: "`Transfer-Encoding: chunkedx`", send: coding("Transfer-Encoding: chunkedx\r\n"), ...refused() },
  { what: "`Transfer-Encoding: identity`", send: coding("Transfer-Encoding: identity\r\n"), ...refused() },
  {
    what: "`Transfer-Encoding: chunked, identity`",
    send: coding("Transfer-Encoding: chunked, identity\r\n"),
    ...refused(),
  },
  {
    what: "`Transfer-Encoding: gzip, chunked`",
    send: coding("Transfer-Encoding: gzip, chunked\r\n"),
    ...refused(),
  },
  { what: "`Transfer-Encoding: gzip`", send: coding("Transfer-Encoding: gzip\r\n"), ...refused() },
  { what: "`Transfer-Encoding: ,chunked`", send: coding("Transfer-Encoding: ,chunked\r\n"), ...refused() },
  {
    what: "`Transfer-Encoding: chunked;q=1`",
    send: coding("Transfer-Encoding: chunked;q=1\r\n"),
    ...refused(),
  },
  { what: '`Transfer-Encoding: "chunked"`', send: coding('Transfer-Encoding: "chunked"\r\n'), ...refused() },
  { what: "`Transfer-Encoding:` without a value", send: coding("Transfer-Encoding:\r\n"), ...refused() },
  {
    what: "`Transfer-Encoding : chunked` (space before the colon)",
    send: coding("Transfer-Encoding : chunked\r\n"),
    ...refused(),
  },
  {
    what: "`Transfer-Encoding\\t: chunked` (tab before the colon)",
    send: coding("Transfer-Encoding\t: chunked\r\n"),
    ...refused(),
  },
  {
    what: "` Transfer-Encoding: chunked` (space before the name)",
    send: coding("X-A: 1\r\n Transfer-Encoding: chunked\r\n"),
    ...refused(),
  },
  {
    what: "`Transfer-Encoding:\\vchunked` (vertical tab)",
    send: coding("Transfer-Encoding:\x0bchunked\r\n"),
    ...refused(),
  },
  {
    what: "`Transfer-Encoding: \\fchunked` (form feed)",
    send: coding("Transfer-Encoding: \x0cchunked\r\n"),
    ...refused(),
  },
  { what: "`Transfer-Encoding: chunked\\0`", send: coding("Transfer-Encoding: chunked\0\r\n"), ...refused() },
  {
    what: "`Transfer-Encoding: chunked` with a no-break space before it",
    send: coding("Transfer-Encoding: \xa0chunked\r\n"),
    ...refused(),
  },
  {
    what: "`Transfer-Encoding` folded onto the next line",
    send: coding("Transfer-Encoding:\r\n chunked\r\n"),
    ...refused(),
  },
  {
    what: "`Transfer-Encoding: chunked` over HTTP/1.0",
    send: coding("Transfer-Encoding: chunked\r\n").replace("HTTP/1.1", "HTTP/1.0"),
    ...refused(),
  },
  {
    what: "`Transfer-Encoding:\\tchunked` (tab)",
    send: coding("Transfer-Encoding:\tchunked\r\n"),
    ...passed(posted("abc")),
  },
  {
    what: "`Transfer-Encoding:chunked` (no space)",
    send: coding("Transfer-Encoding:chunked\r\n"),
    ...passed(posted("abc")),
  },
  {
    what: "`Transfer-Encoding: chunked ` (space behind)",
    send: coding("Transfer-Encoding: chunked \t\r\n"),
    ...passed(posted("abc")),
  },
  {
    what: "`Transfer-Encoding: CHUNKED`",
    send: coding("Transfer-Encoding: CHUNKED\r\n"),
    ...passed(posted("abc")),
  },
  {
    what: "`TRANSFER-ENCODING: chunked`",
    send: coding("TRANSFER-ENCODING: chunked\r\n"),
    ...passed(posted("abc")),
  },
  {
    what: "`Transfer_Encoding: chunked` (underscore) with a `Content-Length`",
    send: post("Transfer_Encoding: chunked\r\nContent-Length: 3\r\n", "abc"),
    ...passed(posted("abc")),
  },
];

const CHUNKS: readonly RequestRow[] = [
  { what: "chunk size `-1`", send: chunked("-1\r\nabc\r\n0\r\n\r\n"), ...cut },
  { what: "chunk size `+3`", send: chunked("+3\r\nabc\r\n0\r\n\r\n"), ...cut },
  { what: "chunk size `0x3`", send: chunked("0x3\r\nabc\r\n0\r\n\r\n"), ...cut },
  { what: "chunk size `3` with a space before it", send: chunked(" 3\r\nabc\r\n0\r\n\r\n"), ...cut },
  { what: "chunk size `3` with a space behind it", send: chunked("3 \r\nabc\r\n0\r\n\r\n"), ...cut },
  { what: "chunk size `3` with a tab behind it", send: chunked("3\t\r\nabc\r\n0\r\n\r\n"), ...cut },
  { what: "chunk size `g`", send: chunked("g\r\nabc\r\n0\r\n\r\n"), ...cut },
  { what: "an empty chunk size", send: chunked("\r\nabc\r\n0\r\n\r\n"), ...cut },
  { what: "chunk size of 17 digits", send: chunked("1ffffffffffffffff\r\nabc\r\n0\r\n\r\n"), ...cut },
  {
    what: "chunk size `10000000000000003` (2^64 + 3)",
    send: chunked("10000000000000003\r\nabc\r\n0\r\n\r\n"),
    ...cut,
  },
  {
    what: "chunks over the limit of a prediction's body",
    send: chunked(`100001\r\n${"a".repeat(1_048_577)}\r\n0\r\n\r\n`),
    answers: [413],
    connection: "kept",
    gets: "nothing whole",
  },
  { what: "chunk size behind 40 zeros", send: chunked(`${"0".repeat(40)}3\r\nabc\r\n0\r\n\r\n`), ...cut },
  { what: "chunk size `3\\n` (LF alone)", send: chunked("3\nabc\r\n0\r\n\r\n"), ...cut },
  { what: "chunk size `3\\r` (CR alone)", send: chunked("3\rabc\r\n0\r\n\r\n"), ...cut },
  { what: "a chunk without CRLF behind its data", send: chunked("3\r\nabc0\r\n\r\n"), ...cut },
  { what: "a chunk with LF alone behind its data", send: chunked("3\r\nabc\n0\r\n\r\n"), ...cut },
  { what: "a chunk longer than its size", send: chunked("3\r\nabcdef\r\n0\r\n\r\n"), ...cut },
  { what: "the last chunk ended with LF alone", send: chunked("3\r\nabc\r\n0\n\n"), ...cut },
  { what: "the last chunk followed by LF alone", send: chunked("3\r\nabc\r\n0\r\n\n"), ...cut },
  {
    what: "a body that ends before its last chunk",
    send: chunked("3\r\nabc\r\n"),
    ends: true,
    ...cut,
    answers: [],
  },
  {
    what: "a body that ends in the middle of a chunk",
    send: chunked("9\r\nabc"),
    ends: true,
    ...cut,
    answers: [],
  },
  { what: "chunk extension with a bare CR", send: chunked("3;a=\rb\r\nabc\r\n0\r\n\r\n"), ...cut },
  { what: "chunk extension with a bare LF", send: chunked("3;a=\nb\r\nabc\r\n0\r\n\r\n"), ...cut },
  { what: "chunk extension with a quoted CRLF", send: chunked('3;a="\r\n"\r\nabc\r\n0\r\n\r\n'), ...cut },
  { what: "chunk extension `;a=/`, not a token", send: chunked("3;a=/\r\nabc\r\n0\r\n\r\n"), ...cut },
  { what: "chunk extension `;` without a name", send: chunked("3;\r\nabc\r\n0\r\n\r\n"), ...cut },
  { what: "chunk extension `; a=b` with a space", send: chunked("3; a=b\r\nabc\r\n0\r\n\r\n"), ...cut },
  { what: "chunk extension with a NUL", send: chunked("3;a=\0\r\nabc\r\n0\r\n\r\n"), ...cut },
  {
    what: "chunk extension of 20 KB",
    send: chunked(`3;a=${"b".repeat(20_000)}\r\nabc\r\n0\r\n\r\n`),
    ...cut,
  },
  {
    what: "chunk extension `;a=b`",
    send: chunked("3;a=b\r\nabc\r\n0\r\n\r\n"),
    ...passed(posted("abc")),
  },
  {
    what: 'chunk extension `;a="b;c"`',
    send: chunked('3;a="b;c"\r\nabc\r\n0\r\n\r\n'),
    ...passed(posted("abc")),
  },
  {
    what: "chunk extension on the last chunk",
    send: chunked("3\r\nabc\r\n0;a=b\r\n\r\n"),
    ...passed(posted("abc")),
  },
  {
    what: "chunk sizes `0003`, `A`, `a`",
    send: chunked("0003\r\nabc\r\nA\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n"),
    ...passed(posted("abc01234567890123456789")),
  },
  {
    what: "a chunk of 300 KB, more than the gateway gathers",
    send: chunked(`493e0\r\n${"a".repeat(300_000)}\r\n0\r\n\r\n`),
    ...passed({ line: "POST /x", chunks: "a".repeat(300_000) }),
    shown: "`POST /x`, the body in chunks",
  },
  {
    what: "a body of 300 KB with its length",
    send: length(" 300000", "a".repeat(300_000)),
    ...passed(posted("a".repeat(300_000))),
    shown: "`POST /x`, the body with its length",
  },
  { what: "an empty chunked body", send: chunked("0\r\n\r\n"), ...passed(posted("")) },
  {
    what: "a request in the data of a chunk",
    send: chunked("50\r\nGET {url}/y HTTP/1.1\r\nHost: caller\r\n\r\n\r\n0\r\n\r\n"),
    ...passed(posted("GET {url}/y HTTP/1.1\r\nHost: caller\r\n\r\n")),
  },
];

const TRAILERS: readonly RequestRow[] = [
  {
    what: "a trailer",
    send: chunked("3\r\nabc\r\n0\r\nX-Checksum: 1\r\n\r\n"),
    ...passed(posted("abc")),
  },
  {
    what: "`Content-Length` as a trailer",
    send: chunked("3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n"),
    ...passed(posted("abc")),
  },
  {
    what: "`Transfer-Encoding` as a trailer",
    send: chunked("3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ...passed(posted("abc")),
  },
  {
    what: "`Authorization` and `Host` as trailers",
    send: chunked("3\r\nabc\r\n0\r\nAuthorization: Basic YTpi\r\nHost: other\r\n\r\n"),
    ...passed(posted("abc")),
  },
  {
    what: "`Trailer` announcing `X-Checksum`",
    send: post(
      "Trailer: X-Checksum\r\nTransfer-Encoding: chunked\r\n",
      "3\r\nabc\r\n0\r\nX-Checksum: 1\r\n\r\n",
    ),
    ...passed(posted("abc")),
  },
  { what: "a trailer without a colon", send: chunked("3\r\nabc\r\n0\r\nX-Checksum\r\n\r\n"), ...cut },
  {
    what: "a trailer with a space before the colon",
    send: chunked("3\r\nabc\r\n0\r\nX-Checksum : 1\r\n\r\n"),
    ...cut,
  },
  { what: "a folded trailer", send: chunked("3\r\nabc\r\n0\r\nX-A: 1\r\n b\r\n\r\n"), ...cut },
  { what: "a trailer ended with LF alone", send: chunked("3\r\nabc\r\n0\r\nX-A: 1\n\r\n"), ...cut },
  { what: "a trailer with a NUL", send: chunked("3\r\nabc\r\n0\r\nX-A: \0\r\n\r\n"), ...cut },
  {
    what: "trailers of 140 KB",
    send: chunked(`3\r\nabc\r\n0\r\nX-A: ${"a".repeat(140_000)}\r\n\r\n`),
    ...cut,
    answers: [400],
  },
];

export const FRAMING: Readonly<Record<string, readonly RequestRow[]>> = {
  "The length of a body": LENGTHS,
  "Transfer codings": CODINGS,
  Chunks: CHUNKS,
  Trailers: TRAILERS,
};

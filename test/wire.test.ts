/** The judges of the HTTP tests are judged first: what is ambiguous must be seen by one of the two readings. */
import { expect, test } from "vitest";
import { judge } from "./fuzz/http/llhttp.ts";
import { disagreement, readAnswers, readRequests } from "./support/wire.ts";

const HEAD = "POST /a HTTP/1.1\r\nHost: a\r\n";
const NEXT = "GET /b HTTP/1.1\r\nHost: a\r\n\r\n";
const quarrel = (text: string): string | null =>
  disagreement(readRequests(text, "strict"), readRequests(text, "lenient"));

test.each([
  ["no body", `${HEAD}\r\n${NEXT}`],
  ["a length", `${HEAD}Content-Length: 3\r\n\r\nabc${NEXT}`],
  ["chunks", `${HEAD}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n${NEXT}`],
])("both readings agree on what is clear: %s", (_what, text) => {
  expect(quarrel(text)).toBe(null);
  expect(readRequests(text, "strict").messages.map((message) => message.start)).toEqual([
    "POST /a HTTP/1.1",
    "GET /b HTTP/1.1",
  ]);
  expect(judge(text)).toMatchObject({ error: null, requests: [{ url: "/a" }, { url: "/b" }] });
});

test.each([
  ["two lengths", `${HEAD}Content-Length: 3\r\nContent-Length: 0\r\n\r\nabc`],
  ["both framings", `${HEAD}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ["an unknown coding", `${HEAD}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
  ["a length with an underscore", `${HEAD}Content_Length: 3\r\n\r\n${NEXT}`],
  ["a bare CR before the end of the header", `${HEAD}X-A: 1\r\r\n\r\n${NEXT}`],
  ["a bare LF", `${HEAD}X-A: 1\nContent-Length: 3\r\n\r\n${NEXT}`],
  ["a folded line", `${HEAD}X-A: 1\r\n Content-Length: 3\r\n\r\n${NEXT}`],
  ["a space before the colon", `${HEAD}Content-Length : 3\r\n\r\n${NEXT}`],
  ["a chunk longer than its size", `${HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n`],
  ["a signed chunk size", `${HEAD}Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n`],
])("a quarrel is seen: %s", (_what, text) => {
  expect(quarrel(text)).not.toBe(null);
});

test("an answer without framing ends with its connection, one to HEAD with its header", () => {
  const text = "HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nabc";
  expect(readAnswers(text, "strict").messages).toEqual([]);
  expect(readAnswers(text, "strict", { hasEnded: true }).messages[0]?.body).toBe("abc");
  const head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
  expect(readAnswers(head, "strict", { isHead: (n) => n === 0 }).messages).toHaveLength(2);
});

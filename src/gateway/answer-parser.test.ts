import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AnswerMalformed, AnswerParser } from "./answer-parser.ts";

const read = (
  pieces: readonly Buffer[],
  method = "GET",
): { status: number; headers: string[]; body: string; complete: boolean; used: number; ended: boolean } => {
  const got = { status: 0, headers: [] as string[], body: "", complete: false, used: 0, ended: false };
  const parser = new AnswerParser({
    onHead: (head) => {
      got.status = head.status;
      got.headers = head.lines.split("\r\n").slice(0, -1);
    },
    onBody: (chunk) => (got.body += chunk.toString("latin1")),
    onComplete: () => (got.complete = true),
  });
  parser.begin(method);
  for (const piece of pieces) if (!got.complete) got.used += parser.push(piece);
  if (!got.complete) got.ended = parser.end();
  return got;
};

const VALID: readonly (readonly [name: string, text: string, method: string, body: string])[] = [
  ["a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello", "GET", "hello"],
  [
    "chunks, extensions, trailers",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n",
    "GET",
    "abc0123456789",
  ],
  [
    "interim answers before",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok",
    "POST",
    "ok",
  ],
  ["HEAD with a length", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", "HEAD", ""],
  ["204", "HTTP/1.1 204 No Content\r\n\r\n", "GET", ""],
  ["304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "GET", ""],
  ["an empty reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "GET", ""],
];

describe("reads", () => {
  test.each(VALID)(
    "%s the same however it is cut into packets, and not a byte further",
    (_name, text, method, body) => {
      const bytes = Buffer.from(text, "latin1");
      fc.assert(
        fc.property(fc.array(fc.nat(bytes.length), { maxLength: 12 }), fc.nat(3), (cuts, extra) => {
          const whole = Buffer.concat([bytes, Buffer.from("x".repeat(extra))]);
          const at = [...new Set([0, ...cuts, whole.length])].sort((a, b) => a - b);
          const pieces = at.slice(1).map((end, n) => whole.subarray(at[n], end));
          const got = read(pieces, method);
          expect(got).toMatchObject({ body, complete: true, used: bytes.length });
        }),
      );
    },
  );

  test("a body without framing up to the end of the connection", () => {
    const got = read([Buffer.from("HTTP/1.0 200 OK\r\n\r\nall"), Buffer.from(" of it")]);
    expect(got).toMatchObject({ body: "all of it", ended: true });
  });
});

describe("refuses", () => {
  test.each([
    ["no status line", "hello\r\n\r\n"],
    ["another protocol", "HTTP/2.0 200 OK\r\n\r\n"],
    ["an unasked upgrade", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"],
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"],
    ["a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na"],
    ["a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"],
    ["both framings", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"],
    ["a folded line", "HTTP/1.1 200 OK\r\nX-A: 1\r\n b\r\n\r\n"],
    ["a bare LF", "HTTP/1.1 200 OK\nX-A: 1\r\n\r\n"],
    ["a bare CR", "HTTP/1.1 200 OK\r\nX-A: 1\rX-B: 2\r\n\r\n"],
    ["a NUL", "HTTP/1.1 200 OK\r\nX-A: \0\r\n\r\n"],
    ["a space before the colon", "HTTP/1.1 200 OK\r\nX-A : 1\r\n\r\n"],
    ["a line without a colon", "HTTP/1.1 200 OK\r\nX-A\r\n\r\n"],
    ["a bad chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\n"],
    ["a chunk longer than its size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n"],
    ["an endless head", `HTTP/1.1 200 OK\r\nX-A: ${"a".repeat(70_000)}`],
  ])("%s", (_name, text) => {
    expect(() => read([Buffer.from(text, "latin1")])).toThrow(AnswerMalformed);
  });

  test("or reads, and never throws anything else, whatever bytes come", () => {
    const valid = fc.constantFrom(...VALID.map(([, text]) => text));
    const mutated = fc
      .tuple(valid, fc.nat(200), fc.constantFrom("", "\r", "\n", "\0", ":", " ", "9", "chunked", "\r\n\r\n"))
      .map(([text, at, insert]) => text.slice(0, at) + insert + text.slice(at + 1));
    fc.assert(
      fc.property(fc.oneof(mutated, fc.string()), (text) => {
        try {
          read([Buffer.from(text, "latin1")]);
        } catch (error) {
          expect(error).toBeInstanceOf(AnswerMalformed);
        }
      }),
      { numRuns: 500 },
    );
  });
});

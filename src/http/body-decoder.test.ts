import fc from "fast-check";
import { expect, test } from "vitest";
import { BodyDecoder, Malformed } from "./body-decoder.ts";

/** What comes out of `text` fed in `pieces`: the body's parts, and where it ended in the last piece. */
const decode = (pieces: readonly Buffer[]): { parts: string[]; isDone: boolean; used: number } => {
  const parts: string[] = [];
  let used = 0;
  const decoder = new BodyDecoder({
    onBody: (chunk) => void parts.push(chunk.toString("latin1")),
    onBodyEnd: () => undefined,
  });
  decoder.begin("chunked", 0);
  for (const piece of pieces) {
    if (decoder.isDone) break;
    used += decoder.push(piece, 0);
  }
  return { parts, isDone: decoder.isDone, used };
};

const cut = (bytes: Buffer, cuts: readonly number[]): Buffer[] => {
  const places = [...new Set(cuts.map((place) => place % (bytes.length + 1)))].toSorted((a, b) => a - b);
  return [0, ...places].map((from, n) => bytes.subarray(from, places[n] ?? bytes.length));
};

test("reads the same body wherever its bytes are cut", () => {
  const chunk = fc.record({
    data: fc.string({ unit: "binary-ascii", minLength: 1, maxLength: 30 }),
    extension: fc.constantFrom("", ";a", ";a=b", ';a="b;c"'),
    zeros: fc.constantFrom("", "0", "0000"),
    isUpper: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(chunk, { maxLength: 8 }),
      fc.array(fc.nat(400), { maxLength: 8 }),
      (chunks, cuts) => {
        const size = (n: number, isUpper: boolean): string =>
          isUpper ? n.toString(16).toUpperCase() : n.toString(16);
        const text = chunks
          .map(
            (one) => `${one.zeros}${size(one.data.length, one.isUpper)}${one.extension}\r\n${one.data}\r\n`,
          )
          .join("");
        const bytes = Buffer.from(`${text}0\r\nX-A: 1\r\n\r\n`, "latin1");
        const { parts, isDone, used } = decode([...cut(bytes, cuts), Buffer.from("rest")]);
        expect([parts.join(""), isDone, used]).toEqual([
          chunks.map((one) => one.data).join(""),
          true,
          bytes.length,
        ]);
      },
    ),
  );
});

test("hands on a thousand chunks of one byte as one piece", () => {
  const { parts, isDone } = decode([Buffer.from(`${"1\r\na\r\n".repeat(1_000)}0\r\n\r\n`)]);
  expect([parts, isDone]).toEqual([["a".repeat(1_000)], true]);
});

test("keeps large chunks and small ones in their order", () => {
  const large = "b".repeat(5_000);
  const { parts } = decode([Buffer.from(`1\r\na\r\n1388\r\n${large}\r\n1\r\nc\r\n1\r\nd\r\n0\r\n\r\n`)]);
  expect(parts).toEqual(["a", large, "cd"]);
});

test("hands on what was good before what is not", () => {
  const parts: string[] = [];
  const decoder = new BodyDecoder({
    onBody: (chunk) => void parts.push(chunk.toString()),
    onBodyEnd: () => undefined,
  });
  decoder.begin("chunked", 0);
  expect(() => decoder.push(Buffer.from("1\r\na\r\nzz\r\n"), 0)).toThrow(Malformed);
  expect(parts).toEqual(["a"]);
});

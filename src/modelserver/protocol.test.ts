import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FrameReader, ProtocolError, encodeHead } from "./protocol.ts";
import type { FrontFrame, WorkerFrame } from "./protocol.ts";

const DIR = join(import.meta.dirname, "../../test/fixtures/protocol");
const KINDS = [
  "load",
  "predict",
  "cancel",
  "ready",
  "load-failed",
  "item",
  "answer",
  "answers",
  "failed",
  "unanswered",
  "proving",
  "proved",
  "batching",
] as const;
type Frame = FrontFrame | WorkerFrame;

const fixtures = readdirSync(DIR)
  .filter((name) => name.endsWith(".json"))
  .map((name) => {
    const { header, bodyBase64 } = JSON.parse(readFileSync(join(DIR, name), "utf8")) as {
      header: Frame;
      bodyBase64: string;
    };
    const bytes = readFileSync(join(DIR, name.replace(/json$/, "bin")));
    return { name, header, body: Buffer.from(bodyBase64, "base64"), bytes };
  });

const read = (chunks: readonly Buffer[]): { header: Frame; body: Buffer }[] => {
  const frames: { header: Frame; body: Buffer }[] = [];
  const reader = new FrameReader<Frame>(KINDS, (header, body) =>
    frames.push({ header, body: Buffer.from(body) }),
  );
  for (const chunk of chunks) reader.push(chunk);
  return frames;
};

describe("protocol", () => {
  it("has a fixture of every kind of frame", () => {
    expect(new Set(fixtures.map((f) => f.header.t))).toEqual(new Set(KINDS));
  });

  it.each(fixtures)("writes and reads $name exactly as the Python side does", ({ header, body, bytes }) => {
    expect(Buffer.concat([encodeHead(header, body.length), body])).toEqual(bytes);
    expect(read([bytes])).toEqual([{ header, body }]);
  });

  it("reads the same frames however the bytes are cut", () => {
    const all = Buffer.concat(fixtures.map((f) => f.bytes));
    fc.assert(
      fc.property(fc.array(fc.nat(all.length), { maxLength: 40 }), (cuts) => {
        const edges = [0, ...cuts.toSorted((a, b) => a - b), all.length];
        const chunks = edges.slice(1).map((to, i) => all.subarray(edges[i], to));
        expect(read(chunks).map((f) => f.header)).toEqual(fixtures.map((f) => f.header));
      }),
    );
  });

  it("refuses lengths no frame has, headers that are not JSON, and kinds it does not know", () => {
    expect(() => read([Buffer.from("HTTP/1.1 200 OK")])).toThrow(ProtocolError);
    expect(() => read([Buffer.from([0, 0, 0, 2, 0, 0, 0, 0, 0x7b, 0x7b])])).toThrow(ProtocolError);
    expect(() => read([encodeHead({ t: "no-such-frame" } as never, 0)])).toThrow(ProtocolError);
  });

  it("refuses frames without the fields that are read, since user code holds the worker's end", () => {
    for (const frame of [
      { t: "failed", id: 1 },
      { t: "failed", id: 1, kind: "odd", exception: "", traceback: "", exits: false },
      { t: "load-failed", exception: "E", traceback: 5 },
      { t: "batching", state: "on" },
      { t: "answers" },
      { t: "answers", answers: [null] },
    ]) {
      expect(() => read([encodeHead(frame as never, 0)]), frame.t).toThrow(ProtocolError);
    }
  });

  it("never throws anything but ProtocolError on arbitrary bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (chunks) => {
        try {
          read(chunks.map((c) => Buffer.from(c)));
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
    );
  });
});

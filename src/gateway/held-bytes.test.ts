import fc from "fast-check";
import { expect, test } from "vitest";
import { GatheredBody, HeldBytes } from "./held-bytes.ts";
import { unshared } from "./shared.ts";

test("a gathered body is what was added, whatever pieces it came in, again and again", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          { weight: 5, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 40 }) },
          fc.integer({ min: 3_000, max: 20_000 }).map((size) => new Uint8Array(size).fill(size % 251)),
        ),
        { maxLength: 60 },
      ),
      (pieces) => {
        const body = new GatheredBody();
        for (const piece of pieces) body.add(Buffer.from(piece));
        const whole = Buffer.concat(pieces);
        expect(body.bytes).toBe(whole.length);
        expect(Buffer.concat(body.chunks).equals(whole)).toBe(true);
        expect(Buffer.concat(body.chunks).equals(whole)).toBe(true);
        body.clear();
        expect([body.bytes, body.chunks.length]).toEqual([0, 0]);
      },
    ),
  );
});

test("ten thousand single bytes are kept in a few pieces", () => {
  const body = new GatheredBody();
  for (let n = 0; n < 10_000; n += 1) body.add(Buffer.from([n % 256]));
  expect(body.chunks.length).toBeLessThan(5);
});

test("all requests together hold no more than the limit, and give back what they took", () => {
  const held = new HeldBytes(unshared());
  let taken = 0;
  while (held.tryAdd(1024 * 1024)) taken += 1;
  expect(taken).toBe(128);
  expect(held.isTight).toBe(true);
  held.remove(taken * 1024 * 1024);
  expect([held.total, held.isTight]).toEqual([0, false]);
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { readJson } from "./json-text.ts";

const parse = (text: string): { ok: boolean; value?: unknown } => {
  try {
    return { ok: true, value: JSON.parse(text) as unknown };
  } catch {
    return { ok: false };
  }
};

test("reads what JSON.parse reads, and nothing else", () => {
  const mutated = fc
    .tuple(fc.json(), fc.nat(), fc.constantFrom("", ",", "}", '"', "\\", "0", "-", "\n", "e", "\u0001"))
    .map(([json, at, char]) => json.slice(0, at % json.length) + char + json.slice((at % json.length) + 1));
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.json({ stringUnit: "binary" }), mutated, fc.string()), (text) => {
      const reading = readJson(text, { depthMax: 1000 });
      const expected = parse(text);
      expect(reading.ok).toBe(expected.ok);
      if (reading.ok) expect(reading.value).toEqual(expected.value);
    }),
    { numRuns: 1000 },
  );
});

test("keeps __proto__ a plain field", () => {
  const reading = readJson('{"__proto__": {"polluted": true}}');
  expect(reading.ok && Object.getPrototypeOf(reading.value)).toBe(Object.prototype);
});

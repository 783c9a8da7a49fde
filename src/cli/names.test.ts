import fc from "fast-check";
import { expect, test } from "vitest";
import { compareVersions, nextVersion } from "./names.ts";

const MODEL_VERSION = /^(\d\.|[1-9]\d\.){2}(\d|([1-9]\d))$/;
const part = fc.integer({ min: 0, max: 99 });
const version = fc.tuple(part, part, part).map((parts) => parts.join("."));

test("the first version is 0.0.1, the next one patch up, carrying at 99", () => {
  expect(nextVersion([])).toBe("0.0.1");
  expect(nextVersion(["0.0.1", "0.0.10", "0.0.9"])).toBe("0.0.11");
  expect(nextVersion(["0.0.99"])).toBe("0.1.0");
  expect(nextVersion(["1.99.99"])).toBe("2.0.0");
  expect(() => nextVersion(["99.99.99"])).toThrow("no version after");
});

test("the next version is always valid and newer than all there are", () => {
  fc.assert(
    fc.property(fc.array(version, { minLength: 1, maxLength: 8 }), (versions) => {
      fc.pre(!versions.includes("99.99.99"));
      const next = nextVersion(versions);
      expect(next).toMatch(MODEL_VERSION);
      for (const one of versions) expect(compareVersions(next, one)).toBeGreaterThan(0);
    }),
  );
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { parseLocation } from "./location.ts";

test("takes obs, s3 and OBS URLs apart", () => {
  for (const [text, bucket, key] of [
    ["obs://models/iris/", "models", "iris/"],
    ["s3://models/iris/model/a b.bin", "models", "iris/model/a b.bin"],
    ["obs://models", "models", ""],
    ["obs://models/", "models", ""],
    ["obs://a.b-c/%41?x#y", "a.b-c", "%41?x#y"],
    ["https://models.obs.eu-test-1.example.com/iris/", "models", "iris/"],
    ["https://models.obs.eu-test-1.example.com:443/a%20b/%C3%A4", "models", "a b/ä"],
    ["https://models.obs.example.com", "models", ""],
    ["http://models.obs.localhost:8080/k", "models", "k"],
  ] as const) {
    expect(parseLocation(text), text).toEqual({ bucket, key });
  }
});

test("refuses what is no location", () => {
  for (const text of [
    "",
    "models/iris",
    "/etc/passwd",
    "file:///etc/passwd",
    "obs://",
    "obs:///key",
    "obs://UPPER/key",
    "obs://ab/key",
    "obs://../key",
    "https://example.com/models/iris",
    "https://obs.example.com/models",
    "https://models.obs.example.com/k?Signature=x",
    "https://models.obs.example.com/%zz",
    "https://user@models.obs.example.com/k",
    " obs://models/iris",
  ]) {
    expect(parseLocation(text), text).toBeNull();
  }
});

test("gives back any key of an obs location unchanged", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (key) => {
      expect(parseLocation(`obs://bucket/${key}`)).toEqual({ bucket: "bucket", key });
    }),
  );
});

/** The three forms of a location name the same object. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { formatObsLocation, parseObsLocation } from "./obs-location.ts";

test.each([
  ["obs://bucket/a/b", { bucket: "bucket", key: "a/b" }],
  ["s3://bucket/a/b/", { bucket: "bucket", key: "a/b/" }],
  ["obs://bucket", { bucket: "bucket", key: "" }],
  ["https://my.bucket.obs.eu-test-1.example.com/a%20b/c", { bucket: "my.bucket", key: "a b/c" }],
])("reads %s", (text, location) => {
  expect(parseObsLocation(text)).toEqual(location);
});

test.each([
  "",
  "obs:/bucket/a",
  "obs:///a",
  "https://example.com/a",
  "https://bucket.obs.x.com/%zz",
  "/bucket/a",
  "ftp://bucket/a",
  "obs://B/a",
  "obs://a..b/c",
  "https://bucket.obs.x.com/a?Signature=1",
])("refuses %s", (text) => {
  expect(parseObsLocation(text)).toBeNull();
});

test("writes the form it reads", () => {
  const location = { bucket: "bucket", key: "a/b" };
  expect(parseObsLocation(formatObsLocation(location))).toEqual(location);
});

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
    expect(parseObsLocation(text), text).toEqual({ bucket, key });
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
    expect(parseObsLocation(text), text).toBeNull();
  }
});

test("gives back any key of an obs location unchanged", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (key) => {
      expect(parseObsLocation(`obs://bucket/${key}`)).toEqual({ bucket: "bucket", key });
    }),
  );
});

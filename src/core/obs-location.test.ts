/** The three forms of a location name the same object. */
import { expect, test } from "vitest";
import { formatObsLocation, parseObsLocation } from "./obs-location.ts";

test.each([
  ["obs://bucket/a/b", { bucket: "bucket", key: "a/b" }],
  ["s3://bucket/a/b/", { bucket: "bucket", key: "a/b/" }],
  ["obs://bucket", { bucket: "bucket", key: "" }],
  ["https://my.bucket.obs.eu-test-1.example.com/a%20b/c?x=1", { bucket: "my.bucket", key: "a b/c" }],
])("reads %s", (text, location) => {
  expect(parseObsLocation(text)).toEqual(location);
});

test.each([
  "",
  "obs:/bucket/a",
  "obs:///a",
  "https://example.com/a",
  "https://b.obs.x.com/%zz",
  "/bucket/a",
  "ftp://b/a",
])("refuses %s", (text) => {
  expect(parseObsLocation(text)).toBeNull();
});

test("writes the form it reads", () => {
  const location = { bucket: "b", key: "a/b" };
  expect(parseObsLocation(formatObsLocation(location))).toEqual(location);
});

/** Buckets and objects over HTTP: bodies as bytes both ways, ranges, and errors in the documented shape. */
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createWorld } from "../../test/support/api-world.ts";
import type { ApiWorld } from "../../test/support/api-world.ts";
import { parseRange } from "./objects.ts";

let world: ApiWorld;
let buckets: string;
beforeEach(async () => {
  world = await createWorld();
  buckets = `${world.base}/buckets`;
  await world.call("PUT", `${buckets}/data`);
});
afterEach(() => world.close());

const put = (key: string, body: Buffer, type = "application/json") =>
  world.call("PUT", `${buckets}/data/objects/${key}`, { body, headers: { "content-type": type } });

test("buckets are made, listed and deleted when empty", async () => {
  expect((await world.call("PUT", `${buckets}/data`)).body).toEqual({ name: "data" });
  expect((await world.call("GET", buckets)).body).toMatchObject({ count: 1, buckets: [{ name: "data" }] });
  await put("a", Buffer.from("1"));
  expect((await world.call("DELETE", `${buckets}/data`)).body).toMatchObject({
    error_code: "ModelArts.3567",
  });
  await world.call("DELETE", `${buckets}/data/objects/a`);
  expect((await world.call("DELETE", `${buckets}/data`)).status).toBe(204);
  expect((await world.call("DELETE", `${buckets}/data`)).status).toBe(404);
  expect((await world.call("PUT", `${buckets}/Not_A_Bucket`)).body.error_code).toBe("ModelArts.3572");
});

test("any bytes of any content type come back as they went in", async () => {
  for (const [n, type] of ["application/json", "text/plain; charset=utf-8", "x/y", ""].entries()) {
    const body = randomBytes(100_000);
    const stored = await put(`dir/with%20space/${n}.bin`, body, type);
    expect(stored.status).toBe(200);
    expect(stored.body).toMatchObject({ key: `dir/with space/${n}.bin`, size: body.length });
    const answer = await world.api.inject({
      method: "GET",
      url: `${buckets}/data/objects/dir/with%20space/${n}.bin`,
      headers: { "x-auth-token": world.token },
    });
    expect(answer.rawPayload.equals(body)).toBe(true);
    expect(answer.headers["content-length"]).toBe(String(body.length));
    expect(answer.headers.etag).toBe(`"${stored.body.etag}"`);
  }
  const empty = await world.call("PUT", `${buckets}/data/objects/empty`);
  expect(empty.body).toMatchObject({ size: 0 });
});

test("bodies larger than a JSON body may be are streamed, not refused", async () => {
  const body = Buffer.alloc(3 * 1024 * 1024, 1);
  expect((await put("large", body)).body).toMatchObject({ size: body.length });
});

test("ranges answer 206 with their place, 416 past the end", async () => {
  await put("a", Buffer.from("0123456789"));
  const get = (range: string) => world.call("GET", `${buckets}/data/objects/a`, { headers: { range } });
  for (const [range, text, place] of [
    ["bytes=2-4", "234", "bytes 2-4/10"],
    ["bytes=7-", "789", "bytes 7-9/10"],
    ["bytes=-2", "89", "bytes 8-9/10"],
    ["bytes=8-99", "89", "bytes 8-9/10"],
  ] as const) {
    const answer = await get(range);
    expect(answer.status).toBe(206);
    expect(answer.text).toBe(text);
    expect(answer.headers["content-range"]).toBe(place);
  }
  expect((await get("bytes=10-")).status).toBe(416);
  expect(await get("bytes=1-2,4-5")).toMatchObject({ status: 200, text: "0123456789" });
});

test("a range is read as RFC 9110 says", () => {
  expect(parseRange(undefined, 10)).toBeNull();
  expect(parseRange("items=0-1", 10)).toBeNull();
  expect(parseRange("bytes=-", 10)).toBeNull();
  expect(parseRange("bytes=5-2", 10)).toBeNull();
  expect(parseRange("bytes=-99", 10)).toEqual({ start: 0, end: 9 });
  expect(() => parseRange("bytes=-0", 10)).toThrow();
  expect(() => parseRange("bytes=0-", 0)).toThrow();
});

test("HEAD tells the size without the body, and 404 for what is missing", async () => {
  await put("a", Buffer.from("0123456789"));
  const answer = await world.call("HEAD", `${buckets}/data/objects/a`);
  expect(answer).toMatchObject({ status: 200, text: "" });
  expect(answer.headers["content-length"]).toBe("10");
  expect((await world.call("HEAD", `${buckets}/data/objects/b`)).status).toBe(404);
});

test("lists by prefix, as folders, and page by page", async () => {
  for (const key of ["a/1", "a/2", "b/1", "c"]) await put(key, Buffer.from("x"));
  const list = async (query: string) => (await world.call("GET", `${buckets}/data/objects?${query}`)).body;
  expect((await list("")).count).toBe(4);
  expect(await list("delimiter=/")).toMatchObject({ count: 1, prefixes: ["a/", "b/"] });
  expect(await list("prefix=a/&limit=1")).toMatchObject({ objects: [{ key: "a/1", size: 1 }], next: "a/1" });
  expect(await list("prefix=a/&after=a/1")).toMatchObject({ objects: [{ key: "a/2" }], next: null });
});

test("keys that leave the bucket, missing objects and other projects are refused", async () => {
  expect((await world.call("GET", `${buckets}/data/objects/a%2F..%2F..%2Fb`)).body.error_code).toBe(
    "ModelArts.3572",
  );
  expect((await world.call("GET", `${buckets}/data/objects/missing`)).body).toMatchObject({
    error_code: "ModelArts.3551",
    error_msg: "The object obs://data/missing does not exist.",
  });
  expect((await world.call("GET", `${buckets}/data/objects/a%00b`)).status).toBe(400);
  const { token, base } = await world.stranger();
  expect((await world.call("GET", `${base}/buckets`, { token })).body.buckets).toEqual([]);
  expect((await world.call("GET", `${base}/buckets/data/objects`, { token })).status).toBe(404);
  expect((await world.call("GET", `${buckets}/data/objects`, { token })).status).toBe(403);
});

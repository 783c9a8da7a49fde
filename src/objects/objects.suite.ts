/** What every implementation of Objects promises. Each test gets a store with one empty bucket. */
import { createHash } from "node:crypto";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ProjectId } from "../core/ids.ts";
import type { Objects } from "./objects.ts";

export const PROJECT = "a".repeat(32) as ProjectId;
const OTHER = "b".repeat(32) as ProjectId;
const BUCKET = "data";
const LARGE = { maxBytes: 1_000_000 };
const NO_LIMITS = { maxBytes: 1e9, maxFileBytes: 1e9, maxFiles: 1e6 };

/** Good keys of all lengths, with segments that extend each other and meet every special character. */
export const goodKey = (): fc.Arbitrary<string> => {
  const segment = fc.oneof(
    fc.constantFrom(
      "a",
      "b",
      "a!",
      "a0",
      "a.o",
      "a.d",
      "A",
      "ä",
      "%61",
      ".hidden",
      "con",
      "x".repeat(60),
      "...",
      " ",
    ),
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 }),
    fc.integer({ min: 55, max: 200 }).map((n) => "é".repeat(n)),
    fc.integer({ min: 58, max: 122 }).map((n) => "x".repeat(n)),
  );
  return fc
    .array(segment, { minLength: 1, maxLength: 6 })
    .map((segments) => segments.join("/"))
    .filter(
      (key) =>
        Buffer.byteLength(key) <= 1024 &&
        key.isWellFormed() &&
        !/[\0\\]/.test(key) &&
        key.split("/").every((part) => !["", ".", ".."].includes(part)),
    );
};

export const objectsSuite = (
  name: string,
  create: () => Promise<{ objects: Objects; remove(): Promise<void> }>,
): void => {
  let objects: Objects;
  let remove: () => Promise<void>;

  const put = (key: string, content: string | Buffer = key, bucket = BUCKET) =>
    objects.put(PROJECT, { bucket, key }, Readable.from([content]), LARGE);
  const read = async (key: string, range?: { start: number; end: number }): Promise<string> =>
    (await buffer((await objects.get(PROJECT, { bucket: BUCKET, key }, range)).body)).toString();
  const list = (options: Partial<Parameters<Objects["list"]>[2]> = {}) =>
    objects.list(PROJECT, BUCKET, { prefix: "", limit: 1000, ...options });
  const keys = async (options: Partial<Parameters<Objects["list"]>[2]> = {}): Promise<string[]> =>
    (await list(options)).objects.map((object) => object.key);

  describe(`objects in ${name}`, () => {
    beforeEach(async () => {
      const made = await create();
      objects = made.objects;
      remove = () => made.remove();
      await objects.createBucket(PROJECT, BUCKET);
    });
    afterEach(() => remove());

    test("returns what was put, with size, MD5 and time", async () => {
      const content = Buffer.from(Array.from({ length: 300_000 }, (_, n) => n % 251));
      const body = Readable.from([
        content.subarray(0, 7),
        content.subarray(7, 100_000),
        content.subarray(100_000),
      ]);
      const info = await objects.put(
        PROJECT,
        { bucket: BUCKET, key: "models/iris/model.joblib" },
        body,
        LARGE,
      );
      const md5 = createHash("md5").update(content).digest("hex");
      expect(info).toMatchObject({ key: "models/iris/model.joblib", sizeBytes: 300_000, etag: md5 });
      const got = await objects.get(PROJECT, { bucket: BUCKET, key: info.key });
      expect(got.info).toEqual(info);
      expect((await buffer(got.body)).equals(content)).toBe(true);
      expect(await objects.head(PROJECT, { bucket: BUCKET, key: info.key })).toEqual(info);
      expect((await list()).objects).toEqual([info]);
    });

    test("keeps an empty object", async () => {
      const info = await objects.put(PROJECT, { bucket: BUCKET, key: "empty" }, Readable.from([]), LARGE);
      expect(info).toMatchObject({ sizeBytes: 0, etag: "d41d8cd98f00b204e9800998ecf8427e" });
      expect(await read("empty")).toBe("");
    });

    test("gives ranges of bytes, cut at the end, and refuses those outside", async () => {
      await put("k", "0123456789");
      expect(await read("k", { start: 0, end: 0 })).toBe("0");
      expect(await read("k", { start: 3, end: 5 })).toBe("345");
      expect(await read("k", { start: 8, end: 100 })).toBe("89");
      for (const range of [
        { start: 10, end: 12 },
        { start: -1, end: 2 },
        { start: 3, end: 2 },
      ]) {
        await expect(read("k", range)).rejects.toMatchObject({ code: "ARGUMENT_INVALID" });
      }
    });

    test("replaces an object whole; who reads the old one reads it to its end", async () => {
      await put("k", "old ".repeat(50_000));
      const old = await objects.get(PROJECT, { bucket: BUCKET, key: "k" });
      await put("k", "new");
      expect((await buffer(old.body)).toString()).toBe("old ".repeat(50_000));
      expect(await read("k")).toBe("new");
    });

    test("keeps nothing of a body that is too large, fails or is cut off, and the object that was there", async () => {
      await put("k", "before");
      const sender = Readable.from(["1234", "5678", "9"]);
      const tooLarge = objects.put(PROJECT, { bucket: BUCKET, key: "k" }, sender, { maxBytes: 7 });
      await expect(tooLarge).rejects.toMatchObject({ code: "BODY_TOO_LARGE", status: 413 });
      // Whoever owns the body still has to answer its sender.
      expect(sender.destroyed).toBe(false);
      const failing = new Readable({
        read() {
          this.push("part");
          this.destroy(new Error("sender failed"));
        },
      });
      await expect(objects.put(PROJECT, { bucket: BUCKET, key: "k" }, failing, LARGE)).rejects.toThrow(
        "sender failed",
      );
      const cut = new Readable({ read() {} });
      cut.push("part");
      const putting = objects.put(PROJECT, { bucket: BUCKET, key: "k" }, cut, LARGE);
      setImmediate(() => cut.destroy());
      await expect(putting).rejects.toThrow();
      expect(await read("k")).toBe("before");
      expect(await keys()).toEqual(["k"]);
      expect(
        await objects.put(PROJECT, { bucket: BUCKET, key: "k" }, Readable.from(["1234567"]), { maxBytes: 7 }),
      ).toMatchObject({ sizeBytes: 7 });
    });

    test("says which of bucket and object is missing", async () => {
      const missing = { bucket: "missing", key: "k" };
      await expect(objects.get(PROJECT, missing)).rejects.toMatchObject({ code: "BUCKET_NOT_FOUND" });
      await expect(objects.put(PROJECT, missing, Readable.from(["x"]), LARGE)).rejects.toMatchObject({
        code: "BUCKET_NOT_FOUND",
      });
      await expect(objects.list(PROJECT, "missing", { prefix: "", limit: 1 })).rejects.toMatchObject({
        code: "BUCKET_NOT_FOUND",
      });
      await expect(read("k")).rejects.toMatchObject({ code: "OBJECT_NOT_FOUND" });
      expect(await objects.head(PROJECT, { bucket: BUCKET, key: "k" })).toBeNull();
      expect(await objects.delete(PROJECT, { bucket: BUCKET, key: "k" })).toBe(false);
    });

    test("keeps buckets and keys of projects apart", async () => {
      await put("k", "mine");
      await expect(objects.head(OTHER, { bucket: BUCKET, key: "k" })).rejects.toMatchObject({
        code: "BUCKET_NOT_FOUND",
      });
      expect(await objects.buckets(OTHER)).toEqual([]);
      await objects.createBucket(OTHER, BUCKET);
      expect(await objects.head(OTHER, { bucket: BUCKET, key: "k" })).toBeNull();
      await objects.deleteBucket(OTHER, BUCKET);
      expect(await read("k")).toBe("mine");
    });

    test("creates a bucket as often as asked, lists by name, deletes it only empty", async () => {
      await objects.createBucket(PROJECT, "a.b-1");
      await objects.createBucket(PROJECT, BUCKET);
      expect((await objects.buckets(PROJECT)).map((bucket) => bucket.name)).toEqual(["a.b-1", BUCKET]);
      await put("a/b/c");
      await expect(objects.deleteBucket(PROJECT, BUCKET)).rejects.toMatchObject({ code: "BUCKET_NOT_EMPTY" });
      expect(await read("a/b/c")).toBe("a/b/c");
      await objects.delete(PROJECT, { bucket: BUCKET, key: "a/b/c" });
      await objects.deleteBucket(PROJECT, BUCKET);
      await expect(objects.deleteBucket(PROJECT, BUCKET)).rejects.toMatchObject({ code: "BUCKET_NOT_FOUND" });
    });

    test("never loses an object to the deletion of its bucket", async () => {
      for (let round = 0; round < 20; round++) {
        const bucket = `race-${round}`;
        await objects.createBucket(PROJECT, bucket);
        const [written, deleted] = await Promise.allSettled([
          put("a/b/c", "x", bucket),
          objects.deleteBucket(PROJECT, bucket),
        ]);
        if (written.status === "fulfilled") {
          expect(deleted).toMatchObject({ status: "rejected", reason: { code: "BUCKET_NOT_EMPTY" } });
          expect(await objects.head(PROJECT, { bucket, key: "a/b/c" })).not.toBeNull();
        } else {
          expect(written.reason).toMatchObject({ code: "BUCKET_NOT_FOUND" });
        }
      }
    });

    test("puts and deletes neighbours at the same time", async () => {
      for (let round = 0; round < 10; round++) {
        const work = Array.from({ length: 8 }, async (_, n) => {
          const at = { bucket: BUCKET, key: `x/y/z${n}` };
          await put(at.key);
          expect(await objects.delete(PROJECT, at)).toBe(true);
        });
        await Promise.all(work);
      }
      expect(await keys()).toEqual([]);
    });

    test("never refuses a put because a neighbour's delete takes the folder away", async () => {
      await put("shared/a");
      for (let round = 0; round < 150; round++) {
        await Promise.all([
          objects.delete(PROJECT, { bucket: BUCKET, key: `shared/${round % 2 === 0 ? "a" : "b"}` }),
          put(`shared/${round % 2 === 0 ? "b" : "a"}`),
          put(`shared/deep/${round}`).then(() =>
            objects.delete(PROJECT, { bucket: BUCKET, key: `shared/deep/${round}` }),
          ),
        ]);
        expect(await keys()).toEqual([`shared/${round % 2 === 0 ? "b" : "a"}`]);
      }
    });

    test("lets one key be an object and a folder", async () => {
      for (const key of ["a/b", "a", "a/b/c", "a.o", "a.d/x"]) await put(key);
      expect(await keys()).toEqual(["a", "a.d/x", "a.o", "a/b", "a/b/c"]);
      await objects.delete(PROJECT, { bucket: BUCKET, key: "a" });
      expect(await read("a/b")).toBe("a/b");
      expect(await keys({ prefix: "a/" })).toEqual(["a/b", "a/b/c"]);
    });

    test("lists folders with a delimiter", async () => {
      for (const key of ["m/iris/config.json", "m/iris/model/a", "m/readme", "m2", "n/x", "m!"])
        await put(key);
      expect(await list({ delimiter: "/" })).toMatchObject({
        objects: [{ key: "m!" }, { key: "m2" }],
        prefixes: ["m/", "n/"],
      });
      expect(await list({ delimiter: "/", prefix: "m/" })).toMatchObject({
        objects: [{ key: "m/readme" }],
        prefixes: ["m/iris/"],
      });
      expect(await list({ delimiter: "/", prefix: "m" })).toMatchObject({
        objects: [{ key: "m!" }, { key: "m2" }],
        prefixes: ["m/"],
      });
      const seen: string[] = [];
      let after: string | null = null;
      do {
        const page: Awaited<ReturnType<typeof list>> = await list({
          delimiter: "/",
          limit: 1,
          ...(after === null ? {} : { after }),
        });
        seen.push(...page.objects.map((object) => object.key), ...page.prefixes);
        after = page.next;
      } while (after !== null);
      expect(seen).toEqual(["m!", "m/", "m2", "n/"]);
    });

    test("lists any keys in UTF-8 byte order, in pages, by any prefix, and gives each its content", async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(goodKey(), { minLength: 1, maxLength: 12 }),
          fc.integer({ min: 1, max: 5 }),
          fc.nat(),
          async (all, limit, cut) => {
            for (const key of all) await put(key);
            const sorted = all.toSorted((a, b) => Buffer.from(a).compare(Buffer.from(b)));
            const chosen = sorted[cut % sorted.length] ?? "";
            const prefix = Array.from(chosen)
              .slice(0, cut % 80)
              .join("");
            const seen: string[] = [];
            let after: string | null = null;
            do {
              const page: Awaited<ReturnType<typeof list>> = await list({
                prefix,
                limit,
                ...(after === null ? {} : { after }),
              });
              expect(page.objects.length).toBeLessThanOrEqual(limit);
              seen.push(...page.objects.map((object) => object.key));
              after = page.next;
            } while (after !== null);
            expect(seen).toEqual(sorted.filter((key) => key.startsWith(prefix)));
            expect(await keys({ after: chosen })).toEqual(sorted.slice(sorted.indexOf(chosen) + 1));
            for (const key of all) {
              expect(await read(key)).toBe(key);
              expect(await objects.delete(PROJECT, { bucket: BUCKET, key })).toBe(true);
            }
            expect(await keys()).toEqual([]);
          },
        ),
        { numRuns: 15 },
      );
    });

    test("keeps keys of 1024 bytes, whatever they are made of", async () => {
      const long = ["k".repeat(1024), "K".repeat(1024), "😀".repeat(256), `${"A/".repeat(511)}AA`];
      for (const key of long) await put(key);
      expect((await keys()).toSorted()).toEqual(long.toSorted());
      for (const key of long) expect(await read(key)).toBe(key);
    });

    test("refuses keys that are not allowed, before it reads the body", async () => {
      const bad = [
        "",
        "/abs",
        "a//b",
        "a/",
        "..",
        "../x",
        "a/../../x",
        ".",
        "a/./b",
        "a\\b",
        "a\0b",
        "\ud800",
        "k".repeat(1025),
        "é".repeat(513),
      ];
      for (const key of bad) {
        const at = { bucket: BUCKET, key };
        for (const attempt of [
          () => objects.put(PROJECT, at, Readable.from(["x"]), LARGE),
          () => objects.get(PROJECT, at),
          () => objects.head(PROJECT, at),
          () => objects.delete(PROJECT, at),
        ]) {
          await expect(attempt()).rejects.toMatchObject({ code: "OBJECT_KEY_INVALID", status: 400 });
        }
      }
      expect(await keys()).toEqual([]);
    });

    test("refuses bucket names that are not S3's", async () => {
      for (const bucket of [
        "",
        "ab",
        "A-B",
        "a_b",
        "..",
        "../x",
        "a..b",
        "-ab",
        "ab.",
        "x".repeat(64),
        "1.2.3.4",
        "a/b",
        ".tmp",
      ]) {
        await expect(objects.createBucket(PROJECT, bucket)).rejects.toMatchObject({
          code: "ARGUMENT_INVALID",
        });
        await expect(objects.head(PROJECT, { bucket, key: "k" })).rejects.toMatchObject({
          code: "BUCKET_NOT_FOUND",
        });
      }
    });

    describe("download", () => {
      let into: string;
      beforeEach(async () => {
        into = await mkdtemp(join(tmpdir(), "mp-download-"));
        for (const key of ["p/config.json", "p/model/m.bin", "p/empty/e", "pq", "q/x"])
          await put(key, key.endsWith("/e") ? "" : key);
      });
      afterEach(() => rm(into, { recursive: true, force: true }));
      const download = (key: string, limits = {}, signal = new AbortController().signal) =>
        objects.download(PROJECT, { bucket: BUCKET, key }, into, { ...NO_LIMITS, ...limits }, signal);

      test("copies everything below a prefix, with or without its slash, and nothing beside it", async () => {
        for (const key of ["p", "p/"]) {
          expect(await download(key)).toEqual({ files: 3, bytes: 26 });
          expect((await readdir(into, { recursive: true })).toSorted()).toEqual(
            ["config.json", "empty", "empty/e", "model", "model/m.bin"].toSorted(),
          );
          expect(await readFile(join(into, "model/m.bin"), "utf8")).toBe("p/model/m.bin");
          await rm(into, { recursive: true });
        }
        expect(await download("")).toMatchObject({ files: 5 });
        expect(await download("nothing")).toEqual({ files: 0, bytes: 0 });
      });

      test("stops at each limit", async () => {
        await expect(download("p", { maxBytes: 25 })).rejects.toMatchObject({ code: "PACKAGE_TOO_LARGE" });
        await rm(into, { recursive: true });
        await expect(download("p", { maxFileBytes: 12 })).rejects.toMatchObject({
          code: "PACKAGE_TOO_LARGE",
        });
        await rm(into, { recursive: true });
        await expect(download("p", { maxFiles: 2 })).rejects.toMatchObject({ code: "ARGUMENT_INVALID" });
        await rm(into, { recursive: true });
        expect(await download("p", { maxBytes: 26, maxFileBytes: 13, maxFiles: 3 })).toEqual({
          files: 3,
          bytes: 26,
        });
      });

      test("stops when it is cancelled", async () => {
        await expect(download("p", {}, AbortSignal.abort(new Error("no more")))).rejects.toThrow("no more");
        const later = new AbortController();
        const running = download("", {}, later.signal);
        later.abort(new Error("enough"));
        await expect(running).rejects.toThrow("enough");
      });

      test("refuses keys that cannot both be files", async () => {
        await put("p/model", "a file where a folder is");
        await expect(download("p")).rejects.toMatchObject({ code: "OBJECT_KEY_INVALID" });
      });
    });
  });
};

/** The objects suite on a directory, and what only a directory has: kills, leftovers and things planted in the tree. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../telemetry/clock.ts";
import { openDirectoryObjects } from "./directory.ts";
import { keyProblem, objectPath } from "./key-path.ts";
import type { Objects } from "./objects.ts";
import { goodKey, objectsSuite, PROJECT } from "./objects.suite.ts";

const folder = (): Promise<string> => mkdtemp(join(tmpdir(), "mp-objects-"));
const LARGE = { maxBytes: 1e9 };

objectsSuite("a directory", async () => {
  const root = await folder();
  return {
    objects: await openDirectoryObjects({ root, clock: systemClock }),
    remove: () => rm(root, { recursive: true }),
  };
});

describe("paths of keys", () => {
  test("differ for different keys, also where case and Unicode forms do not count", () => {
    fc.assert(
      fc.property(goodKey(), goodKey(), (a, b) => {
        const [one, two] = [a, b].map((key) => objectPath(key).join("/").toLowerCase().normalize("NFKD"));
        expect(one === two).toBe(a === b);
      }),
    );
  });

  test("stay below the bucket with names every file system takes, for any key that is allowed", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 300 }), goodKey(), (any, good) => {
        for (const key of [any, good]) {
          if (keyProblem(key) !== null) continue;
          for (const name of objectPath(key)) expect(name).toMatch(/^[a-z0-9_.%-]{0,180}\.[odc]$/);
          expect(join("/bucket", ...objectPath(key))).toMatch(/^\/bucket\/[^/]/);
        }
      }),
    );
  });
});

describe("a directory of objects", () => {
  let root: string;
  let objects: Objects;
  const bucket = (): string => join(root, PROJECT, "data");
  beforeEach(async () => {
    root = await folder();
    objects = await openDirectoryObjects({ root, clock: systemClock });
    await objects.createBucket(PROJECT, "data");
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  test("leaves no file of a failed put, and no directory of a deleted object", async () => {
    const at = { bucket: "data", key: "a/b/c" };
    await expect(objects.put(PROJECT, at, Readable.from(["12345"]), { maxBytes: 4 })).rejects.toThrow();
    await objects.put(PROJECT, at, Readable.from(["x"]), LARGE);
    await objects.delete(PROJECT, at);
    expect(await readdir(root, { recursive: true })).toEqual(
      expect.arrayContaining([".tmp", PROJECT, `${PROJECT}/data`]),
    );
    expect(await readdir(root, { recursive: true })).toHaveLength(3);
  });

  test("neither follows nor lists links that were planted, nor writes through them", async () => {
    const outside = await folder();
    await objects.put(PROJECT, { bucket: "data", key: "real/k" }, Readable.from(["mine"]), LARGE);
    await writeFile(join(outside, "secret"), "secret");
    await symlink(outside, join(bucket(), "dir.d"));
    await symlink(join(bucket(), "real.d"), join(bucket(), "alias.d"));
    await symlink(join(bucket(), "real.d", "k.o"), join(bucket(), "link.o"));
    await symlink(outside, join(root, PROJECT, "linked"));
    for (const key of ["dir/secret", "alias/k", "link"]) {
      const at = { bucket: "data", key };
      await expect(objects.get(PROJECT, at)).rejects.toMatchObject({ code: "OBJECT_NOT_FOUND" });
      expect(await objects.head(PROJECT, at)).toBeNull();
    }
    expect(await objects.delete(PROJECT, { bucket: "data", key: "alias/k" })).toBe(false);
    for (const key of ["dir/new", "alias/new"]) {
      const put = objects.put(PROJECT, { bucket: "data", key }, Readable.from(["x"]), LARGE);
      await expect(put).rejects.toMatchObject({ code: "OBJECT_KEY_INVALID" });
    }
    await objects.put(PROJECT, { bucket: "data", key: "link" }, Readable.from(["own"]), LARGE);
    const real = await objects.get(PROJECT, { bucket: "data", key: "real/k" });
    expect((await buffer(real.body)).toString()).toBe("mine");
    const { objects: listed } = await objects.list(PROJECT, "data", { prefix: "", limit: 100 });
    expect(listed.map((object) => object.key)).toEqual(["link", "real/k"]);
    expect((await objects.buckets(PROJECT)).map((b) => b.name)).toEqual(["data"]);
    await expect(objects.list(PROJECT, "linked", { prefix: "", limit: 1 })).rejects.toMatchObject({
      code: "BUCKET_NOT_FOUND",
    });
    expect(await readdir(outside)).toEqual(["secret"]);
    await rm(outside, { recursive: true });
  });

  test("passes over files that no put has made", async () => {
    await writeFile(join(bucket(), "plain.o"), "no trailer, and long enough to have held one");
    await writeFile(join(bucket(), "short.o"), "");
    await writeFile(join(bucket(), "%61.o"), "another spelling");
    await writeFile(join(bucket(), "note.txt"), "x");
    await mkdir(join(bucket(), "dir.o"));
    expect((await objects.list(PROJECT, "data", { prefix: "", limit: 100 })).objects).toEqual([]);
    for (const key of ["plain", "short", "a", "note", "dir"]) {
      expect(await objects.head(PROJECT, { bucket: "data", key })).toBeNull();
    }
  });

  test("shows a killed put's object not at all, and removes what it left at the next open", async () => {
    await objects.put(PROJECT, { bucket: "data", key: "k" }, Readable.from(["before"]), LARGE);
    const script = `
      import { openDirectoryObjects } from ${JSON.stringify(fileURLToPath(new URL("directory.ts", import.meta.url)))};
      import { systemClock } from ${JSON.stringify(fileURLToPath(new URL("../telemetry/clock.ts", import.meta.url)))};
      const objects = await openDirectoryObjects({ root: ${JSON.stringify(root)}, clock: systemClock });
      process.stdout.write("ready");
      await objects.put(${JSON.stringify(PROJECT)}, { bucket: "data", key: "k" }, process.stdin, { maxBytes: 1e9 });
    `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const closed = once(child, "close");
    await once(child.stdout, "data");
    child.stdin.on("error", () => undefined);
    child.stdin.write("half of a new one");
    const temporary = join(root, ".tmp");
    await expect
      .poll(async () => {
        const [name] = await readdir(temporary);
        return name === undefined ? "" : readFile(join(temporary, name), "utf8");
      })
      .toBe("half of a new one");
    // A second store opened meanwhile, as a restarted process does, leaves a living one's put alone.
    await openDirectoryObjects({ root, clock: systemClock });
    expect(await readdir(temporary)).toHaveLength(1);
    child.kill("SIGKILL");
    await closed;
    const again = await openDirectoryObjects({ root, clock: systemClock });
    expect(await readdir(temporary)).toEqual([]);
    const { body } = await again.get(PROJECT, { bucket: "data", key: "k" });
    expect((await buffer(body)).toString()).toBe("before");
  });
});

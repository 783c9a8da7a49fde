/**
 * Objects as files of a directory tree: <root>/<project>/<bucket>/…, named by key-path.ts, built by object-file.ts,
 * listed by listing.ts. A put is written to <root>/.tmp, synced and renamed, so an object is there whole or not at all
 * whenever the process dies. Links in the tree are never followed: every path is resolved and must come out unchanged.
 */
import { createHash, randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open, readdir, realpath, rename, rm, rmdir, stat, unlink } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import type { Clock } from "../core/clock.ts";
import { fail } from "../core/errors.ts";
import { instant } from "../core/ids.ts";
import type { ProjectId } from "../core/ids.ts";
import { copyBelow } from "./download.ts";
import { keyProblem, objectPath } from "./key-path.ts";
import { holdsAny, walk } from "./listing.ts";
import { isBucketName } from "../core/obs-location.ts";
import { isAbsent, openObject, trailer } from "./object-file.ts";
import type { StoredObject } from "./object-file.ts";
import type { ObjectInfo, ObjectLocation, Objects } from "./objects.ts";

const TEMPORARY = ".tmp";
/** Puts and deletes of neighbours remove each other's empty directories; one that loses tries again. */
const COMMIT_ATTEMPTS_MAX = 20;

/** Opens the tree at `root`, creating it if needed; removes what killed puts left. One process writes at a time. */
export const openDirectoryObjects = async (options: { root: string; clock: Clock }): Promise<Objects> => {
  await mkdir(join(options.root, TEMPORARY), { recursive: true, mode: 0o700 });
  // Resolved once, so that resolving any path below it must give the path itself.
  const root = await realpath(options.root);
  const temporary = join(root, TEMPORARY);
  await removeLeftovers(temporary);
  const { clock } = options;

  const bucketPath = async (project: ProjectId, bucket: string): Promise<string> => {
    const path = nameBucket(root, project, bucket);
    if (path === null || !(await isOwnDirectory(path))) throw fail("BUCKET_NOT_FOUND", { bucket });
    return path;
  };
  const openExisting = async (
    project: ProjectId,
    at: ObjectLocation,
  ): Promise<{ handle: FileHandle; stored: StoredObject } | null> => {
    const bucket = await bucketPath(project, at.bucket);
    const names = checkedPath(at.key);
    const path = join(bucket, ...names);
    return (await isOwnDirectory(dirname(path))) ? openObject(path) : null;
  };

  return {
    buckets: async (project) => {
      const parent = projectPath(root, project);
      if (parent === null || !(await isOwnDirectory(parent))) return [];
      const found = [];
      for (const entry of await readdir(parent, { withFileTypes: true })) {
        if (!entry.isDirectory() || !isBucketName(entry.name)) continue;
        const { birthtimeMs, ctimeMs } = await stat(join(parent, entry.name));
        found.push({
          name: entry.name,
          createdAt: instant(Math.floor(birthtimeMs > 0 ? birthtimeMs : ctimeMs)),
        });
      }
      return found.sort((a, b) => (a.name < b.name ? -1 : 1));
    },

    createBucket: async (project, bucket) => {
      const path = nameBucket(root, project, bucket);
      if (path === null) {
        const reason = `The bucket name ${bucket} must be 3 to 63 lower-case letters, digits, dots or hyphens.`;
        throw fail("ARGUMENT_INVALID", { reason });
      }
      await mkdir(path, { recursive: true, mode: 0o700 });
      if (!(await isOwnDirectory(path))) throw fail("BUCKET_NOT_FOUND", { bucket });
      await syncDirectory(dirname(path));
      await syncDirectory(root);
    },

    deleteBucket: async (project, bucket) => {
      const path = await bucketPath(project, bucket);
      // rmdir is what decides: an object put meanwhile keeps its directories, and with them the bucket.
      if ((await holdsAny(path)) || !(await removeEmptyTree(path)))
        throw fail("BUCKET_NOT_EMPTY", { bucket });
      await syncDirectory(dirname(path));
    },

    put: async (project, at, body, limits) => {
      let file: FileHandle | null = null;
      const scratch = join(temporary, `${process.pid}-${randomUUID()}`);
      try {
        const bucket = await bucketPath(project, at.bucket);
        const names = checkedPath(at.key);
        file = await open(scratch, "wx", 0o600);
        const now = clock.now();
        const { sizeBytes, md5 } = await receive(body, file, limits.maxBytes);
        await file.appendFile(trailer(md5, now));
        await file.sync();
        await file.close();
        file = null;
        await commit(scratch, bucket, names, at);
        return { key: at.key, sizeBytes, etag: md5.toString("hex"), modifiedAt: now };
      } catch (error) {
        // The body is left as it is: destroying a request's would close the connection before it is answered.
        await file?.close();
        await rm(scratch, { force: true });
        throw error;
      }
    },

    get: async (project, at, range) => {
      const found = await openExisting(project, at);
      if (found === null) throw fail("OBJECT_NOT_FOUND", { bucket: at.bucket, key: at.key });
      const { handle, stored } = found;
      const start = range?.start ?? 0;
      const end = Math.min(range?.end ?? stored.sizeBytes - 1, stored.sizeBytes - 1);
      if (range !== undefined && !isRange(range, stored.sizeBytes)) {
        await handle.close();
        const reason = `The range ${range.start}-${range.end} is not within the object's ${stored.sizeBytes} bytes.`;
        throw fail("ARGUMENT_INVALID", { reason });
      }
      const info = { key: at.key, ...stored };
      if (end >= start) return { info, body: handle.createReadStream({ start, end }) };
      await handle.close();
      return { info, body: Readable.from([]) };
    },

    head: async (project, at) => {
      const found = await openExisting(project, at);
      if (found === null) return null;
      await found.handle.close();
      return { key: at.key, ...found.stored };
    },

    list: async (project, bucket, { limit, ...what }) => {
      const path = await bucketPath(project, bucket);
      const objects: ObjectInfo[] = [];
      const prefixes: string[] = [];
      let last: string | null = null;
      for await (const found of walk(path, what)) {
        if (objects.length + prefixes.length >= limit) return { objects, prefixes, next: last };
        if (found.kind === "prefix") {
          prefixes.push(found.key);
        } else {
          const opened = await openObject(found.path);
          if (opened === null) continue;
          await opened.handle.close();
          objects.push({ key: found.key, ...opened.stored });
        }
        last = found.key;
      }
      return { objects, prefixes, next: null };
    },

    delete: async (project, at) => {
      const bucket = await bucketPath(project, at.bucket);
      const path = join(bucket, ...checkedPath(at.key));
      if (!(await isOwnDirectory(dirname(path)))) return false;
      try {
        await unlink(path);
      } catch (error) {
        if (isAbsent(error)) return false;
        throw error;
      }
      let directory = dirname(path);
      await syncDirectory(directory);
      while (directory !== bucket && (await removeEmpty(directory))) directory = dirname(directory);
      return true;
    },

    download: async (project, at, into, limits, signal) => {
      const bucket = await bucketPath(project, at.bucket);
      return copyBelow({ bucket, at, into, limits, signal });
    },
  };
};

const projectPath = (root: string, project: string): string | null =>
  /^[A-Za-z0-9_-]{1,64}$/.test(project) ? join(root, project) : null;

const nameBucket = (root: string, project: string, bucket: string): string | null => {
  const parent = projectPath(root, project);
  return parent === null || !isBucketName(bucket) ? null : join(parent, bucket);
};

const checkedPath = (key: string): readonly string[] => {
  const reason = keyProblem(key);
  if (reason !== null) throw fail("OBJECT_KEY_INVALID", { reason });
  return objectPath(key);
};

const isRange = (range: { start: number; end: number }, sizeBytes: number): boolean =>
  Number.isSafeInteger(range.start) &&
  range.start >= 0 &&
  range.start < sizeBytes &&
  range.end >= range.start;

/** True for a directory that is reached without any link. */
const isOwnDirectory = async (path: string): Promise<boolean> => {
  try {
    return (await realpath(path)) === path && (await stat(path)).isDirectory();
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
};

const receive = async (
  body: Readable,
  file: FileHandle,
  maxBytes: number,
): Promise<{ sizeBytes: number; md5: Buffer }> => {
  const hash = createHash("md5");
  let sizeBytes = 0;
  // Iterating fails when the sender goes away before the end, so a cut body never becomes an object.
  const chunks = body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer | string>;
  for await (const chunk of chunks) {
    const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    sizeBytes += bytes.length;
    if (sizeBytes > maxBytes) throw fail("BODY_TOO_LARGE", { limitBytes: maxBytes });
    hash.update(bytes);
    await file.appendFile(bytes);
  }
  return { sizeBytes, md5: hash.digest() };
};

/** Makes the directories of an object and renames the finished file into its place. */
const commit = async (
  scratch: string,
  bucket: string,
  names: readonly string[],
  at: ObjectLocation,
): Promise<void> => {
  const target = join(bucket, ...names);
  for (let attempt = 1; ; attempt++) {
    try {
      await makeDirectories(bucket, names.slice(0, -1));
      if (!(await isOwnDirectory(dirname(target)))) {
        // Most likely a neighbour's delete took it away: the next attempt makes it anew.
        if (attempt < COMMIT_ATTEMPTS_MAX) continue;
        throw fail("OBJECT_KEY_INVALID", {
          reason: "a folder on its way is not one of the object store's own",
        });
      }
      await rename(scratch, target);
      await syncDirectory(dirname(target));
      return;
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (code === "ENAMETOOLONG") {
        throw fail("OBJECT_KEY_INVALID", { reason: "it is longer than this machine's file system allows" });
      }
      if (code === "EISDIR" || code === "ENOTDIR" || code === "ELOOP") {
        throw fail(
          "OBJECT_KEY_INVALID",
          { reason: "its place is taken by something that is no object" },
          { cause: error },
        );
      }
      if (code !== "ENOENT") throw error;
      if (!(await isOwnDirectory(bucket))) throw fail("BUCKET_NOT_FOUND", { bucket: at.bucket });
      if (attempt >= COMMIT_ATTEMPTS_MAX) throw error;
    }
  }
};

/** One by one: `recursive` would bring back a bucket that is being deleted. */
const makeDirectories = async (bucket: string, names: readonly string[]): Promise<void> => {
  let directory = bucket;
  for (const name of names) {
    const parent = directory;
    directory = join(parent, name);
    try {
      await mkdir(directory, { mode: 0o700 });
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    }
    // Also one that was there: whoever made it may not have come to this line yet, or have died before it.
    await syncDirectory(parent);
  }
};

/** A rename or a new entry is on the disk only once its directory is. */
const syncDirectory = async (path: string): Promise<void> => {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  } catch (error) {
    // Removed by a neighbour's delete: then there is nothing left to make durable.
    if (isAbsent(error)) return;
    throw error;
  }
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

/** False when it is not empty. */
const removeEmpty = async (directory: string): Promise<boolean> => {
  try {
    await rmdir(directory);
    return true;
  } catch (error) {
    if (isAbsent(error)) return true;
    if (
      error instanceof Error &&
      "code" in error &&
      (error.code === "ENOTEMPTY" || error.code === "EEXIST")
    ) {
      return false;
    }
    throw error;
  }
};

const removeEmptyTree = async (directory: string): Promise<boolean> => {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (!entry.isDirectory() || !(await removeEmptyTree(join(directory, entry.name)))) return false;
  }
  return removeEmpty(directory);
};

/** Files of puts whose process is gone. A put of another living process (an old one still draining) goes on. */
const removeLeftovers = async (temporary: string): Promise<void> => {
  for (const name of await readdir(temporary)) {
    const pid = Number.parseInt(name, 10);
    if (pid === process.pid || !isAlive(pid))
      await rm(join(temporary, name), { recursive: true, force: true });
  }
};

const isAlive = (pid: number): boolean => {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
};

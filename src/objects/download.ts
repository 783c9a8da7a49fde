/** Copies everything below a prefix of a bucket into a directory, within limits that hold while it streams. */
import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fail } from "../core/errors.ts";
import { walk } from "./listing.ts";
import { openObject } from "./object-file.ts";
import type { ObjectLocation } from "./objects.ts";

const GB = 1024 ** 3;
const FILE_ADVICE =
  "Reduce the file, or use dynamic loading (`dynamic_loading`, `modelport model import --dynamic`).";

/**
 * What is in `into` when this throws is up to the caller to remove. Sizes are known before a file is copied, and a file
 * cannot grow while it is (a put replaces it), so no limit is ever passed, not even by one chunk.
 */
export const copyBelow = async (task: {
  readonly bucket: string;
  readonly at: ObjectLocation;
  readonly into: string;
  readonly limits: { maxBytes: number; maxFileBytes: number; maxFiles: number };
  readonly signal: AbortSignal;
}): Promise<{ files: number; bytes: number }> => {
  const { bucket, at, into, limits, signal } = task;
  const prefix = at.key === "" || at.key.endsWith("/") ? at.key : `${at.key}/`;
  let files = 0;
  let bytes = 0;
  signal.throwIfAborted();
  await mkdir(into, { recursive: true });
  for await (const found of walk(bucket, { prefix })) {
    signal.throwIfAborted();
    if (found.kind !== "object") continue;
    const opened = await openObject(found.path);
    // Deleted since its directory was read.
    if (opened === null) continue;
    const { handle, stored } = opened;
    try {
      files += 1;
      bytes += stored.sizeBytes;
      if (files > limits.maxFiles) {
        const reason = `There are more than ${limits.maxFiles} objects below obs://${at.bucket}/${prefix}.`;
        throw fail("ARGUMENT_INVALID", { reason });
      }
      if (stored.sizeBytes > limits.maxFileBytes)
        throw tooLarge(`the file ${found.key}`, limits.maxFileBytes, FILE_ADVICE);
      if (bytes > limits.maxBytes)
        throw tooLarge(`obs://${at.bucket}/${prefix}`, limits.maxBytes, "Reduce the model.");
      const target = join(into, ...found.key.slice(prefix.length).split("/"));
      try {
        await mkdir(dirname(target), { recursive: true });
        // `wx`: where two keys would be one file (`a` and `a/b`, or `A` and `a` on some systems), none replaces the other.
        const writer = createWriteStream(target, { flags: "wx" });
        if (stored.sizeBytes === 0) await pipeline([], writer, { signal });
        else {
          const reader = handle.createReadStream({ start: 0, end: stored.sizeBytes - 1, autoClose: false });
          await pipeline(reader, writer, { signal });
        }
      } catch (error) {
        signal.throwIfAborted();
        throw asKeyProblem(error, found.key);
      }
    } finally {
      await handle.close();
    }
  }
  return { files, bytes };
};

const tooLarge = (what: string, limitBytes: number, advice: string): Error =>
  fail("PACKAGE_TOO_LARGE", { what, limitGb: Number((limitBytes / GB).toPrecision(3)), advice });

const COLLISIONS = new Set(["EEXIST", "ENOTDIR", "EISDIR"]);

const asKeyProblem = (error: unknown, key: string): unknown => {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (typeof code !== "string") return error;
  if (COLLISIONS.has(code)) {
    const reason = `${key} and another object cannot both be files of one folder.`;
    return fail("OBJECT_KEY_INVALID", { reason }, { cause: error });
  }
  if (code === "ENAMETOOLONG") {
    return fail("OBJECT_KEY_INVALID", { reason: `${key} is too long for a file name.` }, { cause: error });
  }
  return error;
};

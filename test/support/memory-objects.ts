/** Objects in memory, for tests of the API only: what the directory and S3 implementations promise, without disks. */
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { fail } from "../../src/core/errors.ts";
import { instant } from "../../src/core/ids.ts";
import type { ObjectInfo, Objects } from "../../src/objects/objects.ts";

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

const checkKey = (key: string): void => {
  const parts = key.split("/");
  if (
    key === "" ||
    Buffer.byteLength(key) > 1024 ||
    /[\0\\]/.test(key) ||
    parts.some((p) => /^\.{0,2}$/.test(p))
  ) {
    throw fail("OBJECT_KEY_INVALID", { reason: "it is empty, too long or not a plain path." });
  }
};

export const createMemoryObjects = (): Objects => {
  const buckets = new Map<string, Map<string, Buffer>>();
  const slot = (project: string, bucket: string): string => `${project}/${bucket}`;
  const need = (project: string, bucket: string): Map<string, Buffer> => {
    const found = buckets.get(slot(project, bucket));
    if (found === undefined) throw fail("BUCKET_NOT_FOUND", { bucket });
    return found;
  };
  const info = (key: string, body: Buffer): ObjectInfo => ({
    key,
    sizeBytes: body.length,
    etag: createHash("md5").update(body).digest("hex"),
    modifiedAt: instant(0),
  });
  return {
    buckets: async (project) =>
      [...buckets.keys()]
        .filter((name) => name.startsWith(`${project}/`))
        .map((name) => ({ name: name.slice(project.length + 1), createdAt: instant(0) })),
    createBucket: async (project, bucket) => {
      if (!BUCKET.test(bucket))
        throw fail("OBJECT_KEY_INVALID", { reason: "the bucket's name is not allowed." });
      const name = slot(project, bucket);
      if (!buckets.has(name)) buckets.set(name, new Map());
    },
    deleteBucket: async (project, bucket) => {
      if (need(project, bucket).size > 0) throw fail("BUCKET_NOT_EMPTY", { bucket });
      buckets.delete(slot(project, bucket));
    },
    put: async (project, at, body, { maxBytes }) => {
      checkKey(at.key);
      const chunks: Buffer[] = [];
      for await (const chunk of body) chunks.push(chunk as Buffer);
      const whole = Buffer.concat(chunks);
      if (whole.length > maxBytes) throw fail("BODY_TOO_LARGE", { limitBytes: maxBytes });
      need(project, at.bucket).set(at.key, whole);
      return info(at.key, whole);
    },
    get: async (project, at, range) => {
      checkKey(at.key);
      const body = need(project, at.bucket).get(at.key);
      if (body === undefined) throw fail("OBJECT_NOT_FOUND", at);
      const part = range === undefined ? body : body.subarray(range.start, range.end + 1);
      return { info: info(at.key, body), body: Readable.from([part]) };
    },
    head: async (project, at) => {
      checkKey(at.key);
      const body = buckets.get(slot(project, at.bucket))?.get(at.key);
      return body === undefined ? null : info(at.key, body);
    },
    list: async (project, bucket, { prefix, delimiter, after, limit }) => {
      const prefixes = new Set<string>();
      const objects: ObjectInfo[] = [];
      for (const [key, body] of [...need(project, bucket)].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
        if (!key.startsWith(prefix) || (after !== undefined && key <= after)) continue;
        const cut = delimiter === undefined ? -1 : key.indexOf(delimiter, prefix.length);
        if (cut >= 0) prefixes.add(key.slice(0, cut + 1));
        else objects.push(info(key, body));
      }
      const page = objects.slice(0, limit);
      return {
        objects: page,
        prefixes: [...prefixes],
        next: objects.length > page.length ? (page.at(-1)?.key ?? null) : null,
      };
    },
    delete: async (project, at) => {
      checkKey(at.key);
      return need(project, at.bucket).delete(at.key);
    },
    download: async () => ({ files: 0, bytes: 0 }),
  };
};

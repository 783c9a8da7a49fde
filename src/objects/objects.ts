/**
 * Objects behind `obs://bucket/key` and `s3://bucket/key`. Buckets belong to a project and names are per project, so
 * no tenant can learn of another's. Embedded implementation: a directory per bucket. One suite: objects.suite.ts.
 */
import type { Readable } from "node:stream";
import type { Instant, ProjectId } from "../core/ids.ts";

export interface ObjectInfo {
  readonly key: string;
  readonly sizeBytes: number;
  /** MD5 of the content, hex, as S3 and OBS give it for single-part objects. */
  readonly etag: string;
  readonly modifiedAt: Instant;
}

export interface ObjectListing {
  readonly objects: readonly ObjectInfo[];
  /** With a delimiter: the common prefixes ("folders"). */
  readonly prefixes: readonly string[];
  /** Pass as `after` to go on; null at the end. */
  readonly next: string | null;
}

/** `obs://bucket/key` taken apart; key may be empty. */
export interface ObjectLocation {
  readonly bucket: string;
  readonly key: string;
}

/** Bucket names follow S3's rules (3–63, lower-case letters, digits, `-`, `.`); keys are 1–1024 bytes of UTF-8 without
 *  NUL, `.` and `..` segments, empty segments, leading slash or backslash; else AppError OBJECT_KEY_INVALID. */
export interface Objects {
  buckets(project: ProjectId): Promise<readonly { name: string; createdAt: Instant }[]>;
  /** Idempotent. */
  createBucket(project: ProjectId, bucket: string): Promise<void>;
  /** Throws BUCKET_NOT_EMPTY, BUCKET_NOT_FOUND. */
  deleteBucket(project: ProjectId, bucket: string): Promise<void>;
  /** Streams; the object appears whole or not at all, also when the process dies half-way. Creates no bucket. */
  put(
    project: ProjectId,
    at: ObjectLocation,
    body: Readable,
    limits: { maxBytes: number },
  ): Promise<ObjectInfo>;
  /** Throws OBJECT_NOT_FOUND, BUCKET_NOT_FOUND. `range` is inclusive, in bytes. */
  get(
    project: ProjectId,
    at: ObjectLocation,
    range?: { start: number; end: number },
  ): Promise<{ info: ObjectInfo; body: Readable }>;
  head(project: ProjectId, at: ObjectLocation): Promise<ObjectInfo | null>;
  /** Keys in UTF-8 byte order. */
  list(
    project: ProjectId,
    bucket: string,
    options: { prefix: string; delimiter?: "/"; after?: string; limit: number },
  ): Promise<ObjectListing>;
  /** Idempotent; true when there was one. */
  delete(project: ProjectId, at: ObjectLocation): Promise<boolean>;
  /** Copies everything below a prefix into a directory (files keep their relative paths); for imports. */
  download(
    project: ProjectId,
    at: ObjectLocation,
    into: string,
    limits: { maxBytes: number; maxFileBytes: number; maxFiles: number },
    signal: AbortSignal,
  ): Promise<{ files: number; bytes: number }>;
}

/**
 * One object as one file: the content, then a trailer of 32 bytes with its MD5, the time it was put and a mark. Content
 * and metadata in one file become visible in one rename; a second file for the metadata could be newer or older than its
 * object after a kill. Sizes and ranges hide the trailer.
 */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { instant } from "../core/ids.ts";
import type { Instant } from "../core/ids.ts";

const MARK = Buffer.from("MPOBJ\u0000\u0001\n", "latin1");
const MD5_BYTES = 16;
const TIME_BYTES = 8;
const TRAILER_BYTES = MD5_BYTES + TIME_BYTES + MARK.length;

export interface StoredObject {
  readonly sizeBytes: number;
  readonly etag: string;
  readonly modifiedAt: Instant;
}

export const trailer = (md5: Buffer, now: Instant): Buffer => {
  const time = Buffer.alloc(TIME_BYTES);
  time.writeBigInt64BE(BigInt(now));
  return Buffer.concat([md5, time, MARK]);
};

/**
 * Opens an object's file and reads its trailer. Null when there is none: no such file, a link (never followed), or a file
 * that no put has made.
 */
export const openObject = async (
  path: string,
): Promise<{ handle: FileHandle; stored: StoredObject } | null> => {
  let handle: FileHandle;
  try {
    // NONBLOCK: opening a planted pipe must not wait for its other end.
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
  try {
    const stored = await readTrailer(handle);
    if (stored !== null) return { handle, stored };
  } catch (error) {
    await handle.close();
    throw error;
  }
  await handle.close();
  return null;
};

const readTrailer = async (handle: FileHandle): Promise<StoredObject | null> => {
  const stat = await handle.stat();
  const sizeBytes = stat.size - TRAILER_BYTES;
  if (!stat.isFile() || sizeBytes < 0) return null;
  const bytes = Buffer.alloc(TRAILER_BYTES);
  const { bytesRead } = await handle.read(bytes, 0, TRAILER_BYTES, sizeBytes);
  if (bytesRead !== TRAILER_BYTES || !bytes.subarray(MD5_BYTES + TIME_BYTES).equals(MARK)) return null;
  return {
    sizeBytes,
    etag: bytes.toString("hex", 0, MD5_BYTES),
    modifiedAt: instant(Number(bytes.readBigInt64BE(MD5_BYTES))),
  };
};

const ABSENT = new Set(["ENOENT", "ENOTDIR", "ELOOP", "EISDIR", "ENXIO", "ENAMETOOLONG"]);

/** The path leads nowhere, or to something that is no object. */
export const isAbsent = (error: unknown): boolean =>
  error instanceof Error && "code" in error && typeof error.code === "string" && ABSENT.has(error.code);

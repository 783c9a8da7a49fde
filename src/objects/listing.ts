/**
 * Keys of a bucket in UTF-8 byte order, one directory in memory at a time per level. The tree of key-path.ts keeps keys
 * below a directory together in that order, so whole directories before `after` or outside the prefix are never read.
 */
import { isUtf8 } from "node:buffer";
import type { Dirent } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { parseEntry } from "./key-path.ts";
import { isAbsent } from "./object-file.ts";

export type Found =
  | { readonly kind: "object"; readonly key: string; readonly path: string }
  | { readonly kind: "prefix"; readonly key: string };

export interface WalkOptions {
  readonly prefix: string;
  readonly delimiter?: "/";
  readonly after?: string;
}

/** Objects, and with a delimiter common prefixes, after `after` in order. Links in the tree are passed over. */
export const walk = async function* (root: string, options: WalkOptions): AsyncGenerator<Found> {
  const prefix = Buffer.from(options.prefix);
  const after = options.after === undefined ? null : Buffer.from(options.after);

  const descend = async function* (directory: string, base: Buffer): AsyncGenerator<Found> {
    for (const entry of await entriesOf(directory, base)) {
      if (entry.kind === "object") {
        if (startsWith(entry.key, prefix) && isAfter(entry.key, after)) {
          yield { kind: "object", key: entry.key.toString(), path: entry.path };
        }
        continue;
      }
      if (!startsWith(entry.key, prefix) && !startsWith(prefix, entry.key)) continue;
      const isCommonPrefix =
        options.delimiter === "/" &&
        entry.kind === "folder" &&
        entry.key.length > prefix.length &&
        startsWith(entry.key, prefix);
      if (isCommonPrefix) {
        if (isAfter(entry.key, after) && (await holdsAny(entry.path))) {
          yield { kind: "prefix", key: entry.key.toString() };
        }
        continue;
      }
      // Everything below begins with entry.key: all of it lies before `after` unless that begins so too, or is smaller.
      if (after !== null && !startsWith(after, entry.key) && entry.key.compare(after) < 0) continue;
      yield* descend(entry.path, entry.key);
    }
  };
  yield* descend(root, Buffer.alloc(0));
};

/** True when some object is below the directory; a killed put or delete may leave empty directories behind. */
export const holdsAny = async (directory: string): Promise<boolean> => {
  for (const entry of await entriesOf(directory, Buffer.alloc(0))) {
    if (entry.kind === "object" || (await holdsAny(entry.path))) return true;
  }
  return false;
};

interface Entry {
  readonly kind: "object" | "folder" | "chunk";
  readonly key: Buffer;
  readonly path: string;
}

const entriesOf = async (directory: string, base: Buffer): Promise<readonly Entry[]> => {
  let dirents: Dirent[];
  try {
    dirents = await readdir(directory, { withFileTypes: true });
  } catch (error) {
    // Deleted since its parent was read.
    if (isAbsent(error)) return [];
    throw error;
  }
  const entries: Entry[] = [];
  for (const dirent of dirents) {
    const parsed = parseEntry(dirent.name);
    if (parsed === null) continue;
    if (parsed.kind === "object" ? !dirent.isFile() : !dirent.isDirectory()) continue;
    const key = Buffer.concat([base, parsed.bytes]);
    // A chunk may end inside a character; a whole key may not.
    if (parsed.kind !== "chunk" && !isUtf8(key)) continue;
    entries.push({ kind: parsed.kind, key, path: join(directory, dirent.name) });
  }
  return entries.sort((a, b) => a.key.compare(b.key));
};

const startsWith = (bytes: Buffer, start: Buffer): boolean =>
  bytes.length >= start.length && bytes.compare(start, 0, start.length, 0, start.length) === 0;

const isAfter = (key: Buffer, after: Buffer | null): boolean => after === null || key.compare(after) > 0;

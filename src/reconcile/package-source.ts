/**
 * A package as the checks of an import see it: a list of its files, and a look into those that decide. One that was fetched
 * lies in a folder; with dynamic loading it is looked at where it is, in the objects, and nothing is copied.
 */
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { fail } from "../core/errors.ts";
import type { ProjectId } from "../core/ids.ts";
import type { ObsLocation } from "../core/obs-location.ts";
import type { PackageFile } from "../core/package-layout.ts";
import type { ObjectInfo, Objects } from "../objects/objects.ts";

export interface PackageSource {
  readonly files: readonly PackageFile[];
  /** The first bytes of a file, at most so many. */
  readonly head: (path: string, bytes: number) => Promise<Uint8Array>;
  readonly text: (path: string) => Promise<string>;
}

export const folderSource = (folder: string, files: readonly PackageFile[]): PackageSource => ({
  files,
  head: async (path, bytes) => {
    await using file = await open(join(folder, path));
    const head = Buffer.alloc(bytes);
    const { bytesRead } = await file.read(head, 0, bytes, 0);
    return head.subarray(0, bytesRead);
  },
  text: (path) => readFile(join(folder, path), "utf8"),
});

const PAGE = 1000;

/** Everything below a folder of objects; `more`: objects from elsewhere that belong to the package, by their path in it. */
export const objectsSource = async (
  objects: Objects,
  project: ProjectId,
  folder: ObsLocation,
  filesMax: number,
  more: ReadonlyMap<string, ObsLocation>,
): Promise<PackageSource> => {
  const prefix = `${folder.key}/`;
  const found: ObjectInfo[] = [];
  for (let after: string | undefined; ;) {
    const page = await objects.list(project, folder.bucket, {
      prefix,
      limit: PAGE,
      ...(after === undefined ? {} : { after }),
    });
    found.push(...page.objects);
    if (found.length > filesMax)
      throw fail("ARGUMENT_INVALID", {
        reason: `There are more than ${filesMax} objects below obs://${folder.bucket}/${prefix}.`,
      });
    if (page.next === null) break;
    after = page.next;
  }
  const sizes = new Map(found.map(({ key, sizeBytes }) => [key.slice(prefix.length), sizeBytes]));
  for (const [path, at] of more) {
    const info = await objects.head(project, at);
    if (info === null) throw fail("OBJECT_NOT_FOUND", { bucket: at.bucket, key: at.key });
    sizes.set(path, info.sizeBytes);
  }
  const read = async (path: string, bytes?: number): Promise<Buffer> => {
    const at = more.get(path) ?? { bucket: folder.bucket, key: prefix + path };
    if (sizes.get(path) === 0) return Buffer.alloc(0);
    const range = bytes === undefined ? undefined : { start: 0, end: bytes - 1 };
    return buffer((await objects.get(project, at, range)).body);
  };
  return {
    files: [...sizes].map(([path, size]) => ({ path, size, kind: "file" })),
    head: (path, bytes) => read(path, bytes),
    text: async (path) => (await read(path)).toString("utf8"),
  };
};

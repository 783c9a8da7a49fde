/**
 * Content-addressed copies of model packages:
 *
 *   <root>/<digest>/              complete, files read-only: it came here by one rename
 *   <root>/.trials/<digest>.<…>   a trial start of this copy in this environment succeeded
 *   <root>/.scratch/<id>/         being fetched; whatever is there at open is left over
 */
import { createHash, randomUUID } from "node:crypto";
import { renameSync } from "node:fs";
import { access, chmod, lstat, mkdir, open, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import type { PackageFile } from "../core/package-layout.ts";

export interface Packages {
  /** A folder of one's own to fetch a package into; `keep` or `discard` ends it. */
  scratch(): Promise<string>;
  discard(scratch: string): Promise<void>;
  /** Every entry below a folder, links and other things included. */
  list(folder: string): Promise<readonly PackageFile[]>;
  /** Makes the folder the copy of its content; the folder is gone afterwards. Equal content is kept once. */
  keep(
    scratch: string,
    files: readonly PackageFile[],
    signal: AbortSignal,
  ): Promise<{ digest: string; dir: string }>;
  directory(digest: string): string;
  wasTried(digest: string, environmentKey: string): Promise<boolean>;
  rememberTrial(digest: string, environmentKey: string): Promise<void>;
  /** Deletes copies that are not in `used` and were not kept within the last hour. Returns their digests. */
  reclaim(used: ReadonlySet<string>): Promise<readonly string[]>;
  /**
   * Forgets the trials in environments that are not in `used`, which are about to be deleted: one that is built again
   * under the same key may hold other releases. Forgotten first, so that no kill leaves a trial without its environment.
   */
  forgetTrials(used: ReadonlySet<string>): Promise<void>;
}

const DIGEST = /^[0-9a-f]{64}$/;
/** A copy kept this long ago or less is not reclaimed: its version may not be recorded as using it yet. */
const GRACE_MS = 60 * 60 * 1000;

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

const byPath = (a: PackageFile, b: PackageFile): number => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0);

const walk = async (folder: string, prefix: string, into: PackageFile[]): Promise<void> => {
  for (const entry of await readdir(join(folder, prefix), { withFileTypes: true })) {
    const path = prefix === "" ? entry.name : `${prefix}/${entry.name}`;
    if (entry.isDirectory()) {
      await walk(folder, path, into);
      continue;
    }
    const { size } = await lstat(join(folder, path));
    into.push({ path, size, kind: entry.isFile() ? "file" : entry.isSymbolicLink() ? "link" : "other" });
  }
};

/** SHA-256 of a file, which is on the disk when this returns and read-only from then on. */
const settle = async (path: string, signal: AbortSignal): Promise<string> => {
  const hash = createHash("sha256");
  const handle = await open(path, "r+");
  try {
    for await (const chunk of handle.createReadStream({ autoClose: false })) {
      signal.throwIfAborted();
      hash.update(chunk as Uint8Array);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  await chmod(path, 0o444);
  return hash.digest("hex");
};

/** Opens the copies of a data directory and removes what an earlier process left unfinished. */
export const openPackages = async (deps: { root: string; clock: Clock }): Promise<Packages> => {
  const { root, clock } = deps;
  const scratchRoot = join(root, ".scratch");
  const trials = join(root, ".trials");
  const kept = new Map<string, number>();
  await rm(scratchRoot, { recursive: true, force: true });
  for (const dir of [root, scratchRoot, trials]) await mkdir(dir, { recursive: true, mode: 0o700 });

  const discard = (scratch: string): Promise<void> => rm(scratch, { recursive: true, force: true });
  const trial = (digest: string, environmentKey: string): string =>
    join(trials, `${digest}.${environmentKey}`);

  return {
    scratch: async () => {
      const dir = join(scratchRoot, randomUUID());
      await mkdir(dir, { recursive: true });
      return dir;
    },
    discard,
    list: async (folder) => {
      const files: PackageFile[] = [];
      await walk(folder, "", files);
      return files.toSorted(byPath);
    },
    keep: async (scratch, files, signal) => {
      const hash = createHash("sha256");
      for (const { path, size } of files.toSorted(byPath))
        hash.update(`${JSON.stringify(path)} ${size} ${await settle(join(scratch, path), signal)}\n`);
      const digest = hash.digest("hex");
      kept.set(digest, clock.now());
      const dir = join(root, digest);
      if (!(await exists(dir)))
        await rename(scratch, dir).catch(async (error: unknown) => {
          // Another import of the same content was faster.
          if (!(await exists(dir))) throw error;
        });
      await discard(scratch);
      return { digest, dir };
    },
    directory: (digest) => join(root, digest),
    wasTried: (digest, environmentKey) => exists(trial(digest, environmentKey)),
    rememberTrial: (digest, environmentKey) => writeFile(trial(digest, environmentKey), ""),
    reclaim: async (used) => {
      const now = clock.now();
      const freed: string[] = [];
      for (const digest of await readdir(root)) {
        const since = kept.get(digest);
        if (!DIGEST.test(digest) || used.has(digest)) continue;
        if (since !== undefined && now - since < GRACE_MS) continue;
        // Out of sight first, by one rename: a copy that is half deleted is never found. In the same turn as the look at
        // who keeps it: one that is kept from now on is not there any more and comes back.
        const aside = join(scratchRoot, randomUUID());
        renameSync(join(root, digest), aside);
        await discard(aside);
        kept.delete(digest);
        freed.push(digest);
      }
      for (const name of await readdir(trials))
        if (!(await exists(join(root, name.split(".")[0] ?? ""))))
          await rm(join(trials, name), { force: true });
      return freed;
    },
    forgetTrials: async (used) => {
      for (const name of await readdir(trials))
        if (!used.has(name.split(".")[1] ?? "")) await rm(join(trials, name), { force: true });
    },
  };
};

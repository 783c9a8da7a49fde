/**
 * A package as its author has it on disk, before any import: where its `model` folder is, what the rules of core say
 * about it, and whether anything in it has changed since the last look. Nothing here writes.
 */
import { readFile, readdir, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import type { Problem } from "../core/errors.ts";
import { checkFiles, hasConfig } from "../core/package-check.ts";
import type { CheckedFiles } from "../core/package-check.ts";
import type { PackageFile } from "../core/package-layout.ts";
import { apiSchemaProblems } from "../schemas/api-schemas.ts";

export interface FolderPackage extends CheckedFiles {
  readonly name: string;
  /** The folder that holds `model`; where its tests and its training script are. */
  readonly home: string;
  /** The `model` folder itself. */
  readonly dir: string;
  /** Its Python files, relative to `dir`. */
  readonly code: readonly string[];
}

export type FolderVerdict =
  | { readonly ok: true; readonly package: FolderPackage }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** What editors, version control and Python leave in a folder. An import leaves it out, and its changes mean nothing. */
const LEFT_OUT = /^(?:__pycache__|\.git|\.DS_Store|\.ipynb_checkpoints|\..*\.sw.|4913|.*~|.*\.pyc)$/;

interface Seen extends PackageFile {
  readonly mark: string;
}

const walk = async (dir: string, prefix: string, into: Seen[]): Promise<void> => {
  for (const name of (await readdir(join(dir, prefix))).toSorted()) {
    if (LEFT_OUT.test(name)) continue;
    const path = prefix === "" ? name : `${prefix}/${name}`;
    // Gone between the two looks, or a link to nothing.
    const found = await stat(join(dir, path)).catch(() => null);
    if (found === null) continue;
    if (found.isDirectory()) await walk(dir, path, into);
    else
      into.push({
        path,
        size: found.size,
        kind: found.isFile() ? "file" : "other",
        mark: `${path}\0${found.size}\0${found.mtimeMs}\0${found.ino}`,
      });
  }
};

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

/** The `model` folder of what the user named: the one in it, or the folder itself. Null when it is neither. */
export const findModelFolder = async (
  named: string,
): Promise<{ readonly home: string; readonly dir: string } | null> => {
  const root = resolve(named);
  const below = join(root, "model");
  if (await isFolder(below)) return { home: root, dir: below };
  return basename(root) === "model" && (await isFolder(root))
    ? { home: resolve(root, ".."), dir: root }
    : null;
};

/** A text that is another one whenever a file of the package came, went or changed. */
export const fingerprint = async (dir: string): Promise<string> => {
  const files: Seen[] = [];
  // A folder that is away for a moment (a checkout of another branch) is a change like any other.
  await walk(dir, "", files).catch(() => undefined);
  return files.map(({ mark }) => mark).join("\n");
};

/**
 * Checks a package as an import does, everything at once. `needsModel` false: the model file may be missing, because
 * what is about to run may be what makes it.
 */
export const checkFolder = async (
  { home, dir }: { readonly home: string; readonly dir: string },
  { needsModel }: { readonly needsModel: boolean },
): Promise<FolderVerdict> => {
  const files: Seen[] = [];
  try {
    await walk(dir, "", files);
  } catch (error) {
    const { code = "error" } = error as NodeJS.ErrnoException;
    return { ok: false, problems: [{ path: dir, message: `cannot be read (${code})`, fix: "put it back" }] };
  }
  const text = hasConfig(files) ? await readFile(join(dir, "config.json"), "utf8").catch(() => null) : null;
  const verdict = checkFiles(text, files, { needsModel });
  if (!verdict.ok) return verdict;
  const { warnings, ...checked } = verdict.package;
  return {
    ok: true,
    package: {
      ...checked,
      name: basename(home),
      home,
      dir,
      code: files.map(({ path }) => path).filter((path) => path.endsWith(".py")),
      warnings: [...warnings, ...apiSchemaProblems(checked.config)],
    },
  };
};

/**
 * A model package on this machine: which files belong to it, and how they get into the platform's objects. Uploads
 * are compared by content first, so a repeated import sends only what changed and an interrupted one goes on.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, readdir, realpath, stat } from "node:fs/promises";
import { basename, join, relative, resolve, sep } from "node:path";
import { checkFiles, hasConfig, packageRefused } from "../core/package-check.ts";
import type { Api } from "./api.ts";
import { CliError } from "./failures.ts";
import { size } from "./format.ts";
import type { Live } from "./live.ts";
import { bucketPath, listObjects, objectPath } from "./obs-address.ts";

/** Where `model import DIR` puts packages. */
export const PACKAGE_BUCKET = "modelport";

/** What editors, version control and Python leave in a folder; never part of a package. */
const LEFT_OUT = new Set(["__pycache__", ".git", ".DS_Store", ".ipynb_checkpoints"]);

export interface PackageFile {
  /** Relative to the package's folder, with `/`. */
  readonly path: string;
  readonly absolute: string;
  readonly sizeBytes: number;
}

export interface LocalPackage {
  /** The folder's name, the default name of the AI application. */
  readonly name: string;
  readonly files: readonly PackageFile[];
  readonly sizeBytes: number;
  /** `model_type` of config.json; undefined where a template stands for it. */
  readonly modelType: string | undefined;
}

const isFolder = async (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

/** `model_type` of a package that the import will take, by config.json and layout; throws with all that is wrong. */
const checkedType = async (
  model: string,
  found: readonly PackageFile[],
  largeFiles: boolean,
): Promise<string> => {
  const files = found.map(({ path, sizeBytes }) => ({ path, size: sizeBytes }));
  const text = hasConfig(files) ? await readFile(join(model, "config.json"), "utf8") : null;
  const verdict = checkFiles(text, files, { largeFiles });
  if (verdict.ok) return verdict.package.engine;
  throw new CliError("usage", packageRefused(verdict.problems), {
    problems: verdict.problems,
    next: "Nothing was uploaded. Correct the package and run the import again.",
  });
};

/**
 * Looks through a package folder (the one that holds `model/`) and checks its config.json and its layout as the import
 * will, before anything is sent. Without `needsConfig` only the platform can check it: the configuration is a template's.
 */
export const scanPackage = async (
  dir: string,
  {
    needsConfig = true,
    largeFiles = false,
  }: { readonly needsConfig?: boolean; readonly largeFiles?: boolean } = {},
): Promise<LocalPackage> => {
  const root = resolve(dir);
  const model = join(root, "model");
  if (!(await isFolder(root))) {
    throw new CliError("usage", `${dir} is not a folder.`, {
      next: "Name the folder that holds model/, or an address such as obs://BUCKET/FOLDER.",
    });
  }
  if (!(await isFolder(model))) {
    const isInside = basename(root) === "model";
    throw new CliError("usage", `${dir} does not hold a folder named model.`, {
      next: isInside
        ? `You named the model folder itself; name its parent: modelport model import ${resolve(root, "..")}`
        : "Put config.json, the model file and customize_service.py into a folder named model inside it.",
    });
  }
  const inside = await realpath(model);
  const files: PackageFile[] = [];
  const walk = async (folder: string): Promise<void> => {
    for (const entry of (await readdir(folder)).toSorted()) {
      if (LEFT_OUT.has(entry) || entry.endsWith(".pyc")) continue;
      const absolute = join(folder, entry);
      const target = await realpath(absolute).catch(() => null);
      if (target === null || !(target === inside || target.startsWith(inside + sep))) {
        throw new CliError("usage", `${absolute} is a link to something outside the package.`, {
          next: "Replace the link by the file itself.",
        });
      }
      const found = await stat(absolute);
      if (found.isDirectory()) {
        // A link to a folder that contains it would never end.
        if (target !== (await realpath(folder)) && !folder.startsWith(target + sep) && folder !== target) {
          await walk(absolute);
        }
      } else if (found.isFile()) {
        files.push({ path: relative(model, absolute).split(sep).join("/"), absolute, sizeBytes: found.size });
      }
    }
  };
  await walk(model);
  const modelType = needsConfig ? await checkedType(model, files, largeFiles) : undefined;
  return {
    name: basename(root),
    files,
    sizeBytes: files.reduce((sum, file) => sum + file.sizeBytes, 0),
    modelType,
  };
};

const md5 = async (path: string): Promise<string> => {
  const hash = createHash("md5");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
};

const packagePrefix = (name: string, version: string): string => `packages/${name}/${version}/`;

/** The `source_location` of a package uploaded by the CLI. */
export const packageLocation = (name: string, version: string): string =>
  `obs://${PACKAGE_BUCKET}/${packagePrefix(name, version)}`;

interface Difference {
  readonly missing: readonly PackageFile[];
  /** Keys of objects that the package does not have. */
  readonly surplus: readonly string[];
}

const compare = async (api: Api, local: LocalPackage, prefix: string): Promise<Difference> => {
  const { objects } = await listObjects(api, { bucket: PACKAGE_BUCKET, key: prefix });
  const there = new Map(objects.map((object) => [object.key, object]));
  const missing: PackageFile[] = [];
  for (const file of local.files) {
    const key = prefix + file.path;
    const object = there.get(key);
    there.delete(key);
    const same =
      object !== undefined &&
      object.size === file.sizeBytes &&
      object.etag.replaceAll('"', "") === (await md5(file.absolute));
    if (!same) missing.push(file);
  }
  return { missing, surplus: [...there.keys()] };
};

/** Whether what was uploaded for a version is exactly this package. */
export const isUploaded = async (
  api: Api,
  local: LocalPackage,
  name: string,
  version: string,
): Promise<boolean> => {
  try {
    const { missing, surplus } = await compare(api, local, `${packagePrefix(name, version)}model/`);
    return missing.length === 0 && surplus.length === 0;
  } catch (error) {
    if (error instanceof CliError && error.outcome === "notFound") return false;
    throw error;
  }
};

/** Uploads what the platform does not have yet. Returns how much was sent. */
export const uploadPackage = async (
  api: Api,
  live: Live,
  local: LocalPackage,
  name: string,
  version: string,
): Promise<{ files: number; bytes: number }> => {
  const prefix = `${packagePrefix(name, version)}model/`;
  await api.json("PUT", bucketPath(api, PACKAGE_BUCKET));
  const { missing, surplus } = await compare(api, local, prefix);
  const total = missing.reduce((sum, file) => sum + file.sizeBytes, 0);
  let sent = 0;
  for (const [index, file] of missing.entries()) {
    const stream = createReadStream(file.absolute);
    const before = sent;
    let progress = 0;
    stream.on("data", (chunk) => {
      progress += chunk.length;
      live.now(
        `uploading ${file.path} (${index + 1} of ${missing.length}, ${size(before + progress)} of ${size(total)})`,
      );
    });
    // The length is what is read, not what stat said: a file that grows meanwhile is cut, one that shrinks fails.
    const answer = await api.demand(
      "PUT",
      objectPath(api, { bucket: PACKAGE_BUCKET, key: prefix + file.path }),
      {
        headers: { "content-type": "application/octet-stream" },
        body: { stream, length: file.sizeBytes },
        withinMs: null,
      },
    );
    answer.resume();
    sent = before + file.sizeBytes;
  }
  for (const key of surplus) await api.json("DELETE", objectPath(api, { bucket: PACKAGE_BUCKET, key }));
  return { files: missing.length, bytes: total };
};

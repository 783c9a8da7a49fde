/**
 * The first half of an import: brings the package from the user's objects into a scratch folder and decides, by the
 * rules of core, whether it may go on. Everything that is wrong comes back at once.
 */
import { createWriteStream } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { CONFIG_BYTES_MAX, checkConfig } from "../core/config-json.ts";
import type { ModelConfig } from "../core/config-json.ts";
import type { EngineName } from "../core/engines.ts";
import { AVAILABLE_ENGINES, isAvailable } from "../core/engines.ts";
import { fail } from "../core/errors.ts";
import type { Problem } from "../core/errors.ts";
import { readJson } from "../core/json-text.ts";
import type { Model } from "../core/model.ts";
import { formatObsLocation, parseObsLocation } from "../core/obs-location.ts";
import type { ObsLocation } from "../core/obs-location.ts";
import { PACKAGE_LIMITS, checkLayout } from "../core/package-layout.ts";
import type { PackageFile, PackageLayout } from "../core/package-layout.ts";
import type { Objects } from "../objects/objects.ts";

const LIMITS = {
  maxBytes: PACKAGE_LIMITS.totalBytes,
  maxFileBytes: PACKAGE_LIMITS.fileBytes,
  maxFiles: PACKAGE_LIMITS.files,
};
const SERVICE = "customize_service.py";
const SERVICE_BYTES_MAX = 16 * 1024 * 1024;

const textOf = (request: Model["request"], field: string): string | null => {
  const value = request[field];
  return typeof value === "string" && value.trim() !== "" ? value : null;
};

/** Where the `model` folder is: below the location, or the location itself. */
const findModelFolder = async (objects: Objects, model: Model): Promise<ObsLocation> => {
  const at = parseObsLocation(model.sourceLocation);
  if (at === null) throw fail("SOURCE_NOT_FOUND", { location: model.sourceLocation });
  const key = at.key.replace(/\/+$/, "");
  const holds = async (folder: string): Promise<boolean> =>
    (await objects.list(model.projectId, at.bucket, { prefix: `${folder}/`, limit: 1 })).objects.length > 0;
  const below = key === "" ? "model" : `${key}/model`;
  if (await holds(below)) return { bucket: at.bucket, key: below };
  if (/(?:^|\/)model$/.test(key) && (await holds(key))) return { bucket: at.bucket, key };
  throw fail("SOURCE_NOT_FOUND", { location: formatObsLocation({ bucket: at.bucket, key }) });
};

/** Downloads the package, and the inference code the request names beside it, into `into`. */
export const fetchPackage = async (
  objects: Objects,
  model: Model,
  into: string,
  signal: AbortSignal,
): Promise<void> => {
  const folder = await findModelFolder(objects, model);
  await objects.download(model.projectId, folder, into, LIMITS, signal);
  const code = textOf(model.request, "execution_code");
  if (code === null) return;
  const at = parseObsLocation(code);
  if (at === null || at.key.split("/").at(-1) !== SERVICE)
    throw fail("ARGUMENT_INVALID", { reason: `execution_code must name an object ${SERVICE}, not ${code}.` });
  const { info, body } = await objects.get(model.projectId, at);
  if (info.sizeBytes > SERVICE_BYTES_MAX) {
    body.destroy();
    throw fail("ARGUMENT_INVALID", { reason: `execution_code has ${info.sizeBytes} bytes.` });
  }
  await pipeline(body, createWriteStream(join(into, SERVICE)), { signal });
};

export interface CheckedPackage {
  readonly engine: EngineName;
  readonly config: ModelConfig;
  readonly layout: PackageLayout;
  readonly files: readonly PackageFile[];
  readonly warnings: readonly Problem[];
}

export type PackageVerdict =
  | { readonly ok: true; readonly package: CheckedPackage }
  | { readonly ok: false; readonly problems: readonly Problem[] };

const readConfigFile = async (folder: string, files: readonly PackageFile[]): Promise<string | null> => {
  const file = files.find(({ path, kind }) => path === "config.json" && kind === "file");
  if (file === undefined) return null;
  // A text over the limit is refused by its length; there is no need to hold all of it.
  return file.size > CONFIG_BYTES_MAX
    ? " ".repeat(CONFIG_BYTES_MAX + 1)
    : readFile(join(folder, "config.json"), "utf8");
};

const objectOf = (text: string | null): Record<string, unknown> => {
  const reading = text === null ? null : readJson(text);
  return reading?.ok === true && typeof reading.value === "object" && !Array.isArray(reading.value)
    ? { ...reading.value }
    : {};
};

/** Checks configuration and layout of a fetched package. Its config.json is written when only the request had one. */
export const checkPackage = async (
  model: Model,
  folder: string,
  list: (folder: string) => Promise<readonly PackageFile[]>,
): Promise<PackageVerdict> => {
  if (!isAvailable(model.type))
    throw fail("MODEL_TYPE_UNAVAILABLE", { type: model.type, available: AVAILABLE_ENGINES });
  const files = await list(folder);
  const initial = textOf(model.request, "initial_config");
  const own = await readConfigFile(folder, files);
  const text = initial ?? own;
  const { request } = model;
  const checked =
    text === null
      ? null
      : checkConfig(text, {
          modelType: model.type,
          ...(initial === null ? {} : { defaults: objectOf(own) }),
          overrides: {
            model_algorithm: request["model_algorithm"],
            runtime: request["runtime"],
            apis: request["apis"],
            dependencies: request["dependencies"],
          },
        });
  const { layout, problems } = checkLayout(files, model.type, {
    configElsewhere: initial !== null,
    serviceElsewhere: false,
  });
  const all = [...(checked?.problems ?? []), ...problems];
  if (all.length > 0 || checked === null || checked.config === null) return { ok: false, problems: all };
  if (own === null) await writeFile(join(folder, "config.json"), text ?? "");
  return {
    ok: true,
    package: {
      engine: model.type,
      config: checked.config,
      layout,
      files: own === null ? await list(folder) : files,
      warnings: checked.warnings,
    },
  };
};

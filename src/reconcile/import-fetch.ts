/**
 * The first half of an import: brings the package from the user's objects into a scratch folder and decides, by the
 * rules of core, whether it may go on. Everything that is wrong comes back at once.
 */
import { createWriteStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { SIDES, ruleOf } from "../core/api-rule.ts";
import { CONFIG_BYTES_MAX, checkConfig } from "../core/config-json.ts";
import type { ModelConfig } from "../core/config-json.ts";
import type { EngineName } from "../core/engines.ts";
import { AVAILABLE_ENGINES, isAvailable } from "../core/engines.ts";
import { ENCRYPTED_HEAD_BYTES, encryptedBy } from "../core/encrypted.ts";
import { fail } from "../core/errors.ts";
import type { Problem } from "../core/errors.ts";
import { readJson } from "../core/json-text.ts";
import { isDynamic } from "../core/model.ts";
import type { Model } from "../core/model.ts";
import { parseObsLocation } from "../core/obs-location.ts";
import type { ObsLocation } from "../core/obs-location.ts";
import { PACKAGE_LIMITS, checkLayout, isReadByEngine } from "../core/package-layout.ts";
import type { PackageFile, PackageLayout } from "../core/package-layout.ts";
import { chooseTemplate, templateConfig } from "../core/templates.ts";
import type { TemplateRequest } from "../core/templates.ts";
import { findModelFolder } from "../objects/model-folder.ts";
import type { Objects } from "../objects/objects.ts";
import { objectsSource } from "./package-source.ts";
import type { PackageSource } from "./package-source.ts";

const SERVICE = "customize_service.py";
const SERVICE_BYTES_MAX = 16 * 1024 * 1024;

const textOf = (request: Model["request"], field: string): string | null => {
  const value = request[field];
  return typeof value === "string" && value.trim() !== "" ? value : null;
};

/** The inference code that the request names beside the package; null without. */
const codeOf = (model: Model): ObsLocation | null => {
  const code = textOf(model.request, "execution_code");
  if (code === null) return null;
  const at = parseObsLocation(code);
  if (at === null || at.key.split("/").at(-1) !== SERVICE)
    throw fail("ARGUMENT_INVALID", { reason: `execution_code must name an object ${SERVICE}, not ${code}.` });
  return at;
};

/** Downloads the package, and the inference code the request names beside it, into `into`. */
export const fetchPackage = async (
  objects: Objects,
  model: Model,
  into: string,
  signal: AbortSignal,
): Promise<void> => {
  const limits = {
    maxBytes: PACKAGE_LIMITS.totalBytes,
    maxFileBytes: isDynamic(model.request) ? PACKAGE_LIMITS.totalBytes : PACKAGE_LIMITS.fileBytes,
    maxFiles: PACKAGE_LIMITS.files,
  };
  const folder = await findModelFolder(objects, model.projectId, model.sourceLocation);
  await objects.download(model.projectId, folder, into, limits, signal);
  const at = codeOf(model);
  if (at === null) return;
  const { info, body } = await objects.get(model.projectId, at);
  if (info.sizeBytes > SERVICE_BYTES_MAX) {
    body.destroy();
    throw fail("ARGUMENT_INVALID", { reason: `execution_code has ${info.sizeBytes} bytes.` });
  }
  await pipeline(body, createWriteStream(join(into, SERVICE)), { signal });
};

/** The same package where it lies, for a look at it. */
export const lookAtPackage = async (objects: Objects, model: Model): Promise<PackageSource> => {
  const code = codeOf(model);
  return objectsSource(
    objects,
    model.projectId,
    await findModelFolder(objects, model.projectId, model.sourceLocation),
    PACKAGE_LIMITS.files,
    new Map(code === null ? [] : [[SERVICE, code]]),
  );
};

export interface CheckedPackage {
  readonly engine: EngineName;
  readonly config: ModelConfig;
  readonly layout: PackageLayout;
  readonly files: readonly PackageFile[];
  /** What its config.json shall be when it has none of its own; null: it has one. */
  readonly configText: string | null;
  readonly warnings: readonly Problem[];
}

export type PackageVerdict =
  | { readonly ok: true; readonly package: CheckedPackage }
  | { readonly ok: false; readonly problems: readonly Problem[]; readonly warnings: readonly Problem[] };

const readConfigFile = async ({ files, text }: PackageSource): Promise<string | null> => {
  const file = files.find(({ path, kind }) => path === "config.json" && kind === "file");
  if (file === undefined) return null;
  // A text over the limit is refused by its length; there is no need to hold all of it.
  return file.size > CONFIG_BYTES_MAX ? " ".repeat(CONFIG_BYTES_MAX + 1) : text("config.json");
};

const objectOf = (text: string | null): Record<string, unknown> => {
  const reading = text === null ? null : readJson(text);
  return reading?.ok === true && typeof reading.value === "object" && !Array.isArray(reading.value)
    ? { ...reading.value }
    : {};
};

/** What the request's template says instead of a config.json; null without one. */
const templateOf = (model: Model): Readonly<Record<string, unknown>> | null => {
  const request = model.request["template"];
  if (model.type !== "Template" || typeof request !== "object" || request === null) return null;
  // The request was checked when it came; a release without that template may have been started since.
  const choice = chooseTemplate(request as TemplateRequest);
  if (!choice.ok) throw fail("TEMPLATE_NOT_FOUND", { id: (request as TemplateRequest).template_id });
  return templateConfig(choice.template, choice.mode);
};

const HEADS_AT_ONCE = 16;

/**
 * Files that were encrypted before they were uploaded. Those that the engine reads are problems; whatever else a package holds
 * its own code may decrypt.
 */
const encryptedFiles = async (
  { files, head }: PackageSource,
  isRead: (path: string) => boolean,
): Promise<{ readonly problems: readonly Problem[]; readonly warnings: readonly Problem[] }> => {
  const found: { readonly path: string; readonly by: string }[] = [];
  const plain = files.filter(({ kind }) => kind === undefined || kind === "file");
  const next = plain.values();
  const look = async (): Promise<void> => {
    for (const { path } of next) {
      const by = encryptedBy(await head(path, ENCRYPTED_HEAD_BYTES));
      if (by !== null) found.push({ path, by });
    }
  };
  await Promise.all(Array.from({ length: HEADS_AT_ONCE }, look));
  const sorted = found.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  return {
    problems: sorted
      .filter(({ path }) => isRead(path))
      .map(({ path, by }) => ({
        path: `model/${path}`,
        message: `is encrypted (${by})`,
        fix: "upload it decrypted: encrypted objects cannot be imported",
      })),
    warnings: sorted
      .filter(({ path }) => !isRead(path))
      .map(({ path, by }) => ({
        path: `model/${path}`,
        message: `is encrypted (${by})`,
        fix: "nothing but the package's own code can decrypt it",
      })),
  };
};

/** Nothing but a check of requests and answers needs them; what reads them is loaded for packages that have any. */
const schemaWarnings = async (config: ModelConfig): Promise<readonly Problem[]> =>
  SIDES.some((side) => ruleOf(config, side) !== null)
    ? (await import("../schemas/api-schemas.ts")).apiSchemaProblems(config)
    : [];

/** Checks configuration, layout and contents of a package. */
export const checkPackage = async (model: Model, source: PackageSource): Promise<PackageVerdict> => {
  const template = templateOf(model);
  const engine = template === null ? model.type : String(template["model_type"]);
  if (!isAvailable(engine))
    throw fail("MODEL_TYPE_UNAVAILABLE", { type: engine, available: AVAILABLE_ENGINES });
  const { files } = source;
  const { request } = model;
  const initial = textOf(request, "initial_config");
  const own = await readConfigFile(source);
  const text = initial ?? own ?? (template === null ? null : "{}");
  // A template decides what it stands for; a config.json beside the model may add dependencies, metrics and the like.
  const { model_algorithm: algorithm, ...decided } = template ?? {};
  const checked =
    text === null
      ? null
      : checkConfig(text, {
          modelType: engine,
          defaults: {
            ...(algorithm === undefined ? {} : { model_algorithm: algorithm }),
            ...(initial === null ? {} : objectOf(own)),
          },
          overrides: {
            model_algorithm: request["model_algorithm"],
            runtime: request["runtime"],
            apis: request["apis"],
            dependencies: request["dependencies"],
            ...decided,
          },
        });
  const {
    layout,
    problems,
    warnings: ofLayout,
  } = checkLayout(files, engine, {
    configElsewhere: initial !== null || template !== null,
    serviceElsewhere: false,
    serviceNeeded: template !== null,
    largeFiles: isDynamic(request),
  });
  const encrypted = await encryptedFiles(source, (path) => isReadByEngine(path, engine, layout.modelFile));
  const all = [...(checked?.problems ?? []), ...problems, ...encrypted.problems];
  const schemas = checked === null || checked.config === null ? [] : await schemaWarnings(checked.config);
  const warnings = [...(checked?.warnings ?? []), ...ofLayout, ...schemas, ...encrypted.warnings];
  if (all.length > 0 || checked === null || checked.config === null)
    return { ok: false, problems: all, warnings };
  const configText = own === null ? (initial ?? JSON.stringify(checked.config, null, 2)) : null;
  return { ok: true, package: { engine, config: checked.config, layout, files, configText, warnings } };
};

/** Gives a fetched package the config.json it has none of; resolves with all its files. */
export const completePackage = async (
  { configText, files }: CheckedPackage,
  folder: string,
  list: (folder: string) => Promise<readonly PackageFile[]>,
): Promise<readonly PackageFile[]> => {
  if (configText === null) return files;
  await writeFile(join(folder, "config.json"), configText);
  return list(folder);
};

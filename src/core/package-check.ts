/**
 * A package by the list of its files and the text of its config.json: what an import would say of these, everything at once.
 * For a folder on the machine of its author, before anything is sent anywhere or started.
 */
import { CONFIG_BYTES_MAX, checkConfig } from "./config-json.ts";
import type { ModelConfig } from "./config-json.ts";
import { AVAILABLE_ENGINES, isAvailable } from "./engines.ts";
import type { EngineName } from "./engines.ts";
import type { Problem } from "./errors.ts";
import { readJson } from "./json-text.ts";
import { checkLayout } from "./package-layout.ts";
import type { PackageFile, PackageLayout } from "./package-layout.ts";

export interface CheckedFiles {
  readonly engine: EngineName;
  readonly config: ModelConfig;
  readonly layout: PackageLayout;
  readonly warnings: readonly Problem[];
}

export type FilesVerdict =
  | { readonly ok: true; readonly package: CheckedFiles }
  | { readonly ok: false; readonly problems: readonly Problem[] };

export interface CheckOptions {
  /** False: the model file may be missing, because what is about to run may be what makes it. */
  readonly needsModel?: boolean;
  /** True: single files may be as large as all together (dynamic loading). */
  readonly largeFiles?: boolean;
}

const engineOf = (text: string): EngineName | null => {
  const reading = readJson(text);
  const value: unknown = reading.ok ? reading.value : null;
  const type: unknown =
    typeof value === "object" && value !== null && "model_type" in value ? value.model_type : null;
  return typeof type === "string" && isAvailable(type) ? type : null;
};

const CONFIG = "config.json";

/** Whether a package has a config.json that is worth reading. */
export const hasConfig = (files: readonly PackageFile[]): boolean =>
  files.some(({ path, size }) => path === CONFIG && size <= CONFIG_BYTES_MAX);

/** A problem of the whole text has no path in it; of several files, its file is the place. */
const ofConfig = (problem: Problem): Problem =>
  problem.path === "" ? { ...problem, path: CONFIG } : problem;

/** `text`: config.json's, null where there is none to read (`hasConfig`). Paths of files are relative to `model`. */
export const checkFiles = (
  text: string | null,
  files: readonly PackageFile[],
  { needsModel = true, largeFiles = false }: CheckOptions = {},
): FilesVerdict => {
  const checked = text === null ? null : checkConfig(text, {});
  const engine = text === null ? null : engineOf(text);
  // Without an engine nothing is known of the model file; that config.json is missing is said by any of them.
  const layout = checkLayout(files, engine ?? "Scikit_Learn", {
    configElsewhere: false,
    serviceElsewhere: false,
    largeFiles,
  });
  const problems = [...(checked?.problems ?? [])];
  const bytes = files.find(({ path }) => path === CONFIG)?.size ?? 0;
  if (bytes > CONFIG_BYTES_MAX)
    problems.push({
      path: "",
      message: `has ${bytes} bytes`,
      fix: `use at most ${CONFIG_BYTES_MAX} bytes`,
    });
  if (engine !== null ? needsModel : text === null)
    problems.push(...layout.problems.filter(({ path }) => engine !== null || path === "model/config.json"));
  if (checked !== null && checked.config !== null && engine === null)
    problems.push({
      path: "model_type",
      message: `${checked.config.model_type} is not an engine of this platform`,
      fix: `use one of ${AVAILABLE_ENGINES.join(", ")}`,
    });
  return problems.length > 0 || engine === null || checked === null || checked.config === null
    ? { ok: false, problems: problems.map(ofConfig) }
    : {
        ok: true,
        package: {
          engine,
          config: checked.config,
          layout: layout.layout,
          warnings: [...checked.warnings, ...layout.warnings],
        },
      };
};

/** The sentence above a list of problems. */
export const packageRefused = (problems: readonly Problem[]): string =>
  `The package has ${problems.length === 1 ? "a problem" : `${problems.length} problems`}.`;

/**
 * What a model package must hold (guide §4.1.1), checked on a list of its files: pure, so the CLI can check a folder
 * before uploading it by the same rules as the import. Paths are relative to the package's `model` folder.
 */
import type { Problem } from "./errors.ts";
import type { EngineName } from "./engines.ts";
import { LIMITS } from "./limits.ts";
import { nearest } from "./nearest.ts";

export interface PackageFile {
  readonly path: string;
  readonly size: number;
  /** Anything that is not a plain file is refused. */
  readonly kind?: "file" | "link" | "other";
}

export interface PackageLayout {
  /** Relative to `model`; "" when there is a problem. */
  readonly modelFile: string;
  readonly hasCustomService: boolean;
  /** Wheels beside the model file, by file name. */
  readonly wheels: readonly string[];
  readonly sizeBytes: number;
}

export interface LayoutCheck {
  readonly layout: PackageLayout;
  readonly problems: readonly Problem[];
}

const GB = 1024 ** 3;

export const PACKAGE_LIMITS = {
  totalBytes: LIMITS.modelBytes.value,
  fileBytes: LIMITS.modelFileBytes.value,
  files: LIMITS.modelFiles.value,
} as const;

/** How each engine's model file is recognised, at the root of `model`. */
const MODEL_FILES: Readonly<Record<EngineName, { readonly suffix: string; readonly example: string }>> = {
  Scikit_Learn: { suffix: ".m", example: "sklearn_model.m" },
  XGBoost: { suffix: ".m", example: "xgboost.m" },
};
/** Forms in which such models are often saved; named in the fix when the right one is missing. */
const OTHER_FORMS = [".pkl", ".pickle", ".joblib", ".json", ".ubj", ".bin", ".model", ".sav"];

const list = (names: readonly string[]): string =>
  names.length <= 5 ? names.join(", ") : `${names.slice(0, 5).join(", ")} and ${names.length - 5} more`;

const checkPath = (file: PackageFile, problems: Problem[]): void => {
  const segments = file.path.split("/");
  if (/[\\\p{Cc}]/u.test(file.path) || segments.some((part) => part === "" || part === "." || part === ".."))
    problems.push({
      path: file.path.slice(0, 200),
      message: "the path leaves the package or holds forbidden characters",
      fix: "use plain relative paths without .., \\ and control characters",
    });
  if (file.kind !== undefined && file.kind !== "file")
    problems.push({
      path: file.path,
      message: file.kind === "link" ? "is a symbolic link" : "is not a plain file",
      fix: "put the file itself into the package",
    });
};

const checkModelFile = (files: readonly PackageFile[], engine: EngineName, problems: Problem[]): string => {
  const { suffix, example } = MODEL_FILES[engine];
  const root = files.filter((file) => !file.path.includes("/")).map((file) => file.path);
  const models = root.filter((name) => name.endsWith(suffix));
  const only = models[0];
  if (models.length === 1 && only !== undefined) return only;
  if (models.length > 1) {
    problems.push({
      path: "model",
      message: `holds ${models.length} model files: ${list(models)}`,
      fix: `keep one *${suffix} file; put several models into a custom image`,
    });
    return "";
  }
  const deeper = files.map((file) => file.path).filter((path) => path.includes("/") && path.endsWith(suffix));
  const others = root.filter(
    (name) => name !== "config.json" && OTHER_FORMS.some((form) => name.toLowerCase().endsWith(form)),
  );
  problems.push({
    path: "model",
    message: `holds no model file: ${engine} needs one file named *${suffix}`,
    fix:
      deeper.length > 0
        ? `move ${deeper[0]} directly into model/`
        : others.length > 0
          ? `if ${others[0]} is the model, rename it to ${example}`
          : `add the saved model as model/${example}`,
  });
  return "";
};

/** Exactly one file of this name, at the root; `needed` false allows none. */
const checkSingle = (
  files: readonly PackageFile[],
  name: string,
  needed: boolean,
  problems: Problem[],
): boolean => {
  if (files.some((file) => file.path === name)) return true;
  const root = files.map((file) => file.path).filter((path) => !path.includes("/"));
  const misspelt = root.find((path) => path.toLowerCase() === name || nearest(path, [name]) === name);
  const deeper = files.map((file) => file.path).find((path) => path.endsWith(`/${name}`));
  const similar = misspelt ?? (needed ? deeper : undefined);
  if (needed || misspelt?.toLowerCase() === name)
    problems.push({
      path: `model/${name}`,
      message: similar === undefined ? "is missing" : `is missing; ${similar} was found`,
      fix: similar === undefined ? `add ${name} directly in model/` : `name it model/${name}`,
    });
  return false;
};

/** Checks the files of a package's `model` folder for an engine. */
export const checkLayout = (
  files: readonly PackageFile[],
  engine: EngineName,
  options: {
    /** True when the configuration came with the create request instead of the package. */
    readonly configElsewhere: boolean;
    /** True when the inference code did (`execution_code`). */
    readonly serviceElsewhere: boolean;
  } = { configElsewhere: false, serviceElsewhere: false },
): LayoutCheck => {
  const problems: Problem[] = [];
  for (const file of files) checkPath(file, problems);
  const sizeBytes = files.reduce((sum, file) => sum + file.size, 0);
  if (sizeBytes > PACKAGE_LIMITS.totalBytes)
    problems.push({
      path: "model",
      message: `has ${(sizeBytes / GB).toFixed(1)} GB, more than 20 GB`,
      fix: "reduce the model",
    });
  for (const file of files.filter(({ size }) => size > PACKAGE_LIMITS.fileBytes))
    problems.push({
      path: `model/${file.path}`,
      message: `has ${(file.size / GB).toFixed(1)} GB, more than 5 GB`,
      fix: "reduce the file",
    });
  if (files.length > PACKAGE_LIMITS.files)
    problems.push({
      path: "model",
      message: `holds ${files.length} files`,
      fix: `use at most ${PACKAGE_LIMITS.files}`,
    });
  checkSingle(files, "config.json", !options.configElsewhere, problems);
  const ownService = checkSingle(files, "customize_service.py", false, problems);
  const modelFile = checkModelFile(files, engine, problems);
  return {
    layout: {
      modelFile,
      hasCustomService: ownService || options.serviceElsewhere,
      wheels: files
        .map((file) => file.path)
        .filter((path) => !path.includes("/") && path.endsWith(".whl"))
        .toSorted(),
      sizeBytes,
    },
    problems: problems.slice(0, 100),
  };
};

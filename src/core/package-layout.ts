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
  /** Relative to `model`; "" when the engine takes the folder itself, and when there is a problem. */
  readonly modelFile: string;
  readonly hasCustomService: boolean;
  /** Wheels beside the model file, by file name. */
  readonly wheels: readonly string[];
  readonly sizeBytes: number;
}

export interface LayoutCheck {
  readonly layout: PackageLayout;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

const GB = 1024 ** 3;

export const PACKAGE_LIMITS = {
  totalBytes: LIMITS.modelBytes.value,
  fileBytes: LIMITS.modelFileBytes.value,
  files: LIMITS.modelFiles.value,
} as const;

/**
 * How each engine's model is recognised (contracts/model-service-runtime.md §1). `file`: one file of these endings at the
 * root of `model`, handed to the service. `folder`: the service is handed the folder, which must hold all of these.
 * `saved`: a folder as pyspark saves one, recognised by its metadata/.
 */
type ModelRule =
  | { readonly kind: "file"; readonly suffixes: readonly string[]; readonly example: string }
  | { readonly kind: "folder"; readonly needs: readonly { readonly name: string; readonly test: RegExp }[] }
  | { readonly kind: "saved"; readonly example: string };

const MODELS: Readonly<Record<EngineName, ModelRule>> = {
  Scikit_Learn: { kind: "file", suffixes: [".m"], example: "sklearn_model.m" },
  XGBoost: { kind: "file", suffixes: [".m"], example: "xgboost.m" },
  PyTorch: { kind: "file", suffixes: [".pth", ".pt"], example: "model.pth" },
  MindSpore: { kind: "file", suffixes: [".mindir", ".ckpt", ".om", ".air"], example: "model.mindir" },
  TensorFlow: {
    kind: "folder",
    needs: [
      { name: "saved_model.pb", test: /^saved_model\.pb(?:txt)?$/ },
      { name: "variables/", test: /^variables\// },
    ],
  },
  Caffe: {
    kind: "folder",
    needs: [
      { name: "a *.prototxt", test: /^[^/]+\.prototxt$/ },
      { name: "a *.caffemodel", test: /^[^/]+\.caffemodel$/ },
    ],
  },
  MXNet: {
    kind: "folder",
    needs: [
      { name: "a *-symbol.json", test: /^[^/]+-symbol\.json$/ },
      { name: "a *-NNNN.params", test: /^[^/]+-\d{4}\.params$/ },
    ],
  },
  Spark_MLlib: { kind: "saved", example: "spark_model" },
};

/** Forms of MindSpore models that only Ascend processors run, and what to do instead. */
const ASCEND_ONLY: Readonly<Record<string, string>> = {
  ".om": "is compiled for Ascend processors",
  ".air": "is an exchange format for Ascend processors",
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

/** The model of the package, as a path relative to `model`; "" for the folder itself, and when there is a problem. */
const checkModel = (files: readonly PackageFile[], engine: EngineName, problems: Problem[]): string => {
  const rule = MODELS[engine];
  const paths = files.map((file) => file.path);
  if (rule.kind === "file") return checkModelFile(paths, engine, rule, problems);
  if (rule.kind === "saved") return checkSavedFolder(paths, rule.example, problems);
  const missing = rule.needs.filter(({ test }) => !paths.some((path) => test.test(path)));
  for (const { name, test } of missing) {
    const loose = new RegExp(test.source.replace(/^\^/, "/"));
    const deeper = paths.find((path) => loose.test(path));
    problems.push({
      path: "model",
      message: `holds no model: ${engine} needs ${rule.needs.map((need) => need.name).join(" and ")}, and ${name} is missing`,
      fix:
        deeper === undefined
          ? `add ${name} directly in model/`
          : `move ${deeper} and what is beside it directly into model/`,
    });
  }
  return "";
};

/** pyspark saves a model as a folder with metadata/ in it: `model` itself, or the one folder below it. */
const checkSavedFolder = (paths: readonly string[], example: string, problems: Problem[]): string => {
  if (paths.some((path) => path.startsWith("metadata/"))) return "";
  const saved = [...new Set(paths.flatMap((path) => /^([^/]+)\/metadata\//.exec(path)?.[1] ?? []))];
  const only = saved[0];
  if (saved.length === 1 && only !== undefined) return only;
  problems.push({
    path: "model",
    message:
      only === undefined
        ? "holds no saved Spark model"
        : `holds ${saved.length} saved models: ${list(saved)}`,
    fix:
      only === undefined
        ? `add what model.save(…) wrote, as model/${example}/ with metadata/ in it`
        : "keep one; several models are several AI applications",
  });
  return "";
};

const checkModelFile = (
  paths: readonly string[],
  engine: EngineName,
  { suffixes, example }: Extract<ModelRule, { kind: "file" }>,
  problems: Problem[],
): string => {
  const isModel = (path: string): boolean => suffixes.some((suffix) => path.endsWith(suffix));
  const wanted = suffixes.map((suffix) => `*${suffix}`).join(" or ");
  const root = paths.filter((path) => !path.includes("/"));
  const models = root.filter(isModel);
  const only = models[0];
  if (models.length === 1 && only !== undefined) {
    const suffix = only.slice(only.lastIndexOf("."));
    const ascend =
      engine === "MindSpore" && Object.hasOwn(ASCEND_ONLY, suffix) ? ASCEND_ONLY[suffix] : undefined;
    if (ascend !== undefined)
      problems.push({
        path: `model/${only}`,
        message: `${ascend}, which this platform has none of`,
        fix: "export the model as *.mindir, or bring its *.ckpt with customize_service.py",
      });
    return only;
  }
  if (models.length > 1) {
    problems.push({
      path: "model",
      message: `holds ${models.length} model files: ${list(models)}`,
      fix: `keep one ${wanted} file; several models are several AI applications`,
    });
    return "";
  }
  const deeper = paths.find((path) => path.includes("/") && isModel(path));
  const others = root.filter(
    (name) => name !== "config.json" && OTHER_FORMS.some((form) => name.toLowerCase().endsWith(form)),
  );
  problems.push({
    path: "model",
    message: `holds no model file: ${engine} needs one file named ${wanted}`,
    fix:
      deeper !== undefined
        ? `move ${deeper} directly into model/`
        : others.length > 0
          ? `if ${others[0]} is the model, rename it to ${example}`
          : `add the saved model as model/${example}`,
  });
  return "";
};

/** Whether the platform or the engine itself reads a file, and not only the package's own code. */
export const isReadByEngine = (path: string, engine: EngineName, modelFile: string): boolean => {
  if (path === "config.json" || path.endsWith(".py") || path.endsWith(".whl")) return true;
  const rule = MODELS[engine];
  if (rule.kind === "folder") return rule.needs.some(({ test }) => test.test(path));
  return modelFile === "" ? rule.kind === "saved" : path === modelFile || path.startsWith(`${modelFile}/`);
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

/** Code that was probably meant as the package's, under a name that makes it none. */
const unusedService = (files: readonly PackageFile[]): readonly Problem[] =>
  files
    .filter(({ path }) => !path.includes("/") && /service\.py$/i.test(path))
    .map(({ path }) => ({
      path: `model/${path}`,
      message: "is not used by itself",
      fix: "name it customize_service.py if it is the package's own code",
    }));

/** Checks the files of a package's `model` folder for an engine. */
export const checkLayout = (
  files: readonly PackageFile[],
  engine: EngineName,
  options: {
    /** True when the configuration came with the create request instead of the package. */
    readonly configElsewhere: boolean;
    /** True when the inference code did (`execution_code`). */
    readonly serviceElsewhere: boolean;
    /** True when the package must bring inference code whatever its engine (templates, guide §4.2.2). */
    readonly serviceNeeded?: boolean;
    /** True: single files may be as large as all together (guide table 2-6, dynamic loading). */
    readonly largeFiles?: boolean;
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
  const fileBytesMax = options.largeFiles === true ? PACKAGE_LIMITS.totalBytes : PACKAGE_LIMITS.fileBytes;
  for (const file of files.filter(({ size }) => size > fileBytesMax))
    problems.push({
      path: `model/${file.path}`,
      message: `has ${(file.size / GB).toFixed(1)} GB, more than ${fileBytesMax / GB} GB`,
      fix: options.largeFiles === true ? "reduce the file" : "reduce the file, or use dynamic loading",
    });
  if (files.length > PACKAGE_LIMITS.files)
    problems.push({
      path: "model",
      message: `holds ${files.length} files`,
      fix: `use at most ${PACKAGE_LIMITS.files}`,
    });
  checkSingle(files, "config.json", !options.configElsewhere, problems);
  const needsService = options.serviceNeeded === true && !options.serviceElsewhere;
  const ownService = checkSingle(files, "customize_service.py", needsService, problems);
  const modelFile = checkModel(files, engine, problems);
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
    warnings: ownService || options.serviceElsewhere ? [] : unusedService(files),
  };
};

/**
 * The AI engines of the guide (table 2-2 and table 4-1) and which of them run here. An engine that is known but not
 * available is refused with the list of those that are. The version sets are those of the interpreters we run on: what
 * was seen to load old models best, where the interpreter has a build of it, else the oldest release line that has.
 */
export type EngineName = "Scikit_Learn" | "XGBoost";

/** Every `model_type` the guide and the API know (contracts/modelarts.md §1.1). */
export const KNOWN_MODEL_TYPES = [
  "TensorFlow",
  "MXNet",
  "Caffe",
  "Spark_MLlib",
  "Scikit_Learn",
  "XGBoost",
  "PyTorch",
  "MindSpore",
  "Image",
  "Template",
  "Custom",
] as const;

export const AVAILABLE_ENGINES: readonly EngineName[] = ["Scikit_Learn", "XGBoost"];

export const isAvailable = (type: string): type is EngineName =>
  (AVAILABLE_ENGINES as readonly string[]).includes(type);

/** What an engine installs: the version set of contracts/engines.md §1 for the interpreters we run on. */
export interface EngineSet {
  readonly engine: EngineName;
  /** Requirement lines, installed together with the package's own dependencies. The first is the engine itself. */
  readonly requirements: readonly string[];
  /** Runtime names of the guide's table 2-2 that select this engine, plus our own. */
  readonly runtimes: readonly string[];
}

/** Our own runtime names: the interpreter by its version. */
const OWN_RUNTIMES = ["python3.9", "python3.10", "python3.11", "python3.12", "python3.13"] as const;

/** Runtime names of table 2-2 by model type; the first is the guide's default. */
const GUIDE_RUNTIMES: Readonly<Record<string, readonly string[]>> = {
  TensorFlow: [
    "python2.7",
    "python3.6",
    "tf1.13-python3.6-gpu",
    "tf1.13-python3.6-cpu",
    "tf1.13-python3.7-cpu",
    "tf1.13-python3.7-gpu",
    "tf2.1-python3.7",
    "tensorflow_2.1.0-cuda_10.1-py_3.7-ubuntu_18.04-x86_64",
  ],
  Spark_MLlib: ["python2.7", "python3.6"],
  Scikit_Learn: ["python2.7", "python3.6"],
  XGBoost: ["python2.7", "python3.6"],
  PyTorch: [
    "python2.7",
    "python3.6",
    "python3.7",
    "pytorch1.4-python3.7",
    "pytorch1.5-python3.7",
    "pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64",
  ],
  MindSpore: ["aarch64"],
};

/** The runtimes a model type may name; empty for types that have none (Image, Template, Custom …). */
export const runtimesOf = (modelType: string): readonly string[] => {
  const fromGuide = Object.hasOwn(GUIDE_RUNTIMES, modelType) ? (GUIDE_RUNTIMES[modelType] ?? []) : [];
  return isAvailable(modelType) ? [...fromGuide, ...OWN_RUNTIMES] : fromGuide;
};

/** What GET …/models/ai-engine-runtimes lists. */
export const engineRuntimes: readonly { readonly ai_engine: string; readonly runtimes: readonly string[] }[] =
  AVAILABLE_ENGINES.map((engine) => ({ ai_engine: engine, runtimes: runtimesOf(engine) }));

/** The Python version a runtime name asks for (`tf1.13-python3.6-cpu` → 3.6); null when it names none. */
export const pythonOfRuntime = (runtime: string): string | null =>
  /(?:python|py_)(\d\.\d{1,2})/.exec(runtime)?.[1] ?? null;

/** Interpreters below this cannot run the workers. */
export const OLDEST_PYTHON_MINOR = 9;

// XGBoost comes as `xgboost-cpu` where there is one: the plain package brings NCCL (951 MB against 271 MB), except on
// macOS. From 3.2 on the old binary format of models is no longer read, hence 3.0.5.
const REQUIREMENTS: Readonly<Record<EngineName, Readonly<Record<number, readonly string[]>>>> = {
  Scikit_Learn: {
    9: ["scikit-learn==1.2.2", "numpy<1.24", "pandas<2", "joblib"],
    10: ["scikit-learn==1.2.2", "numpy<1.24", "pandas<2", "joblib"],
    11: ["scikit-learn==1.2.2", "numpy<1.24", "pandas<2", "joblib"],
    12: ["scikit-learn==1.3.2", "numpy<2", "pandas<3", "joblib"],
    13: ["scikit-learn==1.5.2", "numpy<3", "pandas<3", "joblib"],
  },
  XGBoost: {
    9: ["xgboost-cpu==2.1.4", "numpy<2", "pandas<3", "scikit-learn<1.6"],
    10: ["xgboost-cpu==3.0.5", "numpy<2", "pandas<3", "scikit-learn<1.8"],
    11: ["xgboost-cpu==3.0.5", "numpy<2", "pandas<3", "scikit-learn<1.8"],
    12: ["xgboost-cpu==3.0.5", "numpy<2", "pandas<3", "scikit-learn<1.8"],
    13: ["xgboost-cpu==3.0.5", "numpy<3", "pandas<3", "scikit-learn<1.8"],
  },
};

/** For interpreters newer than the sets: whatever the index has. */
const NEWEST: Readonly<Record<EngineName, readonly string[]>> = {
  Scikit_Learn: ["scikit-learn", "numpy", "pandas", "joblib"],
  XGBoost: ["xgboost-cpu", "numpy", "pandas", "scikit-learn"],
};

/** The set of an engine for CPython 3.`minor`. `known` is false when the interpreter is newer than the sets. */
export const engineSet = (
  engine: EngineName,
  minor: number,
  options: { readonly mac: boolean },
): EngineSet & { readonly known: boolean } => {
  const known = REQUIREMENTS[engine][minor];
  const requirements = known ?? NEWEST[engine];
  return {
    engine,
    requirements: options.mac
      ? requirements.map((line) => line.replace(/^xgboost-cpu\b/, "xgboost"))
      : requirements,
    runtimes: runtimesOf(engine),
    known: known !== undefined,
  };
};

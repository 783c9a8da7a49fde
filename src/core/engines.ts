/**
 * The AI engines of the guide (table 4-1): how each takes a request, and the version sets that stand in for the guide's
 * own on the interpreters of today (contracts/engines.md §1). The guide's own sets belong to its runtimes: runtimes.ts.
 */
export const AVAILABLE_ENGINES = [
  "TensorFlow",
  "PyTorch",
  "MXNet",
  "Caffe",
  "MindSpore",
  "Spark_MLlib",
  "Scikit_Learn",
  "XGBoost",
] as const;

export type EngineName = (typeof AVAILABLE_ENGINES)[number];

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

export const isAvailable = (type: string): type is EngineName =>
  (AVAILABLE_ENGINES as readonly string[]).includes(type);

/**
 * What `_preprocess` is given (contracts/model-service-runtime.md §2): `fields`, files and values by name; `raw`, the body
 * as it came. It decides the errors on the wire as well (§3).
 */
export type RequestForm = "fields" | "raw";

export const requestForm = (engine: EngineName): RequestForm =>
  engine === "Scikit_Learn" || engine === "XGBoost" || engine === "Spark_MLlib" ? "raw" : "fields";

/** The oldest interpreter the workers run on: 3.6. */
export const OLDEST_PYTHON_MINOR = 6;

/** The version set of an engine on one interpreter. The first line is the engine itself. */
export interface EngineSet {
  readonly requirements: readonly string[];
  /** Projects that are built from source because they publish no wheel; of pure Python all. */
  readonly fromSource: readonly string[];
  /** False: the interpreter is newer than the sets, so the newest of everything was taken. */
  readonly known: boolean;
}

type Sets = Readonly<Record<number, readonly string[]>>;

/** The same lines for several minors. */
const on = (minors: readonly number[], ...lines: string[]): Sets =>
  Object.fromEntries(minors.map((minor) => [minor, lines]));

// What was seen to load old models best, where the interpreter has a build of it, else the oldest release line that has.
const SETS: Readonly<Record<EngineName, Sets>> = {
  // The last line whose tf.keras is Keras 2 is 2.15; its add-on packages need no GPU libraries.
  TensorFlow: {
    ...on([6], "tensorflow==1.15.5", "numpy<1.19", "protobuf<3.20", "h5py<3", "Pillow"),
    ...on([7], "tensorflow-cpu==2.1.0", "numpy<1.19", "protobuf<3.21", "h5py<3", "scipy<1.5", "Pillow"),
    ...on([8], "tensorflow-cpu==2.13.1", "numpy<1.25", "Pillow"),
    ...on([9, 10, 11], "tensorflow-cpu==2.15.1", "numpy<2", "Pillow"),
    ...on([12], "tensorflow-cpu==2.16.2", "tf-keras==2.16.0", "numpy<2", "Pillow"),
    ...on([13], "tensorflow-cpu==2.21.0", "numpy", "Pillow"),
  },
  // 2.5 is the last before weights_only became the default of torch.load.
  PyTorch: {
    ...on([6], "torch==1.10.1", "torchvision==0.11.2", "numpy<1.20", "Pillow"),
    ...on([7], "torch==1.13.1", "torchvision==0.14.1", "numpy<1.22", "Pillow"),
    ...on([8], "torch==2.4.1", "torchvision==0.19.1", "numpy<2", "Pillow"),
    ...on([9, 10, 11, 12], "torch==2.5.1", "torchvision==0.20.1", "numpy<3", "Pillow"),
    ...on([13], "torch==2.6.0", "torchvision==0.21.0", "numpy<3", "Pillow"),
  },
  // Without numpy.bool (1.24 and later) MXNet does not import; there is no release for interpreters after 3.11.
  MXNet: {
    ...on([6, 7, 8], "mxnet==1.9.1", "numpy<1.24", "Pillow"),
    ...on([9, 10, 11], "mxnet==1.9.1", "numpy<1.24", "Pillow"),
  },
  // OpenCV 5 has no reader for Caffe's files.
  Caffe: {
    ...on([6], "opencv-python-headless==4.5.5.64", "numpy", "Pillow"),
    ...on([7, 8, 9, 10, 11, 12, 13], "opencv-python-headless>=4.10,<5", "numpy", "Pillow"),
  },
  MindSpore: {
    ...on([7], "mindspore==2.0.0", "numpy<1.22", "Pillow"),
    ...on([8], "mindspore==2.0.0", "numpy<1.25", "Pillow"),
    ...on([9], "mindspore==2.7.0", "numpy<2", "Pillow"),
    ...on([10, 11, 12], "mindspore==2.10.0", "numpy", "Pillow"),
  },
  Spark_MLlib: {
    // The first line that runs on Java 17 is 3.3, which needs Python 3.7.
    ...on([7], "pyspark==3.4.4", "numpy<1.22", "pandas<1.4"),
    ...on([8, 9, 10, 11], "pyspark==3.5.9", "numpy<2", "pandas<2.2"),
    ...on([12, 13], "pyspark==4.0.1", "numpy", "pandas<3", "setuptools"),
  },
  Scikit_Learn: {
    ...on([6], "scikit-learn==0.24.2", "numpy<1.20", "pandas<1.2", "joblib"),
    ...on([7], "scikit-learn==1.0.2", "numpy<1.22", "pandas<1.4", "joblib"),
    ...on([8, 9, 10, 11], "scikit-learn==1.2.2", "numpy<1.24", "pandas<2", "joblib"),
    ...on([12], "scikit-learn==1.3.2", "numpy<2", "pandas<3", "joblib"),
    ...on([13], "scikit-learn==1.5.2", "numpy<3", "pandas<3", "joblib"),
  },
  // XGBoost comes as `xgboost-cpu` where there is one: the plain package brings NCCL (951 MB against 271 MB). From 3.2 on
  // the old binary format of models is no longer read, hence 3.0.5.
  XGBoost: {
    ...on([6], "xgboost==1.5.2", "numpy<1.20", "pandas<1.2", "scikit-learn<1"),
    ...on([7], "xgboost==1.6.2", "numpy<1.22", "pandas<1.4", "scikit-learn<1.1"),
    ...on([8], "xgboost-cpu==2.1.4", "numpy<2", "pandas<3", "scikit-learn<1.6"),
    ...on([9], "xgboost-cpu==2.1.4", "numpy<2", "pandas<3", "scikit-learn<1.6"),
    ...on([10, 11, 12], "xgboost-cpu==3.0.5", "numpy<2", "pandas<3", "scikit-learn<1.8"),
    ...on([13], "xgboost-cpu==3.0.5", "numpy<3", "pandas<3", "scikit-learn<1.8"),
  },
};

/** Projects of pure Python that publish no wheel in the releases an engine needs on CPython 3.`minor`. */
export const pureSources = (engine: EngineName, minor: number): readonly string[] => {
  if (engine === "Spark_MLlib") return ["pyspark"];
  return engine === "TensorFlow" && minor <= 7 ? ["gast", "termcolor", "html5lib"] : [];
};

/** The minors of CPython that an engine has a tested set for. */
export const testedMinors = (engine: EngineName): readonly number[] => Object.keys(SETS[engine]).map(Number);

/** The light builds are of Linux and Windows; elsewhere the plain packages are as light. */
export const withoutLight = (set: EngineSet): EngineSet => ({
  ...set,
  requirements: set.requirements.map((line) => line.replace(/^(xgboost|tensorflow)-cpu\b/, "$1")),
});

/** The set of an engine for CPython 3.`minor`; null when the engine has no release for it. */
export const engineSet = (
  engine: EngineName,
  minor: number,
  options: { readonly mac: boolean },
): EngineSet | null => {
  const tested = SETS[engine][minor];
  const newest = Math.max(...testedMinors(engine));
  if (tested === undefined && (minor < newest || engine === "MXNet" || engine === "MindSpore")) return null;
  const requirements = tested ?? (SETS[engine][newest] ?? []).map((line) => line.replace(/[=<>!].*$/, ""));
  const set = { requirements, fromSource: pureSources(engine, minor), known: tested !== undefined };
  return options.mac ? withoutLight(set) : set;
};

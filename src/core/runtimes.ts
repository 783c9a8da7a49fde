/**
 * The runtimes a package may name (guide table 2-2) and our own: which interpreter and which engine release each means,
 * and which interpreter of those that can be had serves one. Pure.
 */
import {
  AVAILABLE_ENGINES,
  OLDEST_PYTHON_MINOR,
  engineSet,
  isAvailable,
  pureSources,
  testedMinors,
} from "./engines.ts";
import type { EngineName, EngineSet } from "./engines.ts";

export interface Runtime {
  readonly name: string;
  /** `3.6`, `2.7`; null when the name tells none. */
  readonly python: string | null;
  /** The engine's packages as the guide's image has them; the first is the engine itself. Empty: no release is named. */
  readonly requirements: readonly string[];
  /** What the name allows the model to run on; null: both. */
  readonly device: "cpu" | "gpu" | null;
}

const guide = (
  name: string,
  python: string | null,
  requirements: readonly string[] = [],
  device: Runtime["device"] = null,
): Runtime => ({ name, python, requirements, device });

// Companions of the engine in bounds of its time: what the resolver takes by itself is years younger and breaks it.
const TF18 = ["tensorflow==1.8.0", "numpy<1.16", "protobuf<3.20", "Pillow<6", "h5py<3", "keras<2.2.5"];
const TF113 = ["tensorflow==1.13.1", "numpy<1.17", "protobuf<3.21", "Pillow<9", "h5py<3"];
const TF21 = ["tensorflow-cpu==2.1.0", "numpy<1.19", "protobuf<3.21", "Pillow<9", "h5py<3", "scipy<1.5"];
const TORCH10 = ["torch==1.0.0", "torchvision==0.2.1", "numpy<1.17", "Pillow<7"];
const TORCH18 = ["torch==1.8.0", "torchvision==0.9.0", "numpy<1.20", "Pillow<9"];
const SKLEARN018 = ["scikit-learn==0.18.1", "numpy<1.16", "scipy<1.3", "pandas<0.26", "joblib<1"];
const XGBOOST080 = [
  "xgboost==0.80",
  "numpy<1.17",
  "scipy<1.3",
  "pandas<0.26",
  "scikit-learn<0.21",
  "joblib<1",
];
const SPARK23 = ["pyspark==2.3.2", "numpy<1.17", "pandas<0.26"];

/** Table 2-2 by model type; the guide's default is its python2.7. Engines it names no runtime for have python3.6. */
const GUIDE: Readonly<Record<EngineName, readonly Runtime[]>> = {
  TensorFlow: [
    guide("python2.7", "2.7", TF18),
    guide("python3.6", "3.6", TF18),
    guide("tf1.13-python3.6-gpu", "3.6", TF113, "gpu"),
    guide("tf1.13-python3.6-cpu", "3.6", TF113, "cpu"),
    guide("tf1.13-python3.7-cpu", "3.7", TF113, "cpu"),
    guide("tf1.13-python3.7-gpu", "3.7", TF113, "gpu"),
    guide("tf2.1-python3.7", "3.7", TF21),
    guide("tensorflow_2.1.0-cuda_10.1-py_3.7-ubuntu_18.04-x86_64", "3.7", TF21),
  ],
  Spark_MLlib: [guide("python2.7", "2.7", SPARK23), guide("python3.6", "3.6", SPARK23)],
  Scikit_Learn: [guide("python2.7", "2.7", SKLEARN018), guide("python3.6", "3.6", SKLEARN018)],
  XGBoost: [guide("python2.7", "2.7", XGBOOST080), guide("python3.6", "3.6", XGBOOST080)],
  PyTorch: [
    guide("python2.7", "2.7", TORCH10),
    guide("python3.6", "3.6", TORCH10),
    guide("python3.7", "3.7", TORCH10),
    guide("pytorch1.4-python3.7", "3.7", ["torch==1.4.0", "torchvision==0.5.0", "numpy<1.20", "Pillow<7"]),
    guide("pytorch1.5-python3.7", "3.7", ["torch==1.5.0", "torchvision==0.6.0", "numpy<1.20", "Pillow<9"]),
    guide("pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64", "3.7", TORCH18),
  ],
  MindSpore: [guide("aarch64", null)],
  Caffe: [guide("python2.7", "2.7"), guide("python3.6", "3.6")],
  MXNet: [
    guide("python2.7", "2.7", ["mxnet==1.2.1", "numpy<1.15"]),
    guide("python3.6", "3.6", ["mxnet==1.2.1", "numpy<1.15"]),
  ],
};

/** Our own: an interpreter by its version, with the engine's tested set for it. */
const own = (engine: EngineName): readonly Runtime[] =>
  testedMinors(engine)
    .filter((minor) => minor > OLDEST_PYTHON_MINOR)
    .map((minor) => guide(`python3.${minor}`, `3.${minor}`))
    .filter(({ name }) => GUIDE[engine].every((runtime) => runtime.name !== name));

/** The runtimes of an engine, the guide's first. */
export const runtimesOfEngine = (engine: EngineName): readonly Runtime[] => [
  ...GUIDE[engine],
  ...own(engine),
];

/** The names a model type may use; empty for types that have none (Image, Template, Custom …). */
export const runtimesOf = (modelType: string): readonly string[] =>
  isAvailable(modelType) ? runtimesOfEngine(modelType).map(({ name }) => name) : [];

/** What GET …/models/ai-engine-runtimes lists. */
export const engineRuntimes: readonly { readonly ai_engine: string; readonly runtimes: readonly string[] }[] =
  AVAILABLE_ENGINES.map((engine) => ({ ai_engine: engine, runtimes: runtimesOf(engine) }));

/** What is known of a runtime by its name; a name the engine does not know still may tell its Python. */
export const runtimeNamed = (engine: EngineName, name: string): Runtime =>
  runtimesOfEngine(engine).find((runtime) => runtime.name === name) ??
  guide(name, /(?:python|py_)(\d\.\d{1,2})/.exec(name)?.[1] ?? null);

/** What a package gets when the interpreters that can be had are 3.`minors`. */
export interface Standing {
  readonly minor: number;
  readonly set: EngineSet;
  /** True: the interpreter and the engine's release are those the runtime names. */
  readonly exact: boolean;
}

/**
 * Chooses the interpreter for a runtime: the very one it names, else the nearest that has a set of the engine (younger
 * ones before older ones at the same distance, since code written for an old Python mostly runs on a younger), else null.
 * `preferred`: the minor to take when no runtime is named.
 */
export const chooseRuntime = (
  engine: EngineName,
  runtime: Runtime | null,
  minors: readonly number[],
  preferred: number,
  options: { readonly mac: boolean },
): Standing | null => {
  const wanted = runtime?.python?.startsWith("3.") === true ? Number(runtime.python.slice(2)) : null;
  if (wanted !== null && minors.includes(wanted)) {
    const tested = engineSet(engine, wanted, options);
    const original = (runtime?.requirements ?? []).length > 0;
    if (original && runtime !== null)
      return {
        minor: wanted,
        set: { requirements: runtime.requirements, fromSource: pureSources(engine, wanted), known: true },
        exact: true,
      };
    if (tested !== null) return { minor: wanted, set: tested, exact: true };
  }
  // Python 2 and names that tell no Python: what the machine has by itself, like a package that names no runtime.
  const aim = wanted ?? preferred;
  const distance = (minor: number): number => Math.abs(minor - aim) * 2 - (minor > aim ? 1 : 0);
  for (const minor of [...new Set(minors)].toSorted((a, b) => distance(a) - distance(b))) {
    const set = engineSet(engine, minor, options);
    if (set !== null) return { minor, set, exact: runtime === null || runtime.python === null };
  }
  return null;
};

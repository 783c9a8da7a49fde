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
  withoutLight,
} from "./engines.ts";
import type { EngineName, EngineSet } from "./engines.ts";

export interface Runtime {
  readonly name: string;
  /** `3.6`, `2.7`; null when the name tells none. */
  readonly python: string | null;
  /** The engine's packages as the guide's image has them; the first is the engine itself. Empty: no release is named. */
  readonly requirements: readonly string[];
  /** The minors of CPython that have builds of those packages, its own first; another of them is the next best. */
  readonly minors: readonly number[];
  /** What the name allows the model to run on; null: both. */
  readonly device: "cpu" | "gpu" | null;
}

/** A release of an engine as the guide's images have it. */
interface Release {
  readonly lines: readonly string[];
  readonly minors: readonly number[];
}

const guide = (
  name: string,
  python: string | null,
  release: Release = { lines: [], minors: [] },
  device: Runtime["device"] = null,
): Runtime => ({ name, python, requirements: release.lines, minors: release.minors, device });

const release = (minors: readonly number[], ...lines: string[]): Release => ({ lines, minors });

// Companions of the engine in bounds of its time: what the resolver takes by itself is years younger and breaks it.
const TF18 = release(
  [6],
  "tensorflow==1.8.0",
  "numpy<1.16",
  "protobuf<3.20",
  "Pillow<6",
  "h5py<3",
  "keras<2.2.5",
);
const TF113 = release([6, 7], "tensorflow==1.13.1", "numpy<1.17", "protobuf<3.21", "Pillow<9", "h5py<3");
const TF21 = release(
  [6, 7],
  "tensorflow-cpu==2.1.0",
  "numpy<1.19",
  "protobuf<3.21",
  "Pillow<9",
  "h5py<3",
  "scipy<1.5",
);
const TORCH10 = release([6, 7], "torch==1.0.0", "torchvision==0.2.1", "numpy<1.17", "Pillow<7");
const TORCH18 = release([6, 7, 8, 9], "torch==1.8.0", "torchvision==0.9.0", "numpy<1.20", "Pillow<9");
const SKLEARN018 = release([6], "scikit-learn==0.18.1", "numpy<1.16", "scipy<1.3", "pandas<0.26", "joblib<1");
const XGBOOST080 = release(
  [6],
  "xgboost==0.80",
  "numpy<1.17",
  "scipy<1.3",
  "pandas<0.26",
  "scikit-learn<0.21",
  "joblib<1",
);
const TORCH14 = release([6, 7, 8], "torch==1.4.0", "torchvision==0.5.0", "numpy<1.20", "Pillow<7");
const TORCH15 = release([6, 7, 8], "torch==1.5.0", "torchvision==0.6.0", "numpy<1.20", "Pillow<9");
const MXNET12 = release([6, 7], "mxnet==1.2.1", "numpy<1.15");

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
  // Spark 2.3.2 needs Java 8 and cannot be built from its source any more.
  Spark_MLlib: [guide("python2.7", "2.7"), guide("python3.6", "3.6")],
  Scikit_Learn: [guide("python2.7", "2.7", SKLEARN018), guide("python3.6", "3.6", SKLEARN018)],
  XGBoost: [guide("python2.7", "2.7", XGBOOST080), guide("python3.6", "3.6", XGBOOST080)],
  PyTorch: [
    guide("python2.7", "2.7", TORCH10),
    guide("python3.6", "3.6", TORCH10),
    guide("python3.7", "3.7", TORCH10),
    guide("pytorch1.4-python3.7", "3.7", TORCH14),
    guide("pytorch1.5-python3.7", "3.7", TORCH15),
    guide("pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64", "3.7", TORCH18),
  ],
  MindSpore: [guide("aarch64", null)],
  Caffe: [guide("python2.7", "2.7"), guide("python3.6", "3.6")],
  MXNet: [guide("python2.7", "2.7", MXNET12), guide("python3.6", "3.6", MXNET12)],
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

/** The minor of CPython 3 a runtime is about. Python 2 images have the packages of 3.6, the nearest there is. */
export const minorOf = (runtime: Runtime): number | null => {
  if (runtime.python === null) return null;
  return runtime.python.startsWith("3.") ? Number(runtime.python.slice(2)) : OLDEST_PYTHON_MINOR;
};

/** True: its images ran Python 2. */
export const isPython2 = (runtime: Runtime): boolean => runtime.python?.startsWith("2.") === true;

/**
 * Chooses the interpreter for a runtime: the very one it names; else the nearest with a build of the engine's release;
 * else the nearest with any set of the engine (younger ones before older ones at the same distance, since code written
 * for an old Python mostly runs on a younger); else null. `preferred`: the minor to take when the runtime tells none.
 */
export const chooseRuntime = (
  engine: EngineName,
  runtime: Runtime | null,
  minors: readonly number[],
  preferred: number,
  options: { readonly mac: boolean },
): Standing | null => {
  const wanted = runtime === null ? null : minorOf(runtime);
  const aim = wanted ?? preferred;
  const distance = (minor: number): number => Math.abs(minor - aim) * 2 - (minor > aim ? 1 : 0);
  const nearest = [...new Set(minors)].toSorted((a, b) => distance(a) - distance(b));
  const isExact = (minor: number): boolean =>
    runtime === null || (wanted === null ? true : minor === wanted && !isPython2(runtime));
  if (runtime !== null && runtime.requirements.length > 0) {
    const minor = nearest.find((one) => runtime.minors.includes(one));
    if (minor !== undefined) {
      const set = { requirements: runtime.requirements, fromSource: pureSources(engine, minor), known: true };
      return { minor, set: options.mac ? withoutLight(set) : set, exact: isExact(minor) };
    }
  }
  for (const minor of nearest) {
    const set = engineSet(engine, minor, options);
    if (set !== null) return { minor, set, exact: isExact(minor) };
  }
  return null;
};

/** How one runtime of an engine fares on this machine. */
export interface RuntimeState {
  readonly engine: EngineName;
  readonly runtime: string;
  /** What the name says; null: nothing. */
  readonly python: string | null;
  /** The engine's release it stands for: `tensorflow==1.8.0`. */
  readonly release: string | null;
  /** here: exactly this runs. fetchable: its Python is fetched when a package asks. replaced: another stands in. */
  readonly state: "here" | "fetchable" | "replaced" | "missing";
  /** What runs: `Python 3.11 with scikit-learn==1.2.2`; null when nothing does. */
  readonly runs: string | null;
}

/** Every runtime of every engine, given the minors that are here and those that could be fetched. */
export const runtimeStates = (
  here: readonly number[],
  fetchable: readonly number[],
  preferred: number,
  options: { readonly mac: boolean },
): readonly RuntimeState[] =>
  AVAILABLE_ENGINES.flatMap((engine) =>
    runtimesOfEngine(engine).map((runtime) => {
      const minor = minorOf(runtime);
      const standing = chooseRuntime(engine, runtime, here, preferred, options);
      const named = minor === null ? null : engineSet(engine, minor, options);
      const isFetchable =
        standing?.exact !== true && minor !== null && named !== null && fetchable.includes(minor);
      const release = runtime.requirements[0] ?? named?.requirements[0] ?? null;
      const state =
        standing === null ? "missing" : standing.exact && runtime.python !== null ? "here" : "replaced";
      return {
        engine,
        runtime: runtime.name,
        python: runtime.python,
        release,
        state: isFetchable ? "fetchable" : state,
        runs:
          standing === null
            ? null
            : `Python 3.${standing.minor} with ${standing.set.requirements[0] ?? engine}`,
      };
    }),
  );

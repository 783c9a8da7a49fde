/**
 * The AI engines of the guide (table 2-2 and table 4-1) and which of them run here. An engine that is known but not
 * available is refused with the list of those that are.
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
  /** Requirement lines, installed together with the package's own dependencies. */
  readonly requirements: readonly string[];
  /** Runtime names of the guide's table 2-2 that select this engine, plus our own. */
  readonly runtimes: readonly string[];
}

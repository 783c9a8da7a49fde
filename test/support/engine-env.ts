/**
 * The environments of the engine tests: an engine's original version on its original interpreter where this machine
 * has one, else the nearest version that its own Python 3 can run. Built once per machine, see python-env.ts.
 */
import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { environmentOf } from "./python-env.ts";

const run = promisify(execFile);

export interface EngineEnvironment {
  /** `TensorFlow 1.8.0 on Python 3.6`: for the names of tests. */
  readonly name: string;
  readonly minor: number;
  readonly requirements: readonly string[];
}

export const TF_1_8: EngineEnvironment = {
  name: "TensorFlow 1.8.0 on Python 3.6",
  minor: 6,
  requirements: ["tensorflow==1.8.0", "numpy==1.15.0", "Pillow==5.2.0", "keras==2.1.6", "h5py==2.10.0"],
};
export const TF_2_1: EngineEnvironment = {
  name: "TensorFlow 2.1.0 on Python 3.7",
  minor: 7,
  requirements: ["tensorflow-cpu==2.1.0", "numpy==1.16.4", "protobuf<3.21", "Pillow==9.5.0"],
};
export const TORCH_1_8: EngineEnvironment = {
  name: "PyTorch 1.8.0 on Python 3.7",
  minor: 7,
  requirements: ["torch==1.8.0", "torchvision==0.9.0", "numpy<1.22", "Pillow<10"],
};
export const TF_2_15: EngineEnvironment = {
  name: "TensorFlow 2.15.1 on Python 3.11",
  minor: 11,
  requirements: ["tensorflow-cpu==2.15.1", "Pillow"],
};

/** CPython 3.`minor` of this machine, where version managers and distributions put it; null when there is none. */
export const interpreterOf = (minor: number): string | null => {
  const managed = join(homedir(), ".pyenv/versions");
  const versions = existsSync(managed) ? readdirSync(managed) : [];
  const candidates = [
    ...versions
      .filter((name) => name.startsWith(`3.${minor}.`))
      .map((name) => join(managed, name, "bin/python")),
    ...["/usr/local/bin", "/usr/bin"].map((dir) => join(dir, `python3.${minor}`)),
  ];
  return candidates.find((path) => existsSync(path)) ?? null;
};

/** The environment's interpreter, or null where this machine lacks the Python that it is for. */
export const engineEnvironment = async (environment: EngineEnvironment): Promise<string | null> => {
  const base = interpreterOf(environment.minor);
  if (base === null) return null;
  // A version manager's file may be a link; an environment is known by the interpreter itself.
  const { stdout } = await run(base, ["-c", "import sys, os; print(os.path.realpath(sys.executable))"]);
  return environmentOf({ path: stdout.trim(), minor: environment.minor }, environment.requirements, []);
};

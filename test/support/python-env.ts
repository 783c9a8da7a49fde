/** Interpreters for system tests: with the sets of the light engines as the platform itself builds them, or bare. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { EngineName } from "../../src/core/engines.ts";
import { engineEnvironment } from "./engine-environments.ts";

const run = promisify(execFile);
const never = new AbortController().signal;

/** The interpreter of an environment with the scikit-learn set of the engine. */
export const sklearnPython = (): Promise<string> => pythonWith("Scikit_Learn");

/** The interpreter of an environment with the XGBoost set of the engine. */
export const xgboostPython = (): Promise<string> => pythonWith("XGBoost");

/** The machine's own Python 3, without packages: enough for packages that need none. */
export const plainPython = async (): Promise<string> => (await interpreter()).path;

const pythonWith = async (engine: EngineName): Promise<string> => {
  const { minor } = await interpreter();
  return (await engineEnvironment(engine, `python3.${minor}`, never)).python;
};

/** The real path of python3, since a version manager's shim may stand in its place. */
const interpreter = async (): Promise<{ path: string; minor: number }> => {
  const { stdout } = await run("python3", [
    "-c",
    "import sys; print(sys.executable); print(sys.version_info[1])",
  ]);
  const [path = "", minor = ""] = stdout.split("\n");
  return { path, minor: Number(minor) };
};

/**
 * Real Python environments for system tests, built once per machine and set of requirements, shared by all test runs.
 * Callers at the same time build once: the builder holds a lock directory with its pid; a marker written last says
 * that the environment is whole.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);
const CACHE = join(import.meta.dirname, "../../node_modules/.cache/modelport-test");
/** A lock whose writer has not yet put its pid in is young; an old one without pid belongs to a killed process. */
const LOCK_WITHOUT_PID_MS = 10_000;

/** The interpreter of an environment with the scikit-learn set of the engine. */
export const sklearnPython = (): Promise<string> =>
  pythonWith((minor) =>
    minor >= 8 && minor <= 11
      ? ["scikit-learn==1.2.2", "numpy<1.24", "pandas<2"]
      : ["scikit-learn>=1.2.2", "numpy", "pandas"],
  );

/** The interpreter of an environment with the XGBoost set of the engine. */
export const xgboostPython = (): Promise<string> =>
  pythonWith((minor) =>
    minor >= 10
      ? ["xgboost-cpu==3.0.5", "numpy", "pandas", "scikit-learn"]
      : ["xgboost", "numpy", "pandas", "scikit-learn"],
  );

/** The machine's own Python 3, without packages: enough for packages that need none. */
export const plainPython = async (): Promise<string> => (await interpreter()).path;

const pythonWith = async (requirementsFor: (minor: number) => readonly string[]): Promise<string> => {
  const base = await interpreter();
  const requirements = requirementsFor(base.minor);
  const key = createHash("sha256")
    .update(JSON.stringify([base, requirements]))
    .digest("hex")
    .slice(0, 16);
  const dir = join(CACHE, `env-${key}`);
  const python = join(dir, "bin/python");
  const whole = join(dir, ".whole");
  const lock = `${dir}.lock`;
  mkdirSync(CACHE, { recursive: true });
  while (!existsSync(whole)) {
    if (!tryLock(lock)) {
      await sleep(200);
      continue;
    }
    try {
      if (existsSync(whole)) break;
      rmSync(dir, { recursive: true, force: true });
      await run(base.path, ["-m", "venv", dir]);
      await run(python, ["-m", "pip", "install", "--quiet", "--only-binary", ":all:", ...requirements], {
        maxBuffer: 64 * 1024 * 1024,
      });
      writeFileSync(whole, "");
    } finally {
      rmSync(lock, { recursive: true, force: true });
    }
  }
  return python;
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

const tryLock = (lock: string): boolean => {
  try {
    mkdirSync(lock);
  } catch {
    if (isAbandoned(lock)) rmSync(lock, { recursive: true, force: true });
    return false;
  }
  writeFileSync(join(lock, "pid"), String(process.pid));
  return true;
};

const isAbandoned = (lock: string): boolean => {
  let pid: string;
  try {
    pid = readFileSync(join(lock, "pid"), "utf8");
  } catch {
    try {
      return Date.now() - statSync(lock).mtimeMs > LOCK_WITHOUT_PID_MS;
    } catch {
      return false;
    }
  }
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "ESRCH";
  }
};

/**
 * Finds the machine's Python and what there is to know about it. Shims of version managers and virtual environments are
 * followed to the real interpreter, because environments made from those would break with them.
 */
import type { Finished } from "./command.ts";

export interface Interpreter {
  /** As invoked; pip may live here. */
  readonly command: string;
  /** The real interpreter, absolute. */
  readonly executable: string;
  /** `3.11.7` */
  readonly version: string;
  readonly minor: number;
  readonly platform: string;
}

export type InterpreterSearch =
  | { readonly ok: true; readonly interpreter: Interpreter }
  | { readonly ok: false; readonly message: string };

const PROBE = `
import json, platform, sys, sysconfig
base = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps({"command": sys.executable, "executable": base, "major": sys.version_info[0], "minor": sys.version_info[1],
  "version": platform.python_version(), "implementation": platform.python_implementation(), "platform": sysconfig.get_platform()}))
`;

/** An interpreter as it describes itself. */
export interface Probed extends Interpreter {
  readonly major: number;
  readonly implementation: string;
}

const INSTALL = "Install Python 3.8 or later, or set MODELPORT_PYTHON to its path.";

/** What a program says it is; null when it does not work or is no Python. */
export const probeInterpreter = async (
  program: string,
  run: (program: string, args: readonly string[]) => Promise<Finished>,
): Promise<Probed | null> => {
  const { code, stdout } = await run(program, ["-c", PROBE]);
  if (code !== 0) return null;
  try {
    const probed = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Probed;
    // Python cannot name itself when there is no PATH; then it cannot be used as a program either.
    return probed.command === "" || probed.executable === "" ? null : probed;
  } catch {
    return null;
  }
};

/** Looks at the named interpreter, or at python3 and python on the PATH. */
export const findInterpreter = async (
  named: string | null,
  oldestMinor: number,
  run: (program: string, args: readonly string[]) => Promise<Finished>,
): Promise<InterpreterSearch> => {
  const seen: string[] = [];
  for (const program of named === null ? ["python3", "python"] : [named]) {
    const probed = await probeInterpreter(program, run);
    if (probed === null) continue;
    if (probed.major === 3 && probed.minor >= oldestMinor && probed.implementation === "CPython")
      return { ok: true, interpreter: probed };
    seen.push(`${probed.executable} is ${probed.implementation} ${probed.version}`);
  }
  if (seen.length > 0) return { ok: false, message: `${seen.join("; ")}. ${INSTALL}` };
  return {
    ok: false,
    message: `${named === null ? "This machine has no Python 3" : `There is no working Python at ${named}`}. ${INSTALL}`,
  };
};

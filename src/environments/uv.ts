/**
 * Fetches uv, pinned, with the machine's own pip, and speaks to it: one place knows its arguments and its messages.
 */
import { randomUUID } from "node:crypto";
import { access, mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Finished } from "./command.ts";
import { explainFailure, isUnreachable, unreachable } from "./explain.ts";
import type { Asked, Failure } from "./explain.ts";
import type { Interpreter } from "./interpreter.ts";
import { projectOf } from "./requirements.ts";
import { missingIn, reasonOf } from "./resolution.ts";

export const UV_VERSION = "0.13.9";

export type Run = (
  program: string,
  args: readonly string[],
  more?: { input?: string; onLine?: (line: string) => void },
) => Promise<Finished>;

const binary = (dir: string): string => join(dir, "bin", process.platform === "win32" ? "uv.exe" : "uv");

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** The path of uv, fetched when it is not there yet; or why it cannot be had. */
export const obtainUv = async (
  deps: { tools: string; scratch: string; run: Run },
  interpreter: Interpreter,
  onLog: (line: string) => void,
): Promise<{ ok: true; uv: string } | { ok: false; message: string; log: string }> => {
  const home = join(deps.tools, `uv-${UV_VERSION}`);
  if (await exists(binary(home))) return { ok: true, uv: binary(home) };
  onLog(`downloading uv ${UV_VERSION}`);
  const target = join(deps.scratch, randomUUID());
  await mkdir(target, { recursive: true });
  try {
    const { code, stdout, stderr } = await deps.run(
      interpreter.command,
      [
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--target",
        target,
        `uv==${UV_VERSION}`,
      ],
      { onLine: onLog },
    );
    if (code === 0 && (await exists(binary(target)))) {
      await mkdir(deps.tools, { recursive: true });
      // Another process may have been faster; its copy is as good.
      await rename(target, home).catch(async (error: unknown) => {
        if (!(await exists(binary(home)))) throw error;
      });
      return { ok: true, uv: binary(home) };
    }
    const log = stdout + stderr;
    if (/No module named pip/.test(log)) {
      const own = await deps.run("uv", ["--version"]);
      if (own.code === 0 && own.stdout.startsWith(`uv ${UV_VERSION}`)) return { ok: true, uv: "uv" };
      return {
        ok: false,
        message: `${interpreter.command} has no pip, which is needed to fetch uv. Install it (Debian, Ubuntu: apt install python3-pip; elsewhere: python3 -m ensurepip), or set MODELPORT_PYTHON to a Python that has it.`,
        log,
      };
    }
    return {
      ok: false,
      message: isUnreachable(log)
        ? unreachable(`uv ${UV_VERSION}, which builds environments`)
        : `uv ${UV_VERSION} could not be installed with pip: ${lastLine(log)}`,
      log,
    };
  } finally {
    await rm(target, { recursive: true, force: true });
  }
};

const lastLine = (log: string): string =>
  log
    .split("\n")
    .map((line) => line.trim())
    .findLast((line) => /^ERROR|error/i.test(line)) ?? "see the log";

export interface CompileInput {
  readonly requirements: readonly string[];
  readonly constraints: readonly string[];
  /** True: the lowest versions of what is required directly. */
  readonly lowest: boolean;
  /** Projects that may be built from their source. */
  readonly fromSource: readonly string[];
}

export type Compiled =
  | {
      readonly ok: true;
      /** `name==version`, or `name @ address` */
      readonly lines: readonly string[];
      /** Who needs a project that nobody asked for, by its normalised name. */
      readonly neededBy: ReadonlyMap<string, readonly string[]>;
    }
  | {
      readonly ok: false;
      /** Why not, in one clause. */
      readonly reason: string;
      /** What is known to have failed, where it is not that the requirements do not go together. */
      readonly failure: Failure | null;
      /** A project that the index has not; and how the index refused it, where it did. */
      readonly missing: { readonly project: string; readonly refusal: string | null } | null;
    };

const exemptions = (fromSource: readonly string[]): string[] =>
  fromSource.flatMap((name) => ["--no-binary", name]);

/** `uv pip compile` for an interpreter. */
export const createCompile =
  (deps: {
    uv: string;
    /** By the projects that may be built from their source: that runs their code. */
    run: (fromSource: readonly string[]) => Run;
    python: string;
    /** Further arguments: another index. */
    options: readonly string[];
    /** What is asked for, as written: failures name it. */
    asked: Asked;
    writeConstraints: (lines: readonly string[]) => Promise<string>;
  }) =>
  async (input: CompileInput): Promise<Compiled> => {
    const constraints =
      input.constraints.length === 0 ? [] : ["--constraints", await deps.writeConstraints(input.constraints)];
    const { code, stdout, stderr } = await deps.run(input.fromSource)(
      deps.uv,
      [
        "pip",
        "compile",
        "-",
        "--python",
        deps.python,
        "--only-binary",
        ":all:",
        ...exemptions(input.fromSource),
        "--no-header",
        "--annotation-style",
        "line",
        "--color",
        "never",
        "--quiet",
        ...constraints,
        ...(input.lowest ? ["--resolution", "lowest-direct"] : []),
        ...deps.options,
      ],
      { input: `${input.requirements.join("\n")}\n` },
    );
    if (code !== 0) {
      const failure = explainFailure(stderr, deps.asked);
      return {
        ok: false,
        reason: failure?.reason ?? reasonOf(stderr),
        failure,
        missing: failure === null ? missingIn(stderr) : null,
      };
    }
    return { ok: true, ...readSet(stdout) };
  };

/** A set as `uv pip compile` writes it: `numpy==1.23.5   # via pandas, scikit-learn`. */
const readSet = (
  text: string,
): { lines: readonly string[]; neededBy: ReadonlyMap<string, readonly string[]> } => {
  const lines: string[] = [];
  const neededBy = new Map<string, readonly string[]>();
  for (const written of text.split("\n")) {
    const [line = "", via = ""] = written.split(/\s+# via /);
    if (line.trim() === "" || line.startsWith("#")) continue;
    lines.push(line.trim());
    neededBy.set(projectOf(line), via === "" ? [] : via.split(", ").map(projectOf));
  }
  return { lines, neededBy };
};

/** Arguments that install a compiled set into an environment, without its bytecode: see compileArguments. */
export const installArguments = (python: string, file: string, fromSource: readonly string[]): string[] => [
  "pip",
  "install",
  "--python",
  python,
  "--only-binary",
  ":all:",
  ...exemptions(fromSource),
  "--no-deps",
  "--color",
  "never",
  "--requirements",
  file,
];

/** Arguments that write the files of a compiled set with their sizes, without downloading any: see readSizes. */
export const filesArguments = (python: string, fromSource: readonly string[]): string[] => [
  "pip",
  "compile",
  "-",
  "--python",
  python,
  "--only-binary",
  ":all:",
  ...exemptions(fromSource),
  "--no-deps",
  "--no-header",
  "--quiet",
  "--color",
  "never",
  "--format",
  "pylock.toml",
];

/** Bytes to download by project, from a pylock.toml (PEP 751); projects whose index tells no sizes are left out. */
export const readSizes = (pylock: string): ReadonlyMap<string, number> => {
  const sizes = new Map<string, number>();
  for (const one of pylock.split("[[packages]]").slice(1)) {
    const name = /^name = "([^"]+)"/m.exec(one)?.[1];
    // Of several wheels that fit, one is taken; which, uv decides at the install.
    const of = (part: string): readonly number[] =>
      [...part.matchAll(/\bsize = (\d+)/g)].map(([, n]) => Number(n));
    const [before, wheels] = one.split(/^wheels = /m);
    const size = Math.max(0, ...of(wheels ?? before ?? ""));
    if (name !== undefined && size > 0) sizes.set(name, size);
  }
  return sizes;
};

/**
 * Arguments to the interpreter an environment was made of that compile the bytecode of what is installed there. Neither that
 * environment's own interpreter nor uv, which starts it: packages may have replaced it, and the *.pth files they bring
 * run at its start, as the user who starts it.
 */
export const compileArguments = (venv: string): string[] => [
  "-I",
  "-S",
  "-c",
  "import compileall, glob, sys\nfor packages in glob.glob(sys.argv[1] + '/lib/python3*/site-packages'): compileall.compile_dir(packages, quiet=2, workers=0)",
  venv,
];

/**
 * Fetches uv, pinned, with the machine's own pip, and speaks to it: one place knows its arguments and its messages.
 */
import { randomUUID } from "node:crypto";
import { access, mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Finished } from "./command.ts";
import type { Interpreter } from "./interpreter.ts";

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

const UNREACHABLE =
  /dns error|name resolution|Name or service not known|error sending request|client error|Failed to fetch|Could not connect|Connection (?:refused|reset|broken)|Network is unreachable|timed out|UnknownIssuer|CERTIFICATE_VERIFY_FAILED|NewConnectionError|Max retries|Retrying \(|from versions: none/i;

export const isUnreachable = (output: string): boolean => UNREACHABLE.test(output);

export const UNREACHABLE_MESSAGE =
  "The package index cannot be reached. Check the network connection, or set PIP_INDEX_URL, a proxy (HTTPS_PROXY) or SSL_CERT_FILE, and try again.";

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
        ? UNREACHABLE_MESSAGE
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
  | { readonly ok: true; readonly lines: readonly string[] }
  | { readonly ok: false; readonly reason: string; readonly unreachable: boolean };

/** What uv says is the cause, in one line without its conclusion. */
export const causeOf = (stderr: string): string => {
  const cause =
    /cause: ([^\n]+(?:\n {4,}[^\n]+)*)/.exec(stderr)?.[1] ??
    /error: ([^\n]+)/.exec(stderr)?.[1] ??
    "uv gave no reason";
  const text = cause
    .replaceAll(/\s+/g, " ")
    .replace(/,? we can conclude that your requirements are unsatisfiable\.?$/, "")
    .replace(/^Because (.*?),? and you require [^,]+$/, "$1")
    .replace(/^Because /, "")
    .trim();
  return text.length > 400 ? `${text.slice(0, 397)}…` : text;
};

const exemptions = (fromSource: readonly string[]): string[] =>
  fromSource.flatMap((name) => ["--no-binary", name]);

/** `uv pip compile` for an interpreter. */
export const createCompile =
  (deps: {
    uv: string;
    run: Run;
    python: string;
    /** Further arguments: another index. */
    options: readonly string[];
    /** What is asked for, as written: failures name it. */
    asked: readonly string[];
    /** A sentence for a failed build of a source package, which resolving may need. */
    explain: (log: string, asked: readonly string[]) => string | null;
    writeConstraints: (lines: readonly string[]) => Promise<string>;
  }) =>
  async (input: CompileInput): Promise<Compiled> => {
    const constraints =
      input.constraints.length === 0 ? [] : ["--constraints", await deps.writeConstraints(input.constraints)];
    const { code, stdout, stderr } = await deps.run(
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
        "--no-annotate",
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
      const isBuild = /Failed to build/.test(stderr);
      return {
        ok: false,
        reason: (isBuild ? deps.explain(stderr, deps.asked) : null) ?? causeOf(stderr),
        unreachable: !isBuild && isUnreachable(stderr),
      };
    }
    return {
      ok: true,
      lines: stdout.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("#")),
    };
  };

/** Arguments that install a compiled set into an environment. Bytecode is compiled by whoever can: see compileArguments. */
export const installArguments = (
  python: string,
  file: string,
  fromSource: readonly string[],
  minor: number,
): string[] => [
  "pip",
  "install",
  "--python",
  python,
  "--only-binary",
  ":all:",
  ...exemptions(fromSource),
  "--no-deps",
  ...(minor < UV_COMPILES_FROM ? [] : ["--compile-bytecode"]),
  "--color",
  "never",
  "--requirements",
  file,
];

/** uv's own compiler asks for names that py_compile has from 3.7 on. */
const UV_COMPILES_FROM = 7;

/** Arguments to the environment's Python that compile what is installed, where uv cannot; null where it has. */
export const compileArguments = (minor: number): string[] | null =>
  minor < UV_COMPILES_FROM
    ? [
        "-c",
        "import compileall, sysconfig; compileall.compile_dir(sysconfig.get_path('purelib'), quiet=2, workers=0)",
      ]
    : null;

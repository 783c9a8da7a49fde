/**
 * Every CPython of the machine in the usual places, and the one to take for a runtime. Looking costs a process start per
 * interpreter, so the whole search waits until a runtime asks for a Python that the machine's own is not, and is kept.
 */
import { readdir } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { OLDEST_PYTHON_MINOR } from "../core/engines.ts";
import type { Finished } from "./command.ts";
import { findInterpreter, probeInterpreter } from "./interpreter.ts";
import type { Interpreter, InterpreterSearch } from "./interpreter.ts";

export interface InterpretersDeps {
  /** The only interpreter to use; null: those of the machine. */
  readonly named: string | null;
  /** HOME, PATH, PYENV_ROOT … of the machine. */
  readonly environment: Readonly<Record<string, string>>;
  /** Where the platform keeps those it fetched: <tools>/pythons. */
  readonly fetched: string;
  readonly probe: (program: string, args: readonly string[]) => Promise<Finished>;
}

/** Programs named like an interpreter: `python3`, `python3.7`; not `python3-config`. */
const NAME = /^python3(?:\.\d+)?$/;

const names = (dir: string): Promise<readonly string[]> => readdir(dir).catch(() => []);

/** Folders that hold one installation each, with its interpreter in bin/. */
const installations = async (root: string): Promise<readonly string[]> =>
  (await names(root)).map((name) => join(root, name, "bin"));

/** Where people and version managers put interpreters. Shims of version managers are passed over: their targets are here too. */
const folders = async (
  environment: Readonly<Record<string, string>>,
  fetched: string,
): Promise<readonly string[]> => {
  const home = environment["HOME"] ?? "/nonexistent";
  const pyenv = environment["PYENV_ROOT"] ?? join(home, ".pyenv");
  const conda = ["miniconda3", "anaconda3", "miniforge3", "mambaforge"].map((name) => join(home, name));
  const own = [
    ...(environment["PATH"] ?? "").split(delimiter).filter((dir) => dir !== "" && !dir.endsWith("/shims")),
    "/usr/bin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
    ...[...conda, "/opt/conda"].map((dir) => join(dir, "bin")),
  ];
  const roots = [
    fetched,
    join(pyenv, "versions"),
    join(environment["XDG_DATA_HOME"] ?? join(home, ".local/share"), "uv/python"),
    join(home, ".asdf/installs/python"),
    join(home, ".local/share/mise/installs/python"),
    "/opt/python",
    "/opt",
    ...[...conda, "/opt/conda", join(home, ".conda")].map((dir) => join(dir, "envs")),
  ];
  const found = await Promise.all(roots.map((root) => installations(root)));
  return [...new Set([...own, ...found.flat()])];
};

export class Interpreters {
  readonly #deps: InterpretersDeps;
  #usual: Promise<InterpreterSearch> | null = null;
  #all: Promise<readonly Interpreter[]> | null = null;

  constructor(deps: InterpretersDeps) {
    this.#deps = deps;
  }

  /** The machine's own python3, or the one that is set. Kept when found: a machine without Python may get one while we run. */
  usual(): Promise<InterpreterSearch> {
    this.#usual ??= findInterpreter(this.#deps.named, OLDEST_PYTHON_MINOR, this.#deps.probe);
    const search = this.#usual;
    const forget = (): void => {
      if (this.#usual === search) this.#usual = null;
    };
    search.then((result) => (result.ok ? undefined : forget()), forget);
    return search;
  }

  /** One of each minor version, the machine's own first, then by version. Where one is set, there is no other. */
  all(): Promise<readonly Interpreter[]> {
    this.#all ??= this.#search();
    return this.#all;
  }

  /** Looks again at the next question: an interpreter was fetched or installed. */
  forget(): void {
    this.#all = null;
  }

  async #search(): Promise<readonly Interpreter[]> {
    const usual = await this.usual();
    const found = usual.ok ? [usual.interpreter] : [];
    if (this.#deps.named !== null) return found;
    for (const folder of await folders(this.#deps.environment, this.#deps.fetched)) {
      for (const name of await names(folder)) {
        const minor = Number(/\.(\d+)$/.exec(name)?.[1] ?? -1);
        if (!NAME.test(name) || found.some((one) => one.minor === minor)) continue;
        const one = await probeInterpreter(join(folder, name), this.#deps.probe);
        if (one === null || one.major !== 3 || one.minor < OLDEST_PYTHON_MINOR) continue;
        if (one.implementation === "CPython" && found.every((other) => other.minor !== one.minor))
          found.push(one);
      }
    }
    const [first, ...others] = found;
    return first === undefined ? [] : [first, ...others.toSorted((a, b) => a.minor - b.minor)];
  }
}

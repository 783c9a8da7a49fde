/**
 * `modelport init`: writes one of the examples as a package to start from. The examples are what is written, so that
 * there is one text to keep working, and every skeleton has been imported, deployed and called by a test.
 */
import { cp, mkdir, readdir, rename, rm, rmdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { AVAILABLE_ENGINES } from "../core/engines.ts";
import type { EngineName } from "../core/engines.ts";
import { quoted } from "./call-sample.ts";
import { addVerb } from "./commands.ts";
import { engineNamed } from "./engine-name.ts";
import { CliError } from "./failures.ts";
import type { CliIo } from "./io.ts";
import type { Session } from "./session.ts";

/** The example that is written for each engine. */
export const SKELETONS: Readonly<Record<EngineName, string>> = {
  Scikit_Learn: "iris",
  XGBoost: "iris-xgboost",
  TensorFlow: "digits-tensorflow",
  PyTorch: "digits-pytorch",
  Caffe: "digits-caffe",
  MXNet: "digits-mxnet",
  MindSpore: "digits-mindspore",
  Spark_MLlib: "iris-spark",
};

/** Nothing of what is there is touched: the folder must not exist, or be empty. */
const refuseToOverwrite = async (dir: string): Promise<void> => {
  const found = await readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw new CliError("conflict", `${dir} is there already, and not a folder.`, {
      next: "Name another folder.",
      cause: error,
    });
  });
  if (found.length > 0)
    throw new CliError("conflict", `${dir} is there already, and not empty.`, {
      next: "Name another folder: `modelport init --engine ENGINE DIR` never overwrites anything.",
    });
};

const isLeftOut = (path: string): boolean => basename(path) === "__pycache__" || path.endsWith(".pyc");

const init = async (
  session: Session,
  options: { engine?: string },
  dir: string | undefined,
): Promise<void> => {
  const { io } = session;
  if (options.engine === undefined)
    throw new CliError("usage", "Name the engine of the package: --engine ENGINE.", {
      next: `The engines are ${AVAILABLE_ENGINES.join(", ")}.`,
    });
  const engine = engineNamed(options.engine, AVAILABLE_ENGINES);
  const name = dir ?? SKELETONS[engine];
  const target = resolve(name);
  await refuseToOverwrite(target);
  await mkdir(dirname(target), { recursive: true });
  // Whole or not at all: what is written appears by one rename.
  const unfinished = join(dirname(target), `.${basename(target)}.${process.pid}.new`);
  try {
    await cp(join(io.examplesDir, SKELETONS[engine]), unfinished, {
      recursive: true,
      filter: (path) => !isLeftOut(path),
    });
    await rmdir(target).catch(() => undefined);
    await rename(unfinished, target);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    throw new CliError("failed", `${name} could not be written: ${(error as Error).message}.`, {
      cause: error,
    });
  }
  const files = (await readdir(target, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(target.length + 1))
    .toSorted();
  const word = quoted(name);
  session.answer(
    { engine, folder: target, files },
    () =>
      `A ${engine} package is in ${name}:\n${files.map((file) => `  ${file}\n`).join("")}` +
      `Next:\n` +
      `  modelport run ${word}                         serve it; it reloads when a file changes\n` +
      `  modelport run ${word} -- python -m unittest   run its test\n` +
      `  modelport run ${word} -- python train.py      train it again\n` +
      `  modelport model import ${word}                import it into the platform\n`,
  );
};

export const addInitCommand = (program: Command, io: CliIo): void => {
  addVerb<{ engine?: string }>(program, io, {
    usage: "init [dir]",
    summary: "write a package to start from",
    about:
      "Writes a working package: config.json, customize_service.py, a tiny model and the script that trains it, a " +
      "request and a test. Never overwrites anything.",
    examples: ["init --engine Scikit_Learn flowers", "init --engine PyTorch"],
    options: (command) => command.option("-E, --engine <engine>", `one of ${AVAILABLE_ENGINES.join(", ")}`),
    run: init,
  });
};

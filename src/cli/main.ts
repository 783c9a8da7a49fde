/**
 * The command line: the tree of commands, and the one place where a failure becomes an exit code and a text. Each
 * noun is a file of its own.
 */
import { Command, CommanderError } from "commander";
import { VERSION } from "../core/version.ts";
import { addCompletionCommands } from "./completion.ts";
import { addDemoCommand } from "./demo.ts";
import { CliError, EXIT_CODES, exitCodeOf } from "./failures.ts";
import { errorBlock, paint } from "./format.ts";
import { addIdentityCommands } from "./identity.ts";
import { addInitCommand } from "./init.ts";
import type { CliIo } from "./io.ts";
import { addModelCommands } from "./model.ts";
import { addObsCommands } from "./obs.ts";
import { addPlatformCommands } from "./platform.ts";
import { addRunCommand } from "./run.ts";
import { addRuntimesCommand } from "./runtimes.ts";
import { addServiceCommands } from "./service.ts";

export type { CliIo } from "./io.ts";
export { CliError } from "./failures.ts";

const exitCodeTable = Object.values(EXIT_CODES)
  .map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}\n`)
  .join("");

const buildProgram = (io: CliIo): Command => {
  const program = new Command("modelport")
    .description("Modelport: runs ModelArts model packages on your own machines.")
    .version(VERSION, "-V, --version", "print the version")
    .option("--json", "print one JSON document and nothing else")
    .helpOption("-h, --help", "show this help")
    .configureHelp({ helpWidth: io.isTty ? io.columns : 100 })
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      // Errors are written in runCli, all in one form.
      outputError: () => {},
      getOutHasColors: () => io.colour,
    })
    .exitOverride()
    // Else `model import --version 1.0.0` would print the program's own version.
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .addHelpText(
      "after",
      `\nExamples:\n` +
        `  $ modelport demo                                  see it work, start to answer\n` +
        `  $ modelport init --engine PyTorch digits          write a package to start from\n` +
        `  $ modelport run digits                            serve it from its folder\n` +
        `  $ modelport up --detach                           start the platform\n` +
        `  $ modelport model import ./iris                   import a package\n` +
        `  $ modelport service deploy iris                   deploy it\n` +
        `  $ modelport service predict iris -d @request.json call it\n` +
        `\nExit codes:\n${exitCodeTable}`,
    );
  addDemoCommand(program, io);
  addPlatformCommands(program, io);
  addInitCommand(program, io);
  addRunCommand(program, io);
  addModelCommands(program, io);
  addRuntimesCommand(program, io);
  addServiceCommands(program, io);
  addObsCommands(program, io);
  addIdentityCommands(program, io);
  addCompletionCommands(program, io);
  return program;
};

const asCliError = (error: unknown): CliError => {
  if (error instanceof CliError) return error;
  if (error instanceof CommanderError) {
    const [cause = "", suggestion] = error.message.replace(/^error: /, "").split("\n");
    return new CliError(
      "usage",
      `${cause.charAt(0).toUpperCase()}${cause.slice(1)}${/[.?!]$/.test(cause) ? "" : "."}`,
      {
        next: suggestion?.replace(/^\((.*)\)$/, "$1") ?? "Add `--help` to see how it is used.",
      },
    );
  }
  const found = error instanceof Error ? error : new Error(String(error));
  return new CliError("failed", `The command line itself failed: ${found.message}`, {
    detail: found.stack?.split("\n").slice(1, 6).join("\n"),
    next: "Please report this with the lines above.",
    cause: error,
  });
};

const report = (io: CliIo, json: boolean, error: CliError): void => {
  if (json && error.details.isAnswered) return;
  if (!json) {
    // Ctrl-C is an answer of its own; a block of red would only be in the way.
    io.stderr.write(
      error.outcome === "interrupted"
        ? `${[error.message, error.details.next].filter((part) => part !== undefined).join(" ")}\n`
        : errorBlock(error, paint(io.colour && io.isStderrTty)),
    );
    return;
  }
  const { next, code, problems, requestId, detail } = error.details;
  io.stdout.write(
    `${JSON.stringify(
      {
        error: {
          message: error.message,
          exit_code: exitCodeOf(error),
          ...(code === undefined ? {} : { code }),
          ...(next === undefined ? {} : { next }),
          ...(problems === undefined || problems.length === 0 ? {} : { problems }),
          ...(detail === undefined ? {} : { detail }),
          ...(requestId === undefined ? {} : { request_id: requestId }),
        },
      },
      null,
      2,
    )}\n`,
  );
};

/** Runs one command line (without `node` and the script) and resolves with its exit code. Never throws. */
export const runCli = async (argv: readonly string[], io: CliIo): Promise<number> => {
  const isJson = argv.slice(0, argv.includes("--") ? argv.indexOf("--") : undefined).includes("--json");
  try {
    const program = buildProgram(io);
    await program.parseAsync([...argv], { from: "user" });
    return EXIT_CODES.ok[0];
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return EXIT_CODES.ok[0];
      // A noun without a verb: its help was the answer.
      if (error.code === "commander.help") return EXIT_CODES.usage[0];
    }
    const failure = asCliError(error);
    report(io, isJson, failure);
    return exitCodeOf(failure);
  }
};

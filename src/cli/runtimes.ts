/** `modelport runtimes`: what each runtime a package may name becomes on this machine. */
import type { Command } from "commander";
import { addVerb } from "./commands.ts";
import { table } from "./format.ts";
import type { CliIo } from "./io.ts";
import type { Session } from "./session.ts";

interface Runtimes {
  readonly engine_runtimes: readonly {
    readonly ai_engine: string;
    readonly runtime_states: readonly {
      readonly runtime: string;
      readonly python: string | null;
      readonly release: string | null;
      readonly state: "here" | "fetchable" | "replaced" | "missing";
      readonly runs: string | null;
    }[];
  }[];
}

const WORDS = {
  here: "here",
  fetchable: "can be fetched",
  replaced: "stand-in",
  missing: "nothing here runs it",
} as const;

const show = async (session: Session, options: { readonly engine?: string }): Promise<void> => {
  const api = await session.api();
  const found = await api.get<Runtimes>(api.inProject("/models/ai-engine-runtimes"));
  const engines = found.engine_runtimes.filter(
    ({ ai_engine }) => options.engine === undefined || ai_engine === options.engine,
  );
  session.answer(engines, () =>
    table(
      ["ENGINE", "RUNTIME", "PYTHON", "RELEASE", "STATE", "RUNS ON"],
      engines.flatMap(({ ai_engine, runtime_states }) =>
        runtime_states.map(({ runtime, python, release, state, runs }) => [
          ai_engine,
          runtime,
          python ?? "-",
          release ?? "-",
          WORDS[state],
          state === "here" ? "-" : (runs ?? "-"),
        ]),
      ),
      session.columns,
      session.paint,
    ),
  );
};

export const addRuntimesCommand = (program: Command, io: CliIo): void => {
  addVerb<{ readonly engine?: string }>(program, io, {
    usage: "runtimes",
    summary: "show which runtimes are here, and what stands in for the others",
    about:
      "Shows every runtime that config.json may name. `here` runs exactly what the name says; `can be fetched`: its Python is fetched when a package asks for it; `stand-in`: the nearest runs instead, with a warning.",
    examples: ["runtimes", "runtimes --engine TensorFlow"],
    options: (command) => command.option("--engine <name>", "only this engine, e.g. PyTorch"),
    run: show,
  });
};

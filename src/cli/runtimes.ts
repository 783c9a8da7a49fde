/** `modelport runtimes`: what each runtime a package may name becomes on the platform's machine, or on this one. */
import type { Command } from "commander";
import { engineRuntimes } from "../core/runtimes.ts";
import { addVerb } from "./commands.ts";
import { engineNamed } from "./engine-name.ts";
import { CliError } from "./failures.ts";
import { table } from "./format.ts";
import type { CliIo } from "./io.ts";
import { findProfile } from "./profile.ts";
import type { Session } from "./session.ts";

interface Runtimes {
  readonly engine_runtimes: readonly {
    readonly ai_engine: string;
    readonly runtimes: readonly string[];
    readonly runtime_states: readonly {
      readonly runtime: string;
      readonly python: string | null;
      readonly release: string | null;
      readonly state: "here" | "fetchable" | "replaced" | "missing";
      readonly runs: string | null;
    }[];
  }[];
}

interface Options {
  readonly engine?: string;
  readonly local?: boolean;
}

const WORDS = {
  here: "here",
  fetchable: "can be fetched",
  replaced: "stand-in",
  missing: "nothing here runs it",
} as const;

/** As the API has them, without a platform. */
const ofThisMachine = async (io: CliIo): Promise<Runtimes> => {
  const states = await io.runtimes();
  return {
    engine_runtimes: engineRuntimes.map(({ ai_engine, runtimes }) => ({
      ai_engine,
      runtimes,
      runtime_states: states.filter(({ engine }) => engine === ai_engine),
    })),
  };
};

const LOOPBACK = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/** A platform elsewhere that does not answer is a failure: this machine would be the wrong answer. */
const find = async (session: Session, options: Options): Promise<Runtimes> => {
  const { io } = session;
  if (options.local === true) return ofThisMachine(io);
  const profile = await findProfile(io.profilePath);
  if (profile !== null) {
    try {
      const api = await session.api();
      return await api.get<Runtimes>(api.inProject("/models/ai-engine-runtimes"));
    } catch (error) {
      const isHere = profile.password !== undefined || LOOPBACK.test(new URL(profile.endpoint).hostname);
      if (!(error instanceof CliError) || error.outcome !== "unreachable" || !isHere) throw error;
    }
  }
  io.stderr.write("No platform runs here; this is what this machine has.\n");
  return ofThisMachine(io);
};

const show = async (session: Session, options: Options): Promise<void> => {
  const found = await find(session, options);
  const all = found.engine_runtimes;
  const wanted =
    options.engine === undefined
      ? null
      : engineNamed(
          options.engine,
          all.map(({ ai_engine }) => ai_engine),
        );
  const engines = all.filter(({ ai_engine }) => wanted === null || ai_engine === wanted);
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
  addVerb<Options>(program, io, {
    usage: "runtimes",
    summary: "show which runtimes are here, and what stands in for the others",
    about:
      "Shows every runtime that config.json may name. `here` runs exactly what the name says; `can be fetched`: its Python is fetched when a package asks for it; `stand-in`: the nearest runs instead, with a warning. Asks the platform; where none runs here, looks at this machine itself.",
    examples: ["runtimes", "runtimes --engine TensorFlow", "runtimes --local"],
    options: (command) =>
      command
        .option("--engine <name>", "only this engine, e.g. PyTorch")
        .option("--local", "of this machine, whatever platform you are logged in to"),
    run: show,
  });
};

/**
 * How commands are declared: name, summary, examples, handler. Adds what every one has (`--json`, examples in the
 * help) and gives the handler its session; the noun files then hold nothing but their own options and work.
 */
import { InvalidArgumentError } from "commander";
import type { Command } from "commander";
import type { CliIo } from "./io.ts";
import { openSession } from "./session.ts";
import type { Session } from "./session.ts";

type Handler<O> = (session: Session, options: O, ...args: string[]) => Promise<void>;

export interface Verb<O> {
  /** `import <source>` in commander's notation; arguments are strings, or string arrays for `<x...>`. */
  readonly usage: string;
  readonly summary: string;
  /** Further paragraphs of the help. */
  readonly about?: string;
  readonly examples: readonly string[];
  readonly options?: (command: Command) => Command;
  readonly run: Handler<O>;
}

export const addVerb = <O>(parent: Command, io: CliIo, verb: Verb<O>): void => {
  const command = parent
    .command(verb.usage)
    .summary(verb.summary)
    .description(verb.about ?? `${verb.summary}.`);
  verb.options?.(command);
  command.option("--json", "print one JSON document and nothing else");
  command.addHelpText(
    "after",
    `\nExamples:\n${verb.examples.map((line) => `  $ modelport ${line}\n`).join("")}`,
  );
  command.action(async (...all: unknown[]) => {
    const options = command.optsWithGlobals<O & { json?: boolean }>();
    // Commander hands over the arguments, then the options and the command.
    await verb.run(openSession(io, options.json === true), options, ...(all.slice(0, -2) as string[]));
  });
};

export const addNoun = (parent: Command, name: string, summary: string): Command =>
  parent.command(name).summary(summary).description(`${summary}.`);

// --- parsers of option values ---------------------------------------------------------------------------------

export const wholeNumber =
  (min: number, max: number) =>
  (value: string): number => {
    const number = Number(value);
    if (!/^\d+$/.test(value) || number < min || number > max) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    }
    return number;
  };

/** For options that may be given several times. */
export const collect =
  <T>(parse: (value: string) => T) =>
  (value: string, previous: readonly T[] | undefined): readonly T[] => [...(previous ?? []), parse(value)];

/** `KEY=VALUE` pairs, later ones win. */
export const assignment = (
  value: string,
  previous: Readonly<Record<string, string>> | undefined,
): Readonly<Record<string, string>> => {
  const at = value.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("It must have the form KEY=VALUE.");
  return { ...previous, [value.slice(0, at)]: value.slice(at + 1) };
};

/** `30s`, `10m`, `2h`; a bare number counts seconds. */
export const timeSpan = (value: string): number => {
  const match = /^(\d+)(s|m|h)?$/.exec(value);
  if (match === null) throw new InvalidArgumentError("It must look like 30s, 10m or 2h.");
  const unit = { s: 1000, m: 60_000, h: 3_600_000 }[(match[2] ?? "s") as "s" | "m" | "h"];
  return Number(match[1]) * unit;
};

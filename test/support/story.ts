/**
 * Stories: transcripts of the command line that are tests. `$ command` is followed by its output; `{word}` stands for
 * any text within a line, a line `...` for any lines, and `[exit 3]` for an exit code other than 0. Lines that begin
 * with `#` tell the reader what is going on.
 */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

export interface StoryStep {
  readonly line: number;
  readonly command: string;
  readonly expected: readonly string[];
  readonly exitCode: number;
}

export interface Story {
  readonly name: string;
  readonly steps: readonly StoryStep[];
}

export const parseStory = (name: string, text: string): Story => {
  const steps: { line: number; command: string; expected: string[]; exitCode: number }[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    const exit = /^\[exit (\d+)\]$/.exec(line);
    const step = steps.at(-1);
    if (line.startsWith("#")) continue;
    if (line.startsWith("$ "))
      steps.push({ line: index + 1, command: line.slice(2), expected: [], exitCode: 0 });
    else if (step === undefined) {
      if (line !== "") throw new Error(`${name}:${index + 1}: output without a command`);
    } else if (exit !== null) step.exitCode = Number(exit[1]);
    else step.expected.push(line);
  }
  for (const step of steps) while (step.expected.at(-1) === "") step.expected.pop();
  return { name, steps };
};

export const readStories = (folder: string): readonly Story[] =>
  readdirSync(folder)
    .filter((file) => file.endsWith(".txt"))
    .toSorted()
    .map((file) => parseStory(file, readFileSync(join(folder, file), "utf8")));

const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);

const lineMatches = (pattern: string, line: string): boolean =>
  new RegExp(
    `^${pattern
      .split(/\{[a-z ]+\}/)
      .map(escape)
      .join(".+")}$`,
  ).test(line);

/** Whether output is as a story expects it. */
export const outputMatches = (expected: readonly string[], actual: readonly string[]): boolean => {
  const [first, ...rest] = expected;
  if (first === undefined) return actual.length === 0;
  if (first === "...") {
    return actual.some((_line, index) => outputMatches(rest, actual.slice(index))) || rest.length === 0;
  }
  const [line, ...more] = actual;
  return line !== undefined && lineMatches(first, line) && outputMatches(rest, more);
};

/** The lines of an output, without the empty ones at its end. */
export const outputLines = (text: string): readonly string[] => {
  const lines = text.split("\n").map((line) => line.trimEnd());
  while (lines.at(-1) === "") lines.pop();
  return lines;
};

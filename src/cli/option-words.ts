/** Problems of a request told in the words of the command line that made it: options in place of fields of its body. */
import type { Problem } from "../core/errors.ts";
import { CliError } from "./failures.ts";

/** A field of the body, and the option that set it. */
export type OptionWords = readonly (readonly [field: RegExp, option: string])[];

/** How the API begins a sentence about a field. */
const BEGINNINGS = ["field", "parameter", "param"];
const withoutField = (message: string, path: string): string => {
  const beginning = BEGINNINGS.map((word) => `The ${word} [${path}] `).find((one) => message.startsWith(one));
  return beginning === undefined ? message : message.slice(beginning.length);
};

const spoken = (problem: Problem, words: OptionWords): Problem => {
  const { path, message, fix } = problem;
  const found = words.find(([field]) => field.test(path));
  if (found === undefined) return problem;
  return { path: found[1], message: withoutField(message, path), fix };
};

/**
 * The request's failure with options for fields; one that names other fields as well, or none, as it came. Of entries for
 * several versions, which share their options, each problem is told once.
 */
export const inOptions = (error: unknown, words: OptionWords, message: string): unknown => {
  if (!(error instanceof CliError)) return error;
  const { problems = [] } = error.details;
  const told = problems.map((problem) => spoken(problem, words));
  if (told.length === 0 || told.some((problem, index) => problem === problems[index])) return error;
  const once = [...new Map(told.map((problem) => [`${problem.path} ${problem.message}`, problem])).values()];
  const { next: _said, ...details } = error.details;
  return new CliError(error.outcome, message, { ...details, problems: once, cause: error });
};

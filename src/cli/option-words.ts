/** Problems of a request told in the words of the command line that made it: options in place of fields of its body. */
import type { Problem } from "../core/errors.ts";
import { CliError } from "./failures.ts";

/** A field of the body, with groups for what stays of its path, and the option that set it: `--env $1`. */
export type OptionWords = readonly (readonly [field: RegExp, option: string])[];

const spoken = (problem: Problem, words: OptionWords): Problem => {
  const { path, message, fix } = problem;
  const found = words.find(([field]) => field.test(path));
  if (found === undefined) return problem;
  return { path: path.replace(...found), message: message.replace(`The field [${path}] `, ""), fix };
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

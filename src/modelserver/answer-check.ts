/**
 * Holds answers to the JSON Schema of a version's `apis`, where the service asks for it (MODELPORT_VALIDATE_ANSWERS): `log`
 * says what is wrong with them, `on` refuses them as well. An answer that goes out item by item is not checked: the
 * schema describes the whole.
 */
import type { ApiChecks } from "../core/api-rule.ts";
import type { Clock } from "../core/clock.ts";
import { problemText } from "../core/errors.ts";
import type { Problem } from "../core/errors.ts";
import { compileSchema } from "../schemas/json-schema.ts";

/** What an answer is refused for; empty: it goes out. */
export type AnswerCheck = (body: Buffer) => readonly Problem[];

/** One wrong answer is mostly like the next. */
const SAID_EVERY_MS = 10_000;
const SAID_MAX = 10;

const parse = (body: Buffer): { readonly value: unknown } | null => {
  try {
    return { value: JSON.parse(body.toString("utf8")) };
  } catch {
    return null;
  }
};

/** Throws a plain Error with the reason where the rule's schema is none. */
export const compileAnswerCheck = (
  rule: NonNullable<ApiChecks["answerRule"]>,
  { clock, log }: { readonly clock: Clock; readonly log: (text: string) => void },
): AnswerCheck => {
  const violations = compileSchema(rule.schema, { isForm: false });
  let saidAt = Number.NEGATIVE_INFINITY;
  let unsaid = 0;
  const say = (problems: readonly Problem[]): void => {
    if (clock.monotonicMs() - saidAt < SAID_EVERY_MS) {
      unsaid += 1;
      return;
    }
    const listed = problems.slice(0, SAID_MAX).map((problem) => problemText(problem));
    const more = problems.length > SAID_MAX ? `. And ${problems.length - SAID_MAX} more` : "";
    const before = unsaid > 0 ? ` (and ${unsaid} answers since the last of these lines)` : "";
    log(`an answer is not as apis of config.json says${before}: ${listed.join(". ")}${more}.`);
    saidAt = clock.monotonicMs();
    unsaid = 0;
  };
  return (body) => {
    // A worker writes JSON; should one ever not, that is for the caller to see.
    const read = parse(body);
    const problems = read === null ? [] : violations(read.value, body.length);
    if (problems.length > 0) say(problems);
    return rule.refuses ? problems : [];
  };
};

/**
 * Checks requests against their zod schemas and words every problem at once, in the documented styles
 * (contracts/modelarts.md §0). Also reads JSON bodies: what JSON.parse would accept but a store could not keep
 * (NUL, absurd nesting) stops here.
 */
import type { z } from "zod";
import { fail } from "../core/errors.ts";
import type { AppError, Problem } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";

/** `config[0].weight` of a zod path. */
const pathText = (path: readonly PropertyKey[]): string =>
  path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`;
    return text === "" ? String(part) : `${text}.${String(part)}`;
  }, "");

type Issue = z.core.$ZodIssue;

/** Absent members are undefined; an absent body reaches the schema as null. */
const isMissing = (issue: Issue): boolean =>
  (issue.input === undefined || (issue.input === null && issue.path.length === 0)) &&
  (issue.code === "invalid_type" || issue.code === "invalid_value" || issue.code === "invalid_union");

const bounds = (issue: Issue): string => {
  if (issue.code === "too_small") return `at least ${issue.minimum}`;
  if (issue.code === "too_big") return `at most ${issue.maximum}`;
  return issue.message;
};

const sized = (issue: Issue): string => {
  const origin = issue.code === "too_small" || issue.code === "too_big" ? issue.origin : "";
  if (origin === "string") return "have a length of";
  if (origin === "array" || origin === "set") return "have a number of items of";
  return "be";
};

/** Zod's own words start with a capital ("Invalid input: …"); ours say what would be right, in lower case. */
const own = (issue: Issue): string | null => (/^[A-Z]/.test(issue.message) ? null : issue.message);

/** A problem that a rule of core found and a schema handed on. */
const isProblem = (value: unknown): value is Problem =>
  typeof value === "object" && value !== null && "path" in value && "message" in value && "fix" in value;

const toProblem = (issue: Issue, prefix: readonly PropertyKey[]): Problem => {
  const found: unknown = issue.code === "custom" ? issue.params?.["problem"] : undefined;
  if (isProblem(found))
    return { ...found, message: `The parameter [${found.path}] ${found.message}.`, fix: `${found.fix}.` };
  const path = pathText([...prefix, ...issue.path]);
  const field = path === "" ? "request body" : path;
  if (isMissing(issue)) {
    return { path, message: `The field [${field}] is required and cannot be empty.`, fix: "Add it." };
  }
  switch (issue.code) {
    case "invalid_format":
      return {
        path,
        message: `The parameter [${field}] does not match ${issue.pattern ?? issue.format}.`,
        fix: `Send ${own(issue) ?? "a value that matches"}.`,
      };
    case "invalid_value": {
      const values = issue.values.map(String).filter((v) => v !== "");
      return {
        path,
        message: `The param [${field}] should be one of [${values.join(", ")}].`,
        fix: `Send one of ${values.join(", ")}.`,
      };
    }
    case "invalid_type":
      return {
        path,
        message: `The parameter [${field}] must be of type ${issue.expected}.`,
        fix: `Send ${own(issue) ?? `a value of type ${issue.expected}`}.`,
      };
    case "too_small":
    case "too_big":
      return {
        path,
        message: `The parameter [${field}] must ${sized(issue)} ${bounds(issue)}.`,
        fix: `Send ${own(issue) ?? `a value that is ${bounds(issue)}`}.`,
      };
    case "custom":
    case "invalid_element":
    case "invalid_key":
    case "invalid_union":
    case "not_multiple_of":
    case "unrecognized_keys":
      return {
        path,
        message: `The parameter [${field}] is invalid.`,
        fix: `Send ${own(issue) ?? "a valid value"}.`,
      };
  }
};

/** ARGUMENT_INVALID with every problem, in its text and as a list. */
export const argumentInvalid = (problems: readonly Problem[]): AppError =>
  fail("ARGUMENT_INVALID", { reason: problems.map((p) => p.message).join(" ") }, { problems });

/** Parses `value`; on failure throws ARGUMENT_INVALID. `prefix` is where the value sits in the request. */
export const parseArgument = <S extends z.ZodType>(
  schema: S,
  value: unknown,
  prefix: readonly PropertyKey[] = [],
): z.output<S> => {
  const parsed = schema.safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data;
  throw argumentInvalid(parsed.error.issues.map((issue) => toProblem(issue, prefix)));
};

/** Fastify's validator: returns the parsed value or the AppError itself. */
export const validatorCompiler =
  ({ schema }: { schema: z.ZodType }) =>
  (data: unknown): { value: unknown } | { error: Error } => {
    try {
      return { value: parseArgument(schema, data) };
    } catch (error) {
      return { error: error instanceof Error ? error : new Error(String(error)) };
    }
  };

/** Deepest nesting of brackets outside strings; stops counting once past `max`. */
const isDeeperThan = (text: string, max: number): boolean => {
  let depth = 0;
  let isInString = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (isInString) {
      if (c === 0x5c) i++;
      else if (c === 0x22) isInString = false;
    } else if (c === 0x22) isInString = true;
    else if (c === 0x5b || c === 0x7b) {
      if (++depth > max) return true;
    } else if (c === 0x5d || c === 0x7d) depth--;
  }
  return false;
};

/** Reads a JSON body; an empty one is undefined, since clients send the content type with nothing behind it. */
export const readJson = (text: string, parse: (text: string) => unknown): unknown => {
  if (text.trim() === "") return undefined;
  if (isDeeperThan(text, LIMITS.jsonDepth.value)) {
    throw fail("BODY_NOT_JSON", { reason: `it is nested deeper than ${LIMITS.jsonDepth.value} levels.` });
  }
  // oxlint-disable-next-line no-control-regex -- the escape sequence as text, not the character
  if (/\\u0000/i.test(text)) throw fail("BODY_NOT_JSON", { reason: "it contains the NUL character." });
  try {
    return parse(text);
  } catch (error) {
    throw fail("BODY_NOT_JSON", { reason: error instanceof Error ? error.message : "it cannot be read." });
  }
};

/** A member of an unchecked body, when it is a text; for decisions that come before the schema. */
export const ownText = (body: unknown, member: string): string | null => {
  if (typeof body !== "object" || body === null || !Object.hasOwn(body, member)) return null;
  const value: unknown = Reflect.get(body, member);
  return typeof value === "string" ? value : null;
};

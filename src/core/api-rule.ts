/**
 * What requests and answers of a version must be, as the `apis` of its config.json says, and whether a service wants them
 * held to it: the platform's settings, or the service's variables of the same names. Checking itself is
 * modelserver/request-check.ts and modelserver/answer-check.ts.
 */
import { problemText } from "./errors.ts";
import type { Problem } from "./errors.ts";

export interface ApiRule {
  readonly contentType: "application/json" | "multipart/form-data";
  /** JSON Schema of the body; of forms, of an object with their fields, where `"type": "file"` is a file. */
  readonly schema: Readonly<Record<string, unknown>>;
}

export const REQUEST_VALIDATIONS = ["off", "on"] as const;
/** `log`: answers go out as they are, and what is wrong with them is in the log. */
export const ANSWER_VALIDATIONS = ["off", "log", "on"] as const;

export interface Validation {
  readonly requests: (typeof REQUEST_VALIDATIONS)[number];
  readonly answers: (typeof ANSWER_VALIDATIONS)[number];
}
export const NO_VALIDATION: Validation = { requests: "off", answers: "off" };

const REQUESTS = "MODELPORT_VALIDATE_REQUESTS";
const ANSWERS = "MODELPORT_VALIDATE_ANSWERS";

const choice = <T extends string>(
  envs: Readonly<Record<string, string>>,
  name: string,
  choices: readonly T[],
  otherwise: T,
  problems: Problem[],
): T => {
  const text = envs[name];
  const found = text === undefined ? otherwise : choices.find((one) => one === text);
  if (found !== undefined) return found;
  problems.push({
    path: `envs.${name}`,
    message: `is ${JSON.stringify(text)}`,
    fix: `use one of ${choices.join(", ")}`,
  });
  return otherwise;
};

/** What a service's variables make of the platform's settings. */
export const readValidation = (
  envs: Readonly<Record<string, string>>,
  platform: Validation,
): { readonly validation: Validation; readonly problems: readonly Problem[] } => {
  const problems: Problem[] = [];
  return {
    validation: {
      requests: choice(envs, REQUESTS, REQUEST_VALIDATIONS, platform.requests, problems),
      answers: choice(envs, ANSWERS, ANSWER_VALIDATIONS, platform.answers, problems),
    },
    problems,
  };
};

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** `data` is an object, or the text of one as the console writes it. */
const schemaOf = (data: unknown): Readonly<Record<string, unknown>> | null => {
  if (isObject(data)) return data;
  if (typeof data !== "string") return null;
  try {
    const parsed: unknown = JSON.parse(data);
    return isObject(parsed) ? parsed : null;
  } catch {
    return null;
  }
};

export const SIDES = ["request", "response"] as const;
export type Side = (typeof SIDES)[number];

/** What the first API of a configuration says of a side's bodies; null where it has no schema for them. */
export const ruleOf = (config: Readonly<Record<string, unknown>>, side: Side): ApiRule | null => {
  const api: unknown = Array.isArray(config["apis"]) ? config["apis"][0] : undefined;
  const body = isObject(api) ? api[side] : undefined;
  if (!isObject(body)) return null;
  const schema = schemaOf(body["data"]);
  if (schema === null) return null;
  const isForm = side === "request" && body["Content-type"] === "multipart/form-data";
  return { contentType: isForm ? "multipart/form-data" : "application/json", schema };
};

/** What an instance checks; absent: nothing. */
export interface ApiChecks {
  readonly requestRule?: ApiRule;
  readonly answerRule?: ApiRule & { readonly refuses: boolean };
}

/** The checks of a version by its effective configuration, as far as that has schemas. */
export const apiChecks = (
  config: Readonly<Record<string, unknown>>,
  { requests, answers }: Validation,
): ApiChecks => {
  const request = requests === "on" ? ruleOf(config, "request") : null;
  const answer = answers === "off" ? null : ruleOf(config, "response");
  return {
    ...(request === null ? {} : { requestRule: request }),
    ...(answer === null ? {} : { answerRule: { ...answer, refuses: answers === "on" } }),
  };
};

/** How a side's check is asked for, and what it is of. */
const CHECKS = {
  request: { variable: REQUESTS, bodies: "requests" },
  response: { variable: ANSWERS, bodies: "answers" },
} as const satisfies Record<Side, unknown>;

const checkedSides = ({ requests, answers }: Validation): readonly Side[] =>
  SIDES.filter((side) => (side === "request" ? requests : answers) !== "off");

/** What a service's variables ask for and cannot have: a check by a schema that config.json of this version does not hold. */
export const checksWithoutSchema = (
  version: string,
  config: Readonly<Record<string, unknown>>,
  validation: Validation,
): readonly Problem[] =>
  checkedSides(validation)
    .filter((side) => ruleOf(config, side) === null)
    .map((side) => ({
      path: `envs.${CHECKS[side].variable}`,
      message: `asks for ${CHECKS[side].bodies} to be checked, but config.json of ${version} has no JSON Schema for them`,
      fix: `Describe them in apis[0].${side}.data of config.json, or leave the variable out.`,
    }));

/** Of the mistakes of one schema. */
const TOLD_MAX = 3;

/** The same for a schema that is none; `schemaProblems` says why, with paths as they stand in config.json. */
export const checksByBrokenSchema = (
  version: string,
  config: Readonly<Record<string, unknown>>,
  validation: Validation,
  schemaProblems: (config: Readonly<Record<string, unknown>>, side: Side) => readonly Problem[],
): readonly Problem[] =>
  checkedSides(validation).flatMap((side) => {
    const wrong = schemaProblems(config, side).map((problem) => problemText(problem));
    if (wrong.length === 0) return [];
    const more = wrong.length > TOLD_MAX ? ` (and ${wrong.length - TOLD_MAX} more)` : "";
    return {
      path: `envs.${CHECKS[side].variable}`,
      message: `asks for ${CHECKS[side].bodies} to be checked, but the JSON Schema in config.json of ${version} is wrong: ${wrong.slice(0, TOLD_MAX).join(". ")}${more}`,
      fix: "Correct the schema in a new version, or leave the variable out.",
    };
  });

/**
 * JSON Schema as the `apis` of packages mean it, told as problems. Draft 7 by Ajv, with what the guide's packages mean
 * by it: an `items` list of one schema is the schema of every element, `"type": "file"` is a file of a form, bounds may be
 * written as in draft 4, and keywords nobody knows (`index` of its batch mapping) say nothing here. Patterns run on RE2, so
 * nothing that is checked can make one run for ever.
 */
import { Ajv } from "ajv";
import type { ErrorObject } from "ajv";
import formats from "ajv-formats";
import { RE2JS } from "re2js";
import { problemText } from "../core/errors.ts";
import type { Problem } from "../core/errors.ts";
import { childPath } from "../core/json-text.ts";
import { show } from "../core/show.ts";

/** Problems told at once; more tell nobody anything. */
const PROBLEMS_MAX = 100;
/** Ajv keeps some 200 bytes for each problem before any can be left out: of more text than this only the first is looked for. */
const COLLECTED_BYTES_MAX = 256 * 1024;
/** Finding 20,000 mistakes in one takes 3 s: of a longer schema only the first is told. */
const SCHEMA_COLLECTED_MAX = 32 * 1024;

/** A file of a form, as far as schemas can see it. */
export class FormFile {}

/** Values that are no schemas, whatever they hold. */
const PLAIN = new Set(["enum", "const", "default", "examples"]);
/** Schemas by names that packages choose, which are no keywords. */
const NAMED = new Set(["properties", "patternProperties", "definitions", "$defs", "dependencies"]);
/** Of draft 4: `"minimum": 0, "exclusiveMinimum": true`. */
const BOUNDS = [
  ["minimum", "exclusiveMinimum"],
  ["maximum", "exclusiveMaximum"],
] as const;

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** `isForm`: `file` is a type. */
const meant = (schema: unknown, isForm: boolean): unknown => {
  if (Array.isArray(schema)) return schema.map((item) => meant(item, isForm));
  if (!isObject(schema)) return schema;
  const given: Record<string, unknown> = { ...schema };
  for (const [bound, exclusive] of BOUNDS) {
    if (typeof given[exclusive] !== "boolean") continue;
    if (given[exclusive] && typeof given[bound] === "number") {
      given[exclusive] = given[bound];
      delete given[bound];
    } else delete given[exclusive];
  }
  if (isForm && given["type"] === "file") {
    delete given["type"];
    given["isFile"] = true;
  }
  return Object.fromEntries(Object.entries(given).map(([key, value]) => [key, meantBy(key, value, isForm)]));
};

/** What a keyword's value means. */
const meantBy = (key: string, value: unknown, isForm: boolean): unknown => {
  if (PLAIN.has(key)) return value;
  if (NAMED.has(key) && isObject(value))
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, meant(one, isForm)]));
  return meant(key === "items" && Array.isArray(value) && value.length === 1 ? value[0] : value, isForm);
};

/** Which dialect of JSON Schema a package names does not matter: none of them is fetched. Nor is one asked to answer later. */
const withoutName = (schema: Readonly<Record<string, unknown>>): object => {
  const { $schema: _dialect, $id: _id, id: _oldId, $async: _checksLater, ...rest } = schema;
  return rest;
};

const re2 = Object.assign(
  (pattern: string) => {
    const compiled = RE2JS.compile(pattern);
    return { test: (text: string) => compiled.matcher(text).find() };
  },
  { code: "re2" },
);

const pathOf = (error: ErrorObject): string => {
  const parts = error.instancePath
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return parts.reduce((path, part) => childPath(path, /^\d+$/.test(part) ? Number(part) : part), "");
};

const textOf = (params: Readonly<Record<string, unknown>>, name: string): string => {
  const value = params[name];
  return Array.isArray(value) ? value.join(" or ") : String(value);
};

/** What is wrong with the whole of it has no path to be named by. */
const named = (problem: Problem): Problem =>
  problem.path === "" ? { ...problem, message: `the whole ${problem.message}` } : problem;

const problemOf = (error: ErrorObject): Problem => {
  const params = error.params as Readonly<Record<string, unknown>>;
  const path = pathOf(error);
  const found = error.data instanceof FormFile ? "a file" : show(error.data);
  switch (error.keyword) {
    case "required":
      return {
        path: childPath(path, textOf(params, "missingProperty")),
        message: "is required",
        fix: "add it",
      };
    case "additionalProperties":
      return {
        path: childPath(path, textOf(params, "additionalProperty")),
        message: "is not in the schema of the API",
        fix: "leave it out",
      };
    case "isFile":
      return { path, message: `is ${found}, not a file`, fix: "send it as a file of the form" };
    case "type":
      return { path, message: `is ${found}`, fix: `give ${textOf(params, "type")}` };
    case "enum":
      return {
        path,
        message: `is ${found}`,
        fix: `use one of ${(params["allowedValues"] as readonly unknown[]).map(show).slice(0, 20).join(", ")}`,
      };
    default:
      return { path, message: `is ${found}`, fix: `it ${error.message ?? `must satisfy ${error.keyword}`}` };
  }
};

/** Ajv notes an error for every element that is not what `contains` looks for; written like this, it notes one. */
const containsAtOnce = (ajv: Ajv): void => {
  ajv.removeKeyword("contains");
  ajv.addKeyword({
    keyword: "contains",
    type: "array",
    schemaType: ["object", "boolean"],
    macro: (schema: object | boolean) => ({ not: { items: { not: schema } } }),
    error: { message: "must contain at least 1 valid item(s)" },
  });
};
const OF_CONTAINS = /\/contains\/not$/;

interface Way {
  readonly isForm: boolean;
  /** Whether all that is wrong with a value is looked for, or the first of it. */
  readonly everything: boolean;
}

const ajvFor = ({ isForm, everything }: Way): Ajv => {
  const ajv = new Ajv({
    allErrors: everything,
    verbose: true,
    strict: false,
    logger: false,
    // Fields of forms are text whatever they mean.
    coerceTypes: isForm ? "array" : false,
    code: { regExp: re2 },
  });
  formats.default(ajv, { mode: "fast" });
  // Whether a pattern is one is for RE2 to say, when it is compiled.
  ajv.addFormat("regex", true);
  ajv.addKeyword({
    keyword: "isFile",
    schemaType: "boolean",
    validate: (wanted: boolean, value: unknown) => !wanted || value instanceof FormFile,
  });
  if (!everything) containsAtOnce(ajv);
  return ajv;
};

const compile = (schema: object, way: Way) => {
  const { everything } = way;
  const validate = ajvFor(way).compile(schema);
  return (value: unknown): readonly ErrorObject[] => {
    if (validate(value)) return [];
    // A failing branch of anyOf and if tells its own errors; the sum of them says nothing further.
    return (validate.errors ?? []).filter(
      ({ keyword, schemaPath }) => keyword !== "if" && (everything || !OF_CONTAINS.test(schemaPath)),
    );
  };
};

/**
 * What may be a schema or a list of them, a word or a list of words, fails as each of these: of the errors on the way to a
 * place the innermost count, and of those at one place the one that says what may stand there.
 */
const innermost = (errors: readonly ErrorObject[]): readonly ErrorObject[] => {
  const byPath = new Map<string, ErrorObject>();
  for (const error of errors)
    if (!byPath.has(error.instancePath) || error.keyword === "enum") byPath.set(error.instancePath, error);
  const paths = [...byPath.keys()];
  return [...byPath.values()].filter(
    ({ instancePath }) => !paths.some((path) => path.startsWith(`${instancePath}/`)),
  );
};

/**
 * What keeps a schema from being one, with paths within it. Nothing is compiled for it, which takes seconds for long ones:
 * references to nothing and patterns that RE2 does not read are found by `compileSchema`.
 */
export const schemaProblems = (
  schema: Readonly<Record<string, unknown>>,
  { isForm }: { readonly isForm: boolean },
): readonly Problem[] => {
  try {
    const wanted = meant(withoutName(schema), isForm) as object;
    const ajv = ajvFor({ isForm, everything: JSON.stringify(wanted).length <= SCHEMA_COLLECTED_MAX });
    if (ajv.validateSchema(wanted) === true) return [];
    return innermost(ajv.errors ?? [])
      .slice(0, PROBLEMS_MAX)
      .map(problemOf);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return [{ path: "", message: "is nested too deeply", fix: "nest it less" }];
  }
};

const compileBoth = (schema: Readonly<Record<string, unknown>>, isForm: boolean) => {
  try {
    const wanted = meant(withoutName(schema), isForm) as object;
    return [
      compile(wanted, { isForm, everything: false }),
      compile(wanted, { isForm, everything: true }),
    ] as const;
  } catch (error) {
    const problems = schemaProblems(schema, { isForm }).map((problem) => problemText(problem, "it"));
    throw problems.length === 0 ? error : new Error(problems.join(". "), { cause: error });
  }
};

/**
 * Throws a plain Error with all that `schemaProblems` finds where the schema is none. The result tells what is wrong with a
 * value that was `bytes` of text: everything, or where that is more than 256 KB the first of it, so that no caller chooses how
 * much memory the problems take.
 */
export const compileSchema = (
  schema: Readonly<Record<string, unknown>>,
  { isForm }: { readonly isForm: boolean },
): ((value: unknown, bytes: number) => readonly Problem[]) => {
  const [firstOf, allOf] = compileBoth(schema, isForm);
  const isLarge = (bytes: number): boolean => bytes > COLLECTED_BYTES_MAX;
  const errorsOf = (value: unknown, bytes: number): readonly ErrorObject[] => {
    const first = firstOf(value);
    return first.length === 0 || isLarge(bytes) ? first : allOf(value);
  };
  return (value, bytes) => {
    let errors: readonly ErrorObject[];
    try {
      errors = errorsOf(value, bytes);
    } catch (error) {
      // A schema that refers to itself goes as deep as the value does.
      if (!(error instanceof RangeError)) throw error;
      return [{ path: "", message: "is nested too deeply to be checked", fix: "nest it less" }];
    }
    const problems = errors.slice(0, PROBLEMS_MAX).map(problemOf).map(named);
    if (errors.length > PROBLEMS_MAX)
      return [
        ...problems.slice(0, PROBLEMS_MAX - 1),
        {
          path: "",
          message: `and ${errors.length - PROBLEMS_MAX + 1} more problems`,
          fix: "put these right first",
        },
      ];
    return problems.length === 0 || !isLarge(bytes)
      ? problems
      : [
          ...problems,
          {
            path: "",
            message: "and maybe more: of more than 256 KB only the first problem is told",
            fix: "put it right first",
          },
        ];
  };
};

/**
 * Holds requests to the JSON Schema of a version's `apis`, where the service asks for it (MODELPORT_VALIDATE_REQUESTS).
 * Draft 7 by Ajv, with what the guide's packages mean by it: an `items` list of one schema is the schema of every element,
 * `"type": "file"` is a file of a form, and keywords nobody knows (`index` of its batch mapping) say nothing here. Patterns
 * run on RE2, so no request can make one run for ever.
 */
import { Ajv } from "ajv";
import type { ErrorObject } from "ajv";
import formats from "ajv-formats";
import { RE2JS } from "re2js";
import { requestForm } from "../core/engines.ts";
import type { EngineName } from "../core/engines.ts";
import type { Problem } from "../core/errors.ts";
import { childPath, readJson } from "../core/json-text.ts";
import type { RequestRule } from "../core/request-rule.ts";
import { show } from "../core/show.ts";
import type { Multipart } from "./multipart.ts";

/** Problems told of one request; more tell nobody anything. */
const PROBLEMS_MAX = 100;

/** Everything that is wrong with a request; empty: nothing is. */
export interface RequestCheck {
  (
    contentType: string,
    body: readonly Buffer[],
    form: Extract<Multipart, { ok: true }> | null,
  ): readonly Problem[];
}

/** A file of a form, as far as schemas can see it. */
class FormFile {}

/** Values that are no schemas, whatever they hold. */
const PLAIN = new Set(["enum", "const", "default", "examples"]);

const meant = (schema: unknown, isForm: boolean): unknown => {
  if (Array.isArray(schema)) return schema.map((item) => meant(item, isForm));
  if (typeof schema !== "object" || schema === null) return schema;
  const isFile = isForm && "type" in schema && schema.type === "file";
  return Object.fromEntries([
    ...(isFile ? [["isFile", true]] : []),
    ...Object.entries(schema)
      .filter(([key]) => !(isFile && key === "type"))
      .map(([key, value]: [string, unknown]) => [
        key,
        PLAIN.has(key)
          ? value
          : key === "items" && Array.isArray(value) && value.length === 1
            ? meant(value[0], isForm)
            : meant(value, isForm),
      ]),
  ]);
};

/** Which dialect of JSON Schema a package names does not matter: none of them is fetched. */
const withoutName = (schema: RequestRule["schema"]): object => {
  const { $schema: _dialect, $id: _id, id: _oldId, ...rest } = schema;
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

const utf8 = new TextDecoder("utf-8", { fatal: true });

const readBody = (body: readonly Buffer[]): { value: unknown } | { problem: Problem } => {
  let text: string;
  try {
    text = utf8.decode(Buffer.concat(body));
  } catch {
    return { problem: { path: "", message: "the body is not UTF-8", fix: "send JSON in UTF-8" } };
  }
  try {
    return { value: JSON.parse(text) };
  } catch {
    const reading = readJson(text);
    if (reading.ok) return { value: reading.value };
    const { line, column, message, fix } = reading.mistake;
    return {
      problem: { path: `line ${line}, column ${column}`, message: `the body is not JSON: ${message}`, fix },
    };
  }
};

/** Fields by name; several files under one name count as one. */
const readFields = ({ parts, contents }: Extract<Multipart, { ok: true }>): unknown => {
  const fields: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [index, part] of parts.entries())
    fields[part.name] =
      part.filename === undefined ? (contents[index]?.toString("utf8") ?? "") : new FormFile();
  return fields;
};

/** Throws a plain Error with Ajv's words where the schema is none. */
export const compileRequestCheck = (rule: RequestRule, engine: EngineName): RequestCheck => {
  const isForm = rule.contentType === "multipart/form-data";
  const ajv = new Ajv({
    allErrors: true,
    verbose: true,
    strict: false,
    logger: false,
    // Fields of forms are text whatever they mean.
    coerceTypes: isForm,
    code: { regExp: re2 },
  });
  formats.default(ajv, { mode: "fast" });
  ajv.addKeyword({
    keyword: "isFile",
    schemaType: "boolean",
    validate: (wanted: boolean, value: unknown) => !wanted || value instanceof FormFile,
  });
  const validate = ajv.compile(meant(withoutName(rule.schema), isForm) as object);
  const violations = (value: unknown): readonly Problem[] => {
    if (validate(value)) return [];
    // A failing branch of anyOf and if tells its own errors; the sum of them says nothing further.
    const errors = (validate.errors ?? []).filter(({ keyword }) => keyword !== "if");
    const problems = errors.slice(0, PROBLEMS_MAX).map(problemOf);
    return errors.length <= PROBLEMS_MAX
      ? problems
      : [
          ...problems.slice(0, PROBLEMS_MAX - 1),
          {
            path: "",
            message: `and ${errors.length - PROBLEMS_MAX + 1} more problems`,
            fix: "put these right first",
          },
        ];
  };
  return (contentType, body, form) => {
    if (isForm !== (form !== null) && requestForm(engine) === "fields")
      return [
        {
          path: "Content-Type",
          message: `is ${show(contentType)}`,
          fix: `send ${rule.contentType}, which is what the API takes`,
        },
      ];
    if (form !== null) return violations(readFields(form));
    const read = readBody(body);
    return "problem" in read ? [read.problem] : violations(read.value);
  };
};

/**
 * Holds requests to the JSON Schema of a version's `apis`, where the service asks for it (MODELPORT_VALIDATE_REQUESTS):
 * JSON bodies, and forms and query parameters as the object of fields that user code will see.
 */
import { requestForm } from "../core/engines.ts";
import type { EngineName } from "../core/engines.ts";
import type { ApiRule } from "../core/api-rule.ts";
import type { Problem } from "../core/errors.ts";
import { readJson } from "../core/json-text.ts";
import { show } from "../core/show.ts";
import { FormFile, compileSchema } from "../schemas/json-schema.ts";
import type { Multipart } from "./multipart.ts";

export interface CheckedRequest {
  readonly contentType: string;
  /** As it stands behind the `?`. */
  readonly query: string;
  /** Of a form: the contents of its parts. */
  readonly body: readonly Buffer[];
  readonly form: Extract<Multipart, { ok: true }> | null;
}

/** Everything that is wrong with a request; empty: nothing is. */
export type RequestCheck = (request: CheckedRequest) => readonly Problem[];

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

/** Names of fields whose schema is a list: these keep every part of their name. */
const listsOf = (schema: ApiRule["schema"]): ReadonlySet<string> => {
  const { properties } = schema;
  if (typeof properties !== "object" || properties === null) return new Set();
  return new Set(
    Object.entries(properties).flatMap(([name, one]: [string, unknown]) =>
      typeof one === "object" && one !== null && "type" in one && one.type === "array" ? [name] : [],
    ),
  );
};

/** Fields by name; several under one name count as one, unless the schema wants a list. */
const readFields = (
  { parts, contents }: Extract<Multipart, { ok: true }>,
  lists: ReadonlySet<string>,
): Record<string, unknown> => {
  const fields: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [index, part] of parts.entries()) {
    // A browser's file input in which nothing was chosen.
    if (part.filename === "" && part.size === 0) continue;
    const value = part.filename === undefined ? (contents[index]?.toString("utf8") ?? "") : new FormFile();
    const before = fields[part.name];
    fields[part.name] = lists.has(part.name) ? [...(Array.isArray(before) ? before : []), value] : value;
  }
  return fields;
};

/** Query parameters beside what the body has, as user code of the deep-learning engines gets them. */
const withQuery = (value: unknown, query: string): unknown =>
  query === "" || typeof value !== "object" || value === null || Array.isArray(value)
    ? value
    : { ...Object.fromEntries(new URLSearchParams(query)), ...value };

/** How much text of a request is checked; files of forms are not looked into. */
const sizeOf = ({ query, body, form }: CheckedRequest): number =>
  query.length +
  (form === null
    ? body.reduce((sum, { length }) => sum + length, 0)
    : form.parts.reduce((sum, { filename, size }) => sum + (filename === undefined ? size : 0), 0));

/** Throws a plain Error with the reason where the rule's schema is none. */
export const compileRequestCheck = (rule: ApiRule, engine: EngineName): RequestCheck => {
  const isForm = rule.contentType === "multipart/form-data";
  const takesFields = requestForm(engine) === "fields";
  const lists = listsOf(rule.schema);
  const violations = compileSchema(rule.schema, { isForm });
  return (request) => {
    const { contentType, query, body, form } = request;
    const bytes = sizeOf(request);
    if (isForm !== (form !== null) && takesFields)
      return [
        {
          path: "Content-Type",
          message: `is ${show(contentType)}`,
          fix: `send ${rule.contentType}, which is what the API takes`,
        },
      ];
    if (form !== null) return violations(withQuery(readFields(form, lists), query), bytes);
    if (takesFields && query !== "" && body.every(({ length }) => length === 0))
      return violations(withQuery({}, query), bytes);
    const read = readBody(body);
    if ("problem" in read) return [read.problem];
    return violations(takesFields ? withQuery(read.value, query) : read.value, bytes);
  };
};

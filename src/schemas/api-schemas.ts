/**
 * Whether what the `apis` of a config.json say of requests and answers are JSON Schemas at all. An import warns of those that
 * are none, since nothing else needs them; a service that wants bodies held to them is refused.
 */
import { SIDES, ruleOf } from "../core/api-rule.ts";
import type { Side } from "../core/api-rule.ts";
import type { Problem } from "../core/errors.ts";
import { schemaProblems } from "./json-schema.ts";

/** Everything that is wrong with the schema of a side, with paths as they stand in config.json. */
export const sideProblems = (config: Readonly<Record<string, unknown>>, side: Side): readonly Problem[] => {
  const rule = ruleOf(config, side);
  if (rule === null) return [];
  const at = `apis[0].${side}.data`;
  return schemaProblems(rule.schema, { isForm: rule.contentType === "multipart/form-data" }).map(
    ({ path, message, fix }) => ({ path: [at, path].filter((part) => part !== "").join("."), message, fix }),
  );
};

/** The same for both sides. */
export const apiSchemaProblems = (config: Readonly<Record<string, unknown>>): readonly Problem[] =>
  SIDES.flatMap((side) => sideProblems(config, side));

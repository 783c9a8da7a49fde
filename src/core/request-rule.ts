/**
 * What requests of a version must be, as the `apis` of its config.json says, and whether a service wants them held to it:
 * the platform's setting, or the service's variable of the same name. Checking itself is modelserver/request-check.ts.
 */
import type { Problem } from "./errors.ts";

export interface RequestRule {
  readonly contentType: "application/json" | "multipart/form-data";
  /** JSON Schema of the body; of forms, of an object with their fields, where `"type": "file"` is a file. */
  readonly schema: Readonly<Record<string, unknown>>;
}

const NAME = "MODELPORT_VALIDATE_REQUESTS";
export const VALIDATION_MODES = ["off", "on"] as const;
export type ValidationMode = (typeof VALIDATION_MODES)[number];

/** What a service's variables make of the platform's setting. */
export const readValidation = (
  envs: Readonly<Record<string, string>>,
  platform: ValidationMode,
): { readonly validation: ValidationMode; readonly problems: readonly Problem[] } => {
  const text = envs[NAME];
  const validation = text === undefined ? platform : VALIDATION_MODES.find((mode) => mode === text);
  if (validation !== undefined) return { validation, problems: [] };
  return {
    validation: platform,
    problems: [
      {
        path: `envs.${NAME}`,
        message: `is ${JSON.stringify(text)}`,
        fix: `use one of ${VALIDATION_MODES.join(", ")}`,
      },
    ],
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

/** The rule of a version by its effective configuration; null when that has no schema for requests. */
export const requestRule = (config: Readonly<Record<string, unknown>>): RequestRule | null => {
  const api: unknown = Array.isArray(config["apis"]) ? config["apis"][0] : undefined;
  const request = isObject(api) ? api["request"] : undefined;
  if (!isObject(request)) return null;
  const schema = schemaOf(request["data"]);
  if (schema === null) return null;
  const isForm = request["Content-type"] === "multipart/form-data";
  return { contentType: isForm ? "multipart/form-data" : "application/json", schema };
};

/** A curl line for a package's API: with a request that lies at hand, else with one made up from the schema. Pure. */
import type { ConfigApi } from "../core/config-json.ts";

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const DEPTH_MAX = 8;

/** A value that fits a JSON schema as packages write them; what nobody can know becomes null. */
export const sampleOf = (schema: unknown, depth = 0): unknown => {
  if (!isObject(schema) || depth > DEPTH_MAX) return null;
  if ("default" in schema) return schema["default"];
  if ("example" in schema) return schema["example"];
  switch (schema["type"]) {
    case "object": {
      const properties = isObject(schema["properties"]) ? schema["properties"] : {};
      return Object.fromEntries(
        Object.entries(properties).map(([name, inner]) => [name, sampleOf(inner, depth + 1)]),
      );
    }
    case "array": {
      const { items } = schema;
      const kinds: readonly unknown[] = Array.isArray(items) ? items : items === undefined ? [] : [items];
      return kinds.map((inner) => sampleOf(inner, depth + 1));
    }
    case "number":
    case "integer":
      return 0;
    case "boolean":
      return false;
    case "string":
      return "";
    default:
      return null;
  }
};

/** As a word of a POSIX shell. */
export const quoted = (text: string): string =>
  /^[\w./@=:-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;

/** The fields of a form: files by `type: "file"`, everything else as text. */
const formFields = (schema: unknown): readonly { readonly name: string; readonly isFile: boolean }[] =>
  isObject(schema) && isObject(schema["properties"])
    ? Object.entries(schema["properties"]).map(([name, inner]) => ({
        name,
        isFile: isObject(inner) && inner["type"] === "file",
      }))
    : [];

/** `file`: a request that the package brings along, as a path from where the user is; null when it has none. */
export const sampleCall = (url: string, api: ConfigApi | null, file: string | null): string => {
  const type = api?.request["Content-type"];
  const schema = api?.request["data"];
  if (type === "multipart/form-data") {
    const fields = formFields(schema).map(
      ({ name, isFile }) => `-F ${quoted(isFile ? `${name}=@${file ?? "FILE"}` : `${name}=TEXT`)}`,
    );
    return ["curl", ...(fields.length === 0 ? [`-F images=@${file ?? "FILE"}`] : fields), url].join(" ");
  }
  const body = file === null ? JSON.stringify(sampleOf(schema) ?? {}) : `@${file}`;
  return `curl -H 'Content-Type: application/json' -d ${quoted(body)} ${url}`;
};

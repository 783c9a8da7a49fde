import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { IO_MODES } from "../core/io-modes.ts";
import { requestRule } from "../core/request-rule.ts";
import type { RequestRule } from "../core/request-rule.ts";
import { readMultipart } from "./multipart.ts";
import { compileRequestCheck } from "./request-check.ts";

const JSON_TYPE = "application/json";
/** As in the guide's samples: one schema in a list means every row, `index` belongs to its batch mapping. */
const IRIS = {
  $schema: "http://json-schema.org/draft-04/schema#",
  type: "object",
  properties: {
    data: {
      type: "object",
      properties: {
        req_data: {
          type: "array",
          items: [
            {
              type: "object",
              properties: {
                sepal_length: { type: "number", minimum: 0, index: 0 },
                kind: { enum: ["a", "b"] },
                code: { type: "string", pattern: "^(a+)+$" },
              },
              required: ["sepal_length"],
              additionalProperties: false,
            },
          ],
        },
      },
      required: ["req_data"],
    },
  },
};
const json = (
  schema: RequestRule["schema"],
  value: unknown,
  engine: "Scikit_Learn" | "PyTorch" = "Scikit_Learn",
) =>
  compileRequestCheck({ contentType: JSON_TYPE, schema }, engine)(
    JSON_TYPE,
    [Buffer.from(typeof value === "string" ? value : JSON.stringify(value))],
    null,
  );
const rows = (...req_data: unknown[]) => ({ data: { req_data } });

const form = (schema: RequestRule["schema"], ...fields: readonly (readonly [string, string, string?])[]) => {
  const body = `${fields
    .map(
      ([name, value, file]) =>
        `--b\r\nContent-Disposition: form-data; name="${name}"${file === undefined ? "" : `; filename="${file}"`}\r\n\r\n${value}\r\n`,
    )
    .join("")}--b--\r\n`;
  const type = "multipart/form-data; boundary=b";
  const read = readMultipart(type, Buffer.from(body));
  if (read === null || !read.ok) throw new Error("not a form");
  return compileRequestCheck({ contentType: "multipart/form-data", schema }, "PyTorch")(type, [], read);
};

describe("a JSON body", () => {
  test("passes when every row is as the schema says", () => {
    expect(json(IRIS, rows({ sepal_length: 5.1 }, { sepal_length: 0, kind: "b", code: "aa" }))).toEqual([]);
  });

  test("is told every violation at once, with the path of its row", () => {
    expect(
      json(
        IRIS,
        rows({ sepal_length: 5 }, { sepal_length: "5" }, { kind: "c", petal: 1 }, 7, { sepal_length: -1 }),
      ),
    ).toEqual([
      { path: "data.req_data[1].sepal_length", message: 'is "5"', fix: "give number" },
      { path: "data.req_data[2].sepal_length", message: "is required", fix: "add it" },
      { path: "data.req_data[2].petal", message: "is not in the schema of the API", fix: "leave it out" },
      { path: "data.req_data[2].kind", message: 'is "c"', fix: 'use one of "a", "b"' },
      { path: "data.req_data[3]", message: "is 7", fix: "give object" },
      { path: "data.req_data[4].sepal_length", message: "is -1", fix: "it must be >= 0" },
    ]);
  });

  test("that is no JSON is told where", () => {
    expect(json(IRIS, '{"data": {"req_data": [1,]}}')).toMatchObject([{ path: "line 1, column 26" }]);
    expect(json(IRIS, "")).toHaveLength(1);
  });

  test("gets a bounded list, and is told how much was left out", () => {
    const problems = json(IRIS, rows(...Array.from({ length: 500 }, () => 1)));
    expect(problems).toHaveLength(100);
    expect(problems.at(-1)?.message).toBe("and 401 more problems");
  });

  test("cannot make a pattern run for ever", () => {
    expect(json(IRIS, rows({ sepal_length: 1, code: `${"a".repeat(50_000)}!` }))).toHaveLength(1);
  });

  test("never makes the check throw, whatever it is", () => {
    const check = compileRequestCheck({ contentType: JSON_TYPE, schema: IRIS }, "Scikit_Learn");
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        expect(Array.isArray(check(JSON_TYPE, [Buffer.from(text)], null))).toBe(true);
      }),
    );
  });

  test("is refused where the API takes a form", () => {
    const check = compileRequestCheck({ contentType: "multipart/form-data", schema: {} }, "PyTorch");
    expect(check(JSON_TYPE, [Buffer.from("{}")], null)).toMatchObject([{ path: "Content-Type" }]);
  });
});

describe("a form", () => {
  const FILE = {
    type: "object",
    properties: { images: { type: "file" }, top: { type: "integer" } },
    required: ["images"],
  };

  test("has files where the schema says file, and numbers in text", () => {
    expect(form(FILE, ["images", "JPEG", "cat.jpg"], ["images", "JPEG", "dog.jpg"], ["top", "5"])).toEqual(
      [],
    );
  });

  test("is told each field that is missing or of another kind", () => {
    expect(form(FILE, ["top", "many"])).toEqual([
      { path: "images", message: "is required", fix: "add it" },
      { path: "top", message: 'is "many"', fix: "give integer" },
    ]);
    expect(form(FILE, ["images", "text"], ["top", "x", "f.txt"])).toEqual([
      { path: "images", message: 'is "text", not a file', fix: "send it as a file of the form" },
      { path: "top", message: "is a file", fix: "give integer" },
    ]);
  });
});

test("every built-in mode that has a schema can be checked, and takes what the guide sends it", () => {
  for (const mode of IO_MODES) {
    const rule = requestRule({ apis: mode.apis });
    if (rule === null) expect(mode.id).toBe("undefined");
    else if (rule.contentType === JSON_TYPE) {
      expect(json(rule.schema, rows({ a: 1 }))).toEqual([]);
      expect(json(rule.schema, {})).toMatchObject([{ path: "data" }]);
    } else {
      expect(form(rule.schema, ["images", "x", "a.jpg"])).toEqual([]);
      expect(form(rule.schema, ["image", "x", "a.jpg"])).toMatchObject([{ path: "images" }]);
    }
  }
});

test("a schema that is none is refused with the reason", () => {
  expect(() => json({ type: "objet" }, {})).toThrow(/type/);
  expect(() => json({ properties: { a: { $ref: "http://example.com/x" } } }, {})).toThrow(/reference/);
});

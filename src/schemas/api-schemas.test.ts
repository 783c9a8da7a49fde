import { describe, expect, test } from "vitest";
import { NO_VALIDATION, checksByBrokenSchema } from "../core/api-rule.ts";
import { apiSchemaProblems, sideProblems } from "./api-schemas.ts";
import { compileSchema } from "./json-schema.ts";

const config = (request: unknown, response: unknown = {}) => ({
  apis: [
    {
      request: { "Content-type": "multipart/form-data", data: request },
      response: { data: response },
    },
  ],
});

describe("the schemas of apis", () => {
  test("of the guide's packages are schemas, whatever their dialect", () => {
    const form = {
      type: "object",
      properties: { images: { type: "file" }, count: { minimum: 0, exclusiveMinimum: true } },
    };
    const rows = { $schema: "http://json-schema.org/draft-04/schema#", type: "array", items: [{ index: 3 }] };
    expect(apiSchemaProblems(config(form, rows))).toEqual([]);
    expect(apiSchemaProblems({ apis: [{ request: {}, response: { data: "text" } }] })).toEqual([]);
  });

  test("that are none are told by every place in config.json, once each", () => {
    const broken = {
      type: "object",
      required: "images",
      properties: {
        images: { type: "fil" },
        "a b": { type: ["text", "null"] },
        list: { items: [{ type: 3 }] },
      },
    };
    const problems = apiSchemaProblems(config(broken, { minimum: "0" }));
    expect(problems.map(({ path }) => path)).toEqual([
      "apis[0].request.data.required",
      "apis[0].request.data.properties.images.type",
      'apis[0].request.data.properties."a b".type[0]',
      "apis[0].request.data.properties.list.items.type",
      "apis[0].response.data.minimum",
    ]);
    expect(problems[1]).toEqual({
      path: "apis[0].request.data.properties.images.type",
      message: 'is "fil"',
      fix: 'use one of "array", "boolean", "integer", "null", "number", "object", "string"',
    });
  });

  test("that refer to nothing, or hold a pattern that RE2 does not read, are none either", () => {
    const [lost, pattern] = [{ $ref: "#/definitions/row" }, { pattern: "(?=a)" }].map((schema) =>
      sideProblems(config(schema), "request"),
    );
    expect(lost).toMatchObject([{ path: "apis[0].request.data", message: expect.stringContaining("row") }]);
    expect(pattern).toMatchObject([
      { path: "apis[0].request.data", message: expect.stringContaining("(?=") },
    ]);
  });

  test("keep a service from asking for checks by them, and an instance from making any", () => {
    const all = { requests: "on", answers: "log" } as const;
    const of = (validation: Parameters<typeof checksByBrokenSchema>[1]) =>
      checksByBrokenSchema(config({ type: "fil" }, { type: "obj" }), validation, sideProblems);
    expect(of(NO_VALIDATION)).toEqual([]);
    expect(of(all).map(({ path, message }) => [path, message])).toEqual([
      [
        "envs.MODELPORT_VALIDATE_REQUESTS",
        expect.stringContaining('wrong: apis[0].request.data.type is "fil"; use one of'),
      ],
      ["envs.MODELPORT_VALIDATE_ANSWERS", expect.stringContaining('apis[0].response.data.type is "obj"')],
    ]);
    expect(() => compileSchema({ type: "fil" }, { isForm: false })).toThrow(
      'type is "fil"; use one of "array"',
    );
  });
});

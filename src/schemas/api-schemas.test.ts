import { describe, expect, test } from "vitest";
import { NO_VALIDATION, checksByBrokenSchema } from "../core/api-rule.ts";
import type { Validation } from "../core/api-rule.ts";
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

  test("that only compiling finds wrong are told by an instance alone: control compiles nothing of a tenant's", () => {
    for (const schema of [{ $ref: "#/definitions/row" }, { pattern: "(?=a)" }]) {
      expect(sideProblems(config(schema), "request")).toEqual([]);
      expect(() => compileSchema(schema, { isForm: false })).toThrow(/row|\(\?=/);
    }
  });

  test("may hold patterns as RE2 alone writes them, and cannot make a check asynchronous", () => {
    const schema = { $async: true, pattern: "(?i)abc" };
    expect(sideProblems(config(schema), "request")).toEqual([]);
    const check = compileSchema(schema, { isForm: false });
    expect([check("xABC", 4), check("x", 1).length]).toEqual([[], 1]);
  });

  test("keep a service from asking for checks by them, and an instance from making any", () => {
    const all = { requests: "on", answers: "log" } as const;
    const of = (validation: Validation) =>
      checksByBrokenSchema("iris 0.0.1", config({ type: "fil" }, { type: "obj" }), validation, sideProblems);
    expect(of(NO_VALIDATION)).toEqual([]);
    expect(of(all).map(({ path, message }) => [path, message])).toEqual([
      [
        "envs.MODELPORT_VALIDATE_REQUESTS",
        expect.stringContaining(
          'config.json of iris 0.0.1 is wrong: apis[0].request.data.type is "fil"; use one of',
        ),
      ],
      ["envs.MODELPORT_VALIDATE_ANSWERS", expect.stringContaining('apis[0].response.data.type is "obj"')],
    ]);
    expect(() => compileSchema({ type: "fil" }, { isForm: false })).toThrow(
      'type is "fil"; use one of "array"',
    );
  });
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FakeClock } from "../../test/support/clock.ts";
import { apiChecks } from "../core/api-rule.ts";
import type { ApiRule } from "../core/api-rule.ts";
import { IO_MODES } from "../core/io-modes.ts";
import { compileAnswerCheck } from "./answer-check.ts";
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
  schema: ApiRule["schema"],
  value: unknown,
  engine: "Scikit_Learn" | "PyTorch" = "Scikit_Learn",
  query = "",
) =>
  compileRequestCheck(
    { contentType: JSON_TYPE, schema },
    engine,
  )({
    contentType: JSON_TYPE,
    query,
    body: [Buffer.from(typeof value === "string" ? value : JSON.stringify(value))],
    form: null,
  });
const rows = (...req_data: unknown[]) => ({ data: { req_data } });

const form = (schema: ApiRule["schema"], ...fields: readonly (readonly [string, string, string?])[]) => {
  const body = `${fields
    .map(
      ([name, value, file]) =>
        `--b\r\nContent-Disposition: form-data; name="${name}"${file === undefined ? "" : `; filename="${file}"`}\r\n\r\n${value}\r\n`,
    )
    .join("")}--b--\r\n`;
  const type = "multipart/form-data; boundary=b";
  const read = readMultipart(type, Buffer.from(body));
  if (read === null || !read.ok) throw new Error("not a form");
  return compileRequestCheck(
    { contentType: "multipart/form-data", schema },
    "PyTorch",
  )({ contentType: type, query: "", body: [], form: read });
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

  test("that is large is told only its first violation: the memory it takes is not its sender's to choose", () => {
    const ones = Array.from({ length: 6 * 1024 * 1024 }, () => 1);
    const more = expect.stringMatching(/only the first/) as string;
    expect(json(IRIS, { data: { req_data: ones } })).toEqual([
      { path: "data.req_data[0]", message: "is 1", fix: "give object" },
      { path: "", message: more, fix: "put it right first" },
    ]);
    expect(json({ type: "array", contains: { type: "string" } }, ones)).toEqual([
      {
        path: "",
        message: "the whole is a list of 6291456",
        fix: "it must contain at least 1 valid item(s)",
      },
      { path: "", message: more, fix: "put it right first" },
    ]);
    expect(json({ type: "array", contains: { const: 1 } }, ones)).toEqual([]);
  });

  test("cannot make a pattern run for ever", () => {
    expect(json(IRIS, rows({ sepal_length: 1, code: `${"a".repeat(50_000)}!` }))).toHaveLength(1);
  });

  test("never makes the check throw, whatever it is", () => {
    const check = compileRequestCheck({ contentType: JSON_TYPE, schema: IRIS }, "Scikit_Learn");
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        expect(
          Array.isArray(check({ contentType: JSON_TYPE, query: "", body: [Buffer.from(text)], form: null })),
        ).toBe(true);
      }),
    );
  });

  test("is refused where the API takes a form", () => {
    const check = compileRequestCheck({ contentType: "multipart/form-data", schema: {} }, "PyTorch");
    expect(check({ contentType: JSON_TYPE, query: "", body: [Buffer.from("{}")], form: null })).toMatchObject(
      [{ path: "Content-Type" }],
    );
  });
});

describe("query parameters", () => {
  const TOP = { type: "object", properties: { top: { type: "string", minLength: 1 } }, required: ["top"] };

  test("count as user code of a deep-learning engine gets them: beside the body, which goes before them", () => {
    expect(json(TOP, {}, "PyTorch")).toMatchObject([{ path: "top" }]);
    expect(json(TOP, {}, "PyTorch", "top=5")).toEqual([]);
    expect(json(TOP, "", "PyTorch", "top=5")).toEqual([]);
    expect(json(TOP, { top: "" }, "PyTorch", "top=5")).toMatchObject([{ path: "top" }]);
    expect(json(TOP, {}, "Scikit_Learn", "top=5")).toMatchObject([{ path: "top" }]);
  });
});

describe("schemas", () => {
  test("may have the bounds of draft 4", () => {
    const bounds = {
      type: "number",
      minimum: 0,
      exclusiveMinimum: true,
      maximum: 1,
      exclusiveMaximum: false,
    };
    expect([json(bounds, 0), json(bounds, 1)].map((problems) => problems.length)).toEqual([1, 0]);
  });

  test("that refer to themselves make no request an error of ours", () => {
    const tree = { type: "object", additionalProperties: { $ref: "#" } };
    expect(json(tree, { a: { b: {} } })).toEqual([]);
    const deep = `${'{"a":'.repeat(200_000)}{}${"}".repeat(200_000)}`;
    expect(json(tree, deep)).toHaveLength(1);
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

  test("keeps every part of a name whose schema is a list", () => {
    const LIST = {
      type: "object",
      properties: { images: { type: "array", items: { type: "file" }, minItems: 2 } },
    };
    expect(form(LIST, ["images", "a", "a.jpg"], ["images", "b", "b.jpg"])).toEqual([]);
    expect(form(LIST, ["images", "a", "a.jpg"])).toMatchObject([{ path: "images" }]);
  });

  test.each(["default", "const", "enum", "examples"])("may have a field called %s like any other", (name) => {
    const schema = { properties: { [name]: { $ref: "#/definitions/const" } } };
    const ONE = { ...schema, definitions: { const: { type: "file" } }, required: [name] };
    expect(form(ONE, [name, "JPEG", "cat.jpg"])).toEqual([]);
    expect(form(ONE, [name, "text"])).toMatchObject([{ path: name, message: 'is "text", not a file' }]);
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

describe("every built-in mode", () => {
  const rulesOf = (mode: (typeof IO_MODES)[number]) =>
    apiChecks({ apis: mode.apis }, { requests: "on", answers: "on" });

  test("that has a schema can be checked, and takes what the guide sends it", () => {
    for (const mode of IO_MODES) {
      const rule = rulesOf(mode).requestRule;
      if (rule === undefined) expect(mode.id).toBe("undefined");
      else if (rule.contentType === JSON_TYPE) {
        expect(json(rule.schema, rows({ a: 1 }))).toEqual([]);
        expect(json(rule.schema, {})).toMatchObject([{ path: "data" }]);
      } else {
        expect(form(rule.schema, ["images", "x", "a.jpg"])).toEqual([]);
        expect(form(rule.schema, ["image", "x", "a.jpg"])).toMatchObject([{ path: "images" }]);
      }
    }
  });

  test("lets the answers pass that the guide prints for it", () => {
    const answers: Readonly<Record<string, unknown>> = {
      object_detection: {
        detection_classes: ["face", "arm"],
        detection_boxes: [
          [33.6, 42.6, 104.5, 203.4],
          [103.1, 92.8, 765.6, 945.7],
        ],
        detection_scores: [0.99, 0.73],
      },
      image_processing: { predicted_label: "flower", scores: [["rose", 0.99]] },
      predictive_analysis: { data: { resp_data: [{ predict_result: 1 }] } },
    };
    for (const mode of IO_MODES) {
      const rule = rulesOf(mode).answerRule;
      if (rule === undefined) continue;
      const check = compileAnswerCheck(rule, { clock: new FakeClock(), log: () => undefined });
      expect(check(Buffer.from(JSON.stringify(answers[mode.id])))).toEqual([]);
    }
  });
});

describe("an answer", () => {
  const SCHEMA = {
    type: "object",
    properties: { digits: { type: "array", items: [{ type: "number" }] }, score: { type: "number" } },
    required: ["digits"],
  };
  const wrong = Buffer.from('{"digits": ["7", 1], "score": null}');
  const rule = (refuses: boolean) => ({ contentType: JSON_TYPE, schema: SCHEMA, refuses }) as const;

  test("that breaks the schema is refused with every violation, or only said in the log", () => {
    const clock = new FakeClock();
    const said: string[] = [];
    const log = (text: string): number => said.push(text);
    expect(compileAnswerCheck(rule(true), { clock, log })(wrong).map(({ path }) => path)).toEqual([
      "digits[0]",
      "score",
    ]);
    expect(compileAnswerCheck(rule(false), { clock, log })(wrong)).toEqual([]);
    expect(said).toEqual(
      Array.from(
        { length: 2 },
        () =>
          'an answer is not as apis of config.json says: digits[0] is "7"; give number. score is null; give number.',
      ),
    );
  });

  test("does not fill the log when every one is wrong", async () => {
    const clock = new FakeClock();
    const said: string[] = [];
    const check = compileAnswerCheck(rule(false), { clock, log: (text) => said.push(text) });
    for (let n = 0; n < 50; n++) check(wrong);
    expect(said).toHaveLength(1);
    await clock.advance(10_000);
    check(wrong);
    expect(said[1]).toContain("and 49 answers since");
  });
});

test("a schema that is none is refused with the reason", () => {
  expect(() => json({ type: "objet" }, {})).toThrow(/type/);
  expect(() => json({ properties: { a: { $ref: "http://example.com/x" } } }, {})).toThrow(/reference/);
});

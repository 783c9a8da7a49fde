import { describe, expect, test } from "vitest";
import { checkConfig } from "./config-json.ts";
import { encryptedBy } from "./encrypted.ts";
import { IO_MODES } from "./io-modes.ts";
import { readValidation, requestRule } from "./request-rule.ts";
import { TEMPLATES, chooseTemplate, templateConfig } from "./templates.ts";

describe("templates", () => {
  test("stand for a config.json without a single problem or warning, in every mode they allow", () => {
    expect(new Set(TEMPLATES.map(({ id }) => id)).size).toBe(12);
    for (const template of TEMPLATES)
      for (const mode of template.overridable
        ? IO_MODES
        : IO_MODES.filter(({ id }) => id === template.mode)) {
        const choice = chooseTemplate({
          template_id: template.id,
          template_inputs: [{ input: "obs://b/model", input_id: "model" }],
          infer_format: mode.id,
        });
        expect(choice).toMatchObject({ ok: true, mode: { id: mode.id }, location: "obs://b/model" });
        const text = JSON.stringify(templateConfig(template, mode));
        expect(checkConfig(text)).toMatchObject({ problems: [], warnings: [] });
      }
  });

  test("name every mistake of a request at once", () => {
    const choice = chooseTemplate({
      template_id: "pytorch-py63",
      template_inputs: [{ input: "obs://b/model", input_id: "folder" }],
      infer_format: "image",
    });
    expect(choice).toMatchObject({
      ok: false,
      unknownId: true,
      problems: [
        { path: "template.template_id" },
        { path: "template.template_inputs[0].input_id" },
        { path: "template.infer_format" },
      ],
    });
  });
});

describe("the rule for requests", () => {
  const rule = (apis: unknown) => requestRule({ apis });

  test("is what apis says, as an object or as its text", () => {
    const schema = { type: "object" };
    expect(rule([{ request: { "Content-type": "multipart/form-data", data: schema } }])).toEqual({
      contentType: "multipart/form-data",
      schema,
    });
    expect(rule([{ request: { data: JSON.stringify(schema) } }])).toEqual({
      contentType: "application/json",
      schema,
    });
  });

  test("is none where apis has no schema", () => {
    for (const apis of [undefined, [], [{}], [{ request: {} }], [{ request: { data: "text" } }], "x", [3]])
      expect(rule(apis)).toBeNull();
  });

  test("applies where the service asks for it, else where the platform does", () => {
    expect(readValidation({}, "on").validation).toBe("on");
    expect(readValidation({ MODELPORT_VALIDATE_REQUESTS: "off" }, "on").validation).toBe("off");
    expect(readValidation({ MODELPORT_VALIDATE_REQUESTS: "yes" }, "off")).toMatchObject({
      validation: "off",
      problems: [{ path: "envs.MODELPORT_VALIDATE_REQUESTS" }],
    });
  });
});

test("files encrypted by common tools are recognised, others are not", () => {
  const by = (text: string) => encryptedBy(Buffer.from(text, "latin1"));
  expect(by("Salted__\u0001\u0002")).toBe("openssl enc");
  expect(by("age-encryption.org/v1\n")).toBe("age");
  expect(by("\0GITCRYPT\0…")).toBe("git-crypt");
  expect(by("")).toBeNull();
  expect(by("Salted")).toBeNull();
  expect(by("PK\u0003\u0004")).toBeNull();
});

import { describe, expect, test } from "vitest";
import { checkConfig } from "./config-json.ts";
import { encryptedBy } from "./encrypted.ts";
import { IO_MODES } from "./io-modes.ts";
import { TEMPLATES, chooseTemplate, templateConfig } from "./templates.ts";

describe("templates", () => {
  test("of the undefined mode are for real-time and edge services, and say so beside every other mistake", () => {
    const request = {
      template_id: "caffe-cpu-py36",
      template_inputs: [{ input: "obs://b/model", input_id: "model" }],
    };
    expect(chooseTemplate(request)).toMatchObject({ ok: true, installTypes: ["real-time", "edge"] });
    expect(chooseTemplate({ ...request, infer_format: "image_processing" })).toMatchObject({
      installTypes: ["real-time", "batch", "edge"],
    });
    expect(chooseTemplate(request, ["real-time"])).toMatchObject({ installTypes: ["real-time"] });
    expect(chooseTemplate(request, ["batch"])).toMatchObject({
      kind: "install-type",
      problems: [{ path: "install_type" }],
    });
    const twice = { ...request, template_inputs: [...request.template_inputs, ...request.template_inputs] };
    expect(chooseTemplate(twice, ["batch"])).toMatchObject({
      kind: "use",
      problems: [{ path: "template.template_inputs[1].input_id" }, { path: "install_type" }],
    });
  });

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
      kind: "id",
      problems: [
        { path: "template.template_id" },
        { path: "template.template_inputs[0].input_id" },
        { path: "template.infer_format" },
      ],
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
  expect(by("PK\u0003\u0004\u0014\u0000\u0000\u0008")).toBeNull();
  expect(by("PK\u0003\u0004\u0014\u0000\u0009\u0008")).toBe("zip with a password");
  expect(by("\u008c\u000d\u0004\u0009")).toBe("GPG");
});

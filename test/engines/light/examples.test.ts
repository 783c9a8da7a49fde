/** The examples of the light engines, and the guide's templates of Caffe on the same platform. */
import { mkdtempSync, rmSync, writeFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { TEMPLATES } from "../../../src/core/templates.ts";
import { LIGHT_ENGINES, callExample, exampleFiles, testExamples } from "../../support/examples.ts";
import { deploy, entry } from "../../support/packages.ts";
import { importByTemplate } from "../../support/templates.ts";

const platform = testExamples(LIGHT_ENGINES);
const DIGITS = exampleFiles("digits-caffe");
const OF_CAFFE = TEMPLATES.filter(({ engine }) => engine === "Caffe");

test.each(OF_CAFFE.map(({ id, runtime }) => [id, runtime] as const))(
  "the template %s imports the example without its config.json",
  { timeout: 600_000 },
  async (id, runtime) => {
    const { config, installTypes } = await importByTemplate(platform, id, DIGITS);
    expect(config).toMatchObject({ model_type: "Caffe", runtime, apis: [] });
    expect(installTypes).toEqual(["real-time", "edge"]);
  },
);

test(
  "the template's mode decides what a service that checks its requests takes",
  { timeout: 600_000 },
  async () => {
    const { id } = await importByTemplate(platform, "caffe-cpu-py36", DIGITS, "image_processing");
    const envs = { MODELPORT_VALIDATE_REQUESTS: "on", MODELPORT_VALIDATE_ANSWERS: "on" };
    const service = await deploy(platform, "by-mode", [entry(id, { envs })]);
    const { got, wanted } = await callExample(platform, service, "digits-caffe");
    expect([got.status, got.body]).toEqual([200, wanted]);
    const form =
      '--b\r\nContent-Disposition: form-data; name="picture"; filename="a.png"\r\n\r\nx\r\n--b--\r\n';
    const refused = await platform.call("POST", `/v1/infers/${service}`, new TextEncoder().encode(form), {
      "content-type": "multipart/form-data; boundary=b",
    });
    expect([refused.status, refused.body]).toEqual([
      400,
      {
        erno: "MR.0101",
        msg: "The input parameter is invalid",
        words_result: {},
        error_info: "images is required; add it.",
        problems: [{ path: "images", message: "is required", fix: "add it" }],
      },
    ]);
    await platform.call("DELETE", `/v1/{project_id}/services/${service}`);
  },
);

test("the command line imports by a template from a folder", { timeout: 600_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), "modelport-template-"));
  try {
    mkdirSync(join(dir, "digits", "model"), { recursive: true });
    for (const [name, content] of Object.entries(DIGITS))
      if (name !== "config.json") writeFileSync(join(dir, "digits", "model", name), content);
    const done = await platform.cli(
      ...`model import --template caffe-gpu-py36 --mode image_processing --json`.split(" "),
      join(dir, "digits"),
    );
    expect(done.code, done.output).toBe(0);
    expect(JSON.parse(done.stdout)).toMatchObject({
      model_name: "digits",
      model_status: "published",
      template: { template_id: "caffe-gpu-py36", infer_format: "image_processing" },
    });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

/** The guide's templates of the heavy engines, each on a model of the release it names. Those of Caffe are light/examples.test.ts. */
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { EngineName } from "../../src/core/engines.ts";
import { TEMPLATES } from "../../src/core/templates.ts";
import { engineEnvironment } from "../support/engine-environments.ts";
import { deploy, entry, predict } from "../support/packages.ts";
import type { Files } from "../support/packages.ts";
import { Platform } from "../support/platform.ts";
import { train } from "../support/round-trip.ts";
import { importByTemplate } from "../support/templates.ts";
import { MINDSPORE, MXNET, PYTORCH, TENSORFLOW } from "../support/tiny-models.ts";
import type { TinyModel } from "../support/tiny-models.ts";

const MODELS: Readonly<Partial<Record<EngineName, TinyModel>>> = {
  TensorFlow: TENSORFLOW,
  PyTorch: PYTORCH,
  MXNet: MXNET,
  MindSpore: MINDSPORE,
};

const platform = new Platform();
beforeAll(async () => {
  await platform.start();
});
afterAll(() => platform.stop());

/** One that was trained by the very environment that the template's runtime gets. */
const packageOf = async (engine: EngineName, runtime: string, signal: AbortSignal): Promise<Files> => {
  const model = MODELS[engine];
  if (model === undefined) throw new Error(`no tiny model of ${engine}`);
  const { python } = await engineEnvironment(engine, runtime, signal);
  const dir = mkdtempSync(join(tmpdir(), "modelport-template-"));
  try {
    await train(python, model, dir);
    const files = readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((file) => file.isFile())
      .map((file) => join(file.parentPath, file.name));
    return {
      ...Object.fromEntries(files.map((path) => [relative(dir, path), new Uint8Array(readFileSync(path))])),
      ...(model.service === undefined ? {} : { "customize_service.py": model.service }),
    };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
};

const HEAVY = TEMPLATES.filter(({ engine }) => engine !== "Caffe");

test("each template that is not of Caffe is tested here", () => {
  expect(new Set(HEAVY.map(({ engine }) => engine))).toEqual(new Set(Object.keys(MODELS)));
});

test.for(HEAVY)("the template $id imports its package", async ({ id, engine, runtime }, { signal }) => {
  const files = await packageOf(engine, runtime ?? "python3.11", signal);
  const { id: model, config } = await importByTemplate(platform, id, files);
  expect(config).toMatchObject({ model_type: engine });
  // One of each engine is called: the others differ from it in their Python only, and in that here both mean the same.
  if (!id.endsWith("-py36") && engine !== "MindSpore") return;
  const service = await deploy(platform, id, [entry(model)]);
  const answer = await predict(platform, service, MODELS[engine]?.request);
  expect([answer.status, answer.body]).toEqual([200, MODELS[engine]?.answer]);
  await platform.call("DELETE", `/v1/{project_id}/services/${service}`);
});

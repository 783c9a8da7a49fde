/**
 * The examples of the heavy engines, and on the same platform the guide's templates of these engines, each with a model that was
 * trained on the release it names.
 */
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { expect, test } from "vitest";
import { AVAILABLE_ENGINES } from "../../src/core/engines.ts";
import type { EngineName } from "../../src/core/engines.ts";
import { TEMPLATES } from "../../src/core/templates.ts";
import { LIGHT_ENGINES, testExamples } from "../support/examples.ts";
import { deploy, entry, predict } from "../support/packages.ts";
import type { Files } from "../support/packages.ts";
import { importByTemplate } from "../support/templates.ts";
import { MINDSPORE, MXNET, PYTORCH, TENSORFLOW } from "../support/tiny-models.ts";
import type { TinyModel } from "../support/tiny-models.ts";

const platform = testExamples(AVAILABLE_ENGINES.filter((engine) => !LIGHT_ENGINES.includes(engine)));

const MODELS: Readonly<Partial<Record<EngineName, TinyModel>>> = {
  TensorFlow: TENSORFLOW,
  PyTorch: PYTORCH,
  MXNet: MXNET,
  MindSpore: MINDSPORE,
};
const modelOf = (engine: EngineName): TinyModel => {
  const model = MODELS[engine];
  if (model === undefined) throw new Error(`no tiny model of ${engine}`);
  return model;
};

/** A package without a model, which its own script trains in the environment that the template's import will use. */
const packageOf = async (engine: EngineName, runtime: string | null): Promise<Files> => {
  const { train, service } = modelOf(engine);
  const dir = mkdtempSync(join(tmpdir(), "modelport-template-"));
  try {
    const model = join(dir, "model");
    mkdirSync(model);
    const config = {
      model_type: engine,
      model_algorithm: "custom",
      ...(runtime === null ? {} : { runtime }),
    };
    writeFileSync(join(model, "config.json"), JSON.stringify(config));
    if (service !== undefined) writeFileSync(join(model, "customize_service.py"), service);
    writeFileSync(join(dir, "train.py"), `import os; os.chdir("model")\n${train}`);
    const trained = await platform.cli("run", dir, "--", "python", "train.py");
    expect(trained.code, trained.output).toBe(0);
    return Object.fromEntries(
      readdirSync(model, { recursive: true, withFileTypes: true })
        .filter((file) => file.isFile())
        .map((file) => join(file.parentPath, file.name))
        .map((path) => [relative(model, path), new Uint8Array(readFileSync(path))]),
    );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
};

test.for(TEMPLATES.filter(({ engine }) => !LIGHT_ENGINES.includes(engine)))(
  "the template $id imports its package",
  { timeout: 600_000 },
  async ({ id, engine, runtime }) => {
    const files = await packageOf(engine, runtime);
    const { id: model, config } = await importByTemplate(platform, id, files);
    expect(config).toMatchObject({ model_type: engine });
    // One of each engine is called: the others differ from it in their Python only, and in that here both mean the same.
    if (!id.endsWith("-py36") && engine !== "MindSpore") return;
    const service = await deploy(platform, id, [entry(model)]);
    const answer = await predict(platform, service, modelOf(engine).request);
    expect([answer.status, answer.body]).toEqual([200, modelOf(engine).answer]);
    await platform.call("DELETE", `/v1/{project_id}/services/${service}`);
  },
);

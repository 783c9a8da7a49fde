import { mkdtemp, readFile, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PROJECT, sampleModel } from "../../test/support/store-samples.ts";
import type { EngineName } from "../core/engines.ts";
import { at, modelEvents } from "../core/event-texts.ts";
import { TEMPLATES } from "../core/templates.ts";
import type { Model } from "../core/model.ts";
import type { EnvironmentOutcome, EnvironmentRequest, Environments } from "../environments/environments.ts";
import { openDirectoryObjects } from "../objects/directory.ts";
import type { Objects } from "../objects/objects.ts";
import { createFakeRunner } from "../runners/fake.ts";
import type { Behaviour, FakeRunner } from "../runners/fake.ts";
import { openStore } from "../store/open-store.ts";
import type { Store } from "../store/store.ts";
import { systemClock } from "../telemetry/clock.ts";
import { createLogger } from "../telemetry/logger.ts";
import { createImporter } from "./import.ts";
import type { Importer } from "./import.ts";
import { openPackages } from "./packages.ts";
import type { Packages } from "./packages.ts";

const logger = createLogger("test", "silent");
const CONFIG = {
  model_algorithm: "predict_analysis",
  model_type: "Scikit_Learn",
  runtime: "python3.6",
  dependencies: [
    {
      installer: "pip",
      packages: [
        { package_name: "numpy", package_version: "1.15.0", restraint: "EXACT" },
        { package_name: "ours" },
      ],
    },
  ],
};
const FILES: Readonly<Record<string, string>> = {
  "config.json": JSON.stringify(CONFIG),
  "iris.m": "model",
  "customize_service.py": "code",
  "ours-1.0-py3-none-any.whl": "wheel",
  "own/deep/module.py": "x = 1",
};
const never = new AbortController().signal;
/** What stands for a model of each engine that a template has. */
const MODEL_FILES: Readonly<Partial<Record<EngineName, Readonly<Record<string, string>>>>> = {
  TensorFlow: { "saved_model.pb": "graph", "variables/variables.index": "weights" },
  MXNet: { "resnet-symbol.json": "{}", "resnet-0000.params": "weights" },
  PyTorch: { "model.pth": "weights" },
  Caffe: { "deploy.prototxt": "layers", "model.caffemodel": "weights" },
  MindSpore: { "model.mindir": "graph" },
};

let dir = "";
let store: Store;
let objects: Objects;
let packages: Packages;
let runner: FakeRunner;
let behaviour: Behaviour;
let requests: EnvironmentRequest[];
let outcome: (request: EnvironmentRequest) => EnvironmentOutcome;
let importer: Importer;

/** Environments without Python: one key for all, reused from the second time on. */
const environments: Environments = {
  ensure: (request, onLog) => {
    requests.push(request);
    onLog("Downloading numpy (16.3MiB)");
    onLog("chatter");
    return Promise.resolve(outcome(request));
  },
  python: () => Promise.resolve(null),
  reclaim: () => Promise.resolve([]),
  runtimes: () => Promise.resolve([]),
};

const start = async (): Promise<void> => {
  packages = await openPackages({ root: join(dir, "packages"), clock: systemClock });
  runner = createFakeRunner({ clock: systemClock, logger, script: () => behaviour });
  importer = createImporter({
    store,
    objects,
    packages,
    environments,
    runner,
    clock: systemClock,
    logger,
    settings: { strictDependencies: false, startTimeoutMs: 5000, predictTimeoutMs: 1000 },
  });
};

const upload = async (folder: string, files: Readonly<Record<string, string>>): Promise<void> => {
  await objects.createBucket(PROJECT, "models");
  for (const [name, content] of Object.entries(files))
    await objects.put(PROJECT, { bucket: "models", key: `${folder}/${name}` }, Readable.from([content]), {
      maxBytes: 1e6,
    });
};
const create = async (more: Partial<Model> = {}): Promise<Model> => {
  const model = sampleModel(more);
  await store.models.create(model, at(modelEvents.importStarted(), model.createdAt));
  return model;
};
const read = async (model: Model): Promise<Model> => {
  const now = await store.models.byId(model.id);
  if (now === null) throw new Error("the version is gone");
  return now;
};
const history = async (model: Model): Promise<readonly { type: string; info: string }[]> =>
  (await store.events.ofModel(model.id, { order: "asc", offset: 0, limit: 100 })).rows;
const scratch = (): Promise<string[]> => readdir(join(dir, "packages", ".scratch"));

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "modelport-import-"));
  store = await openStore({
    database: { kind: "sqlite", path: join(dir, "modelport.db") },
    clock: systemClock,
    logger,
  });
  objects = await openDirectoryObjects({ root: join(dir, "objects"), clock: systemClock });
  behaviour = { kind: "ready", afterMs: 0 };
  requests = [];
  outcome = () => ({
    kind: "ready",
    key: "e".repeat(64),
    python: "/env/bin/python",
    reused: requests.length > 1,
    durationMs: 2400,
    substitutions: [{ asked: "numpy==1.15.0", got: "numpy==1.23.2", reason: "no build" }],
    warnings: ["Python 3.11.7 stands in"],
  });
  await start();
});
afterEach(async () => {
  await store.close();
  await rm(dir, { recursive: true, force: true });
});

describe("an import", () => {
  test("publishes a package and tells each step", async () => {
    await upload("iris/model", FILES);
    const model = await create({ sourceLocation: "obs://models/iris/" });
    expect(await importer.pass(model.id, never)).toEqual({ kind: "done" });
    const { status, published } = await read(model);
    expect(status).toBe("published");
    expect(published).toMatchObject({
      engine: "Scikit_Learn",
      modelFile: "iris.m",
      hasCustomService: true,
      environmentKey: "e".repeat(64),
      sizeBytes: Object.values(FILES).join("").length,
    });
    const copy = packages.directory(published?.packageDigest ?? "");
    expect(await readFile(join(copy, "own/deep/module.py"), "utf8")).toBe("x = 1");
    expect((await stat(join(copy, "iris.m"))).mode & 0o222).toBe(0);
    expect(requests[0]).toMatchObject({
      runtime: "python3.6",
      dependencies: [
        { name: "numpy", version: "1.15.0", restraint: "EXACT" },
        { name: "ours", version: null, restraint: null },
      ],
      wheels: [join(copy, "ours-1.0-py3-none-any.whl")],
    });
    const lines = (await history(model)).map(
      ({ type, info }) => `${type}: ${info.replace(/\(\d[\d.]* m?s\)$/, "(t)")}`,
    );
    expect(lines).toEqual([
      "normal: The model starts to import.",
      "normal: Model file imported. (t)",
      "normal: Model size calculated.",
      "normal: Request for creating an environment image received.",
      "normal: Environment: Downloading numpy (16.3MiB)",
      "warning: Dependency numpy==1.15.0 was replaced by numpy==1.23.2: no build",
      "warning: Python 3.11.7 stands in",
      "normal: The environment was created. (t)",
      "normal: The model is being loaded for a trial.",
      "normal: The model loaded and answered its health check. (t)",
      "normal: The model imported. (t)",
    ]);
    expect(runner.alive()).toEqual([]);
    expect(await scratch()).toEqual([]);
  });

  test.each(["obs://models/iris", "obs://models/iris/model", "s3://models/iris/model/"])(
    "finds the model folder of %s",
    async (sourceLocation) => {
      await upload("iris/model", FILES);
      const model = await create({ sourceLocation });
      await importer.pass(model.id, never);
      expect((await read(model)).status).toBe("published");
    },
  );

  test("takes a template's word for config.json, and asks for the inference code", async () => {
    await upload("cats/model", {
      "saved_model.pb": "graph",
      "variables/variables.index": "i",
      "customize_service.py": "c",
    });
    const template = {
      template_id: "tensorflow-py36",
      template_inputs: [{ input: "obs://models/cats/model", input_id: "model" }],
      infer_format: "object_detection",
    };
    const model = await create({
      type: "Template",
      sourceLocation: "obs://models/cats",
      request: { template },
    });
    await importer.pass(model.id, never);
    const { status, published } = await read(model);
    expect(status).toBe("published");
    expect(published).toMatchObject({
      engine: "TensorFlow",
      config: { model_algorithm: "object_detection", runtime: "python3.6" },
    });
    const copy = packages.directory(published?.packageDigest ?? "");
    expect(JSON.parse(await readFile(join(copy, "config.json"), "utf8"))).toMatchObject({
      model_type: "TensorFlow",
      apis: [{ request: { "Content-type": "multipart/form-data" } }],
    });
    await upload("bare/model", { "saved_model.pb": "graph", "variables/variables.index": "i" });
    const bare = await create({
      type: "Template",
      sourceLocation: "obs://models/bare",
      request: { template },
    });
    await importer.pass(bare.id, never);
    expect((await history(bare)).map(({ info }) => info).join()).toContain(
      "model/customize_service.py is missing",
    );
  });

  test.each(TEMPLATES.map((template) => [template.id, template.engine] as const))(
    "takes a package of the template %s without config.json",
    async (id, engine) => {
      await upload("t/model", { ...MODEL_FILES[engine], "customize_service.py": "code" });
      const request = {
        template: {
          template_id: id,
          template_inputs: [{ input: "obs://models/t/model/", input_id: "model" }],
        },
      };
      const model = await create({ type: "Template", sourceLocation: "obs://models/t", request });
      await importer.pass(model.id, never);
      expect((await read(model)).failure).toBeNull();
      expect((await read(model)).published?.engine).toBe(engine);
    },
  );

  test("refuses encrypted files that the engine reads, all of them by name, and only points out others", async () => {
    await upload("iris/model", {
      ...FILES,
      "iris.m": "Salted__12345678rest",
      "own/deep/module.py": "-----BEGIN PGP MESSAGE-----",
      "own/key.txt": "-----BEGIN PGP MESSAGE-----",
    });
    const model = await create();
    await importer.pass(model.id, never);
    expect((await read(model)).status).toBe("failed");
    const lines = (await history(model)).map(({ type, info }) => `${type}: ${info}`);
    for (const [path, by] of [
      ["iris.m", "openssl enc"],
      ["own/deep/module.py", "PGP"],
    ])
      expect(lines).toContain(
        `abnormal: model/${path} is encrypted (${by}); upload it decrypted: encrypted objects cannot be imported.`,
      );
    expect(lines).toContain(
      "warning: model/own/key.txt is encrypted (PGP); nothing but the package's own code can decrypt it",
    );
  });

  test("says which run of a training job was taken when the request named none", async () => {
    await upload("out/V002/model", FILES);
    const model = await create({
      sourceLocation: "obs://models/out/V002",
      request: { source_location: "obs://models/out/" },
    });
    await importer.pass(model.id, never);
    expect((await read(model)).status).toBe("published");
    expect((await history(model)).map(({ info }) => info)).toContain(
      "The newest output of the training job was taken: obs://models/out/V002.",
    );
  });

  test("names no run of a training job as newest that the request chose", async () => {
    await upload("out/V002/model", FILES);
    for (const request of [
      { source_location: "obs://models/out/V002/" },
      { source_location: "obs://models/out", source_job_version: "V002" },
    ]) {
      const model = await create({ sourceLocation: "obs://models/out/V002", request });
      await importer.pass(model.id, never);
      expect((await history(model)).map(({ info }) => info).join()).not.toContain("newest");
    }
  });

  test("does no work again for a known package", async () => {
    await upload("iris/model", FILES);
    const first = await create();
    const second = await create();
    await importer.pass(first.id, never);
    expect(runner.started).toHaveLength(1);
    await importer.pass(second.id, never);
    expect(runner.started).toHaveLength(1);
    expect((await read(second)).published).toEqual((await read(first)).published);
    expect((await history(second)).map(({ info }) => info)).toContain(
      "An existing environment image is used. (2.4 s)",
    );
  });

  test("publishes both when the same package is imported twice at once, with one copy", async () => {
    await upload("iris/model", FILES);
    const both = [await create(), await create()];
    await Promise.all(both.map(({ id }) => importer.pass(id, never)));
    for (const model of both) expect((await read(model)).status).toBe("published");
    expect((await readdir(join(dir, "packages"))).filter((name) => !name.startsWith("."))).toHaveLength(1);
    expect(await scratch()).toEqual([]);
    expect(runner.alive()).toEqual([]);
  });

  test("takes initial_config, dependencies and execution_code of the request", async () => {
    await upload("iris/model", { "iris.m": "model" });
    await upload("code", { "customize_service.py": "other code" });
    const model = await create({
      request: {
        initial_config: JSON.stringify({ model_algorithm: "a" }),
        runtime: "python3.11",
        dependencies: [{ installer: "pip", packages: [{ package_name: "six" }] }],
        execution_code: "obs://models/code/customize_service.py",
      },
    });
    await importer.pass(model.id, never);
    const { published, failure } = await read(model);
    expect(failure).toBeNull();
    expect(published).toMatchObject({ hasCustomService: true, config: { model_type: "Scikit_Learn" } });
    expect(requests[0]).toMatchObject({ runtime: "python3.11", dependencies: [{ name: "six" }] });
    const copy = packages.directory(published?.packageDigest ?? "");
    expect(await readFile(join(copy, "customize_service.py"), "utf8")).toBe("other code");
  });

  test("fails with every problem of configuration and layout at once", async () => {
    await upload("iris/model", {
      "config.json": JSON.stringify({ ...CONFIG, model_type: "TensorFlow", metrics: { f1: "x" } }),
      "a.m": "",
      "b.m": "",
    });
    const model = await create();
    expect(await importer.pass(model.id, never)).toMatchObject({
      kind: "terminal",
      error: {
        code: "PACKAGE_INVALID",
        problems: [{ path: "model_type" }, { path: "metrics.f1" }, { path: "model" }],
      },
    });
    const { status, failure } = await read(model);
    expect(status).toBe("failed");
    expect(failure).toContain("holds 2 model files: a.m, b.m");
    expect((await history(model)).filter(({ type }) => type === "abnormal")).toHaveLength(4);
    expect((await readdir(join(dir, "packages"))).filter((name) => !name.startsWith("."))).toEqual([]);
    expect(await scratch()).toEqual([]);
  });

  test.each([
    ["obs://models/nothing", "does not hold a folder named model"],
    ["obs://nowhere/iris", "nowhere"],
    ["ftp://models/iris", "ftp://models/iris"],
  ])("fails for the source %s in words", async (sourceLocation, words) => {
    await upload("iris/model", FILES);
    const model = await create({ sourceLocation });
    expect(await importer.pass(model.id, never)).toMatchObject({ kind: "terminal" });
    expect((await read(model)).failure).toContain(words);
  });

  test("fails with the reason and the end of the log when the environment is refused", async () => {
    outcome = () => ({
      kind: "refused",
      message: "Dependency nope cannot be installed.",
      problems: [],
      logTail: "the end",
    });
    await upload("iris/model", FILES);
    const model = await create();
    await importer.pass(model.id, never);
    expect((await read(model)).failure).toBe("Dependency nope cannot be installed.");
    const infos = (await history(model)).map(({ info }) => info);
    expect(infos.find((info) => info.includes("the end"))).toContain("Failed to create the image.");
    expect(infos.at(-1)).toBe("Failed to import the model. Error: Dependency nope cannot be installed.");
    expect(runner.started).toEqual([]);
  });

  test("fails with the traceback's end when the model cannot be loaded, and tries again on the next import", async () => {
    const detail = 'Traceback\n  File "a.py", line 3\nNo\n';
    behaviour = { kind: "fail", afterMs: 0, failure: { reason: "load-failed", message: "No", detail } };
    await upload("iris/model", FILES);
    const model = await create();
    await importer.pass(model.id, never);
    expect((await read(model)).failure).toBe("No");
    expect((await history(model)).map(({ info }) => info)).toContainEqual(
      expect.stringMatching(/^No \(\d+ ms\)\nTraceback\n  File .*\nNo$/),
    );
    expect(runner.alive()).toEqual([]);
    expect(await runner.observe()).toEqual([]);
    behaviour = { kind: "ready", afterMs: 0 };
    const again = await create();
    await importer.pass(again.id, never);
    expect((await read(again)).status).toBe("published");
  });

  test("stays in publishing when the platform stops during the trial, and the next start completes it", async () => {
    behaviour = { kind: "hang" };
    await upload("iris/model", FILES);
    const model = await create();
    const stop = new AbortController();
    const pass = importer.pass(model.id, stop.signal);
    await expect.poll(() => runner.alive().length).toBe(1);
    stop.abort(new Error("stopping"));
    await expect(pass).rejects.toThrow("stopping");
    expect(runner.alive()).toEqual([]);
    expect((await read(model)).status).toBe("publishing");
    behaviour = { kind: "ready", afterMs: 0 };
    await start();
    expect(await importer.pass(model.id, never)).toEqual({ kind: "done" });
    expect((await read(model)).status).toBe("published");
  });

  test("throws failures of the platform, so that they are tried again", async () => {
    outcome = () => {
      throw new Error("disk full");
    };
    await upload("iris/model", FILES);
    const model = await create();
    await expect(importer.pass(model.id, never)).rejects.toThrow("disk full");
    expect((await read(model)).status).toBe("publishing");
    expect(await scratch()).toEqual([]);
  });

  test("of a version that is deleted ends at once, in the middle of what it does", async () => {
    behaviour = { kind: "hang" };
    await upload("iris/model", FILES);
    const model = await create();
    const pass = importer.pass(model.id, never);
    await expect.poll(() => runner.alive().length).toBe(1);
    expect(importer.holding().packages.size).toBe(1);
    expect(importer.holding().environments.size).toBe(1);
    await importer.reconsider(model.id);
    expect(runner.alive()).toHaveLength(1);
    await store.models.delete(PROJECT, model.id);
    await importer.reconsider(model.id);
    expect(await pass).toEqual({ kind: "done" });
    expect(runner.alive()).toEqual([]);
    expect(await scratch()).toEqual([]);
    expect(importer.holding()).toEqual({ packages: new Set(), environments: new Set() });
  });

  test("of a version deleted meanwhile leaves nothing running", async () => {
    behaviour = { kind: "ready", afterMs: 50 };
    await upload("iris/model", FILES);
    const model = await create();
    const pass = importer.pass(model.id, never);
    await expect.poll(() => runner.alive().length).toBe(1);
    await store.models.delete(PROJECT, model.id);
    expect(await pass).toEqual({ kind: "done" });
    expect(runner.alive()).toEqual([]);
    expect(await importer.pass(model.id, never)).toEqual({ kind: "done" });
  });
});

describe("dynamic loading", () => {
  const request = { dynamic_loading: true };

  test("checks the package where it lies, and takes it when a service wants to start it", async () => {
    await upload("iris/model", FILES);
    const model = await create({ request });
    await importer.pass(model.id, never);
    const before = await read(model);
    expect([before.status, before.published?.packageDigest, before.published?.environmentKey]).toEqual([
      "published",
      null,
      null,
    ]);
    expect(before.published).toMatchObject({ engine: "Scikit_Learn", modelFile: "iris.m" });
    expect(before.published?.sizeBytes).toBe(Object.values(FILES).join("").length);
    expect([
      requests.length,
      runner.started.length,
      (await packages.list(join(dir, "packages"))).length,
    ]).toEqual([0, 0, 0]);
    // Nobody wants it: a pass leaves it where it is.
    await importer.pass(model.id, never);
    expect((await read(model)).published?.packageDigest).toBeNull();

    expect(importer.want(model.id, model.createdAt)).toEqual({ kind: "begin" });
    expect(importer.want(model.id, model.createdAt)).toEqual({ kind: "underway" });
    await importer.pass(model.id, never);
    const { published } = await read(model);
    const copy = packages.directory(published?.packageDigest ?? "");
    expect(await readFile(join(copy, "iris.m"), "utf8")).toBe("model");
    expect(published?.environmentKey).toBe("e".repeat(64));
    // The service starts it; a trial would load the model twice.
    expect(runner.started).toHaveLength(0);
    expect((await history(model)).at(-1)?.info).toMatch(/^The model files and dependencies were loaded/);
  });

  test("refuses at once what is wrong, every problem with its path", async () => {
    const { "iris.m": _model, ...rest } = FILES;
    await upload("iris/model", { ...rest, "config.json": "{", "customize_service.py": "Salted__" });
    const model = await create({ request });
    await importer.pass(model.id, never);
    expect((await read(model)).status).toBe("failed");
    const lines = (await history(model)).map(({ info }) => info).join("\n");
    for (const part of [
      "config.json ",
      "model holds no model file",
      "model/customize_service.py is encrypted",
    ])
      expect(lines).toContain(part);
  });

  test("tells the service that waits why the files could not be taken, and tries again for the next", async () => {
    await upload("iris/model", FILES);
    const model = await create({ request });
    await importer.pass(model.id, never);
    await objects.delete(PROJECT, { bucket: "models", key: "iris/model/iris.m" });
    importer.want(model.id, model.createdAt);
    await importer.pass(model.id, never);
    expect(importer.want(model.id, model.createdAt)).toMatchObject({
      kind: "failed",
      failure: { reason: "model-load", message: expect.stringContaining("holds no model file") },
    });
    expect((await history(model)).at(-1)).toMatchObject({ type: "abnormal" });
    await upload("iris/model", FILES);
    const later = (model.createdAt - 3_600_000) as Model["createdAt"]; // The clock was set back.
    expect(importer.want(model.id, later)).toEqual({ kind: "begin" });
    await importer.pass(model.id, never);
    expect((await read(model)).published?.packageDigest).toMatch(/^[0-9a-f]{64}$/);
  });

  test("lets one file be larger than 5 GB", async () => {
    await upload("iris/model", FILES);
    const real = objects;
    const GB = 1024 ** 3;
    objects = {
      ...real,
      list: async (...given) => {
        const page = await real.list(...given);
        const found = page.objects.map((info) =>
          info.key.endsWith("iris.m") ? { ...info, sizeBytes: 6 * GB } : info,
        );
        return { ...page, objects: found };
      },
    };
    await start();
    const model = await create({ request });
    await importer.pass(model.id, never);
    expect((await read(model)).published?.sizeBytes).toBeGreaterThan(6 * GB);
  });
});

describe("copies", () => {
  test("that no version uses are reclaimed, with their trials, after their grace", async () => {
    await upload("iris/model", FILES);
    const model = await create();
    await importer.pass(model.id, never);
    const digest = (await read(model)).published?.packageDigest ?? "";
    expect(await packages.reclaim(new Set())).toEqual([]);
    const later = await openPackages({ root: join(dir, "packages"), clock: systemClock });
    expect(await later.reclaim(new Set([digest]))).toEqual([]);
    expect(await later.reclaim(new Set())).toEqual([digest]);
    expect(await readdir(join(dir, "packages", ".trials"))).toEqual([]);
  });

  test("are tried again once the environment of their trial may have gone", async () => {
    await upload("iris/model", FILES);
    const first = await create();
    await importer.pass(first.id, never);
    const { published } = await read(first);
    const packageDigest = published?.packageDigest ?? "";
    const environmentKey = published?.environmentKey ?? "";
    await packages.forgetTrials(new Set([environmentKey]));
    expect(await packages.wasTried(packageDigest, environmentKey)).toBe(true);
    await packages.forgetTrials(new Set());
    expect(await packages.wasTried(packageDigest, environmentKey)).toBe(false);
    expect(runner.started).toHaveLength(1);
    await importer.pass((await create()).id, never);
    expect(runner.started).toHaveLength(2);
  });

  test("left unfinished by a killed process are removed at the next open", async () => {
    await packages.scratch();
    expect(await scratch()).toHaveLength(1);
    await openPackages({ root: join(dir, "packages"), clock: systemClock });
    expect(await scratch()).toEqual([]);
  });
});

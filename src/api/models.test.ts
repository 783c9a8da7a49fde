/** The AI application operations over a real SQLite store. */
import { AVAILABLE_ENGINES } from "../core/engines.ts";
import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ModelId } from "../core/ids.ts";
import { createWorld, uploadPackage } from "../../test/support/api-world.ts";
import type { ApiWorld } from "../../test/support/api-world.ts";

let world: ApiWorld;
beforeEach(async () => {
  world = await createWorld();
  await uploadPackage(world.objects, world.first.project.id);
});
afterEach(() => world.close());

const body = (more: object = {}) => ({
  model_name: "iris",
  model_version: "0.0.1",
  model_type: "Scikit_Learn",
  source_location: "obs://packages/iris/",
  ...more,
});
const create = (more: object = {}) => world.call("POST", `${world.base}/models`, { body: body(more) });

describe("GET /models/templates", () => {
  test("lists the guide's twelve with type, engine and environment, and finds by each of them", async () => {
    const all = await world.call("GET", `${world.base}/models/templates`);
    expect(all.body.count).toBe(12);
    expect(all.body.templates[0]).toEqual({
      template_id: "tensorflow-image-classification",
      template_name: "TensorFlow-based image classification",
      type: "image classification",
      engine: "TensorFlow",
      release: "TensorFlow 1.8",
      environment: "Python 2.7",
      runtime: "python2.7",
      infer_format: "image_processing",
      overridable: false,
      template_inputs: [
        { input_id: "model", description: "folder model with the model's files and customize_service.py" },
      ],
    });
    const ids = async (query: string): Promise<string[]> =>
      (await world.call("GET", `${world.base}/models/templates?${query}`)).body.templates.map(
        ({ template_id: id }: { template_id: string }) => id,
      );
    expect(await ids("engine=MXNet&environment=3.6")).toEqual(["mxnet-py36"]);
    expect(await ids("type=image")).toEqual(["tensorflow-image-classification"]);
    expect(await ids("search=ascend")).toEqual(["arm-ascend"]);
  });
});

describe("POST /models", () => {
  test("writes the version in publishing and answers its id with 200", async () => {
    const made = await create({ description: "", some_new_member: 1 });
    expect(made.status).toBe(200);
    expect(Object.keys(made.body)).toEqual(["model_id"]);
    const shown = await world.call("GET", `${world.base}/models/${made.body.model_id}`);
    expect(shown.body).toMatchObject({ model_status: "publishing", model_size: 0, workspace_id: "0" });
    const events = await world.call("GET", `${world.base}/models/${made.body.model_id}/events`);
    expect(events.body.events).toEqual([
      { event_type: "normal", event_info: "The model starts to import.", occur_time: world.clock.now() },
    ]);
  });

  test("takes a template in place of a source, the folder model itself as its input", async () => {
    const template = {
      template_id: "tensorflow-py36",
      template_inputs: [{ input: "obs://packages/iris/model/", input_id: "model" }],
    };
    const made = await create({ model_type: "Template", source_location: undefined, template });
    expect(made.status).toBe(200);
    const shown = await world.call("GET", `${world.base}/models/${made.body.model_id}`);
    expect(shown.body).toMatchObject({ model_type: "Template", source_location: "obs://packages/iris" });
    // The undefined mode: a batch service could not know how to call it.
    expect(shown.body.install_type).toEqual(["real-time", "edge"]);
    const batch = await create({ model_type: "Template", install_type: ["batch"], template });
    expect(batch.body.problems).toMatchObject([{ path: "install_type" }]);
  });

  test("names everything that is wrong with a template", async () => {
    const template = {
      template_id: "tensorflow-image-classification",
      template_inputs: [
        { input: "obs://packages/iris", input_id: "model" },
        { input: "obs://packages/iris", input_id: "model" },
        { input: "obs://packages/iris", input_id: "graph" },
      ],
      infer_format: "object_detection",
    };
    const answer = await create({ model_type: "Template", template });
    expect(answer.body.error_code).toBe("ModelArts.3039");
    expect(answer.body.problems.map(({ path }: { path: string }) => path)).toEqual([
      "template.template_inputs[1].input_id",
      "template.template_inputs[2].input_id",
      "template.infer_format",
    ]);
    const unknown = await create({
      model_type: "Template",
      template: { ...template, template_id: "tensorflow-py37" },
    });
    expect(unknown.body.error_code).toBe("ModelArts.3024");
    expect(unknown.body.problems[0].fix).toContain("did you mean tensorflow-py");
    const none = await create({ model_type: "Template" });
    expect(none.body.error_msg).toContain("The field [template] is required");
    expect((await create({ template })).body.problems).toMatchObject([{ path: "template" }]);
  });

  test("names the mistakes of a template beside all others", async () => {
    const answer = await create({
      model_name: "a b",
      model_type: "Template",
      install_type: ["batch"],
      template: {
        template_id: "mxnet-py36",
        template_inputs: [{ input: "obs://packages/iris", input_id: "folder" }],
      },
    });
    expect([answer.status, answer.body.error_code]).toEqual([400, "ModelArts.0101"]);
    expect(answer.body.problems.map(({ path }: { path: string }) => path)).toEqual([
      "model_name",
      "template.template_inputs[0].input_id",
      "install_type",
    ]);
    expect(answer.body.problems[1]).toEqual({
      path: "template.template_inputs[0].input_id",
      message:
        'The parameter [template.template_inputs[0].input_id] is "folder", which the template does not have.',
      fix: 'use "model", the folder with the model\'s files.',
    });
  });

  test("shows dynamic loading and the template as they were asked for", async () => {
    const template = {
      template_id: "caffe-cpu-py36",
      template_inputs: [{ input: "obs://packages/iris", input_id: "model" }],
    };
    const made = await create({ model_type: "Template", template, dynamic_loading: "true" });
    const shown = await world.call("GET", `${world.base}/models/${made.body.model_id}`);
    expect(shown.body).toMatchObject({ template, dynamic_loading: true, model_loaded: false });
    const wrong = await create({ dynamic_loading: "yes" });
    expect(wrong.body.problems).toMatchObject([{ path: "dynamic_loading" }]);
  });

  test("takes the newest run of a training job, or the one that is named", async () => {
    const put = (key: string) =>
      world.objects.put(world.first.project.id, { bucket: "packages", key }, Readable.from(["x"]), {
        maxBytes: 9,
      });
    for (const run of ["V001", "V002", "V010"]) await put(`out/${run}/model/config.json`);
    await put("out/V011/log.txt");
    await put("alone/model/config.json");
    const source = async (more: object) => {
      const made = await create({
        model_version: `0.0.${++version}`,
        source_location: "obs://packages/out",
        ...more,
      });
      return made.status === 200
        ? (await world.store.models.byId(made.body.model_id))?.sourceLocation
        : made.body;
    };
    let version = 1;
    expect(await source({})).toBe("obs://packages/out/V010");
    expect(await source({ source_job_version: "V002" })).toBe("obs://packages/out/V002");
    expect(await source({ source_location: "obs://packages/out/V001/model" })).toBe(
      "obs://packages/out/V001",
    );
    // Where the package itself is named, the run says only where it came from.
    expect(await source({ source_location: "obs://packages/alone", source_job_version: "V001" })).toBe(
      "obs://packages/alone",
    );
    expect(await source({ source_job_version: "V011" })).toMatchObject({
      error_code: "ModelArts.3017",
      problems: [{ path: "source_job_version", fix: "use one of V011, V010, V002, V001" }],
    });
  });

  test("refuses the same name and version a second time", async () => {
    await create();
    const again = await create();
    expect(again.status).toBe(409);
    expect(again.body).toMatchObject({
      error_code: "ModelArts.3002",
      error_msg: "Model (iris, 0.0.1) already exists.",
    });
    expect((await create({ model_version: "0.0.2" })).status).toBe(200);
  });

  test("names every problem of a body at once, with what would be right", async () => {
    const answer = await create({
      model_name: "no spaces",
      model_version: "1.0",
      model_type: "Keras",
      source_location: "ftp://x",
      description: "a<b",
      install_type: ["nowhere"],
      dependencies: [{ installer: "pip", packages: [{ package_name: "numpy", package_version: "1.15.0" }] }],
    });
    expect(answer.status).toBe(400);
    expect(answer.body.error_code).toBe("ModelArts.0101");
    expect(answer.body.error_msg).toMatch(/^Invalid argument\. The parameter \[model_name\] does not match /);
    expect(answer.body.error_msg).toContain("The param [model_type] should be one of [TensorFlow, ");
    expect(answer.body.problems.map((p: { path: string }) => p.path)).toEqual([
      "model_name",
      "model_version",
      "model_type",
      "source_location",
      "description",
      "dependencies[0].packages[0]",
      "install_type[0]",
    ]);
    for (const problem of answer.body.problems) expect(problem.fix).not.toBe("");
  });

  test("says which required fields are missing in the documented words", async () => {
    const answer = await world.call("POST", `${world.base}/models`, { body: {} });
    expect(answer.body.error_msg).toBe(
      "Invalid argument. " +
        ["model_name", "model_version", "model_type", "source_location"]
          .map((field) => `The field [${field}] is required and cannot be empty.`)
          .join(" "),
    );
    const empty = await world.call("POST", `${world.base}/models`, { body: "" });
    expect(empty.status).toBe(400);
    expect(empty.body.error_msg).toContain("[request body] is required");
  });

  test("knows the guide's other kinds of models and lists the engines those that are here", async () => {
    const answer = await create({ model_type: "Image" });
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({
      error_code: "ModelArts.3053",
      hint: `Available engines: ${AVAILABLE_ENGINES.join(", ")}.`,
    });
  });

  test("refuses a source that holds no folder named model", async () => {
    for (const location of ["obs://packages/other", "obs://nowhere/iris"]) {
      const answer = await create({ source_location: location });
      expect(answer.status).toBe(400);
      expect(answer.body.error_code).toBe("ModelArts.3017");
    }
  });

  test("takes the forms a location has, and the content types clients send", async () => {
    for (const [n, location] of [
      "s3://packages/iris",
      "https://packages.obs.eu-test-1.example.com/iris/",
    ].entries()) {
      const answer = await world.call("POST", `${world.base}/models`, {
        body: body({ model_version: `1.0.${n}`, source_location: location }),
        headers: {
          "content-type": n === 0 ? "application/json;charset=utf8" : "application/json;charset=UTF-8",
        },
      });
      expect(answer.status).toBe(200);
      const shown = await world.call("GET", `${world.base}/models/${answer.body.model_id}`);
      expect(shown.body.source_location).toBe(location);
      const stored = await world.store.models.byId(answer.body.model_id as ModelId);
      expect(stored?.sourceLocation).toBe("obs://packages/iris");
    }
  });

  test("knows one workspace", async () => {
    expect((await create({ workspace_id: "0" })).status).toBe(200);
    const answer = await create({ model_version: "0.0.2", workspace_id: "team" });
    expect(answer.body).toMatchObject({
      error_code: "ModelArts.0102",
      error_msg: "The workspace does not exist.",
    });
  });

  test("echoes initial_config byte for byte", async () => {
    const initial = '{ "protocol":"http",\n "port" : "8080" }';
    const made = await create({ initial_config: initial });
    const shown = await world.call("GET", `${world.base}/models/${made.body.model_id}`);
    expect(shown.body.config).toBe(initial);
    expect((await create({ model_version: "0.0.2", initial_config: "[1]" })).status).toBe(400);
  });
});

describe("GET /models", () => {
  test("pages by row, counts all matches, and gives an empty array past the end", async () => {
    for (const version of ["0.0.1", "0.0.2", "0.0.10"]) {
      world.clock.advance(1000);
      await create({ model_version: version });
    }
    const page = await world.call(
      "GET",
      `${world.base}/models?offset=1&limit=1&sort_by=model_version&order=asc`,
    );
    expect(page.body).toMatchObject({ total_count: 3, count: 1, models: [{ model_version: "0.0.2" }] });
    const past = await world.call("GET", `${world.base}/models?offset=3`);
    expect(past.body).toEqual({ total_count: 3, count: 0, models: [] });
    const newest = await world.call("GET", `${world.base}/models`);
    expect(newest.body.models[0].model_version).toBe("0.0.10");
  });

  test("filters by name (fuzzy and exact), version, status and type, and ignores what it does not know", async () => {
    await create({ model_name: "iris_a" });
    await create({ model_name: "irisxa" });
    const names = async (query: string): Promise<string[]> =>
      (
        await world.call("GET", `${world.base}/models?${query}&sort_by=create_at&order=asc&unknown=1`)
      ).body.models
        .map((m: { model_name: string }) => m.model_name)
        .toSorted();
    expect(await names("model_name=iris_a")).toEqual(["iris_a", "irisxa"]);
    expect(await names("model_name=iris_a&exact_match=true")).toEqual(["iris_a"]);
    expect(await names("model_name=")).toHaveLength(2);
    expect(await names("model_version=9.9.9")).toEqual([]);
    expect(await names("model_status=publishing")).toHaveLength(2);
    expect(await names("not_model_type=Scikit_Learn")).toEqual([]);
  });

  test("refuses queries that cannot be meant, all at once", async () => {
    const answer = await world.call("GET", `${world.base}/models?offset=-1&limit=0&sort_by=size&order=up`);
    expect(answer.status).toBe(400);
    expect(answer.body.problems.map((p: { path: string }) => p.path).toSorted()).toEqual([
      "limit",
      "offset",
      "order",
      "sort_by",
    ]);
  });
});

describe("DELETE /models/{id}", () => {
  test("refuses inside the answer while a service uses the version", async () => {
    const id = await world.model();
    await world.service("svc", [
      { model_id: id, weight: 100, specification: "modelarts.vm.cpu.2u", instance_count: 1 },
    ]);
    const answer = await world.call("DELETE", `${world.base}/models/${id}`);
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      delete_success_list: [],
      delete_failed_list: [
        {
          model_id: id,
          error_code: "ModelArts.3009",
          error_msg: `Failed to delete model because the model (${id}) has been used to deploy a service.`,
        },
      ],
    });
  });

  test("with cascade deletes the other versions of the name, and nothing else", async () => {
    const one = await world.model("iris", "0.0.1");
    const two = await world.model("iris", "0.0.2");
    const other = await world.model("other", "0.0.1");
    const answer = await world.call("DELETE", `${world.base}/models/${one}?cascade=true`);
    expect(answer.body.delete_success_list.toSorted()).toEqual([one, two].toSorted());
    const left = await world.call("GET", `${world.base}/models`);
    expect(left.body.models.map((m: { model_id: string }) => m.model_id)).toEqual([other]);
  });
});

test("another tenant's version answers exactly as one that never existed", async () => {
  const { token, base } = await world.stranger();
  const mine = await world.model();
  for (const [method, suffix] of [
    ["GET", ""],
    ["DELETE", ""],
    ["GET", "/events"],
  ] as const) {
    const never = randomUUID();
    const headers = { "x-request-id": "0".repeat(32) };
    const foreign = await world.call(method, `${base}/models/${mine}${suffix}`, { token, headers });
    const missing = await world.call(method, `${base}/models/${never}${suffix}`, { token, headers });
    expect(foreign.status).toBe(404);
    expect(foreign.text.replaceAll(mine, "ID")).toBe(missing.text.replaceAll(never, "ID"));
  }
  expect((await world.call("GET", `${base}/models`, { token })).body.models).toEqual([]);
});

test("lists the engines that run here", async () => {
  const answer = await world.call("GET", `${world.base}/models/ai-engine-runtimes`);
  const count = AVAILABLE_ENGINES.length;
  expect(answer.body).toMatchObject({ count, total_count: count });
  expect(answer.body.engine_runtimes.map((r: { ai_engine: string }) => r.ai_engine)).toEqual([
    ...AVAILABLE_ENGINES,
  ]);
  // Consistent with itself, and with the machine of the tests: 3.6 and 3.11 are here, 3.9 could be fetched.
  for (const one of answer.body.engine_runtimes as {
    runtimes: string[];
    runtime_states: { runtime: string }[];
  }[])
    expect(one.runtime_states.map(({ runtime }) => runtime)).toEqual(one.runtimes);
  const sklearn = answer.body.engine_runtimes.find(
    (r: { ai_engine: string }) => r.ai_engine === "Scikit_Learn",
  );
  expect(sklearn.runtime_states).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ runtime: "python2.7", state: "replaced" }),
      expect.objectContaining({ runtime: "python3.6", state: "here", release: "scikit-learn==0.18.1" }),
      expect.objectContaining({ runtime: "python3.9", state: "fetchable" }),
    ]),
  );
});

/** Ways into the platform besides a plain package: training jobs, templates, dynamic loading; and what `apis` promise, held to. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createService,
  deploy,
  echo,
  entry,
  eventsOf,
  importModel,
  predict,
  scripted,
  settled,
  upload,
} from "../support/packages.ts";
import type { Files, ModelView } from "../support/packages.ts";
import { Platform, until } from "../support/platform.ts";

const platform = new Platform();
beforeAll(async () => {
  await platform.start();
});
afterAll(() => platform.stop());

const infos = (events: readonly { event_info: string }[]): string =>
  events.map((event) => event.event_info).join("\n");
/** Runs a command line without quotes in it. */
const modelport = (line: string) => platform.cli(...line.split(" "));
const models = (id: string) => platform.call("GET", `/v1/{project_id}/models/${id}`);
const remove = (service: string) => platform.call("DELETE", `/v1/{project_id}/services/${service}`);
const versionOf = async (model: string, name: string): Promise<unknown> => {
  const service = await deploy(platform, name, [entry(model)]);
  const answer = await predict(platform, service, {});
  await remove(service);
  return (answer.body as { data: { resp_data: [{ version: string }] } }).data.resp_data[0].version;
};

describe("the output of a training job", () => {
  beforeAll(async () => {
    for (const run of ["V001", "V002", "V010"]) await upload(platform, `job/${run}`, echo(run));
    await platform.call(
      "PUT",
      "/v1/{project_id}/buckets/test/objects/job/V011/train.log",
      new TextEncoder().encode("loss 0.1"),
      { "content-type": "application/octet-stream" },
    );
  });

  it("is imported from its newest run that holds a model, and an event says which", async () => {
    const model = await importModel(platform, "newest", "1.0.0", {}, { source_location: "obs://test/job/" });
    expect(model.status, infos(model.events)).toBe("published");
    expect(infos(model.events)).toContain(
      "The newest output of the training job was taken: obs://test/job/V010.",
    );
    expect(await versionOf(model.id, "newest")).toBe("V010");
  });

  it("is imported from the run that is named, by the API and the command line", async () => {
    const named = { source_location: "obs://test/job", source_job_version: "V001" };
    const model = await importModel(platform, "named", "1.0.0", {}, named);
    expect(infos(model.events)).not.toContain("newest");
    expect(await versionOf(model.id, "named")).toBe("V001");
    const done = await modelport("model import obs://test/job --run V002 --name by-cli --json");
    expect(done.code, done.output).toBe(0);
    expect(await versionOf((JSON.parse(done.stdout) as ModelView).model_id, "by-cli")).toBe("V002");
  });

  it("is refused with the runs there are when the one that is named holds no model", async () => {
    const done = await modelport(
      "model import obs://test/job --run V011 --name none --template caffe-cpu-py36",
    );
    expect(done.code).not.toBe(0);
    expect(done.stderr).toContain("use one of V011, V010, V002, V001");
  });
});

describe("dynamic loading", () => {
  it("takes files when a service first starts the version, once and for all", async () => {
    const files = echo("dynamic");
    const model = await importModel(platform, "lazy", "1.0.0", files, { dynamic_loading: true });
    expect(model.status, infos(model.events)).toBe("published");
    expect((await models(model.id)).body).toMatchObject({ dynamic_loading: true, model_loaded: false });
    expect(await versionOf(model.id, "lazy")).toBe("dynamic");
    expect((await models(model.id)).body).toMatchObject({ model_loaded: true });
    for (const name of Object.keys(files))
      await platform.call("DELETE", `/v1/{project_id}/buckets/test/objects/lazy-1.0.0/model/${name}`);
    expect(await versionOf(model.id, "lazy-again")).toBe("dynamic");
  });

  it("fails the service with the reason when the files cannot be taken, and works once they can", async () => {
    const done = await modelport("model import obs://test/job/V001 --name lost --dynamic --json");
    expect(done.code, done.output).toBe(0);
    const model = (JSON.parse(done.stdout) as ModelView).model_id;
    const gone = "/v1/{project_id}/buckets/test/objects/job/V001/model/model.m";
    await platform.call("DELETE", gone);
    const made = await createService(platform, "lost", [entry(model)]);
    const { service_id: service } = made.body as { service_id: string };
    const failed = await settled(platform, service, ["failed", "running"]);
    expect([failed.status, failed.error_msg]).toEqual([
      "failed",
      expect.stringContaining("holds no model file"),
    ]);
    expect(infos(await eventsOf(platform, "models", model))).toContain("Failed to load the model");
    await upload(platform, "job/V001", { "model.m": "back" });
    await platform.call("PUT", `/v1/{project_id}/services/${service}`, { status: "running" });
    expect((await settled(platform, service, ["running"])).status).toBe("running");
    await remove(service);
  });
});

describe("what cannot be imported", () => {
  it("is encrypted: refused at the upload that asks for it, and in a package with what encrypted it", async () => {
    const put = await platform.call(
      "PUT",
      "/v1/{project_id}/buckets/test/objects/x",
      new TextEncoder().encode("x"),
      { "content-type": "application/octet-stream", "x-amz-server-side-encryption": "aws:kms" },
    );
    expect([put.status, (put.body as { error_msg: string }).error_msg]).toEqual([
      400,
      expect.stringContaining("x-amz-server-side-encryption"),
    ]);
    const files = { ...echo("secret"), "model.m": "Salted__12345678" };
    for (const more of [{}, { dynamic_loading: true }]) {
      const name = `secret-${Object.keys(more).length}`;
      const model = await importModel(platform, name, "1.0.0", files, more);
      expect(model.status).toBe("failed");
      expect(infos(model.events)).toContain("model/model.m is encrypted (openssl enc); upload it decrypted");
    }
  });

  it("is compiled for Ascend processors: refused with the reason, the template's package complete otherwise", async () => {
    const input = `${await upload(platform, "ascend", { "model.om": "om", "customize_service.py": "" })}model`;
    const template = {
      template_id: "arm-ascend",
      template_inputs: [{ input, input_id: "model" }],
    };
    const model = await importModel(platform, "ascend", "1.0.0", {}, { model_type: "Template", template });
    expect(model.status).toBe("failed");
    expect(infos(model.events)).toContain(
      "model/model.om is compiled for Ascend processors, which this platform has none of; export the model as *.mindir",
    );
  });
});

describe("templates on the command line", () => {
  it("are listed with type, engine, environment and mode, and found by a part of each", async () => {
    const all = await modelport("model templates");
    expect(all.code, all.output).toBe(0);
    expect(all.stdout.split("\n").filter((line) => line.includes("Python "))).toHaveLength(12);
    for (const word of ["TEMPLATE", "TYPE", "ENGINE", "ENVIRONMENT", "MODE", "predictive_analysis"])
      expect(all.stdout).toContain(word);
    const found = await modelport("model templates --engine mxnet --environment 3.6 --json");
    expect(JSON.parse(found.stdout)).toMatchObject({ count: 1, templates: [{ template_id: "mxnet-py36" }] });
  });
});

describe("apis", () => {
  const SCHEMA = {
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
                  size: { type: "number", minimum: 0, index: 0 },
                  kind: { type: "string", enum: ["a", "b"], index: 1 },
                },
                required: ["size"],
              },
            ],
          },
        },
        required: ["req_data"],
      },
    },
    required: ["data"],
  };
  const ANSWER = {
    type: "object",
    properties: {
      data: {
        type: "object",
        properties: {
          resp_data: { type: "array", items: [{ type: "object", properties: { size: { type: "number" } } }] },
        },
      },
    },
  };
  /** Answers with the rows it got. */
  const described = (request: unknown, answer: unknown): Files => {
    const files = scripted(`
def _preprocess(self, data):
    return json.loads(data)["data"]["req_data"]
def _inference(self, data):
    return data
def _postprocess(self, data):
    return data
`);
    const config = JSON.parse(String(files["config.json"])) as object;
    const api = {
      request: { "Content-type": "application/json", data: request },
      response: { "Content-type": "application/json", data: answer },
    };
    return { ...files, "config.json": JSON.stringify({ ...config, apis: [api] }) };
  };
  const rows = (...req_data: unknown[]) => ({ data: { req_data } });
  const problemsOf = ({ body }: { body: unknown }): unknown =>
    (body as { problems: { path: string }[] }).problems.map(({ path }) => path);
  let model = "";
  beforeAll(async () => {
    const made = await importModel(platform, "described", "1.0.0", described(SCHEMA, ANSWER));
    expect(made.status, infos(made.events)).toBe("published");
    model = made.id;
  });
  const serve = (name: string, envs: Record<string, string>): Promise<string> =>
    deploy(platform, name, [entry(model, { envs })]);

  it("change nothing for a service that does not ask", async () => {
    const service = await serve("unchecked", {});
    const answer = await predict(platform, service, rows({ size: "many" }, 7));
    expect([answer.status, answer.body]).toEqual([200, { data: { resp_data: [{ size: "many" }, 7] } }]);
    await remove(service);
  });

  it("are what requests are held to before user code sees them, with every violation at once", async () => {
    const service = await serve("requests", { MODELPORT_VALIDATE_REQUESTS: "on" });
    const good = await predict(platform, service, rows({ size: 1, kind: "a" }));
    expect([good.status, good.body]).toEqual([200, { data: { resp_data: [{ size: 1, kind: "a" }] } }]);
    const bad = await predict(platform, service, rows({ size: -1 }, { kind: "c" }, 7));
    expect([bad.status, problemsOf(bad)]).toEqual([
      400,
      ["data.req_data[0].size", "data.req_data[1].size", "data.req_data[1].kind", "data.req_data[2]"],
    ]);
    expect(bad.body).toMatchObject({
      erno: "PY.0101",
      error_info: "data.req_data[0].size is -1; it must be >= 0 (and 3 more).",
    });
    const broken = await platform.call(
      "POST",
      `/v1/infers/${service}`,
      new TextEncoder().encode('{"data":'),
      {
        "content-type": "application/json",
      },
    );
    expect([broken.status, problemsOf(broken)]).toEqual([400, ["line 1, column 9"]]);
    await remove(service);
  });

  it("are what answers are held to: refused with every violation, or only said in the log", async () => {
    const refusing = await serve("answers-on", { MODELPORT_VALIDATE_ANSWERS: "on" });
    const refused = await predict(platform, refusing, rows({ size: "x" }, { size: 1 }, { size: null }));
    expect([refused.status, problemsOf(refused)]).toEqual([
      500,
      ["data.resp_data[0].size", "data.resp_data[2].size"],
    ]);
    expect((await predict(platform, refusing, rows({ size: 1 }))).status).toBe(200);
    await remove(refusing);
    const logging = await serve("answers-log", { MODELPORT_VALIDATE_ANSWERS: "log" });
    expect((await predict(platform, logging, rows({ size: "x" }))).status).toBe(200);
    await until("the log to say so", async () => {
      const { stdout } = await modelport("service logs answers-log");
      return stdout.includes('data.resp_data[0].size is "x"; give number') ? true : null;
    });
    await remove(logging);
  });

  it("that are no schemas are a warning at the import, and refused by their place to whoever asks for the check", async () => {
    const made = await importModel(platform, "wrong", "1.0.0", described({ type: "objekt" }, ANSWER));
    const said = 'apis[0].request.data.type is "objekt"; use one of "array"';
    expect(infos(made.events)).toContain(said);
    const envs = { MODELPORT_VALIDATE_REQUESTS: "on" };
    const refused = await createService(platform, "wrong", [entry(made.id, { envs })]);
    expect([refused.status, problemsOf(refused)]).toEqual([
      400,
      ["config[0].envs.MODELPORT_VALIDATE_REQUESTS"],
    ]);
    expect(JSON.stringify(refused.body)).toContain(JSON.stringify(said).slice(1, -1));
  });

  it("that are not there are named to whoever asks for the check, both sides at once", async () => {
    const made = await importModel(platform, "bare", "1.0.0", echo("bare"));
    const envs = { MODELPORT_VALIDATE_REQUESTS: "on", MODELPORT_VALIDATE_ANSWERS: "log" };
    const answer = await createService(platform, "bare", [entry(made.id, { envs })]);
    expect([answer.status, problemsOf(answer)]).toEqual([
      400,
      ["config[0].envs.MODELPORT_VALIDATE_REQUESTS", "config[0].envs.MODELPORT_VALIDATE_ANSWERS"],
    ]);
  });
});

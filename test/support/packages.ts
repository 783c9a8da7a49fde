/** Model packages for tests: uploads, imports and deploys them through the public API, as any client would. */
import { readFileSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { REPO, until } from "./platform.ts";
import type { Answer, Platform } from "./platform.ts";

export type Files = Readonly<Record<string, string | Uint8Array>>;

const read = (dir: string): Files =>
  Object.fromEntries(
    readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => {
        const path = join(entry.parentPath, entry.name);
        return [relative(dir, path), new Uint8Array(readFileSync(path))];
      }),
  );

/** The real example: a scikit-learn classifier. */
export const iris = (): Files => read(join(REPO, "examples/iris/model"));

/** A package without a real model whose service class has the given body; quick to load. */
export const scripted = (body: string, more: Files = {}): Files => ({
  "config.json": JSON.stringify({
    model_algorithm: "predict_analysis",
    model_type: "Scikit_Learn",
    runtime: "python3.11",
    apis: [
      {
        url: "/",
        method: "post",
        request: { "Content-type": "application/json" },
        response: { "Content-type": "application/json" },
      },
    ],
  }),
  "model.m": "no model: the service class below does not load it\n",
  "customize_service.py": `import json, os, sys, time
from model_service.python_model_service import XgSklServingBaseService

class Service(XgSklServingBaseService):
${body
  .trim()
  .split("\n")
  .map((line) => `    ${line}`)
  .join("\n")}
`,
  ...more,
});

/** Answers with the package's version and whatever was sent. */
export const echo = (version: string): Files =>
  scripted(`
def _preprocess(self, data):
    return json.loads(data)
def _inference(self, data):
    if os.environ.get("BREAK") == "predict":
        raise ValueError("asked to break")
    time.sleep(float(data.get("sleep", 0)))
    return [{"version": "${version}", "got": data}]
def _postprocess(self, data):
    return data
def __init__(self, model_path):
    mode = os.environ.get("BREAK", "")
    if mode == "raise":
        raise RuntimeError("the label file is missing")
    if mode == "exit":
        os._exit(7)
    if mode == "hang":
        time.sleep(600)
    XgSklServingBaseService.__init__(self, model_path)
`);

export const upload = async (platform: Platform, folder: string, files: Files): Promise<string> => {
  await platform.call("PUT", "/v1/{project_id}/buckets/test");
  for (const [name, content] of Object.entries(files)) {
    const path = `/v1/{project_id}/buckets/test/objects/${folder}/model/${name}`;
    const answer = await platform.call(
      "PUT",
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
      {
        "content-type": "application/octet-stream",
      },
    );
    if (answer.status >= 300)
      throw new Error(`upload ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  }
  return `obs://test/${folder}/`;
};

export interface ModelView {
  readonly model_id: string;
  readonly model_status: string;
}

/** Creates the version and waits until it is published or failed. */
export const importModel = async (
  platform: Platform,
  name: string,
  version: string,
  files: Files,
  more: Record<string, unknown> = {},
  timeoutMs = 240_000,
): Promise<{ id: string; status: string; events: readonly { event_type: string; event_info: string }[] }> => {
  const source_location = await upload(platform, `${name}-${version}`, files);
  const created = await platform.call("POST", "/v1/{project_id}/models", {
    model_name: name,
    model_version: version,
    model_type: "Scikit_Learn",
    ...("template" in more ? {} : { source_location }),
    ...more,
  });
  if (created.status !== 200)
    throw new Error(`create model: ${created.status} ${JSON.stringify(created.body)}`);
  const id = (created.body as ModelView).model_id;
  const status = await until(
    `model ${name} ${version} to be published or failed`,
    async () => {
      const { body } = await platform.call("GET", `/v1/{project_id}/models/${id}`);
      const now = (body as ModelView).model_status;
      return now === "publishing" ? null : now;
    },
    timeoutMs,
  );
  return { id, status, events: await eventsOf(platform, "models", id) };
};

export const eventsOf = async (
  platform: Platform,
  kind: "models" | "services",
  id: string,
): Promise<readonly { event_type: string; event_info: string }[]> => {
  const { body } = await platform.call("GET", `/v1/{project_id}/${kind}/${id}/events?order=asc&limit=500`);
  return (body as { events: { event_type: string; event_info: string }[] }).events;
};

export interface ConfigEntry {
  readonly model_id: string;
  readonly weight?: number;
  readonly instance_count?: number;
  readonly envs?: Record<string, string>;
  readonly [more: string]: unknown;
}

export const entry = (model_id: string, more: Partial<ConfigEntry> = {}): ConfigEntry => ({
  model_id,
  weight: 100,
  specification: "modelarts.vm.cpu.2u",
  instance_count: 1,
  ...more,
});

export const createService = (
  platform: Platform,
  name: string,
  config: readonly ConfigEntry[],
): Promise<Answer> =>
  platform.call("POST", "/v1/{project_id}/services", { service_name: name, infer_type: "real-time", config });

export interface ServiceView {
  readonly service_id: string;
  readonly status: string;
  readonly error_msg?: string;
  readonly access_address?: string;
  readonly config: readonly { model_version: string; status: string; instance_count: number }[];
}

export const service = async (platform: Platform, id: string): Promise<ServiceView> =>
  (await platform.call("GET", `/v1/{project_id}/services/${id}`)).body as ServiceView;

/** Waits until the service's status is one of `wanted`; fails early on `failed` unless that is wanted. */
export const settled = (
  platform: Platform,
  id: string,
  wanted: readonly string[],
  timeoutMs = 90_000,
): Promise<ServiceView> =>
  until(
    `service ${id} to be ${wanted.join(" or ")}`,
    async () => {
      const now = await service(platform, id);
      return wanted.includes(now.status) ? now : null;
    },
    timeoutMs,
  );

/** Creates a service and waits until it runs. */
export const deploy = async (
  platform: Platform,
  name: string,
  config: readonly ConfigEntry[],
): Promise<string> => {
  const created = await createService(platform, name, config);
  if (created.status !== 200) throw new Error(`deploy: ${created.status} ${JSON.stringify(created.body)}`);
  const id = (created.body as ServiceView).service_id;
  const now = await settled(platform, id, ["running", "failed"]);
  if (now.status !== "running") throw new Error(`deploy ended as ${now.status}: ${now.error_msg}`);
  return id;
};

export const predict = (platform: Platform, id: string, body: unknown): Promise<Answer> =>
  platform.call("POST", `/v1/infers/${id}`, body);

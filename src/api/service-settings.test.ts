/** What the variables of a service say to the platform itself, checked before it is deployed. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { createWorld } from "../../test/support/api-world.ts";
import type { ApiWorld } from "../../test/support/api-world.ts";

let world: ApiWorld;
let modelId: string;
beforeEach(async () => {
  world = await createWorld();
  modelId = await world.model();
});
afterEach(() => world.close());

const deploy = (more: object) =>
  world.call("POST", `${world.base}/services`, {
    body: {
      service_name: "svc",
      infer_type: "real-time",
      config: [
        { model_id: modelId, weight: 100, specification: "modelarts.vm.cpu.2u", instance_count: 1, ...more },
      ],
    },
  });
const paths = (answer: { body: { problems: { path: string }[] } }): string[] =>
  answer.body.problems.map((p) => p.path);

test("names all that is wrong with variables and sizes of an entry, each with what would be right", async () => {
  const envs = { MODELPORT_BATCHING: "yes", MODELPORT_VALIDATE_ANSWERS: "maybe" };
  const answer = await deploy({ specification: "custom", envs });
  expect([answer.status, ...paths(answer)]).toEqual([
    400,
    "config[0].custom_spec.cpu",
    "config[0].custom_spec.memory",
    "config[0].envs.MODELPORT_BATCHING",
    "config[0].envs.MODELPORT_VALIDATE_ANSWERS",
  ]);
  expect(answer.body.problems.at(-1).fix).toBe("use one of off, log, on");
});

test("refuses checks by a schema of the version that is none, and deploys it without them", async () => {
  const id = await world.model("rows", "0.0.1", [
    { url: "/", request: { data: { type: "object", properties: { age: { type: "int" } } } } },
  ]);
  const withEnvs = (envs: Record<string, string>) => deploy({ model_id: id, envs });
  const refused = await withEnvs({ MODELPORT_VALIDATE_REQUESTS: "on" });
  expect([refused.status, ...paths(refused)]).toEqual([400, "config[0].envs.MODELPORT_VALIDATE_REQUESTS"]);
  expect(refused.body.problems[0].message).toContain(
    'apis[0].request.data.properties.age.type is "int"; use one of "array", "boolean", "integer"',
  );
  expect((await withEnvs({})).status).toBe(200);
});

/** The service operations over a real SQLite store; the reconciler's part is played by `settle`. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { instant } from "../core/ids.ts";
import type { ModelId, ServiceId } from "../core/ids.ts";
import { createWorld, PUBLISHED } from "../../test/support/api-world.ts";
import type { ApiWorld } from "../../test/support/api-world.ts";

let world: ApiWorld;
let modelId: string;
beforeEach(async () => {
  world = await createWorld();
  modelId = await world.model();
});
afterEach(() => world.close());

const entry = (more: object = {}) => ({
  model_id: modelId,
  weight: "100",
  specification: "modelarts.vm.cpu.2u",
  instance_count: 1,
  ...more,
});
const deploy = (more: object = {}) =>
  world.call("POST", `${world.base}/services`, {
    body: { service_name: "svc", infer_type: "real-time", config: [entry()], ...more },
  });
const url = (id: string): string => `${world.base}/services/${id}`;
const show = async (id: string) => (await world.call("GET", url(id))).body;
const put = (id: string, body: object) => world.call("PUT", url(id), { body });
const paths = (answer: { body: { problems: { path: string }[] } }): string[] =>
  answer.body.problems.map((p) => p.path);

describe("POST /services", () => {
  test("writes the service in deploying and answers its id with 200", async () => {
    const made = await deploy({ description: "d", envs: 1 });
    expect(made.status).toBe(200);
    expect(made.body.service_id).toMatch(/^[0-9a-f-]{36}$/);
    expect(made.body.resource_ids[0]).toMatch(/^INF-[0-9a-f]{16}@\d+$/);
    expect(await show(made.body.service_id)).toEqual({
      service_id: made.body.service_id,
      service_name: "svc",
      description: "d",
      infer_type: "real-time",
      status: "deploying",
      progress: 0,
      tenant: world.first.domain.id,
      project: world.first.project.id,
      owner: world.first.user.id,
      workspace_id: "0",
      publish_at: world.clock.now(),
      transition_at: world.clock.now(),
      operation_time: world.clock.now(),
      update_time: world.clock.now(),
      invocation_times: 0,
      failed_times: 0,
      is_shared: false,
      is_free: false,
      shared_count: 0,
      is_opened_sample_collection: "false",
      additional_properties: {},
      config: [
        {
          model_id: modelId,
          model_name: "iris",
          model_version: "0.0.1",
          status: "notReady",
          specification: "modelarts.vm.cpu.2u",
          custom_spec: {},
          weight: 100,
          instance_count: 1,
          envs: {},
          additional_properties: {},
          scaling: false,
          support_debug: false,
        },
      ],
    });
    const { body } = await world.call("GET", `${url(made.body.service_id)}/events`);
    expect(body.events.map((e: { event_info: string }) => e.event_info)).toEqual([
      "The service starts to be deployed.",
    ]);
  });

  test("names every problem at once, weights included", async () => {
    const answer = await deploy({
      service_name: "",
      config: [
        entry({ weight: 60, instance_count: 0, envs: { "1x": "a" }, deploy_timeout_in_seconds: 2 }),
        entry({ weight: 60, additional_properties: { max_surge: 0, termination_grace_period_seconds: 5 } }),
      ],
      schedule: [{ type: "start", time_unit: "WEEKS", duration: 0 }],
    });
    expect(answer.status).toBe(400);
    expect(paths(answer)).toEqual([
      "service_name",
      "config[0].instance_count",
      "config[0].envs.1x",
      "config[0].deploy_timeout_in_seconds",
      "config[1].additional_properties.max_surge",
      "config[1].additional_properties.termination_grace_period_seconds",
      "config",
      "schedule[0].type",
      "schedule[0].time_unit",
      "schedule[0].duration",
    ]);
  });

  test("checks what needs other rows all at once too", async () => {
    const missing = randomUUID();
    const answer = await deploy({
      config: [
        entry({ weight: 50, specification: "modelarts.vm.gpu.p4" }),
        entry({ weight: 25 }),
        entry({ weight: 25, model_id: missing, specification: "custom", custom_spec: { cpu: 1 } }),
      ],
    });
    expect(answer.status).toBe(400);
    expect(paths(answer)).toEqual([
      "config[0].specification",
      "config[1].model_id",
      "config[2].custom_spec.memory",
      "config[2].model_id",
    ]);
    expect(answer.body.hint).toBe(
      "Available: modelarts.vm.cpu.free, modelarts.vm.cpu.2u, modelarts.vm.cpu.4u, modelarts.vm.cpu.8u, custom.",
    );
  });

  test.each([
    ["a missing model", async () => entry({ model_id: randomUUID() }), 404, "ModelArts.3507"],
    [
      "one that is still being published",
      async () => {
        const made = await world.call("POST", `${world.base}/models`, {
          body: {
            model_name: "young",
            model_version: "0.0.1",
            model_type: "XGBoost",
            source_location: "obs://packages/iris",
          },
        });
        return entry({ model_id: made.body.model_id });
      },
      400,
      "ModelArts.3515",
    ],
    [
      "one that is for batches only",
      async () => {
        const made = await world.call("POST", `${world.base}/models`, {
          body: {
            model_name: "batchy",
            model_version: "0.0.1",
            model_type: "XGBoost",
            source_location: "obs://packages/iris",
            install_type: ["batch"],
          },
        });
        await world.store.models.finish(made.body.model_id, { published: PUBLISHED }, []);
        return entry({ model_id: made.body.model_id });
      },
      400,
      "ModelArts.3589",
    ],
    [
      "one whose import failed",
      async () => {
        const made = await world.call("POST", `${world.base}/models`, {
          body: {
            model_name: "broken",
            model_version: "0.0.1",
            model_type: "XGBoost",
            source_location: "obs://packages/iris",
          },
        });
        await world.store.models.finish(made.body.model_id, { failure: "x" }, []);
        return entry({ model_id: made.body.model_id });
      },
      400,
      "ModelArts.3515",
    ],
    ["a dedicated pool", async () => entry({ cluster_id: "c" }), 400, "ModelArts.3547"],
  ])("refuses %s", async (_what, make, status, code) => {
    const answer = await deploy({ config: [await make()] });
    expect(answer.status).toBe(status);
    expect(answer.body.error_code).toBe(code);
  });

  test("refuses a name that is taken, and the types that are not here", async () => {
    await deploy();
    const taken = await deploy();
    expect(taken.status).toBe(409);
    expect(taken.body).toMatchObject({
      error_code: "ModelArts.3503",
      error_msg: "Service svc already exists.",
    });
    for (const type of ["batch", "edge"]) {
      const answer = await world.call("POST", `${world.base}/services`, { body: { infer_type: type } });
      expect(answer.body).toMatchObject({ error_code: "ModelArts.3518" });
    }
    expect((await deploy({ infer_type: "async" })).body.error_code).toBe("ModelArts.0101");
  });

  test("allows twenty services in a project", async () => {
    for (let n = 0; n < 20; n++) expect((await deploy({ service_name: `svc-${n}` })).status).toBe(200);
    const answer = await deploy({ service_name: "one-more" });
    expect(answer.status).toBe(400);
    expect(answer.body.error_code).toBe("ModelArts.3520");
  });

  test("keeps the whole configuration, with max_invalid as the console's word for max_unavailable", async () => {
    const made = await deploy({
      config: [
        entry({
          specification: "custom",
          custom_spec: { cpu: 0.255, memory: 512 },
          instance_count: "3",
          envs: { KEY: "value" },
          deploy_timeout_in_seconds: 10,
          additional_properties: { max_invalid: 2, termination_grace_period_seconds: 60 },
        }),
      ],
      schedule: [{ type: "stop", time_unit: "MINUTES", duration: 10 }],
      additional_properties: { smn_notification: { events: [1] } },
    });
    expect(await show(made.body.service_id)).toMatchObject({
      due_time: world.clock.now() + 600_000,
      schedule: [{ type: "stop", time_unit: "MINUTES", duration: 10 }],
      additional_properties: { smn_notification: { events: [1] } },
      config: [
        {
          custom_spec: { cpu: 0.26, memory: 512 },
          instance_count: 3,
          envs: { KEY: "value" },
          deploy_timeout_in_seconds: 10,
          additional_properties: { max_unavailable: 2, termination_grace_period_seconds: 60 },
        },
      ],
    });
  });
});

describe("a deployed service", () => {
  test("has a callable access_address from its first success until it is stopped", async () => {
    const id = (await deploy()).body.service_id;
    expect((await show(id)).access_address).toBeUndefined();
    await world.settle(id, "running");
    expect(await show(id)).toMatchObject({
      status: "running",
      access_address: `http://modelport.test:8080/v1/infers/${id}`,
      config: [{ status: "running" }],
    });
    expect((await show(id)).progress).toBeUndefined();
    await put(id, { config: [entry()] });
    expect((await show(id)).access_address).toBeDefined();
    await put(id, { status: "stopped" });
    expect((await show(id)).access_address).toBeUndefined();
  });

  test("is updated by PUT, with update_time as the key of its history", async () => {
    const id = (await deploy()).body.service_id;
    await world.settle(id, "running");
    const secondModel = await world.model("iris", "0.0.2");
    world.clock.advance(1000);
    const answer = await put(id, {
      config: [entry({ weight: 90 }), entry({ model_id: secondModel, weight: 10 })],
    });
    expect(answer.status).toBe(200);
    expect(answer.body.update_time).toBe(world.clock.now());
    expect(answer.body.resource_ids).toHaveLength(2);
    const logs = await world.call("GET", `${url(id)}/logs?update_time=${answer.body.update_time}`);
    expect(logs.body).toMatchObject({
      service_id: id,
      service_name: "svc",
      logs: [
        { result: "RUNNING", update_time: answer.body.update_time, extend_config: [], result_detail: [] },
      ],
    });
    expect(
      (await world.call("GET", `${url(id)}/logs`)).body.logs.map((l: { result: string }) => l.result),
    ).toEqual(["RUNNING", "SUCCESS"]);
  });

  test("keeps what a PUT leaves out, and {} changes nothing", async () => {
    const id = (await deploy({ description: "before" })).body.service_id;
    const before = await world.store.services.byId(id);
    expect((await put(id, {})).body).toEqual({});
    expect(await world.store.services.byId(id)).toEqual(before);
    expect((await put(id, { description: "after" })).body).toEqual({});
    expect(await show(id)).toMatchObject({ description: "after", status: "deploying" });
  });

  test("refuses configuration while deploying, but stops and deletes", async () => {
    const id = (await deploy()).body.service_id;
    const refused = await put(id, { config: [entry()] });
    expect(refused.status).toBe(400);
    expect(refused.body).toMatchObject({
      error_code: "ModelArts.3519",
      error_msg: "Service in state deploying cannot be updated.",
    });
    expect((await put(id, { status: "running" })).body.error_code).toBe("ModelArts.3519");
    expect((await put(id, { status: "stopped" })).body).toEqual({});
    expect((await show(id)).status).toBe("stopping");
    expect((await world.call("DELETE", url(id))).status).toBe(200);
  });

  test("takes the documented sample: status wins over config", async () => {
    const id = (await deploy()).body.service_id;
    await world.settle(id, "stopped");
    const answer = await put(id, {
      description: "",
      status: "running",
      config: [entry({ model_id: randomUUID() })],
    });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({});
    expect((await show(id)).config[0].model_id).toBe(modelId);
  });

  test("is patched below /config/, checked like a PUT", async () => {
    const id = (await deploy({ config: [entry({ envs: { A: "1" } })] })).body.service_id;
    await world.settle(id, "running");
    const patch = (body: object) => world.call("PATCH", url(id), { body });
    const answer = await patch([
      { op: "replace", path: "/config/0/instance_count", value: 2 },
      { op: "replace", path: "/config/0/envs", value: { B: "2" } },
      { op: "replace", path: "/config/0/deploy_timeout_in_seconds", value: 30 },
    ]);
    expect(answer.status).toBe(200);
    expect((await show(id)).config).toMatchObject([
      { instance_count: 2, envs: { B: "2" }, deploy_timeout_in_seconds: 30 },
    ]);
    await world.settle(id, "running");
    for (const [body, path] of [
      [[{ op: "add", path: "/config/0/envs", value: {} }], "[0].op"],
      [[{ op: "replace", path: "/description", value: "x" }], "[0].path"],
      [[{ op: "replace", path: "/config/7/envs", value: {} }], "[0].path"],
      [[{ op: "replace", path: "/config/0/instance_count", value: -1 }], "config[0].instance_count"],
      [[{ op: "replace", path: "/config/0/weight", value: 99 }], "config"],
    ] as const) {
      const refused = await patch(body);
      expect(refused.status).toBe(400);
      expect(paths(refused)).toEqual([path]);
    }
    const gone = await patch([{ op: "replace", path: "/config/0/model_id", value: randomUUID() }]);
    expect(gone.body.error_code).toBe("ModelArts.3507");
  });

  test("is scaled by its property", async () => {
    const id = (await deploy()).body.service_id;
    await world.settle(id, "running");
    const scale = (configs: object[]) =>
      world.call("PUT", `${url(id)}/property`, { body: { changed_property: "instance_count", configs } });
    expect((await scale([{ model_id: modelId, changed_value: "3" }])).body.update_time).toBeTypeOf("number");
    expect((await show(id)).config[0].instance_count).toBe(3);
    expect((await scale([{ model_id: modelId, changed_value: 4 }])).body.error_code).toBe("ModelArts.3519");
    await world.settle(id, "running");
    expect((await scale([{ model_id: randomUUID(), changed_value: 4 }])).body.error_code).toBe(
      "ModelArts.3529",
    );
  });

  test("shows why it failed", async () => {
    const id = (await deploy()).body.service_id as ServiceId;
    await world.store.services.settle(id, 1, world.clock.now(), {
      status: "failed",
      errorMessage: "ModuleNotFoundError: No module named 'x'",
      revisionResult: { number: 1, result: "FAIL", reason: "ModuleNotFoundError" },
      events: [],
    });
    expect(await show(id)).toMatchObject({
      status: "failed",
      error_msg: "ModuleNotFoundError: No module named 'x'",
    });
    const logs = await world.call("GET", `${url(id)}/logs`);
    expect(logs.body.logs).toMatchObject([{ result: "FAIL", reason: "ModuleNotFoundError" }]);
  });

  test("reports its ready instances in the monitoring snapshot", async () => {
    const id = (await deploy({ config: [entry({ instance_count: 2 })] })).body.service_id as ServiceId;
    const revision = await world.store.services.revision(id, 1);
    await world.store.routes.put({
      id,
      projectId: world.first.project.id,
      name: "svc",
      state: "serving",
      groups: [
        {
          id: revision?.entries[0]?.groupId ?? "",
          modelId,
          modelName: "iris",
          modelVersion: "0.0.1",
          weight: 100,
          concurrency: 1,
          queueMax: 1,
          instances: [{ id: "i-1", url: "http://127.0.0.1:1" }],
        },
      ],
    });
    await world.store.services.addUsage([{ id, invocations: 5, failures: 2 }], "g", 1);
    expect((await world.call("GET", `${url(id)}/monitor`)).body).toMatchObject({
      service_instance_count: 2,
      service_running_instance_count: 1,
      monitors: [
        { invocation_times: 5, failed_times: 2, model_running_instance_count: 1, cpu_core_total: 4 },
      ],
    });
    expect(await show(id)).toMatchObject({ invocation_times: 5, failed_times: 2 });
  });
});

describe("lists", () => {
  test("filter, sort and page by row", async () => {
    for (const name of ["b", "a", "c"]) {
      world.clock.advance(10);
      await deploy({ service_name: name });
    }
    const names = async (query: string): Promise<string[]> =>
      (await world.call("GET", `${world.base}/services?${query}`)).body.services.map(
        (s: { service_name: string }) => s.service_name,
      );
    expect(await names("")).toEqual(["c", "a", "b"]);
    expect(await names("sort_by=service_name&order=asc")).toEqual(["a", "b", "c"]);
    expect(await names("sort_by=service_name&order=asc&offset=1&limit=1")).toEqual(["b"]);
    expect(await names("offset=9")).toEqual([]);
    expect(await names("service_name=a")).toEqual(["a"]);
    expect(await names("status=running")).toEqual([]);
    expect(await names(`model_id=${modelId}`)).toHaveLength(3);
    expect(await names("infer_type=batch&env=x")).toEqual([]);
  });

  test("have exactly one array on top", async () => {
    for (const path of [
      "services",
      "models",
      "services/specifications",
      "clusters",
      "models/ai-engine-runtimes",
    ]) {
      const { body } = await world.call("GET", `${world.base}/${path}`);
      expect(Object.values(body).filter(Array.isArray)).toHaveLength(1);
    }
  });

  test("offer the specifications that can be deployed", async () => {
    const { body } = await world.call(
      "GET",
      `${world.base}/services/specifications?infer_type=real-time&limit=1&offset=1`,
    );
    expect(body).toMatchObject({
      total_count: 4,
      count: 1,
      specifications: [{ specification: "modelarts.vm.cpu.2u", memory_info: { unit: "GB", memory: 8 } }],
    });
  });
});

describe("DELETE /services", () => {
  test("deletes several at once, or none when one is unknown", async () => {
    const one = (await deploy({ service_name: "one" })).body.service_id;
    const two = (await deploy({ service_name: "two" })).body.service_id;
    const refused = await world.call("DELETE", url(`${one},${randomUUID()}`));
    expect(refused.status).toBe(404);
    expect((await show(one)).status).toBe("deploying");
    const answer = await world.call("DELETE", url(`${one},${two}`));
    expect(answer).toMatchObject({ status: 200, body: {} });
    expect((await show(two)).status).toBe("deleting");
    expect((await world.call("DELETE", url(two))).status).toBe(200);
    expect((await put(two, { description: "x" })).body.error_code).toBe("ModelArts.3519");
    await world.store.services.purge(two);
    const gone = await world.call("GET", url(two));
    expect(gone.status).toBe(404);
    expect(gone.body).toMatchObject({
      error_code: "ModelArts.3502",
      error_msg: `Service ${two} does not exist.`,
    });
  });
});

test("two updates at once are decided one after the other: one wins, one is refused", async () => {
  const id = (await deploy()).body.service_id;
  await world.settle(id, "running");
  const answers = await Promise.all([
    put(id, { config: [entry({ instance_count: 2 })] }),
    put(id, { config: [entry({ instance_count: 3 })] }),
  ]);
  expect(answers.map((a) => a.status).toSorted((a, b) => a - b)).toEqual([200, 400]);
  expect((await world.call("GET", `${url(id)}/logs`)).body.logs).toHaveLength(2);
});

test("another tenant's service answers exactly as one that never existed", async () => {
  const { token, base } = await world.stranger();
  const mine = (await deploy()).body.service_id;
  const never = randomUUID();
  const body = { config: [entry()] };
  for (const [method, suffix, sent] of [
    ["GET", "", undefined],
    ["DELETE", "", undefined],
    ["PUT", "", { status: "stopped" }],
    ["PUT", "", body],
    ["PATCH", "", [{ op: "replace", path: "/config/0/weight", value: 1 }]],
    [
      "PUT",
      "/property",
      { changed_property: "instance_count", configs: [{ model_id: modelId, changed_value: 1 }] },
    ],
    ["GET", "/events", undefined],
    ["GET", "/logs", undefined],
    ["GET", "/monitor", undefined],
    ["GET", "/instance-logs", undefined],
  ] as const) {
    const options = { token, body: sent, headers: { "x-request-id": "0".repeat(32) } };
    const foreign = await world.call(method, `${base}/services/${mine}${suffix}`, options);
    const missing = await world.call(method, `${base}/services/${never}${suffix}`, options);
    expect(foreign.status).toBe(404);
    expect(foreign.text.replaceAll(mine, "ID")).toBe(missing.text.replaceAll(never, "ID"));
  }
  const theirs = await world.call("POST", `${base}/services`, {
    token,
    body: { service_name: "svc", infer_type: "real-time", config: [entry()] },
  });
  expect(theirs.body.error_code).toBe("ModelArts.3507");
  expect((await show(mine)).status).toBe("deploying");
});

test("events are filtered by type, text and time, newest first", async () => {
  const id = (await deploy()).body.service_id as ServiceId;
  await world.store.services.note(id, [
    { type: "abnormal", info: "Something 100% broke", occurredAt: instant(world.clock.now() + 1) },
    { type: "warning", info: "careful", occurredAt: instant(world.clock.now() + 2) },
  ]);
  const infos = async (query: string): Promise<string[]> =>
    (await world.call("GET", `${url(id)}/events?${query}`)).body.events.map(
      (e: { event_info: string }) => e.event_info,
    );
  expect(await infos("")).toEqual(["careful", "Something 100% broke", "The service starts to be deployed."]);
  expect(await infos("event_type=abnormal&event_info=BROKE")).toEqual(["Something 100% broke"]);
  expect(await infos(`start_time=${world.clock.now() + 2}&order=asc`)).toEqual(["careful"]);
  expect((await world.call("GET", `${url(id)}/events?event_info=a(b`)).status).toBe(400);
});

test("what instances print streams as text, and reading ends when the platform closes", async () => {
  const closed: string[] = [];
  const following = await createWorld({
    instanceLogs: {
      read: async function* (groups, { tail, follow, signal }) {
        yield { instance: `${groups[0]}-1`, text: `tail ${tail}` };
        if (!follow) return;
        await new Promise<void>((resolve) =>
          signal.addEventListener("abort", () => resolve(), { once: true }),
        );
        closed.push("followed log");
      },
    },
  });
  try {
    const model = await following.model();
    const id = await following.service("svc", [{ ...entry(), model_id: model }]);
    const path = `${following.base}/services/${id}/instance-logs`;
    const answer = await following.call("GET", `${path}?tail=5`);
    expect(answer.headers["content-type"]).toBe("text/plain; charset=utf-8");
    expect(answer.text).toBe(`${id.replaceAll("-", "").slice(0, 12)}-r1-0-1 tail 5\n`);
    expect((await following.call("GET", `${path}?tail=all`)).status).toBe(400);

    const address = await following.api.listen({ host: "127.0.0.1", port: 0 });
    const open = await fetch(`${address}${path}?follow=true`, {
      headers: { "x-auth-token": following.token },
    });
    const reader = open.body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toContain("tail 100");
    const end = reader?.read().catch(() => undefined);
    await following.api.close();
    await end;
    expect(closed).toEqual(["followed log"]);
  } finally {
    await following.close();
  }
});

test("a version deleted while it is being deployed is refused, not half deployed", async () => {
  await world.store.models.delete(world.first.project.id, modelId as ModelId);
  expect((await deploy()).body.error_code).toBe("ModelArts.3507");
});

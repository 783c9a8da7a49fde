/** The main flow, on a real platform: a package becomes an answered prediction, is updated, rolled back, removed. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Platform, until } from "../support/platform.ts";
import {
  createService,
  deploy,
  echo,
  entry,
  eventsOf,
  importModel,
  iris,
  predict,
  scripted,
  service,
  settled,
} from "../support/packages.ts";
import type { ServiceView } from "../support/packages.ts";

const platform = new Platform({ MODELPORT_START_TIMEOUT_MS: "5000" });
beforeAll(() => platform.start());
afterAll(() => platform.stop());

const REQUEST = {
  meta: { uuid: "10eb0091-887f-4839-9929-cbc884f1e20e" },
  data: { req_data: [{ sepal_length: 5.1, sepal_width: 3.5, petal_length: 1.4, petal_width: 0.2 }] },
};
const infos = (events: readonly { event_info: string }[]): string =>
  events.map((e) => e.event_info).join("\n");

describe("a scikit-learn package", () => {
  it("is imported, deployed, answers, is stopped, started and deleted", async () => {
    const model = await importModel(platform, "iris", "0.0.1", iris());
    expect(model.status, infos(model.events)).toBe("published");
    const id = await deploy(platform, "iris", [entry(model.id)]);
    const address = (await service(platform, id)).access_address;
    expect(address).toBe(`${platform.state.url}/v1/infers/${id}`);
    const answer = await predict(platform, id, REQUEST);
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      meta: REQUEST.meta,
      data: { resp_data: [{ predictresult: expect.anything() }] },
    });
    expect(answer.headers.get("server-timing")).toMatch(/auth;dur=.*queue;dur=.*upstream;dur=.*total;dur=/);

    const refused = await platform.call("DELETE", `/v1/{project_id}/models/${model.id}`);
    expect(refused.body).toMatchObject({ delete_failed_list: [{ error_code: "ModelArts.3009" }] });

    expect(
      (await platform.call("PUT", `/v1/{project_id}/services/${id}`, { status: "stopped" })).status,
    ).toBe(200);
    await settled(platform, id, ["stopped"]);
    expect(await predict(platform, id, REQUEST)).toMatchObject({
      status: 400,
      body: { error_code: "ModelArts.4203" },
    });
    expect(
      (await platform.call("PUT", `/v1/{project_id}/services/${id}`, { status: "stopped" })).body,
    ).toMatchObject({
      error_code: "ModelArts.3519",
    });
    expect(
      (await platform.call("PUT", `/v1/{project_id}/services/${id}`, { status: "running" })).status,
    ).toBe(200);
    await settled(platform, id, ["running"]);
    expect((await predict(platform, id, REQUEST)).status).toBe(200);

    expect((await platform.call("DELETE", `/v1/{project_id}/services/${id}`)).status).toBe(200);
    await until("the service to be gone", async () =>
      (await platform.call("GET", `/v1/{project_id}/services/${id}`)).status === 404 ? true : null,
    );
    expect((await predict(platform, id, REQUEST)).body).toMatchObject({ error_code: "APIG.0101" });
    const deleted = await platform.call("DELETE", `/v1/{project_id}/models/${model.id}`);
    expect(deleted.body).toMatchObject({ delete_success_list: [model.id] });
  });

  it("is refused with every problem at once when its config.json is wrong", async () => {
    const model = await importModel(platform, "wrong", "0.0.1", {
      ...iris(),
      "config.json": JSON.stringify({
        model_algorithm: "1st",
        model_type: "Scikit_Learn",
        runtme: "python3.6",
        metrics: { f1: "high" },
        dependencies: [{ installer: "conda", packages: [{ package_name: "numpy", restraint: "ABOUT" }] }],
      }),
    });
    expect(model.status).toBe("failed");
    const text = infos(model.events);
    for (const path of [
      "model_algorithm",
      "metrics.f1",
      "dependencies[0].installer",
      "dependencies[0].packages[0]",
    ]) {
      expect(text).toContain(path);
    }
    expect(text).toMatch(/runtme[\s\S]*runtime/);
  });

  it("that cannot be loaded fails its import with the traceback's last line", async () => {
    const model = await importModel(
      platform,
      "unloadable",
      "0.0.1",
      scripted("def __init__(self, model_path):\n    raise OSError('no such label')"),
    );
    expect(model.status).toBe("failed");
    expect(infos(model.events)).toContain("OSError: no such label");
  });
});

describe("a revision", () => {
  let v1 = "";
  let v2 = "";
  beforeAll(async () => {
    v1 = (await importModel(platform, "echo", "1.0.0", echo("1"))).id;
    v2 = (await importModel(platform, "echo", "1.0.1", echo("2"))).id;
  });
  const version = async (id: string): Promise<unknown> =>
    ((await predict(platform, id, {})).body as { data: { resp_data: [{ version: string }] } }).data
      .resp_data[0].version;
  const update = (id: string, config: unknown) =>
    platform.call("PUT", `/v1/{project_id}/services/${id}`, { config });
  const remove = async (id: string): Promise<void> => {
    await platform.call("DELETE", `/v1/{project_id}/services/${id}`);
    await until("the service to be gone", async () =>
      (await platform.call("GET", `/v1/{project_id}/services/${id}`)).status === 404 ? true : null,
    );
  };

  it.each([
    ["raises at its start", "raise", /RuntimeError: the label file is missing/],
    ["exits at its start", "exit", /exit(ed)?.*7/],
    ["never becomes ready", "hang", /5(\.0)? ?s|5000 ms|not ready/],
  ])("that %s gets no traffic, is rolled back, and says why", async (_what, mode, why) => {
    const id = await deploy(platform, `rollback-${mode}`, [entry(v1)]);
    const put = await update(id, [entry(v2, { envs: { BREAK: mode } })]);
    expect(put.status).toBe(200);
    const seen = new Set<unknown>();
    await until("the rollback", async () => {
      seen.add(await version(id));
      const now = await service(platform, id);
      return now.status === "running" && now.config[0]?.model_version === "1.0.0" ? true : null;
    });
    expect([...seen]).toEqual(["1"]);
    expect(infos(await eventsOf(platform, "services", id))).toMatch(why);
    const { body } = await platform.call("GET", `/v1/{project_id}/services/${id}/logs`);
    expect((body as { logs: { result: string }[] }).logs.map((l) => l.result).sort()).toEqual([
      "FAIL",
      "SUCCESS",
    ]);
    await remove(id);
  });

  it("that was the first and fails leaves the service failed, with the reason", async () => {
    const created = await createService(platform, "first-fails", [entry(v1, { envs: { BREAK: "raise" } })]);
    const id = (created.body as ServiceView).service_id;
    const now = await settled(platform, id, ["failed"]);
    expect(now.error_msg).toContain("RuntimeError: the label file is missing");
    await remove(id);
  });

  it("newer than another under way wins, and leaves nothing of the other", async () => {
    const id = await deploy(platform, "two-updates", [entry(v1)]);
    const answers = await Promise.all([
      update(id, [entry(v2)]),
      update(id, [entry(v2, { envs: { SECOND: "1" } })]),
    ]);
    expect(answers.map((a) => a.status).toSorted((a, b) => a - b)).toEqual([200, 400]);
    await settled(platform, id, ["running"]);
    await until("version 2", async () => ((await version(id)) === "2" ? true : null));
    await remove(id);
  });

  it("is deleted cleanly while it deploys", async () => {
    const created = await createService(platform, "delete-during-deploy", [entry(v1, { instance_count: 2 })]);
    await remove((created.body as ServiceView).service_id);
  });

  it("is stopped cleanly while it starts", async () => {
    const created = await createService(platform, "stop-during-start", [entry(v1)]);
    const id = (created.body as ServiceView).service_id;
    expect(
      (await platform.call("PUT", `/v1/{project_id}/services/${id}`, { status: "stopped" })).status,
    ).toBe(200);
    await settled(platform, id, ["stopped"]);
    await remove(id);
  });

  it("shares traffic by weight and scales without a restart", async () => {
    const id = await deploy(platform, "weights", [entry(v1, { weight: 50 }), entry(v2, { weight: 50 })]);
    const seen = new Set<unknown>();
    for (let i = 0; i < 40; i++) seen.add(await version(id));
    expect(seen).toEqual(new Set(["1", "2"]));
    await update(id, [entry(v1, { weight: 0 }), entry(v2, { weight: 100, instance_count: 2 })]);
    await settled(platform, id, ["running"]);
    for (let i = 0; i < 20; i++) expect(await version(id)).toBe("2");
    await remove(id);
  });
});

describe("the same package", () => {
  it("imported twice at once is built once and published twice", async () => {
    const [a, b] = await Promise.all([
      importModel(platform, "twin", "0.0.1", echo("twin")),
      importModel(platform, "twin", "0.0.2", echo("twin")),
    ]);
    expect([a.status, b.status]).toEqual(["published", "published"]);
  });

  it("cannot take a version twice", async () => {
    const answer = await platform.call("POST", "/v1/{project_id}/models", {
      model_name: "twin",
      model_version: "0.0.1",
      model_type: "Scikit_Learn",
      source_location: "obs://test/twin-0.0.1/",
    });
    expect(answer).toMatchObject({ status: 409, body: { error_code: "ModelArts.3002" } });
  });
});

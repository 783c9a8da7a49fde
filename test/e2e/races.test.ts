/**
 * Wishes that cross: each service ends where one of them says, callers were told which one, and nothing of the others
 * is left. Every test compares what the platform holds afterwards with what it held before.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { asBefore, census } from "../support/census.ts";
import type { Census } from "../support/census.ts";
import {
  createService,
  deploy,
  echo,
  entry,
  importModel,
  predict,
  service,
  settled,
} from "../support/packages.ts";
import type { ConfigEntry, ServiceView } from "../support/packages.ts";
import { Platform, until } from "../support/platform.ts";
import type { Answer } from "../support/platform.ts";

const platform = new Platform();
let v1 = "";
let v2 = "";
beforeAll(async () => {
  await platform.start();
  v1 = (await importModel(platform, "race", "1.0.0", echo("1"))).id;
  v2 = (await importModel(platform, "race", "1.0.1", echo("2"))).id;
});
afterAll(() => platform.stop());

let before: Census;
let id = "";
beforeEach(() => {
  before = census(platform);
});
afterEach(async () => {
  await platform.call("DELETE", `/v1/{project_id}/services/${id}`);
  await gone();
  await asBefore(platform, before);
});

const gone = (): Promise<true> =>
  until("the service to be gone", async () =>
    (await platform.call("GET", `/v1/{project_id}/services/${id}`)).status === 404 ? true : null,
  );
const put = (body: object): Promise<Answer> => platform.call("PUT", `/v1/{project_id}/services/${id}`, body);
const update = (config: readonly ConfigEntry[]): Promise<Answer> => put({ config });
const created = async (name: string): Promise<void> => {
  const answer = await createService(platform, name, [entry(v1)]);
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  id = (answer.body as ServiceView).service_id;
};
const answeredBy = async (): Promise<unknown> => {
  const answer = await predict(platform, id, {});
  return answer.status === 200
    ? (answer.body as { data: { resp_data: [{ version: string }] } }).data.resp_data[0].version
    : answer.status;
};

describe("two updates at once", () => {
  it("from different clients: one is taken and carried out, the other is told why not", async () => {
    id = await deploy(platform, "two-updates", [entry(v1)]);
    const { domain, user, password, project } = platform.profile;
    const other = await platform.login({ domain, user, password, project: project.name });
    const path = `/v1/{project_id}/services/${id}`;
    const wishes = [[entry(v2)], [entry(v2, { envs: { WHO: "other" } })], [entry(v1, { instance_count: 2 })]];
    const answers = await Promise.all(
      wishes.map((config, index) =>
        platform.call("PUT", path, { config }, index % 2 === 1 ? { "x-auth-token": other } : {}),
      ),
    );
    const taken = answers.flatMap((answer, index) => (answer.status === 200 ? [index] : []));
    expect(taken, JSON.stringify(answers.map((a) => a.body))).toHaveLength(1);
    for (const answer of answers) {
      if (answer.status !== 200)
        expect(answer).toMatchObject({ status: 400, body: { error_code: "ModelArts.3519" } });
    }
    const now = await settled(platform, id, ["running"]);
    const winner = wishes[taken[0] ?? -1]?.[0];
    expect(now.config).toHaveLength(1);
    expect(now.config[0]).toMatchObject({
      model_id: winner?.model_id,
      instance_count: winner?.instance_count,
      envs: winner?.envs ?? {},
    });
    const version = winner?.model_id === v1 ? "1" : "2";
    expect(await answeredBy()).toBe(version);
    // One success beside the first deployment: no third history entry of an update nobody carried out.
    const { body } = await platform.call("GET", `${path}/logs`);
    expect((body as { logs: { result: string }[] }).logs.map((log) => log.result)).toEqual([
      "SUCCESS",
      "SUCCESS",
    ]);
  });
});

describe("a stop", () => {
  it("during a first start ends in stopped, and the service can be started again", async () => {
    await created("stop-during-start");
    expect((await put({ status: "stopped" })).status).toBe(200);
    await settled(platform, id, ["stopped"]);
    await nothingRuns();
    expect(await answeredBy()).toBe(400);
    expect((await put({ status: "running" })).status).toBe(200);
    await settled(platform, id, ["running"]);
    expect(await answeredBy()).toBe("1");
  });

  it("that a start crosses: the answers say who won, and the state agrees with them", async () => {
    id = await deploy(platform, "start-during-stop", [entry(v1)]);
    const stop = await put({ status: "stopped" });
    expect(stop.status).toBe(200);
    const start = await put({ status: "running" });
    if (start.status === 200) {
      await settled(platform, id, ["running"]);
      expect(await answeredBy()).toBe("1");
    } else {
      expect(start).toMatchObject({ status: 400, body: { error_code: "ModelArts.3519" } });
      await settled(platform, id, ["stopped"]);
      await nothingRuns();
    }
  });

  it("and a start sent together, many times, leave one truth", async () => {
    id = await deploy(platform, "flicker", [entry(v1)]);
    for (let round = 0; round < 10; round++) {
      const answers = await Promise.all([put({ status: "stopped" }), put({ status: "running" })]);
      for (const answer of answers) {
        if (answer.status !== 200)
          expect(answer).toMatchObject({ status: 400, body: { error_code: "ModelArts.3519" } });
      }
    }
    const now = await settled(platform, id, ["running", "stopped"]);
    await until("calls to agree with the state", async () => {
      const said = (await service(platform, id)).status;
      return said === now.status && (await answeredBy()) === (said === "running" ? "1" : 400) ? true : null;
    });
  });

  it("during an update stops both versions", async () => {
    id = await deploy(platform, "stop-during-update", [entry(v1)]);
    expect((await update([entry(v2, { instance_count: 2 })])).status).toBe(200);
    const stop = await put({ status: "stopped" });
    if (stop.status !== 200) {
      expect(stop).toMatchObject({ status: 400, body: { error_code: "ModelArts.3519" } });
      await settled(platform, id, ["running"]);
      expect((await put({ status: "stopped" })).status).toBe(200);
    }
    await settled(platform, id, ["stopped"]);
    await nothingRuns();
  });
});

describe("a delete", () => {
  it("during an update removes what there was and what was coming", async () => {
    id = await deploy(platform, "delete-during-update", [entry(v1)]);
    expect((await update([entry(v2, { instance_count: 2 })])).status).toBe(200);
    expect((await platform.call("DELETE", `/v1/{project_id}/services/${id}`)).status).toBe(200);
    await gone();
    expect(await answeredBy()).toBe(404);
  });

  it("during a start that hangs does not wait for it", async () => {
    const answer = await createService(platform, "delete-hanging", [entry(v1, { envs: { BREAK: "hang" } })]);
    id = (answer.body as ServiceView).service_id;
    await until("an instance that starts", () =>
      census(platform).instances.length > before.instances.length ? true : null,
    );
    expect((await platform.call("DELETE", `/v1/{project_id}/services/${id}`)).status).toBe(200);
    await gone();
  });

  it("sent twice at once, with an update between, is one delete", async () => {
    id = await deploy(platform, "delete-twice", [entry(v1)]);
    const path = `/v1/{project_id}/services/${id}`;
    const [first, change, second] = await Promise.all([
      platform.call("DELETE", path),
      update([entry(v2)]),
      platform.call("DELETE", path),
    ]);
    for (const answer of [first, change, second]) expect([200, 400, 404]).toContain(answer.status);
    expect([first.status, second.status]).toContain(200);
    await gone();
  });

  it("of a model that a service is being created with: one of the two is refused", async () => {
    const model = await importModel(platform, "wanted", "1.0.0", echo("3"));
    // Its files and its row are this test's own.
    const [removed, answer] = await Promise.all([
      platform.call("DELETE", `/v1/{project_id}/models/${model.id}`),
      createService(platform, "wants", [entry(model.id)]),
    ]);
    const wasDeleted = JSON.stringify(
      (removed.body as { delete_success_list?: unknown }).delete_success_list ?? [],
    );
    if (answer.status === 200) {
      expect(wasDeleted).not.toContain(model.id);
      id = (answer.body as ServiceView).service_id;
      await settled(platform, id, ["running"]);
      expect(await answeredBy()).toBe("3");
      await platform.call("DELETE", `/v1/{project_id}/services/${id}`);
      await gone();
      await platform.call("DELETE", `/v1/{project_id}/models/${model.id}`);
    } else {
      expect(answer).toMatchObject({ status: 404, body: { error_code: "ModelArts.3507" } });
      expect(wasDeleted).toContain(model.id);
    }
  });
});

/** Of a stopped service nothing runs; its rows and logs are kept. */
const nothingRuns = async (): Promise<void> => {
  await until("nothing to run", () => {
    const now = census(platform);
    return now.processes === before.processes && now.instances.length === before.instances.length
      ? true
      : null;
  });
};

/** What holds for every answer: request ids, error shapes, documentation; and the contract with the gateways. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ServiceId } from "../core/ids.ts";
import { createWorld } from "../../test/support/api-world.ts";
import type { ApiWorld } from "../../test/support/api-world.ts";

let world: ApiWorld;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

describe("every answer", () => {
  test("carries a request id, the gateway's when there is one", async () => {
    const own = await world.call("GET", `${world.base}/models`);
    expect(own.headers["x-request-id"]).toMatch(/^[0-9a-f]{32}$/);
    const given = await world.call("GET", `${world.base}/models/x`, {
      headers: { "x-request-id": "a".repeat(32) },
    });
    expect(given.headers["x-request-id"]).toBe("a".repeat(32));
    expect(given.body.request_id).toBe("a".repeat(32));
    const hostile = await world.call("GET", `${world.base}/models`, { headers: { "x-request-id": 'x"},{' } });
    expect(hostile.headers["x-request-id"]).toMatch(/^[0-9a-f]{32}$/);
  });

  test("that is an error has the documented shape, also before any route is found", async () => {
    for (const [method, url, status] of [
      ["GET", "/nowhere", 404],
      ["GET", "/v1/%zz", 400],
      ["GET", `${world.base}/nothing`, 404],
      ["PATCH", `${world.base}/models`, 404],
      ["GET", `${world.base}/models/${"a".repeat(5000)}`, 400],
    ] as const) {
      const answer = await world.call(method, url);
      expect(answer.status).toBe(status);
      expect(answer.body.error_code).toMatch(/^(ModelArts|APIGW)\.\d{4}$/);
      expect(answer.body.error_msg).toBeTypeOf("string");
      expect(answer.headers["x-request-id"]).toBe(answer.body.request_id);
    }
    expect((await world.call("GET", "/v3/nowhere")).body.error).toMatchObject({
      code: 404,
      title: "Not Found",
    });
  });

  test("refuses bodies that are not JSON, too large, too deep or of another type", async () => {
    const post = (body: string, type = "application/json") =>
      world.call("POST", `${world.base}/models`, { body, headers: { "content-type": type } });
    for (const [body, status] of [
      ["{", 400],
      [`{"__proto__":{"a":1}}`, 400],
      [`{"model_name":"a\\u0000"}`, 400],
      [`${"[".repeat(500_000)}${"]".repeat(500_000)}`, 400],
      [`{"a":"${"x".repeat(1024 * 1024)}"}`, 413],
    ] as const) {
      const answer = await post(body);
      expect(answer.status).toBe(status);
      expect(answer.body.error_code).toBe(status === 413 ? "APIGW.0201" : "ModelArts.0101");
    }
    expect((await post("a=1", "application/x-www-form-urlencoded")).status).toBe(415);
  });

  test("hides what went wrong inside, and names the request in the log", async () => {
    world.store.models.list = () => Promise.reject(new Error("disk /srv/secret is full"));
    const answer = await world.call("GET", `${world.base}/models`);
    expect(answer.status).toBe(500);
    expect(answer.body).toEqual({
      error_code: "ModelArts.0010",
      error_msg: "Internal error.",
      hint: "The request id is in the platform's log.",
      request_id: answer.headers["x-request-id"],
    });
  });
});

test("GET with a JSON content type and no body is fine, as SDKs send it", async () => {
  const answer = await world.call("GET", `${world.base}/models`, {
    headers: { "content-type": "application/json" },
  });
  expect(answer.status).toBe(200);
  const id = await world.model();
  const deleted = await world.call("DELETE", `${world.base}/models/${id}`, {
    headers: { "content-type": "application/json;charset=utf8" },
    body: "",
  });
  expect(deleted.status).toBe(200);
});

test("health and documentation need no token", async () => {
  expect(await world.call("GET", "/healthz", { token: null })).toMatchObject({
    status: 200,
    body: { status: "OK" },
  });
  const docs = await world.call("GET", "/docs/json", { token: null });
  expect(docs.status).toBe(200);
  expect(Object.keys(docs.body.paths)).toContain("/v1/{project_id}/services/{service_id}");
  expect(Object.keys(docs.body.paths).filter((p) => p.startsWith("/internal"))).toEqual([]);
  expect((await world.call("GET", "/docs/", { token: null })).headers["content-type"]).toMatch(/^text\/html/);
});

describe("the routing table", () => {
  const ask = (applied: number, waitMs = 0) =>
    world.call("GET", `/internal/table?gateway=g1&applied=${applied}&wait_ms=${waitMs}`, { token: null });

  test("comes with the public key when it differs from what the gateway has, else 204", async () => {
    const first = await ask(-1);
    expect(first.status).toBe(200);
    expect(first.body.identity.keys).toEqual({
      [world.secrets.keys.kid]: world.secrets.keys.publicKey
        .export({ type: "spki", format: "der" })
        .toString("base64url"),
    });
    const again = await ask(first.body.version);
    expect(again).toMatchObject({ status: 204, text: "" });
    expect((await ask(first.body.version + 7)).status).toBe(200);
  });

  test("wakes a waiting gateway when something changes", async () => {
    const { version } = (await ask(-1)).body;
    const waiting = ask(version, 30_000);
    await world.call("POST", "/v3/users", { body: { user: { name: "bob", password: "long enough" } } });
    const bob = await world.store.identity.userByName(world.first.domain.id, "bob");
    await world.call("PATCH", `/v3/users/${bob?.id}`, { body: { user: { enabled: false } } });
    const answer = await waiting;
    expect(answer.status).toBe(200);
    expect(answer.body.version).toBeGreaterThan(version);
    expect(Object.keys(answer.body.identity.refusedUsers)).toEqual([bob?.id]);
  });

  test("asking acknowledges what was applied, but never a version that does not exist yet", async () => {
    const model = await world.model();
    const config = { model_id: model, weight: 100, specification: "modelarts.vm.cpu.2u", instance_count: 1 };
    const id = await world.service("svc", [config]);
    const { version } = (await ask(-1)).body;
    await ask(version);
    expect(await world.store.routes.isApplied(version, world.clock.now())).toBe(true);
    await ask(version + 100);
    const next = await world.store.routes.put({
      id,
      projectId: world.first.project.id,
      name: "n",
      state: "stopped",
      groups: [],
    });
    expect(await world.store.routes.isApplied(next, world.clock.now())).toBe(false);
  });

  test("a gateway that said goodbye is not waited for", async () => {
    const { version } = (await ask(-1)).body;
    await ask(version);
    await world.call("POST", "/v3/users", { body: { user: { name: "bob", password: "long enough" } } });
    const bob = await world.store.identity.userByName(world.first.domain.id, "bob");
    await world.call("DELETE", `/v3/users/${bob?.id}`);
    const newer = await world.store.routes.version();
    expect(await world.store.routes.isApplied(newer, world.clock.now())).toBe(false);
    expect((await world.call("DELETE", "/internal/gateways/g1", { token: null })).status).toBe(204);
    expect(await world.store.routes.isApplied(newer, world.clock.now())).toBe(true);
  });

  test("a gateway that names the dead it stands in for is the only one waited for, once it has spoken", async () => {
    const { version } = (await ask(-1)).body;
    await ask(version);
    await world.call("POST", "/v3/users", { body: { user: { name: "bob", password: "long enough" } } });
    const bob = await world.store.identity.userByName(world.first.domain.id, "bob");
    await world.call("DELETE", `/v3/users/${bob?.id}`);
    const newer = await world.store.routes.version();
    const isApplied = () => world.store.routes.isApplied(newer, world.clock.now());
    const poll = (applied: number) =>
      world.call("GET", `/internal/table?gateway=g2&applied=${applied}&replaces=g1&replaces=g0`, {
        token: null,
      });
    // It comes with the table of the dead one: what that one had not applied, it has not.
    await poll(version);
    expect(await isApplied()).toBe(false);
    await poll(newer);
    expect(await isApplied()).toBe(true);
  });

  test("a waiting gateway does not hold up the close of the platform", async () => {
    const { version } = (await ask(-1)).body;
    const address = await world.api.listen({ host: "127.0.0.1", port: 0 });
    const waiting = fetch(`${address}/internal/table?gateway=g1&applied=${version}&wait_ms=60000`).then(
      (answer) => answer.status,
      () => 0,
    );
    // The acknowledgement shows that the request has arrived.
    await expect.poll(() => world.store.routes.isApplied(version, world.clock.now())).toBe(true);
    await world.api.close();
    expect([204, 0]).toContain(await waiting);
  });

  test("usage is counted once, however often a report is sent", async () => {
    const model = await world.model();
    const id = await world.service("svc", [
      { model_id: model, weight: 100, specification: "modelarts.vm.cpu.2u", instance_count: 1 },
    ]);
    const report = { gateway: "g1", sequence: 1, services: [{ id, invocations: 3, failures: 1 }] };
    for (let n = 0; n < 2; n++) {
      const answer = await world.call("POST", "/internal/usage", { token: null, body: report });
      expect(answer.status).toBe(204);
    }
    expect(await world.store.services.byId(id as ServiceId)).toMatchObject({
      invocationTimes: 3,
      failedTimes: 1,
    });
  });
});

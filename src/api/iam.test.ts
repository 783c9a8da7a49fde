/** Tokens, projects and users over a real SQLite store. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createWorld } from "../../test/support/api-world.ts";
import type { ApiWorld } from "../../test/support/api-world.ts";

let world: ApiWorld;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

const login = (more: { user?: object; scope?: object | null } = {}) =>
  world.call("POST", "/v3/auth/tokens?nocatalog=true", {
    token: null,
    body: {
      auth: {
        identity: {
          methods: ["password"],
          password: {
            user: {
              name: world.first.user.name,
              password: world.first.user.password,
              domain: { name: world.first.domain.name },
              ...more.user,
            },
          },
        },
        ...(more.scope === null
          ? {}
          : { scope: more.scope ?? { project: { name: world.first.project.name } } }),
      },
    },
  });
const tokenIn = (answer: { headers: Record<string, unknown> }): string =>
  String(answer.headers["x-subject-token"]);
const models = (token: string | null) => world.call("GET", `${world.base}/models`, { token });

describe("POST /v3/auth/tokens", () => {
  test("answers 201 with the token in X-Subject-Token, and the token works", async () => {
    const answer = await login();
    expect(answer.status).toBe(201);
    expect(answer.body.token).toEqual({
      methods: ["password"],
      issued_at: "2025-06-15T15:06:40.000000Z",
      expires_at: "2025-06-16T15:06:40.000000Z",
      project: {
        id: world.first.project.id,
        name: world.first.project.name,
        domain: { id: world.first.domain.id, name: world.first.domain.name },
      },
      user: {
        id: world.first.user.id,
        name: world.first.user.name,
        domain: { id: world.first.domain.id, name: world.first.domain.name },
        password_expires_at: "",
      },
      roles: [{ id: "0", name: "te_admin" }],
    });
    expect((await models(tokenIn(answer))).status).toBe(200);
  });

  test("takes users and projects by id too, and domain scopes", async () => {
    const { id, password } = world.first.user;
    const byId = await login({
      user: { id, name: undefined, domain: undefined, password },
      scope: { project: { id: world.first.project.id } },
    });
    expect(byId.status).toBe(201);
    for (const scope of [{ domain: { name: world.first.domain.name } }, null]) {
      const domainScoped = await login({ scope });
      expect(domainScoped.body.token.domain.id).toBe(world.first.domain.id);
      expect(domainScoped.body.token.project).toBeUndefined();
      const refused = await models(tokenIn(domainScoped));
      expect(refused.status).toBe(400);
      expect(refused.body).toMatchObject({
        error_code: "ModelArts.0204",
        error_msg: "Token must contain projectId info.",
      });
    }
  });

  test("answers alike for a wrong password, an unknown user, domain and a disabled user", async () => {
    await world.call("POST", "/v3/users", {
      body: { user: { name: "bob", password: "long enough", enabled: false } },
    });
    for (const user of [
      { password: "wrong" },
      { name: "nobody" },
      { domain: { name: "nowhere" } },
      { name: "bob", password: "long enough" },
    ]) {
      const answer = await login({ user });
      expect(answer.status).toBe(401);
      expect(answer.body).toEqual({
        error: { code: 401, message: "The username or password is wrong.", title: "Unauthorized" },
      });
      expect(answer.headers["x-subject-token"]).toBeUndefined();
    }
  });

  test("does not tell another domain's projects from ones that do not exist", async () => {
    const { base } = await world.stranger();
    const answer = await login({ scope: { project: { id: base.slice(4) } } });
    expect(answer.status).toBe(404);
    expect(answer.body.error.message).toBe(`Could not find project: ${base.slice(4)}.`);
  });

  test("answers bad bodies in IAM's shape", async () => {
    for (const body of [{}, "{", "[]", { auth: { identity: { methods: ["totp"] } } }]) {
      const answer = await world.call("POST", "/v3/auth/tokens", { token: null, body });
      expect(answer.status).toBe(400);
      expect(answer.body.error).toMatchObject({ code: 400, title: "Bad Request" });
    }
  });
});

describe("a token", () => {
  test("that is missing, damaged or forged is refused in the documented words", async () => {
    const forged = `${world.token.slice(0, -4)}AAAA`;
    for (const [token, suffix] of [
      [null, "x-auth-token not found"],
      ["nonsense", "decrypt token fail"],
      [forged, "Unauthorized"],
    ] as const) {
      const answer = await models(token);
      expect(answer.status).toBe(401);
      expect(answer.body).toMatchObject({
        error_code: "APIGW.0301",
        error_msg: `Incorrect IAM authentication information: ${suffix}`,
      });
      expect(answer.body.request_id).toBe(answer.headers["x-request-id"]);
    }
  });

  test("expires after the hours it was issued for", async () => {
    world.clock.advance(24 * 3_600_000 - 1);
    expect((await models(world.token)).status).toBe(200);
    world.clock.advance(1);
    expect((await models(world.token)).body.error_msg).toMatch(/Unauthorized$/);
  });

  test("is given after a bounded number of wrong passwords only, and the refusal says when again", async () => {
    const from = (address: string) => ({ headers: { "x-forwarded-for": `9.9.9.9, ${address}` } });
    const attempt = (password: string, address: string) =>
      world.call("POST", "/v3/auth/tokens", {
        token: null,
        ...from(address),
        body: {
          auth: {
            identity: {
              methods: ["password"],
              password: { user: { name: "admin", password, domain: { name: "modelport" } } },
            },
          },
        },
      });
    for (let n = 0; n < 20; n += 1) expect((await attempt("wrong", "10.0.0.1")).status).toBe(401);
    const refused = await attempt(world.first.user.password, "10.0.0.1");
    expect(refused.status).toBe(429);
    expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
    expect(Number(refused.headers["retry-after"])).toBeLessThanOrEqual(30);
    expect(refused.body.error).toMatchObject({ code: 429, title: "Too Many Requests" });
    expect((await attempt(world.first.user.password, "10.0.0.2")).status).toBe(201);
  });

  test("is good for its own project only", async () => {
    const { base } = await world.stranger();
    for (const path of [`${base}/models`, `/v1/${"0".repeat(32)}/services`, "/v1/x/buckets"]) {
      const answer = await world.call("GET", path);
      expect(answer.status).toBe(403);
      expect(answer.body).toMatchObject({
        error_code: "ModelArts.0210",
        error_msg: "The project id in the request URL does not match the token.",
      });
    }
  });

  test("ends with the password it was got with", async () => {
    const before = tokenIn(await login());
    world.clock.advance(1);
    const changed = await world.call("PATCH", `/v3/users/${world.first.user.id}`, {
      body: { user: { password: "another one" } },
    });
    expect(changed.status).toBe(200);
    expect((await models(before)).status).toBe(401);
    world.clock.advance(1);
    expect((await models(tokenIn(await login({ user: { password: "another one" } })))).status).toBe(200);
  });

  test("can be looked at and revoked by its owner", async () => {
    const other = tokenIn(await login());
    const shown = await world.call("GET", "/v3/auth/tokens", { headers: { "x-subject-token": other } });
    expect(shown.status).toBe(200);
    expect(shown.body.token.user.name).toBe(world.first.user.name);
    expect(shown.body.token.catalog.map((c: { type: string }) => c.type)).toEqual(["identity", "modelarts"]);

    const revoked = await world.call("DELETE", "/v3/auth/tokens", { headers: { "x-subject-token": other } });
    expect(revoked.status).toBe(204);
    expect(revoked.text).toBe("");
    expect((await models(other)).status).toBe(401);
    expect((await models(world.token)).status).toBe(200);
    const gone = await world.call("GET", "/v3/auth/tokens", { headers: { "x-subject-token": other } });
    expect(gone.status).toBe(404);
    expect(gone.body.error.message).toBe("Could not find token.");
    const table = await world.store.routes.table();
    expect(table.identity.revokedTokens).toHaveLength(1);
  });

  test("of another domain is not found, and of another user only administrators may revoke it", async () => {
    const { token } = await world.stranger();
    const foreign = await world.call("GET", "/v3/auth/tokens", { headers: { "x-subject-token": token } });
    expect(foreign.status).toBe(404);
    await world.call("POST", "/v3/users", { body: { user: { name: "bob", password: "long enough" } } });
    const bob = await world.tokenOf("bob", world.first.project.id);
    const denied = await world.call("DELETE", "/v3/auth/tokens", {
      token: bob,
      headers: { "x-subject-token": world.token },
    });
    expect(denied.status).toBe(403);
    const allowed = await world.call("DELETE", "/v3/auth/tokens", { headers: { "x-subject-token": bob } });
    expect(allowed.status).toBe(204);
  });
});

describe("projects and domains", () => {
  test("lists the projects of the caller's domain, exactly one by name", async () => {
    await world.stranger();
    const created = await world.call("POST", "/v3/projects", { body: { project: { name: "team-a" } } });
    expect(created.status).toBe(201);
    const all = await world.call("GET", "/v3/projects");
    expect(all.body.projects.map((p: { name: string }) => p.name)).toEqual(["default", "team-a"]);
    const one = await world.call("GET", "/v3/projects?name=team-a");
    expect(one.body.projects).toMatchObject([
      { id: created.body.project.id, domain_id: world.first.domain.id, enabled: true },
    ]);
    const again = await world.call("POST", "/v3/projects", { body: { project: { name: "team-a" } } });
    expect(again.status).toBe(409);
    const domains = await world.call("GET", "/v3/auth/domains");
    expect(domains.body.domains).toMatchObject([{ id: world.first.domain.id }]);
  });
});

describe("users", () => {
  test("are added, disabled and deleted by administrators; a disabled one's tokens end at once", async () => {
    const made = await world.call("POST", "/v3/users", {
      body: { user: { name: "bob", password: "long enough" } },
    });
    expect(made.status).toBe(201);
    expect(JSON.stringify(made.body)).not.toMatch(/password_hash|argon2/);
    const id: string = made.body.user.id;
    expect((await login({ user: { name: "bob", password: "long enough" } })).status).toBe(201);
    const bob = await world.tokenOf("bob", world.first.project.id);
    expect((await models(bob)).status).toBe(200);

    const patched = await world.call("PATCH", `/v3/users/${id}`, { body: { user: { enabled: false } } });
    expect(patched.body.user).toMatchObject({ id, enabled: false });
    expect((await models(bob)).status).toBe(401);
    await world.call("PATCH", `/v3/users/${id}`, { body: { user: { enabled: true } } });
    expect((await models(bob)).status).toBe(401);
    world.clock.advance(1);
    expect((await models(await world.tokenOf("bob", world.first.project.id))).status).toBe(200);

    expect((await world.call("DELETE", `/v3/users/${id}`)).status).toBe(204);
    expect((await world.call("GET", `/v3/users/${id}`)).status).toBe(404);
  });

  test("who are not administrators manage nobody, and see themselves", async () => {
    const made = await world.call("POST", "/v3/users", {
      body: { user: { name: "bob", password: "long enough" } },
    });
    const token = await world.tokenOf("bob", null);
    expect((await world.call("GET", `/v3/users/${made.body.user.id}`, { token })).status).toBe(200);
    for (const [method, url, body] of [
      ["GET", "/v3/users", undefined],
      ["GET", `/v3/users/${world.first.user.id}`, undefined],
      ["POST", "/v3/users", { user: { name: "eve", password: "long enough" } }],
      ["PATCH", `/v3/users/${made.body.user.id}`, { user: { enabled: true } }],
      ["DELETE", `/v3/users/${world.first.user.id}`, undefined],
      ["POST", "/v3/projects", { project: { name: "x" } }],
    ] as const) {
      const answer = await world.call(method, url, { token, body });
      expect(answer.status).toBe(403);
      expect(answer.body.error.message).toMatch(/^You are not authorized to perform the \(iam:/);
    }
  });

  test("of other domains do not exist, and nobody locks themself out", async () => {
    const { token } = await world.stranger();
    expect((await world.call("GET", `/v3/users/${world.first.user.id}`, { token })).status).toBe(404);
    expect((await world.call("DELETE", `/v3/users/${world.first.user.id}`, { token })).status).toBe(404);
    expect((await world.call("DELETE", `/v3/users/${world.first.user.id}`)).status).toBe(400);
    const disabled = await world.call("PATCH", `/v3/users/${world.first.user.id}`, {
      body: { user: { enabled: false } },
    });
    expect(disabled.status).toBe(400);
  });

  test("get all problems of a bad body at once", async () => {
    const answer = await world.call("POST", "/v3/users", {
      body: { user: { name: "1", password: "x", enabled: "no" } },
    });
    expect(answer.status).toBe(400);
    expect(answer.body.error.problems.map((p: { path: string }) => p.path)).toEqual([
      "user.name",
      "user.password",
      "user.enabled",
    ]);
    await world.call("POST", "/v3/users", { body: { user: { name: "bob", password: "long enough" } } });
    const twice = await world.call("POST", "/v3/users", {
      body: { user: { name: "bob", password: "long enough" } },
    });
    expect(twice.status).toBe(409);
  });
});

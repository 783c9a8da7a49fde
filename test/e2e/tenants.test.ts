/** Tenants never see each other's things, nor learn that they exist: an unknown id and another's id answer alike. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { Platform } from "../support/platform.ts";
import { deploy, echo, entry, importModel } from "../support/packages.ts";

const platform = new Platform();
let other = { token: "", project: "" };
let model = "";
let service = "";
beforeAll(async () => {
  await platform.start();
  model = (await importModel(platform, "mine", "1.0.0", echo("1"))).id;
  service = await deploy(platform, "mine", [entry(model)]);
  const { domain } = platform.profile;
  await platform.call("POST", "/v3/projects", { project: { name: "theirs" } });
  await platform.call("POST", "/v3/users", { user: { name: "bob", password: "A-long-Passw0rd" } });
  const token = await platform.login({ domain, user: "bob", password: "A-long-Passw0rd", project: "theirs" });
  const projects = await platform.call("GET", "/v3/projects?name=theirs", undefined, {
    "x-auth-token": token,
  });
  other = { token, project: (projects.body as { projects: { id: string }[] }).projects[0]?.id ?? "" };
});
afterAll(() => platform.stop());

const UNKNOWN = "00000000-0000-4000-8000-000000000000";
const shape = (text: unknown): string =>
  JSON.stringify(text)
    .replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "ID")
    .replaceAll(/"request_id":"[^"]*"/g, '"request_id":"R"');

it.each([
  ["GET", (p: string, id: string) => `/v1/${p}/models/${id}`, () => model],
  ["DELETE", (p: string, id: string) => `/v1/${p}/models/${id}`, () => model],
  ["GET", (p: string, id: string) => `/v1/${p}/models/${id}/events`, () => model],
  ["GET", (p: string, id: string) => `/v1/${p}/services/${id}`, () => service],
  ["PUT", (p: string, id: string) => `/v1/${p}/services/${id}`, () => service],
  ["DELETE", (p: string, id: string) => `/v1/${p}/services/${id}`, () => service],
  ["GET", (p: string, id: string) => `/v1/${p}/services/${id}/events`, () => service],
  ["GET", (p: string, id: string) => `/v1/${p}/services/${id}/logs`, () => service],
  ["GET", (p: string, id: string) => `/v1/${p}/services/${id}/monitor`, () => service],
  ["GET", (p: string, id: string) => `/v1/${p}/services/${id}/instance-logs`, () => service],
  ["POST", (_p: string, id: string) => `/v1/infers/${id}`, () => service],
])("%s of another tenant's thing answers as for one that never was (%#)", async (method, path, id) => {
  const send = async (which: string) => {
    const answer = await platform.call(
      method,
      path(other.project, which),
      method === "GET" || method === "DELETE" ? undefined : { description: "x" },
      { "x-auth-token": other.token },
    );
    return { status: answer.status, body: shape(answer.body) };
  };
  const theirs = await send(id());
  expect(theirs).toEqual(await send(UNKNOWN));
  // A model delete lists its failures in a 200 (contract §1.5); everything else is a 404.
  expect(theirs.status === 404 || (method === "DELETE" && path("", "").includes("models"))).toBe(true);
});

it("lists are empty and the other project's path is refused", async () => {
  for (const kind of ["models", "services"]) {
    const mine = await platform.call("GET", `/v1/${other.project}/${kind}`, undefined, {
      "x-auth-token": other.token,
    });
    expect(mine.body).toMatchObject({ total_count: 0 });
    const theirs = await platform.call("GET", `/v1/{project_id}/${kind}`, undefined, {
      "x-auth-token": other.token,
    });
    expect(theirs).toMatchObject({ status: 403, body: { error_code: "ModelArts.0210" } });
  }
  const buckets = await platform.call("GET", `/v1/${other.project}/buckets`, undefined, {
    "x-auth-token": other.token,
  });
  expect(JSON.stringify(buckets.body)).not.toContain("test");
});

it("a revoked token is refused by the API and by predictions", async () => {
  const { domain, user, password, project } = platform.profile;
  const token = await platform.login({ domain, user, password, project: project.name });
  expect((await platform.call("POST", `/v1/infers/${service}`, {}, { "x-auth-token": token })).status).toBe(
    200,
  );
  const revoked = await platform.call("DELETE", "/v3/auth/tokens", undefined, { "x-subject-token": token });
  expect(revoked.status).toBe(204);
  const refused = { status: 401, body: { error_code: "APIGW.0301" } };
  expect(
    await platform.call("GET", "/v1/{project_id}/services", undefined, { "x-auth-token": token }),
  ).toMatchObject(refused);
  await expect
    .poll(
      async () => (await platform.call("POST", `/v1/infers/${service}`, {}, { "x-auth-token": token })).body,
      { timeout: 5_000 },
    )
    .toMatchObject({ error_code: "APIG.0301" });
});

/** What is left when a part of the platform is killed, and what the next start makes of it. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { isAlive } from "../../src/telemetry/process-identity.ts";
import { Platform, processesOf, until } from "../support/platform.ts";
import { deploy, echo, entry, importModel, predict, service } from "../support/packages.ts";

let platform = new Platform();
beforeEach(async () => {
  platform = await new Platform().start();
});
afterEach(() => platform.stop());

const running = async (): Promise<string> => {
  const model = await importModel(platform, "echo", "1.0.0", echo("1"));
  return deploy(platform, "echo", [entry(model.id)]);
};

const instancePids = (): readonly string[] =>
  processesOf(join(platform.dataDir, "instances")).filter((line) => line.includes("modelserver"));

it("a killed supervisor's instances are adopted by the next start, and answer again", async () => {
  const id = await running();
  const instances = instancePids();
  expect(instances).toHaveLength(1);
  const roles = Object.values(platform.state.roles);
  await platform.kill();
  await until("the roles to end by themselves", () => (roles.some(isAlive) ? null : true), 15_000);
  expect(instancePids()).toEqual(instances);
  await platform.start();
  const answer = await until("an answer", async () => {
    const now = await predict(platform, id, {});
    return now.status === 200 ? now : null;
  });
  expect(answer.status).toBe(200);
  expect(instancePids()).toEqual(instances);
});

it("a killed control is restarted; predictions go on meanwhile", async () => {
  const id = await running();
  const control = platform.state.roles.control;
  if (control === undefined) throw new Error("no control");
  process.kill(control.pid, "SIGKILL");
  for (let i = 0; i < 50; i++) expect((await predict(platform, id, {})).status).toBe(200);
  await until("another control", () => {
    const now = platform.state.roles.control;
    return now !== undefined && now.pid !== control.pid ? true : null;
  });
  await until("the API", async () =>
    (await platform.call("GET", `/v1/{project_id}/services/${id}`)).status === 200 ? true : null,
  );
  expect(instancePids()).toHaveLength(1);
});

it("a killed gateway is restarted and serves on the same port", async () => {
  const id = await running();
  const { url } = platform.state;
  const gateway = platform.state.roles.gateway;
  if (gateway === undefined) throw new Error("no gateway");
  process.kill(gateway.pid, "SIGKILL");
  await until("an answer", async () => ((await predict(platform, id, {})).status === 200 ? true : null));
  expect(platform.state.url).toBe(url);
});

it("a killed instance is replaced, and the service says so", async () => {
  const id = await running();
  const [line] = instancePids();
  process.kill(Number(line?.split(" ")[0]), "SIGKILL");
  await until("another instance", () => {
    const now = instancePids();
    return now.length === 1 && now[0] !== line ? true : null;
  });
  await until("an answer", async () => ((await predict(platform, id, {})).status === 200 ? true : null));
  await until("running again", async () =>
    (await service(platform, id)).status === "running" ? true : null,
  );
});

it("SIGTERM ends everything: no process, port, socket or lock stays", async () => {
  await running();
  const { supervisor, port } = platform.state;
  process.kill(supervisor.pid, "SIGTERM");
  await until("the end", () => (processesOf(platform.dataDir).length === 0 ? true : null), 20_000);
  await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow();
  expect(readdirSync(join(platform.dataDir, "run")).filter((name) => name !== "gateway-table.json")).toEqual(
    [],
  );
  expect(
    existsSync(join(platform.dataDir, "instances")) ? readdirSync(join(platform.dataDir, "instances")) : [],
  ).toEqual([]);
  expect(execFileSync("ps", ["-eo", "args"], { encoding: "utf8" })).not.toContain(platform.dataDir);
});

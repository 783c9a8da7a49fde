/** 100 rounds of deploy, update and delete while callers never stop: no failed prediction, nothing left behind. */
import { readdirSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { asBefore, census } from "../support/census.ts";
import { Platform, until } from "../support/platform.ts";
import { deploy, echo, entry, importModel, predict, settled } from "../support/packages.ts";

const ROUNDS = 100;
const LANES = 2;
const platform = new Platform();
let v1 = "";
let v2 = "";
beforeAll(async () => {
  await platform.start();
  v1 = (await importModel(platform, "churn", "1.0.0", echo("1"))).id;
  v2 = (await importModel(platform, "churn", "1.0.1", echo("2"))).id;
});
afterAll(() => platform.stop());

interface Load {
  readonly failures: string[];
  sent: number;
  end(): Promise<void>;
}

/** Two callers that send one request after the other until told to end. */
const load = (id: string): Load => {
  let wanted = true;
  const result: Load = {
    failures: [],
    sent: 0,
    end: async () => {
      wanted = false;
      await Promise.all(callers);
    },
  };
  const call = async (): Promise<void> => {
    while (wanted) {
      result.sent++;
      try {
        const answer = await predict(platform, id, { n: result.sent });
        if (answer.status !== 200) result.failures.push(`${answer.status} ${JSON.stringify(answer.body)}`);
      } catch (error) {
        result.failures.push(String(error));
      }
    }
  };
  const callers = [call(), call()];
  return result;
};

const openFiles = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

it("fails no prediction and leaks no process, port, file or row", async () => {
  // Without batching: what its workers decided would be an event of its own, at whatever moment.
  const steady = await deploy(platform, "steady", [entry(v1, { envs: { MODELPORT_BATCHING: "off" } })]);
  const steadyLoad = load(steady);
  await until("some load", () => (steadyLoad.sent > 50 ? true : null));
  const before = census(platform);
  const filesBefore = Object.values(platform.state.roles).map((role) => openFiles(role.pid));

  const failures: string[] = [];
  let sent = 0;
  const round = async (name: string): Promise<void> => {
    const id = await deploy(platform, name, [entry(v1)]);
    const calls = load(id);
    const put = await platform.call("PUT", `/v1/{project_id}/services/${id}`, { config: [entry(v2)] });
    expect(put.status, JSON.stringify(put.body)).toBe(200);
    await settled(platform, id, ["running"]);
    await calls.end();
    sent += calls.sent;
    failures.push(...calls.failures.map((failure) => `${name}: ${failure}`));
    expect((await platform.call("DELETE", `/v1/{project_id}/services/${id}`)).status).toBe(200);
    await until("the service to be gone", async () =>
      (await platform.call("GET", `/v1/{project_id}/services/${id}`)).status === 404 ? true : null,
    );
  };
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < ROUNDS) await round(`round-${++next}`);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  await steadyLoad.end();

  expect(failures).toEqual([]);
  expect(steadyLoad.failures).toEqual([]);
  expect(sent).toBeGreaterThan(ROUNDS);
  await asBefore(platform, before);
  const filesAfter = Object.values(platform.state.roles).map((role) => openFiles(role.pid));
  // Keep-alive connections come and go by the dozen; a leak of one file a round would show as a hundred.
  filesAfter.forEach((files, index) => expect(files - (filesBefore[index] ?? 0)).toBeLessThan(ROUNDS / 2));
}, 900_000);

/** The whole platform on a real PostgreSQL: the main flow, a killed control, and a database that goes and comes back. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  deploy,
  echo,
  entry,
  eventsOf,
  importModel,
  predict,
  service,
  settled,
} from "../support/packages.ts";
import { Platform, until } from "../support/platform.ts";
import { startPostgres } from "../support/postgres.ts";
import type { TestPostgres } from "../support/postgres.ts";

let postgres: TestPostgres;
let url = "";
let platform: Platform;
let v1 = "";
let v2 = "";
let id = "";
beforeAll(async () => {
  postgres = await startPostgres();
  url = await postgres.createDatabase();
  platform = await new Platform({ MODELPORT_DATABASE_URL: url }).start();
});
afterAll(async () => {
  await platform.stop();
  await postgres.stop();
});

const sql = async (text: string): Promise<readonly Record<string, unknown>[]> => {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
};
const version = async (): Promise<unknown> => {
  const answer = await predict(platform, id, {});
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return (answer.body as { data: { resp_data: [{ version: string }] } }).data.resp_data[0].version;
};

it("imports, deploys and answers, with nothing in SQLite", async () => {
  const [first, second] = await Promise.all([
    importModel(platform, "echo", "1.0.0", echo("1")),
    importModel(platform, "echo", "1.0.1", echo("2")),
  ]);
  expect([first.status, second.status], JSON.stringify([first.events, second.events])).toEqual([
    "published",
    "published",
  ]);
  [v1, v2] = [first.id, second.id];
  id = await deploy(platform, "echo", [entry(v1)]);
  expect(await version()).toBe("1");
  expect(existsSync(join(platform.dataDir, "modelport.db"))).toBe(false);
  expect(await sql("select id from services")).toEqual([{ id }]);
});

it("updates without a failed prediction, and tells the history", async () => {
  const put = await platform.call("PUT", `/v1/{project_id}/services/${id}`, { config: [entry(v2)] });
  expect(put.status, JSON.stringify(put.body)).toBe(200);
  // Every answer in between is good, from one version or the other.
  await until("version 2", async () => ((await version()) === "2" ? true : null));
  await settled(platform, id, ["running"]);
  const infos = (await eventsOf(platform, "services", id)).map((event) => event.event_info);
  expect(infos).toContain("The service is being updated.");
  expect(infos.indexOf("The service has been updated.")).toBeGreaterThan(
    infos.indexOf("The service is being updated."),
  );
});

it("goes on when control is killed, with the state it had", async () => {
  const control = platform.state.roles.control;
  if (control === undefined) throw new Error("no control");
  process.kill(control.pid, "SIGKILL");
  for (let i = 0; i < 30; i++) expect(await version()).toBe("2");
  await until("the API of another control", async () => {
    const now = platform.state.roles.control;
    if (now === undefined || now.pid === control.pid) return null;
    return (await platform.call("GET", `/v1/{project_id}/services/${id}`)).status === 200 ? true : null;
  });
  expect((await service(platform, id)).config[0]?.model_version).toBe("1.0.1");
});

it("goes on when the database ends its connections", async () => {
  await sql(
    "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()",
  );
  expect(await version()).toBe("2");
  // Changes are followed again: an update is seen through to its end.
  await until("an accepted update", async () =>
    (await platform.call("PUT", `/v1/{project_id}/services/${id}`, { config: [entry(v1)] })).status === 200
      ? true
      : null,
  );
  await until("version 1", async () => ((await version()) === "1" ? true : null));
  await settled(platform, id, ["running"]);
});

it("keeps everything over a clean stop and start", async () => {
  const { supervisor } = platform.state;
  process.kill(supervisor.pid, "SIGTERM");
  await until("the end", () => (existsSync(`/proc/${supervisor.pid}`) ? null : true));
  expect(await sql("select count(*)::int as n from services")).toEqual([{ n: 1 }]);
  await platform.start();
  await until("an answer", async () => ((await predict(platform, id, {})).status === 200 ? true : null));
  expect(await version()).toBe("1");
});

it("deletes what it is told to, to the last row", async () => {
  expect((await platform.call("DELETE", `/v1/{project_id}/services/${id}`)).status).toBe(200);
  await until("the service to be gone", async () =>
    (await platform.call("GET", `/v1/{project_id}/services/${id}`)).status === 404 ? true : null,
  );
  for (const model of [v1, v2]) {
    const deleted = await platform.call("DELETE", `/v1/{project_id}/models/${model}`);
    expect(deleted.body).toMatchObject({ delete_success_list: [model] });
  }
  const tables = await sql(
    "select table_name as name from information_schema.tables where table_schema = 'public' order by 1",
  );
  const mentions: string[] = [];
  for (const { name } of tables) {
    // The change log says what became of things, also of those that are gone.
    if (/change/.test(String(name))) continue;
    for (const row of await sql(`select * from "${String(name)}"`)) {
      const text = JSON.stringify(row);
      if ([id, v1, v2].some((gone) => text.includes(gone))) mentions.push(`${String(name)}: ${text}`);
    }
  }
  expect(mentions).toEqual([]);
});

/** What must be true of the rows whenever they are looked at: no part of anything without the rest of it. */
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import pg from "pg";
import type { World } from "./world.ts";

/** Each gives the rows that may not be there. */
const FORBIDDEN: Readonly<Record<string, string>> = {
  "a service without its revision": `select s.id from services s
    where not exists (select 1 from revisions r where r.service_id = s.id and r.number = s.revision)`,
  "a serving revision that is not there": `select s.id from services s where s.serving_revision is not null
    and not exists (select 1 from revisions r where r.service_id = s.id and r.number = s.serving_revision)`,
  "a revision without its models": `select r.service_id from revisions r
    where not exists (select 1 from revision_models m where m.service_id = r.service_id and m.number = r.number)`,
  "a revision of no service": `select service_id from revisions where service_id not in (select id from services)`,
  "a history of no service": `select subject_id from events
    where subject = 'service' and subject_id not in (select id from services)`,
  "a history of no AI application": `select subject_id from events
    where subject = 'model' and subject_id not in (select id from models)`,
  "a service without a history": `select id from services
    where id not in (select subject_id from events where subject = 'service')`,
  "an AI application without a history": `select id from models
    where id not in (select subject_id from events where subject = 'model')`,
  "a route of no service": `select service_id from routes where service_id not in (select id from services)`,
  "a route newer than the table": `select service_id from routes
    where version > (select value from counters where name = 'table')`,
  "a change newer than the counter": `select id from changes
    where seq > (select value from counters where name = 'changes')`,
};

export const checkRows = async (world: World): Promise<void> => {
  const { databaseUrl } = world.config;
  const sql = Object.entries(FORBIDDEN)
    .map(([what, query]) => `select '${what}' as what, q.* from (${query}) q`)
    .join(" union all ");
  let found: readonly unknown[];
  if (databaseUrl === null) {
    const database = new DatabaseSync(join(world.dataDir, "modelport.db"), {
      readOnly: true,
      timeout: 10_000,
    });
    found = database.prepare(sql).all();
    database.close();
  } else {
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    found = (await client.query(sql)).rows;
    await client.end();
  }
  if (found.length > 0) throw new Error(`rows that may not be there: ${JSON.stringify(found)}`);
};

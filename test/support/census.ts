/** What a platform holds at one moment, for comparison: processes, instance directories, logs and rows. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect } from "vitest";
import { processesOf, until } from "./platform.ts";
import type { Platform } from "./platform.ts";

const rows = (platform: Platform): Record<string, number> => {
  const db = new DatabaseSync(join(platform.dataDir, "modelport.db"), { readOnly: true });
  const tables = db
    .prepare("select name from sqlite_master where type = 'table' and name not like 'sqlite%'")
    .all();
  const counts = Object.fromEntries(
    tables.map(({ name }) => [
      String(name),
      Number(db.prepare(`select count(*) as n from "${String(name)}"`).get()?.["n"]),
    ]),
  );
  db.close();
  // History that is pruned by age, not by deletes.
  for (const table of Object.keys(counts)) if (/change|migration/.test(table)) delete counts[table];
  return counts;
};

const list = (dir: string): readonly string[] => (existsSync(dir) ? readdirSync(dir).sort() : []);

export interface Census {
  readonly processes: number;
  readonly instances: readonly string[];
  readonly logs: readonly string[];
  readonly rows: Record<string, number>;
  readonly roles: Platform["state"]["roles"];
}

export const census = (platform: Platform): Census => ({
  processes: processesOf(platform.dataDir).length,
  instances: list(join(platform.dataDir, "instances")),
  logs: list(join(platform.dataDir, "logs")),
  rows: rows(platform),
  roles: platform.state.roles,
});

/** Waits until the platform holds what it held before; fails with what is different. */
export const asBefore = async (platform: Platform, before: Census): Promise<void> => {
  const wanted = JSON.stringify(before);
  await until(
    "everything to be as before",
    () => (JSON.stringify(census(platform)) === wanted ? true : null),
    20_000,
  ).catch(() => undefined);
  expect(census(platform)).toEqual(before);
};

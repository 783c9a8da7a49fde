/** The store suite on SQLite, and what only SQLite has: files of its owner alone, in a folder that need not exist. */
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { createLogger } from "../telemetry/logger.ts";
import { systemClock } from "../telemetry/clock.ts";
import { openStore } from "./open-store.ts";
import { storeSuite } from "./store.suite.ts";

const deps = { clock: systemClock, logger: createLogger("test", "silent") };
const folder = (): Promise<string> => mkdtemp(join(tmpdir(), "mp-store-"));

storeSuite("SQLite", {
  createDatabase: async () => ({ kind: "sqlite", path: join(await folder(), "modelport.db") }),
  removeDatabase: async (location) => {
    if (location.kind === "sqlite") await rm(dirname(location.path), { recursive: true, force: true });
  },
});

test("makes its folder, lets nobody else read its files, and leaves one file when closed", async () => {
  const root = await folder();
  const path = join(root, "a", "b", "modelport.db");
  const store = await openStore({ database: { kind: "sqlite", path }, ...deps });
  for (const name of await readdir(dirname(path))) {
    expect((await stat(join(dirname(path), name))).mode & 0o077).toBe(0);
  }
  await store.close();
  expect(await readdir(dirname(path))).toEqual(["modelport.db"]);
  await rm(root, { recursive: true });
});

test("writes through to the disk before it acknowledges", async () => {
  const root = await folder();
  const path = join(root, "modelport.db");
  const store = await openStore({ database: { kind: "sqlite", path }, ...deps });
  const database = new DatabaseSync(path);
  expect(database.prepare("pragma journal_mode").get()).toEqual({ journal_mode: "wal" });
  database.close();
  await store.close();
  await rm(root, { recursive: true });
});

test("names the file when it is not a database", async () => {
  const root = await folder();
  const path = join(root, "text.db");
  await writeFile(path, "not a database ".repeat(1000));
  for (const wrong of [root, path]) {
    await expect(openStore({ database: { kind: "sqlite", path: wrong }, ...deps })).rejects.toThrow(wrong);
  }
  await rm(root, { recursive: true });
});

/**
 * What every store promises, whichever database is under it. sqlite.test.ts and postgres.system.test.ts run it; every
 * test gets an empty database of its own. The promises about single nouns are in the other *.suite.ts files.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { sql } from "kysely";
import { instant } from "../core/ids.ts";
import { createLogger } from "../telemetry/logger.ts";
import { systemClock } from "../telemetry/clock.ts";
import { runUntilKilled } from "../../test/support/killed-writer.ts";
import {
  PROJECT,
  sampleIdentity,
  sampleModel,
  sampleService,
  sampleEntry,
} from "../../test/support/store-samples.ts";
import { openDatabase } from "./db.ts";
import type { DatabaseLocation } from "./db.ts";
import { identitySuite } from "./identity.suite.ts";
import { MIGRATIONS, migrate } from "./migrations/migrate.ts";
import { modelsSuite } from "./models.suite.ts";
import { openStore } from "./open-store.ts";
import { routesSuite } from "./routes.suite.ts";
import { servicesSuite } from "./services.suite.ts";
import type { Store } from "./store.ts";

/** What a test of the suite works with: its own empty database, opened. */
export interface StoreUnderTest {
  readonly store: Store;
  readonly location: DatabaseLocation;
  /** Opens the same database once more, as another process would; closed after the test. */
  reopen(): Promise<Store>;
}

const deps = { clock: systemClock, logger: createLogger("test", "silent") };

/** Runs the whole suite. `createDatabase` makes an empty database, `removeDatabase` takes it away. */
export const storeSuite = (
  name: string,
  database: {
    createDatabase(): Promise<DatabaseLocation>;
    removeDatabase(location: DatabaseLocation): Promise<void>;
  },
): void => {
  let opened: Store[] = [];
  let current: StoreUnderTest;

  const open = async (location: DatabaseLocation): Promise<Store> => {
    const store = await openStore({ database: location, ...deps });
    opened.push(store);
    return store;
  };
  const given = (): StoreUnderTest => current;

  describe(`store on ${name}`, () => {
    beforeEach(async () => {
      const location = await database.createDatabase();
      current = { location, store: await open(location), reopen: () => open(location) };
    });
    afterEach(async () => {
      await Promise.all(opened.map((store) => store.close()));
      opened = [];
      await database.removeDatabase(current.location);
    });

    identitySuite(given);
    modelsSuite(given);
    servicesSuite(given);
    routesSuite(given);

    describe("opening", () => {
      test("keeps what was written when it is opened again", async () => {
        const model = sampleModel({ description: "größe 🙂 \\ % _", request: { a: [1, { b: null }] } });
        await given().store.models.create(model, event("first"));
        await given().store.close();
        const again = await given().reopen();
        expect(await again.models.get(PROJECT, model.id)).toEqual(model);
      });

      test("migrates an empty database once when many processes start at the same time", async () => {
        const location = await database.createDatabase();
        const stores = await Promise.all(Array.from({ length: 8 }, () => open(location)));
        const first = sampleIdentity();
        expect(await stores[0]?.identity.bootstrap(first)).toBe(true);
        expect(await stores[7]?.identity.domain(first.domain.id)).toEqual(first.domain);
        await Promise.all(stores.map((store) => store.close()));
        await database.removeDatabase(location);
      });

      test("refuses a database of a newer release with a sentence", async () => {
        const db = await openDatabase(given().location, deps);
        await db.read
          .insertInto("schema_version")
          .values({ version: 4711, name: "future", applied_at: 0 })
          .execute();
        await db.close();
        await expect(given().reopen()).rejects.toThrow(
          /schema version 4711, but this release of Modelport knows versions up to 1\. Start the newer release/,
        );
      });

      test("leaves the old schema when a migration breaks in the middle", async () => {
        const db = await openDatabase(given().location, deps);
        const broken = {
          version: 2,
          name: "broken",
          up: async (tx: Parameters<typeof migrate>[0]) => {
            await tx.schema.createTable("half").addColumn("id", "integer").execute();
            throw new Error("killed");
          },
        };
        const kind = given().location.kind;
        const run = (steps: typeof MIGRATIONS) => db.write((tx) => migrate(tx.sql, kind, instant(1), steps));
        await expect(run([...MIGRATIONS, broken])).rejects.toThrow("killed");
        await expect(sql`select id from half`.execute(db.read)).rejects.toThrow();
        expect(await db.read.selectFrom("schema_version").select("version").execute()).toEqual([
          { version: 1 },
        ]);
        const repaired = {
          ...broken,
          up: (tx: Parameters<typeof migrate>[0]) =>
            tx.schema.createTable("half").addColumn("id", "integer").execute(),
        };
        await run([...MIGRATIONS, repaired]);
        expect((await sql`select id from half`.execute(db.read)).rows).toEqual([]);
        await db.close();
      });

      test("can be closed twice", async () => {
        await Promise.all([given().store.close(), given().store.close()]);
        await given().store.close();
      });
    });

    test("keeps every acknowledged row, with its event and change, when the process is killed", async () => {
      const acknowledged = await runUntilKilled(given().location, 40);
      expect(acknowledged.length).toBeGreaterThanOrEqual(40);
      const store = await given().reopen();
      const { rows } = await store.models.list(PROJECT, { ...everything, sortBy: "create_at" });
      const kept = new Set<string>(rows.map((row) => row.id));
      expect(acknowledged.filter((id) => !kept.has(id))).toEqual([]);
      const changed = new Set((await store.changes.after(0, 10_000)).map((change) => change.id));
      expect([...kept].filter((id) => !changed.has(id))).toEqual([]);
      for (const row of rows) expect((await store.events.ofModel(row.id, everything)).total).toBe(1);
    });

    test("does not let other queries into a running transaction", async () => {
      const { store } = given();
      const model = sampleModel();
      await store.models.create(model, event("first"));
      const service = sampleService();
      await store.services.create(service, [sampleEntry(model)], []);
      const failing = store.services.update(PROJECT, service.id, instant(1), () => {
        throw new Error("refused");
      });
      const notes = Array.from({ length: 10 }, (_, n) =>
        store.services.note(service.id, [event(`note ${n}`)]),
      );
      await expect(failing).rejects.toThrow("refused");
      await Promise.all(notes);
      expect((await store.events.ofService(service.id, everything)).total).toBe(10);
    });

    test("stores text that the database has no form for as replacement characters", async () => {
      const model = sampleModel({ description: "a\u0000b \ud800" });
      await given().store.models.create(model, event("exit\u0000ed"));
      expect((await given().store.models.byId(model.id))?.description).toBe("a\ufffdb \ufffd");
      const found = await given().store.events.ofModel(model.id, { ...everything, info: "exit\u0000" });
      expect(found.rows.map((row) => row.info)).toEqual(["exit\ufffded"]);
    });
  });
};

/** An event with a text. */
export const event = (info: string, at = 1_700_000_000_000) =>
  ({ type: "normal", info, occurredAt: instant(at) }) as const;

/** Paging that cuts nothing off. */
export const everything = { order: "asc", offset: 0, limit: 10_000 } as const;

/** The store suite on a real PostgreSQL server. */
import { afterAll, beforeAll, expect, test } from "vitest";
import pg from "pg";
import { createLogger } from "../telemetry/logger.ts";
import { systemClock } from "../telemetry/clock.ts";
import { startPostgres } from "../../test/support/postgres.ts";
import type { TestPostgres } from "../../test/support/postgres.ts";
import { openStore } from "./open-store.ts";
import { storeSuite } from "./store.suite.ts";

let server: TestPostgres;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

storeSuite("PostgreSQL", {
  createDatabase: async () => ({ kind: "postgres", url: await server.createDatabase() }),
  // Goes with the server.
  removeDatabase: async () => undefined,
});

test("goes on, and hears of what it missed, after the server ended its connections", async () => {
  const url = await server.createDatabase();
  const options = {
    database: { kind: "postgres", url },
    clock: systemClock,
    logger: createLogger("test", "silent"),
  } as const;
  const [store, other] = [await openStore(options), await openStore(options)];
  let heard = 0;
  store.changes.onChange(() => heard++);
  await expect.poll(() => heard).toBeGreaterThan(0);
  const admin = new pg.Client({ connectionString: url });
  await admin.connect();
  await admin.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()",
  );
  await admin.end();
  heard = 0;
  await expect
    .poll(() =>
      other.identity.revokeToken("t", systemClock.now()).then(
        () => true,
        () => false,
      ),
    )
    .toBe(true);
  await expect.poll(() => heard, { timeout: 10_000 }).toBeGreaterThan(0);
  await expect.poll(() => store.identity.isRevoked("t").catch(() => false)).toBe(true);
  await store.close();
  await other.close();
});

/**
 * The routing table and the gateways that follow it. The table's version is a counter raised in the transaction that
 * changes a route or the identity part; every route remembers the version that first contained it, so writing the same
 * route again costs the gateways nothing.
 */
import { fail } from "../core/errors.ts";
import type { ServiceId } from "../core/ids.ts";
import type { GroupRoute, ServiceRoute } from "../core/routing-table.ts";
import { raiseTableVersion, recordChange } from "./changes.ts";
import type { Database, WriteTx } from "./db.ts";
import type { RouteStore } from "./store.ts";

/** A gateway that was not heard of for so long is gone; one that lives asks every 20 s at the latest. */
const GATEWAY_FORGOTTEN_AFTER_MS = 24 * 3600 * 1000;

/** Removes a service's route inside a running transaction; returns the table version without it. */
export const removeRoute = async (tx: WriteTx, id: ServiceId): Promise<number> => {
  const gone = await tx.sql
    .deleteFrom("routes")
    .where("service_id", "=", id)
    .returning("service_id")
    .executeTakeFirst();
  if (gone === undefined) return tableVersion(tx.sql);
  const version = await raiseTableVersion(tx);
  await recordChange(tx, "route", id);
  return version;
};

const tableVersion = async (sql: Database["read"]): Promise<number> => {
  const row = await sql
    .selectFrom("counters")
    .select("value")
    .where("name", "=", "table")
    .executeTakeFirstOrThrow();
  return row.value;
};

export const createRouteStore = (db: Database): RouteStore => ({
  put: (route) =>
    db.write(async (tx) => {
      // The service row's lock orders writers of one route, and keeps a late one from outliving its service.
      const service = await tx.sql
        .updateTable("services")
        .set((eb) => ({ id: eb.ref("id") }))
        .where("id", "=", route.id)
        .returning("id")
        .executeTakeFirst();
      if (service === undefined) throw fail("SERVICE_NOT_FOUND", { id: route.id });
      const body = JSON.stringify(inFixedOrder(route));
      const known = await tx.sql
        .selectFrom("routes")
        .select(["body", "version"])
        .where("service_id", "=", route.id)
        .executeTakeFirst();
      if (known?.body === body) return known.version;
      const version = await raiseTableVersion(tx);
      await tx.sql
        .insertInto("routes")
        .values({ service_id: route.id, body, version })
        .onConflict((oc) => oc.column("service_id").doUpdateSet({ body, version }))
        .execute();
      await recordChange(tx, "route", route.id);
      return version;
    }),
  delete: (id) => db.write((tx) => removeRoute(tx, id)),
  get: async (id) => {
    const row = await db.read
      .selectFrom("routes")
      .select("body")
      .where("service_id", "=", id)
      .executeTakeFirst();
    return row === undefined ? null : (JSON.parse(row.body) as ServiceRoute);
  },
  version: () => tableVersion(db.read),
  table: () =>
    db.snapshot(async (tx) => {
      const routes = await tx.selectFrom("routes").select("body").orderBy("service_id").execute();
      const tokens = await tx.selectFrom("revoked_tokens").select("jti").orderBy("jti").execute();
      const refused = await tx
        .selectFrom("users")
        .select(["id", "refused_before"])
        .where("refused_before", "is not", null)
        .execute();
      const deleted = await tx.selectFrom("refused_users").selectAll().execute();
      const refusedUsers: Record<string, number> = {};
      for (const user of refused)
        if (user.refused_before !== null) refusedUsers[user.id] = user.refused_before;
      for (const user of deleted) refusedUsers[user.user_id] = user.refused_before;
      return {
        version: await tableVersion(tx),
        identity: { revokedTokens: tokens.map((token) => token.jti), refusedUsers },
        services: routes.map((row) => JSON.parse(row.body) as ServiceRoute),
      };
    }),
  acknowledge: async (gateway, version, now) => {
    await db.write(async (tx) => {
      const seen = { applied: version, seen_at: now, heard_at: now };
      await tx.sql
        .insertInto("gateways")
        .values({ id: gateway, ...seen, usage_sequence: 0 })
        .onConflict((oc) => oc.column("id").doUpdateSet(seen))
        .execute();
      await tx.sql
        .deleteFrom("gateways")
        .where("heard_at", "<", now - GATEWAY_FORGOTTEN_AFTER_MS)
        .execute();
    });
  },
  isApplied: async (version, since) => {
    const behind = await db.read
      .selectFrom("gateways")
      .select("id")
      .where("seen_at", ">=", since)
      .where("applied", "<", version)
      .limit(1)
      .executeTakeFirst();
    return behind === undefined;
  },
  forget: async (gateway) => {
    await db.read.deleteFrom("gateways").where("id", "=", gateway).execute();
  },
});

/** So that equal routes are equal text, whatever order their properties were set in. */
const inFixedOrder = (route: ServiceRoute): ServiceRoute => ({
  id: route.id,
  projectId: route.projectId,
  name: route.name,
  state: route.state,
  groups: route.groups.map((group): GroupRoute => ({
    id: group.id,
    modelId: group.modelId,
    modelName: group.modelName,
    modelVersion: group.modelVersion,
    weight: group.weight,
    concurrency: group.concurrency,
    queueMax: group.queueMax,
    ...(group.queueAgeMs === undefined ? {} : { queueAgeMs: group.queueAgeMs }),
    ...(group.healthPath === undefined ? {} : { healthPath: group.healthPath }),
    instances: group.instances.map(({ id, url }) => ({ id, url })),
  })),
});

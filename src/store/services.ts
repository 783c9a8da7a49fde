/**
 * Services and their revisions. Every write begins by taking the service's row (an UPDATE that changes nothing, which
 * both databases understand), so writers of one service take turns and readers of the row see the latest commit.
 */
import { sql } from "kysely";
import type { Transaction } from "kysely";
import type { Clock } from "../core/clock.ts";
import { fail } from "../core/errors.ts";
import { instant } from "../core/ids.ts";
import type { Instant, ModelId, ProjectId, ServiceId } from "../core/ids.ts";
import type { Revision, RevisionEntry, Service } from "../core/service.ts";
import { recordChange } from "./changes.ts";
import type { Database, WriteTx } from "./db.ts";
import { appendEvents, removeEvents } from "./events.ts";
import { contains } from "./patterns.ts";
import { removeRoute } from "./routes.ts";
import type { ServiceRow, Tables } from "./schema.ts";
import { fromService, toRevision, toService } from "./service-rows.ts";
import type { ServiceChange, ServiceFilter, ServiceSettlement, ServiceStore } from "./store.ts";

/** Revisions kept per service, besides the desired and the serving one. */
const HISTORY_MAX = 100;
const SUPERSEDED = "A newer update replaced this one before it was complete.";

export const createServiceStore = (db: Database, clock: Clock): ServiceStore => ({
  create: (service, entries, events, limit = Infinity) =>
    db.write(async (tx) => {
      await holdModels(tx, service.projectId, entries);
      if (await isFull(tx, service, limit)) return "full";
      const created = await tx.sql
        .insertInto("services")
        .values({ ...fromService(service), revision: 1 })
        .onConflict((oc) => oc.columns(["project_id", "name"]).doNothing())
        .returning("id")
        .executeTakeFirst();
      if (created === undefined) return "exists";
      await insertRevision(tx, service.id, 1, entries, service.updateAt);
      await appendEvents(tx, "service", service.id, events);
      await recordChange(tx, "service", service.id);
      return "created";
    }),
  get: async (project, id) => {
    const row = await db.read
      .selectFrom("services")
      .selectAll()
      .where("project_id", "=", project)
      .where("id", "=", id)
      .executeTakeFirst();
    return row === undefined ? null : toService(row);
  },
  byId: async (id) => {
    const row = await db.read.selectFrom("services").selectAll().where("id", "=", id).executeTakeFirst();
    return row === undefined ? null : toService(row);
  },
  list: (project, filter) =>
    db.snapshot(async (tx) => {
      const matching = matches(tx, project, filter);
      const { total } = await matching.select(sql<number>`count(*)`.as("total")).executeTakeFirstOrThrow();
      const rows = await matching
        .selectAll()
        .orderBy(SORT_COLUMNS[filter.sortBy], filter.order)
        .orderBy("id", filter.order)
        .offset(filter.offset)
        .limit(filter.limit)
        .execute();
      return { total, rows: rows.map(toService) };
    }),
  revision: (id, number) => readRevision(db.read, id, number),
  revisions: async (id, filter = {}) => {
    let query = db.read.selectFrom("revisions").selectAll().where("service_id", "=", id);
    if (filter.createdAt !== undefined) query = query.where("created_at", "=", filter.createdAt);
    if (filter.limit !== undefined) query = query.limit(filter.limit);
    return (await query.orderBy("number", "desc").execute()).map(toRevision);
  },
  update: (project, id, now, decide) => db.write((tx) => updateOne(tx, project, id, now, decide)),
  updateAll: (project, ids, now, decide) =>
    db.write(async (tx) => {
      // In id order, so that two callers with the same services cannot wait for each other.
      for (const id of ids.toSorted()) {
        if ((await updateOne(tx, project, id, now, decide)) === null) throw fail("SERVICE_NOT_FOUND", { id });
      }
    }),
  settle: (id, generation, now, settlement) =>
    db.write(async (tx) => {
      const row = await hold(tx, id);
      if (row === undefined || row.generation !== generation) return false;
      const set = settledColumns(row, now, settlement);
      if (Object.keys(set).length > 0) {
        await tx.sql.updateTable("services").set(set).where("id", "=", id).execute();
      }
      if (settlement.revisionResult !== undefined) {
        const { number, result, reason } = settlement.revisionResult;
        await tx.sql
          .updateTable("revisions")
          .set({ result, reason })
          .where("service_id", "=", id)
          .where("number", "=", number)
          .execute();
      }
      await appendEvents(tx, "service", id, settlement.events);
      // Only what changes the user's wish is a change to follow; status alone would wake its own writer for ever.
      if (settlement.desired !== undefined || settlement.rollbackTo !== undefined) {
        await recordChange(tx, "service", id);
      }
      return true;
    }),
  note: (id, events) =>
    db.write(async (tx) => {
      if ((await hold(tx, id)) !== undefined) await appendEvents(tx, "service", id, events);
    }),
  purge: (id) =>
    db.write(async (tx) => {
      const row = await hold(tx, id);
      if (row === undefined) return;
      if (row.desired !== "deleted")
        throw new Error(`service ${id} is wanted ${row.desired}; it cannot be purged`);
      // Revisions and their models go with the row (on delete cascade).
      await tx.sql.deleteFrom("services").where("id", "=", id).execute();
      await removeEvents(tx, "service", id);
      await removeRoute(tx, id);
      await recordChange(tx, "service", id);
    }),
  all: async () => {
    const rows = await db.read
      .selectFrom("services")
      .selectAll()
      .orderBy("publish_at")
      .orderBy("id")
      .execute();
    return rows.map(toService);
  },
  addUsage: (counts, gateway, sequence) =>
    db.write(async (tx) => {
      const now = clock.now();
      // Nothing comes back, and nothing is counted, when this report was seen before.
      const fresh = await tx.sql
        .insertInto("gateways")
        .values({ id: gateway, applied: 0, seen_at: 0, usage_sequence: sequence, heard_at: now })
        .onConflict((oc) =>
          oc
            .column("id")
            .doUpdateSet({ usage_sequence: sequence, heard_at: now })
            .where("gateways.usage_sequence", "<", sequence),
        )
        .returning("id")
        .executeTakeFirst();
      if (fresh === undefined) return;
      // In id order, so that two gateways' reports cannot wait for each other's rows.
      for (const count of counts.toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
        await tx.sql
          .updateTable("services")
          .set((eb) => ({
            invocation_times: eb("invocation_times", "+", count.invocations),
            failed_times: eb("failed_times", "+", count.failures),
          }))
          .where("id", "=", count.id)
          .execute();
      }
    }),
});

/**
 * Whether the project has as many services as it may. Those who create in one project take turns on the project's row,
 * so that two of them cannot both be the last one. A name that is taken is told as that, also when the project is full.
 */
const isFull = async (tx: WriteTx, service: Service, limit: number): Promise<boolean> => {
  await tx.sql
    .updateTable("projects")
    .set((eb) => ({ id: eb.ref("id") }))
    .where("id", "=", service.projectId)
    .execute();
  const { total, same } = await tx.sql
    .selectFrom("services")
    .select([
      sql<number>`count(*)`.as("total"),
      sql<number>`coalesce(sum(case when name = ${service.name} then 1 else 0 end), 0)`.as("same"),
    ])
    .where("project_id", "=", service.projectId)
    .executeTakeFirstOrThrow();
  return total >= limit && same === 0;
};

const SORT_COLUMNS = {
  publish_at: "publish_at",
  service_name: "name",
  transition_at: "transition_at",
} as const satisfies Record<ServiceFilter["sortBy"], keyof ServiceRow>;

const matches = (tx: Transaction<Tables>, project: ProjectId, filter: ServiceFilter) => {
  let query = tx.selectFrom("services").where("project_id", "=", project);
  if (filter.id !== undefined) query = query.where("id", "=", filter.id);
  if (filter.name !== undefined) query = query.where(contains("name", filter.name));
  if (filter.workspaceId !== undefined) query = query.where("workspace_id", "=", filter.workspaceId);
  if (filter.inferType !== undefined) query = query.where("infer_type", "=", filter.inferType);
  if (filter.status !== undefined) query = query.where("status", "=", filter.status);
  if (filter.modelId !== undefined) {
    const modelId = filter.modelId;
    query = query.where((eb) =>
      eb.exists(
        eb
          .selectFrom("revision_models")
          .select("revision_models.model_id")
          .whereRef("revision_models.service_id", "=", "services.id")
          .whereRef("revision_models.number", "=", "services.revision")
          .where("revision_models.model_id", "=", modelId),
      ),
    );
  }
  return query;
};

/** Takes the row's lock and returns the row as it is now. */
const hold = (tx: WriteTx, id: ServiceId): Promise<ServiceRow | undefined> =>
  tx.sql
    .updateTable("services")
    .set((eb) => ({ id: eb.ref("id") }))
    .where("id", "=", id)
    .returningAll()
    .executeTakeFirst();

/**
 * Takes the rows of the models that a new revision names, in id order, so that none can be deleted before the revision
 * is committed. One that is gone already, or another project's, is refused.
 */
const holdModels = async (
  tx: WriteTx,
  project: ProjectId,
  entries: readonly RevisionEntry[],
): Promise<void> => {
  for (const id of modelIds(entries)) {
    const model = await tx.sql
      .updateTable("models")
      .set((eb) => ({ id: eb.ref("id") }))
      .where("project_id", "=", project)
      .where("id", "=", id)
      .returning("id")
      .executeTakeFirst();
    if (model === undefined) throw fail("SERVICE_MODEL_NOT_FOUND", { id });
  }
};

const modelIds = (entries: readonly RevisionEntry[]): readonly ModelId[] =>
  [...new Set(entries.map((entry) => entry.modelId))].toSorted();

const readRevision = async (
  reader: Database["read"],
  id: ServiceId,
  number: number,
): Promise<Revision | null> => {
  const row = await reader
    .selectFrom("revisions")
    .selectAll()
    .where("service_id", "=", id)
    .where("number", "=", number)
    .executeTakeFirst();
  return row === undefined ? null : toRevision(row);
};

const existingRevision = async (
  reader: Database["read"],
  id: ServiceId,
  number: number,
): Promise<Revision> => {
  const revision = await readRevision(reader, id, number);
  if (revision === null) throw new Error(`service ${id} has no revision ${number}`);
  return revision;
};

const insertRevision = async (
  tx: WriteTx,
  id: ServiceId,
  number: number,
  entries: readonly RevisionEntry[],
  createdAt: Instant,
): Promise<void> => {
  await tx.sql
    .insertInto("revisions")
    .values({
      service_id: id,
      number,
      entries: JSON.stringify(entries),
      created_at: createdAt,
      result: "RUNNING",
      reason: null,
    })
    .execute();
  for (const model of modelIds(entries)) {
    await tx.sql.insertInto("revision_models").values({ service_id: id, number, model_id: model }).execute();
  }
};

/** Null when there is no such service in the project. */
const updateOne = async (
  tx: WriteTx,
  project: ProjectId,
  id: ServiceId,
  now: Instant,
  decide: (service: Service, revision: Revision) => ServiceChange,
): Promise<{ service: Service; revision: Revision } | null> => {
  const row = await hold(tx, id);
  if (row === undefined || row.project_id !== project) return null;
  const revision = await existingRevision(tx.sql, id, row.revision);
  const change = decide(toService(row), revision);
  const written = await applyChange(tx, row, revision, now, change);
  await appendEvents(tx, "service", id, change.events);
  await recordChange(tx, "service", id);
  return written;
};

/** Writes what the user asked for; the row is held. */
const applyChange = async (
  tx: WriteTx,
  row: ServiceRow,
  current: Revision,
  now: Instant,
  change: ServiceChange,
): Promise<{ service: ReturnType<typeof toService>; revision: Revision }> => {
  const id = row.id as ServiceId;
  const set: Partial<ServiceRow> = { generation: row.generation + 1, operation_at: now };
  if (change.description !== undefined) set.description = change.description;
  if (change.schedule !== undefined) set.schedule = JSON.stringify(change.schedule);
  if (change.dueAt !== undefined) set.due_at = change.dueAt;
  if (change.additionalProperties !== undefined) {
    set.additional_properties = JSON.stringify(change.additionalProperties);
  }
  if (change.desired !== undefined) set.desired = change.desired;
  if (change.status !== undefined) {
    set.status = change.status;
    if (change.status !== row.status) set.transition_at = now;
  }
  if (change.progress !== undefined) set.progress = change.progress;
  if (change.errorMessage !== undefined) set.error_message = change.errorMessage;
  if (change.revision !== undefined) {
    const newest = await newestRevision(tx, id);
    const number = newest.number + 1;
    // Update times find history entries, so two of them never share one.
    const createdAt = instant(Math.max(now, newest.created_at + 1));
    await holdModels(tx, row.project_id as ProjectId, change.revision.entries);
    await tx.sql
      .updateTable("revisions")
      .set({ result: "FAIL", reason: SUPERSEDED })
      .where("service_id", "=", id)
      .where("result", "=", "RUNNING")
      .execute();
    await insertRevision(tx, id, number, change.revision.entries, createdAt);
    set.revision = number;
    set.update_at = createdAt;
    await pruneHistory(tx, id, number, row.serving_revision);
  }
  const written = await tx.sql
    .updateTable("services")
    .set(set)
    .where("id", "=", id)
    .returningAll()
    .executeTakeFirstOrThrow();
  const revision =
    written.revision === current.number ? current : await existingRevision(tx.sql, id, written.revision);
  return { service: toService(written), revision };
};

const newestRevision = (tx: WriteTx, id: ServiceId): Promise<{ number: number; created_at: number }> =>
  tx.sql
    .selectFrom("revisions")
    .select(["number", "created_at"])
    .where("service_id", "=", id)
    .orderBy("number", "desc")
    .limit(1)
    .executeTakeFirstOrThrow();

const pruneHistory = async (
  tx: WriteTx,
  id: ServiceId,
  newest: number,
  serving: number | null,
): Promise<void> => {
  for (const table of ["revisions", "revision_models"] as const) {
    await tx.sql
      .deleteFrom(table)
      .where("service_id", "=", id)
      .where("number", "<=", newest - HISTORY_MAX)
      .where("number", "!=", serving ?? newest)
      .execute();
  }
};

const settledColumns = (
  row: ServiceRow,
  now: Instant,
  settlement: ServiceSettlement,
): Partial<ServiceRow> => {
  const set: Partial<ServiceRow> = {};
  if (settlement.status !== undefined && settlement.status !== row.status) {
    set.status = settlement.status;
    set.transition_at = now;
  }
  if (settlement.progress !== undefined) set.progress = settlement.progress;
  if (settlement.errorMessage !== undefined) set.error_message = settlement.errorMessage;
  if (settlement.servingRevision !== undefined) set.serving_revision = settlement.servingRevision;
  if (settlement.rollbackTo !== undefined) set.revision = settlement.rollbackTo;
  if (settlement.desired !== undefined) set.desired = settlement.desired;
  if (settlement.dueAt !== undefined) set.due_at = settlement.dueAt;
  return set;
};

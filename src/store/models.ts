/** AI application versions. A version in use cannot be deleted, also not at the moment a service takes it up. */
import { sql } from "kysely";
import type { Transaction } from "kysely";
import { instant } from "../core/ids.ts";
import type { DomainId, ModelId, ProjectId, UserId } from "../core/ids.ts";
import type { Model, Published } from "../core/model.ts";
import { recordChange } from "./changes.ts";
import type { Database, WriteTx } from "./db.ts";
import { appendEvents, removeEvents } from "./events.ts";
import { contains } from "./patterns.ts";
import type { ModelRow, Tables } from "./schema.ts";
import type { ModelFilter, ModelStore } from "./store.ts";

export const createModelStore = (db: Database): ModelStore => ({
  create: (model, event) =>
    db.write(async (tx) => {
      const created = await tx.sql
        .insertInto("models")
        .values(fromModel(model))
        .onConflict((oc) => oc.columns(["project_id", "name", "version"]).doNothing())
        .returning("id")
        .executeTakeFirst();
      if (created === undefined) return "exists";
      await appendEvents(tx, "model", model.id, [event]);
      await recordChange(tx, "model", model.id);
      return "created";
    }),
  get: async (project, id) => {
    const row = await db.read
      .selectFrom("models")
      .selectAll()
      .where("project_id", "=", project)
      .where("id", "=", id)
      .executeTakeFirst();
    return row === undefined ? null : toModel(row);
  },
  byId: async (id) => {
    const row = await db.read.selectFrom("models").selectAll().where("id", "=", id).executeTakeFirst();
    return row === undefined ? null : toModel(row);
  },
  list: (project, filter) =>
    db.snapshot(async (tx) => {
      const matching = matches(tx, project, filter);
      const { total } = await matching.select(sql<number>`count(*)`.as("total")).executeTakeFirstOrThrow();
      const rows = await matching
        .selectAll()
        .orderBy(SORT_COLUMNS[filter.sortBy], filter.order)
        .orderBy("created_at", filter.order)
        .orderBy("id", filter.order)
        .offset(filter.offset)
        .limit(filter.limit)
        .execute();
      return { total, rows: rows.map(toModel) };
    }),
  versions: async (project, name) => {
    const rows = await db.read
      .selectFrom("models")
      .selectAll()
      .where("project_id", "=", project)
      .where("name", "=", name)
      .orderBy("created_at", "desc")
      .orderBy("version_key", "desc")
      .execute();
    return rows.map(toModel);
  },
  delete: (project, id) => db.write((tx) => deleteOne(tx, project, id)),
  deleteAll: (project, ids) =>
    db.write(async (tx) => {
      const outcomes = new Map<ModelId, DeleteOutcome>();
      // In id order, as services take the rows of their versions.
      for (const id of ids.toSorted()) outcomes.set(id, await deleteOne(tx, project, id));
      return ids.map((id) => outcomes.get(id) ?? "not-found");
    }),
  finish: (id, outcome, events) =>
    db.write(async (tx) => {
      const set: Partial<ModelRow> =
        "published" in outcome
          ? { status: "published", ...publishedColumns(outcome.published) }
          : { status: "failed", failure: outcome.failure };
      const done = await tx.sql
        .updateTable("models")
        .set(set)
        .where("id", "=", id)
        .where("status", "=", "publishing")
        .returning("id")
        .executeTakeFirst();
      if (done === undefined) return false;
      await appendEvents(tx, "model", id, events);
      return true;
    }),
  loaded: (id, published, events) =>
    db.write(async (tx) => {
      const done = await tx.sql
        .updateTable("models")
        .set(publishedColumns(published))
        .where("id", "=", id)
        .where("status", "=", "published")
        .where("package_digest", "is", null)
        .returning("id")
        .executeTakeFirst();
      if (done === undefined) return false;
      await appendEvents(tx, "model", id, events);
      return true;
    }),
  unfinished: async () => {
    const rows = await db.read
      .selectFrom("models")
      .select("id")
      .where("status", "=", "publishing")
      .orderBy("created_at")
      .execute();
    return rows.map((row) => row.id as ModelId);
  },
  inUse: async () => {
    const rows = await db.read
      .selectFrom("models")
      .select(["package_digest", "environment_key"])
      .where("status", "=", "published")
      .execute();
    const packages = new Set<string>();
    const environments = new Set<string>();
    for (const row of rows) {
      if (row.package_digest !== null) packages.add(row.package_digest);
      if (row.environment_key !== null) environments.add(row.environment_key);
    }
    return { packages, environments };
  },
});

const publishedColumns = (published: Published) => ({
  published: JSON.stringify(published),
  package_digest: published.packageDigest,
  environment_key: published.environmentKey,
  size_bytes: published.sizeBytes,
});

type DeleteOutcome = "deleted" | "in-use" | "not-found";

const deleteOne = async (tx: WriteTx, project: ProjectId, id: ModelId): Promise<DeleteOutcome> => {
  // Locks the row first: a service that takes the version up at this moment is either seen below or finds it gone.
  const model = await tx.sql
    .updateTable("models")
    .set((eb) => ({ id: eb.ref("id") }))
    .where("project_id", "=", project)
    .where("id", "=", id)
    .returning("id")
    .executeTakeFirst();
  if (model === undefined) return "not-found";
  const user = await tx.sql
    .selectFrom("services")
    .innerJoin("revision_models", "revision_models.service_id", "services.id")
    .select("services.id")
    .where("revision_models.model_id", "=", id)
    .where("services.desired", "!=", "deleted")
    .where((eb) =>
      eb.or([
        eb("revision_models.number", "=", eb.ref("services.revision")),
        eb("revision_models.number", "=", eb.ref("services.serving_revision")),
      ]),
    )
    .limit(1)
    .executeTakeFirst();
  if (user !== undefined) return "in-use";
  await tx.sql.deleteFrom("models").where("id", "=", id).execute();
  await removeEvents(tx, "model", id);
  await recordChange(tx, "model", id);
  return "deleted";
};

const SORT_COLUMNS = {
  create_at: "created_at",
  model_version: "version_key",
  model_size: "size_bytes",
} as const satisfies Record<ModelFilter["sortBy"], keyof ModelRow>;

const matches = (tx: Transaction<Tables>, project: ProjectId, filter: ModelFilter) => {
  let query = tx.selectFrom("models").where("project_id", "=", project);
  if (filter.name !== undefined) {
    query =
      filter.exactMatch === true
        ? query.where("name", "=", filter.name)
        : query.where(contains("name", filter.name, { underscore: "any" }));
  }
  if (filter.version !== undefined) query = query.where("version", "=", filter.version);
  if (filter.status !== undefined) query = query.where("status", "=", filter.status);
  if (filter.description !== undefined) query = query.where(contains("description", filter.description));
  if (filter.type !== undefined) query = query.where("type", "=", filter.type);
  if (filter.notType !== undefined) query = query.where("type", "!=", filter.notType);
  if (filter.workspaceId !== undefined) query = query.where("workspace_id", "=", filter.workspaceId);
  return query;
};

const VERSION_DIGITS = 12;

/** `1.10.0` → `000000000001.000000000010.000000000000`, so that text order is numeric order. */
const versionKey = (version: string): string =>
  version
    .split(".")
    .map((part) => (/^\d+$/.test(part) ? part.padStart(VERSION_DIGITS, "0") : part))
    .join(".");

const toModel = (row: ModelRow): Model => ({
  id: row.id as ModelId,
  projectId: row.project_id as ProjectId,
  domainId: row.domain_id as DomainId,
  ownerId: row.owner_id as UserId,
  workspaceId: row.workspace_id,
  name: row.name,
  version: row.version,
  type: row.type,
  description: row.description,
  installTypes: JSON.parse(row.install_types) as Model["installTypes"],
  sourceLocation: row.source_location,
  request: JSON.parse(row.request) as Model["request"],
  status: row.status as Model["status"],
  failure: row.failure,
  published: row.published === null ? null : (JSON.parse(row.published) as Published),
  createdAt: instant(row.created_at),
});

const fromModel = (model: Model): ModelRow => ({
  id: model.id,
  project_id: model.projectId,
  domain_id: model.domainId,
  owner_id: model.ownerId,
  workspace_id: model.workspaceId,
  name: model.name,
  version: model.version,
  version_key: versionKey(model.version),
  type: model.type,
  description: model.description,
  install_types: JSON.stringify(model.installTypes),
  source_location: model.sourceLocation,
  request: JSON.stringify(model.request),
  status: model.status,
  failure: model.failure,
  published: model.published === null ? null : JSON.stringify(model.published),
  package_digest: model.published?.packageDigest ?? null,
  environment_key: model.published?.environmentKey ?? null,
  size_bytes: model.published?.sizeBytes ?? 0,
  created_at: model.createdAt,
});

/**
 * Brings a database to the schema this release knows. Forward only, numbered without gaps. All missing steps run in
 * one transaction (both databases have transactional DDL), so a process killed half-way leaves the old schema; an
 * exclusive lock taken inside that transaction lets any number of processes start at once.
 */
import { sql } from "kysely";
import type { RawBuilder, Transaction } from "kysely";
import type { Instant } from "../../core/ids.ts";
import type { Tables } from "../schema.ts";
import { firstRelease } from "./0001-first-release.ts";

/** What the two databases spell differently in DDL. Text compares by bytes on both, whatever the server's locale. */
export interface ColumnTypes {
  readonly text: RawBuilder<unknown>;
  readonly autoId: RawBuilder<unknown>;
}

export interface Migration {
  readonly version: number;
  readonly name: string;
  up(db: Transaction<Tables>, types: ColumnTypes): Promise<void>;
}

export const MIGRATIONS: readonly Migration[] = [firstRelease];

const COLUMN_TYPES: Record<"sqlite" | "postgres", ColumnTypes> = {
  sqlite: { text: sql`text`, autoId: sql`integer primary key autoincrement` },
  postgres: { text: sql`text collate "C"`, autoId: sql`bigint generated always as identity primary key` },
};

/** Any fixed number; it names "the schema of a Modelport database" among the server's advisory locks. */
const LOCK = 7_310_579_628;

/** Applies what is missing inside `db`, a transaction. Throws a sentence for a database of a newer release. */
export const migrate = async (
  db: Transaction<Tables>,
  kind: "sqlite" | "postgres",
  now: Instant,
  migrations: readonly Migration[] = MIGRATIONS,
): Promise<void> => {
  // SQLite: the transaction is IMMEDIATE and holds the write lock already.
  if (kind === "postgres") await sql`select pg_advisory_xact_lock(${sql.lit(LOCK)})`.execute(db);
  await db.schema
    .createTable("schema_version")
    .ifNotExists()
    .addColumn("version", "integer", (c) => c.primaryKey())
    .addColumn("name", "text", (c) => c.notNull())
    .addColumn("applied_at", "bigint", (c) => c.notNull())
    .execute();
  const applied = await db
    .selectFrom("schema_version")
    .select("version")
    .orderBy("version", "desc")
    .execute();
  const current = applied[0]?.version ?? 0;
  const known = migrations.at(-1)?.version ?? 0;
  if (current > known) {
    throw new Error(
      `The database has schema version ${current}, but this release of Modelport knows versions up to ${known}. ` +
        "Start the newer release that wrote it, or restore a backup made by this one.",
    );
  }
  for (const migration of migrations) {
    if (migration.version <= current) continue;
    await migration.up(db, COLUMN_TYPES[kind]);
    await db
      .insertInto("schema_version")
      .values({ version: migration.version, name: migration.name, applied_at: now })
      .execute();
  }
};

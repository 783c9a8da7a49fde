/**
 * Opens a database, SQLite or PostgreSQL, and gives the rest of the store three ways in: `read` for single statements,
 * `snapshot` for several that must agree, `write` for a transaction. Everything the two databases do differently is in
 * this file, sqlite-dialect.ts, watch.ts and migrations/; the nouns do not know which one they run on.
 */
import { chmodSync, closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Kysely, PostgresDialect, PostgresQueryCompiler, SqliteQueryCompiler, sql } from "kysely";
import type { QueryCompiler, Transaction } from "kysely";
import type { CustomTypesConfig } from "pg";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../telemetry/logger.ts";
import { migrate } from "./migrations/migrate.ts";
import type { Tables } from "./schema.ts";
import { NodeSqliteDialect } from "./sqlite-dialect.ts";
import { CHANNEL, createWatch, watchPostgres, watchSqlite } from "./watch.ts";
import type { ForeignCommits } from "./watch.ts";

export type DatabaseLocation =
  | { readonly kind: "sqlite"; readonly path: string }
  | { readonly kind: "postgres"; readonly url: string };

export interface WriteTx {
  readonly sql: Transaction<Tables>;
  /** Says that this transaction writes a change row: listeners hear of it once it has committed. */
  announce(): void;
}

export interface Database {
  readonly read: Kysely<Tables>;
  snapshot<T>(work: (tx: Transaction<Tables>) => Promise<T>): Promise<T>;
  /** May run `work` again when PostgreSQL breaks a deadlock. */
  write<T>(work: (tx: WriteTx) => Promise<T>): Promise<T>;
  onChange(listener: () => void): () => void;
  close(): Promise<void>;
}

export interface DatabaseDeps {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Only while opening, when nothing else runs yet; later sqlite-dialect.ts waits without blocking. */
const OPEN_BUSY_TIMEOUT_MS = 10_000;
const POOL_MAX = 10;
const CONNECT_TIMEOUT_MS = 10_000;
const ATTEMPTS_MAX = 5;
const SERIALIZATION_FAILURE = "40001";
const DEADLOCK_DETECTED = "40P01";
const PG_UNIQUE_VIOLATION = "23505";
const SQLITE_CONSTRAINT_UNIQUE = 2067;
const PG_INT8 = 20;

/** True when a write broke a unique constraint, on either database. */
export const isUniqueViolation = (error: unknown): boolean =>
  error instanceof Error &&
  (("code" in error && error.code === PG_UNIQUE_VIOLATION) ||
    ("errcode" in error && error.errcode === SQLITE_CONSTRAINT_UNIQUE));

/** Opens the database and brings its schema up to date. */
export const openDatabase = async (location: DatabaseLocation, deps: DatabaseDeps): Promise<Database> => {
  const { db, foreign } =
    location.kind === "sqlite" ? openSqlite(location.path, deps) : await openPostgres(location.url, deps);
  try {
    await db.transaction().execute(async (tx) => migrate(tx, location.kind, deps.clock.now()));
  } catch (error) {
    await db.destroy();
    throw error;
  }
  const watch = createWatch(foreign, deps.logger);
  let closing: Promise<void> | null = null;
  return {
    read: db,
    snapshot: (work) =>
      db.transaction().setIsolationLevel("repeatable read").setAccessMode("read only").execute(work),
    write: async <T>(work: (tx: WriteTx) => Promise<T>): Promise<T> => {
      for (let attempt = 1; ; attempt++) {
        let announced = false;
        try {
          const result = await db.transaction().execute(async (tx) => {
            const value = await work({ sql: tx, announce: () => (announced = true) });
            if (announced && location.kind === "postgres")
              await sql`select pg_notify(${CHANNEL}, '')`.execute(tx);
            return value;
          });
          if (announced) watch.fire();
          return result;
        } catch (error) {
          if (attempt >= ATTEMPTS_MAX || !isRetryable(error)) throw error;
        }
      }
    },
    onChange: (listener) => watch.listen(listener),
    close: () => {
      closing ??= watch.stop().then(() => db.destroy());
      return closing;
    },
  };
};

const isRetryable = (error: unknown): boolean =>
  error instanceof Error &&
  "code" in error &&
  (error.code === SERIALIZATION_FAILURE || error.code === DEADLOCK_DETECTED);

interface Opened {
  readonly db: Kysely<Tables>;
  readonly foreign: ForeignCommits;
}

const openSqlite = (path: string, deps: DatabaseDeps): Opened => {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  // Made before SQLite makes it, readable by its owner only; SQLite gives -wal and -shm the mode of this file.
  closeSync(openSync(path, "a", 0o600));
  chmodSync(path, 0o600);
  const database = new DatabaseSync(path, {
    timeout: OPEN_BUSY_TIMEOUT_MS,
    enableForeignKeyConstraints: true,
  });
  try {
    database.exec("pragma journal_mode = wal");
    database.exec("pragma synchronous = full");
    database.exec("pragma busy_timeout = 0");
  } catch (error) {
    database.close();
    throw new Error(`The database ${path} cannot be opened: ${String(error)}`, { cause: error });
  }
  const db = new Kysely<Tables>({
    dialect: new NodeSqliteDialect(database, deps.clock, () => new SafeSqliteCompiler()),
  });
  return { db, foreign: watchSqlite(database, deps.clock) };
};

const openPostgres = async (url: string, deps: DatabaseDeps): Promise<Opened> => {
  // The driver is loaded only where it is used: SQLite needs none of it.
  const { default: pg } = await import("pg");
  const pool = new pg.Pool({
    connectionString: url,
    max: POOL_MAX,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    application_name: "modelport",
    // int8 arrives as text by default; every number we keep is below 2^53.
    types: {
      getTypeParser: (oid: number, format?: "text" | "binary") =>
        oid === PG_INT8 ? Number : pg.types.getTypeParser(oid, format ?? "text"),
    } as CustomTypesConfig,
  });
  // An idle connection that breaks is replaced at the next query; without a listener it would end the process.
  pool.on("error", (error) => deps.logger.warn({ err: error }, "database connection lost"));
  const db = new Kysely<Tables>({ dialect: new SafePostgresDialect({ pool }) });
  return { db, foreign: watchPostgres(url, deps) };
};

/**
 * PostgreSQL has no NUL in text, and neither database keeps half a surrogate pair. What user code prints and what
 * callers send may hold both, so they become U+FFFD on the way in, the same on both databases.
 */
const storable = (parameter: unknown): unknown =>
  typeof parameter === "string" ? parameter.replaceAll("\u0000", "\uFFFD").toWellFormed() : parameter;

class SafeSqliteCompiler extends SqliteQueryCompiler {
  protected override addParameter(parameter: unknown): void {
    super.addParameter(storable(parameter));
  }
}

class SafePostgresCompiler extends PostgresQueryCompiler {
  protected override addParameter(parameter: unknown): void {
    super.addParameter(storable(parameter));
  }
}

class SafePostgresDialect extends PostgresDialect {
  override createQueryCompiler(): QueryCompiler {
    return new SafePostgresCompiler();
  }
}

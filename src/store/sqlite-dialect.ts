/**
 * Kysely over `node:sqlite`. Kysely's own SQLite driver expects a better-sqlite3 shaped database and begins deferred
 * transactions; this one begins writing transactions IMMEDIATE, so two processes that read and then write take turns
 * instead of failing in the middle. There is one connection: the adapter declares it, and Kysely then lets nobody else
 * use it until a transaction is over. SQLite's own busy timeout would block the event loop while another process holds
 * the lock, so the waiting is done here.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import type { Clock } from "../core/clock.ts";
import { SqliteAdapter, SqliteIntrospector } from "kysely";
import type {
  CompiledQuery,
  DatabaseConnection,
  Dialect,
  Driver,
  Kysely,
  QueryCompiler,
  QueryResult,
  TransactionSettings,
} from "kysely";

const PREPARED_MAX = 256;
/** How long a writer waits for another process's transaction. */
const BUSY_MAX_MS = 10_000;
const BUSY_RETRY_MS = 5;
const SQLITE_BUSY = 5;

/** Runs `step`, again while another process holds the lock. */
const whenFree = async <T>(clock: Clock, step: () => T): Promise<T> => {
  const until = clock.monotonicMs() + BUSY_MAX_MS;
  for (;;) {
    try {
      return step();
    } catch (error) {
      if (!isBusy(error) || clock.monotonicMs() >= until) throw error;
    }
    await clock.sleep(BUSY_RETRY_MS);
  }
};

/** The low byte is the error, the rest its variant (SQLITE_BUSY_SNAPSHOT, SQLITE_BUSY_RECOVERY). */
const isBusy = (error: unknown): boolean =>
  error instanceof Error && "errcode" in error && (Number(error.errcode) & 0xff) === SQLITE_BUSY;

export class NodeSqliteDialect implements Dialect {
  readonly #database: DatabaseSync;
  readonly #clock: Clock;
  readonly #compiler: () => QueryCompiler;

  constructor(database: DatabaseSync, clock: Clock, compiler: () => QueryCompiler) {
    this.#database = database;
    this.#clock = clock;
    this.#compiler = compiler;
  }
  createDriver(): Driver {
    return new NodeSqliteDriver(this.#database, this.#clock);
  }
  createQueryCompiler(): QueryCompiler {
    return this.#compiler();
  }
  createAdapter(): SqliteAdapter {
    return new SqliteAdapter();
  }
  createIntrospector(db: Kysely<unknown>): SqliteIntrospector {
    return new SqliteIntrospector(db);
  }
}

class NodeSqliteDriver implements Driver {
  readonly #database: DatabaseSync;
  readonly #clock: Clock;
  readonly #connection: NodeSqliteConnection;

  constructor(database: DatabaseSync, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
    this.#connection = new NodeSqliteConnection(database, clock);
  }
  async init(): Promise<void> {}
  async acquireConnection(): Promise<DatabaseConnection> {
    return this.#connection;
  }
  async releaseConnection(): Promise<void> {}
  /** WAL gives every transaction one snapshot, so isolation levels need nothing. */
  async beginTransaction(_connection: DatabaseConnection, settings: TransactionSettings): Promise<void> {
    const begin = settings.accessMode === "read only" ? "begin" : "begin immediate";
    await whenFree(this.#clock, () => this.#database.exec(begin));
  }
  async commitTransaction(): Promise<void> {
    await whenFree(this.#clock, () => this.#database.exec("commit"));
  }
  /** SQLite rolls back by itself on some errors (disk full); a second rollback would hide the first error. */
  async rollbackTransaction(): Promise<void> {
    if (this.#database.isTransaction) this.#database.exec("rollback");
  }
  async destroy(): Promise<void> {
    this.#connection.forget();
    this.#database.close();
  }
}

class NodeSqliteConnection implements DatabaseConnection {
  readonly #database: DatabaseSync;
  readonly #clock: Clock;
  readonly #prepared = new Map<string, { statement: StatementSync; reads: boolean }>();

  constructor(database: DatabaseSync, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }
  forget(): void {
    this.#prepared.clear();
  }
  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const parameters = query.parameters as SQLInputValue[];
    return whenFree(this.#clock, () => {
      const { statement, reads } = this.#prepare(query.sql);
      if (reads) return { rows: statement.all(...parameters) as R[] };
      return { rows: [], numAffectedRows: BigInt(statement.run(...parameters).changes) };
    });
  }
  streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error("streamQuery is not supported: it would hold the only connection");
  }
  /** Preparing costs more than most of our queries; their number is fixed but for lists of values. */
  #prepare(text: string): { statement: StatementSync; reads: boolean } {
    const known = this.#prepared.get(text);
    if (known !== undefined) return known;
    const statement = this.#database.prepare(text);
    const entry = { statement, reads: statement.columns().length > 0 };
    if (this.#prepared.size >= PREPARED_MAX) this.#prepared.clear();
    this.#prepared.set(text, entry);
    return entry;
  }
}

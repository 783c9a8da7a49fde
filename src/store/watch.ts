/**
 * Tells listeners that a change was committed: at once for this process's own commits, within a second for another's.
 * SQLite has no messages between processes, so its data_version is polled. PostgreSQL sends NOTIFY; the listening
 * connection also asks for the last change number every second, which finds a dead connection and repairs a missed
 * message in one. Watching starts with the first listener.
 */
import type { DatabaseSync } from "node:sqlite";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../telemetry/logger.ts";

/** The PostgreSQL notification channel. */
export const CHANNEL = "modelport_changes";

/** Follows the commits of other processes until `signal` aborts; `fire` is cheap and may be called without cause. */
export type ForeignCommits = (fire: () => void, signal: AbortSignal) => Promise<void>;

export interface Watch {
  listen(listener: () => void): () => void;
  fire(): void;
  stop(): Promise<void>;
}

const SQLITE_POLL_MS = 500;
const HEARTBEAT_MS = 1000;
const HEARTBEAT_TIMEOUT_MS = 5000;
const CONNECT_TIMEOUT_MS = 5000;
const BACKOFF_MIN_MS = 100;
const BACKOFF_MAX_MS = 5000;

export const createWatch = (foreign: ForeignCommits, logger: Logger): Watch => {
  const listeners = new Set<() => void>();
  const stopping = new AbortController();
  let following: Promise<void> | null = null;
  const fire = (): void => {
    for (const listener of listeners) {
      try {
        listener();
      } catch (error) {
        logger.error({ err: error }, "change listener failed");
      }
    }
  };
  return {
    fire,
    listen: (listener) => {
      // A wrapper of its own, so the same function may listen twice and stop once.
      const own = (): void => listener();
      listeners.add(own);
      if (!stopping.signal.aborted) {
        following ??= foreign(fire, stopping.signal).catch((error: unknown) => {
          logger.error({ err: error }, "changes of other processes are no longer followed");
        });
      }
      return () => listeners.delete(own);
    },
    stop: async () => {
      stopping.abort();
      listeners.clear();
      await following;
    },
  };
};

/** `data_version` changes only when another connection commits. */
export const watchSqlite =
  (database: DatabaseSync, clock: Clock): ForeignCommits =>
  async (fire, signal) => {
    // Null while another process recovers the file: then something may have changed, and the next poll tells.
    const version = (): unknown => {
      try {
        return database.prepare("pragma data_version").get()?.["data_version"] ?? null;
      } catch {
        return null;
      }
    };
    let seen = version();
    while (!signal.aborted) {
      await clock.sleep(SQLITE_POLL_MS, signal);
      if (signal.aborted) return;
      const now = version();
      if (now === null || now !== seen) fire();
      seen = now;
    }
  };

export const watchPostgres =
  (url: string, deps: { clock: Clock; logger: Logger }): ForeignCommits =>
  async (fire, signal) => {
    const { clock, logger } = deps;
    let backoffMs = BACKOFF_MIN_MS;
    while (!signal.aborted) {
      try {
        await listenOnce(url, clock, fire, signal, () => (backoffMs = BACKOFF_MIN_MS));
      } catch (error) {
        if (signal.aborted) return;
        logger.warn({ err: error, backoffMs }, "change notifications interrupted");
      }
      await clock.sleep(backoffMs, signal);
      backoffMs = Math.min(backoffMs * 2, BACKOFF_MAX_MS);
    }
  };

/** One connection's life. Ends by throwing when the connection is lost, by returning when `signal` aborts. */
const listenOnce = async (
  url: string,
  clock: Clock,
  fire: () => void,
  signal: AbortSignal,
  connected: () => void,
): Promise<void> => {
  // Loaded by db.ts already; imported above it would be loaded for SQLite too.
  const { default: pg } = await import("pg");
  const client = new pg.Client({
    connectionString: url,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: HEARTBEAT_TIMEOUT_MS,
    application_name: "modelport changes",
  });
  const lost = new AbortController();
  client.on("error", (error) => lost.abort(error));
  client.on("end", () => lost.abort(new Error("the database closed the connection")));
  client.on("notification", fire);
  try {
    await client.connect();
    await client.query(`listen ${CHANNEL}`);
    connected();
    // Whatever was committed while nobody listened.
    fire();
    const either = AbortSignal.any([signal, lost.signal]);
    let seen: unknown = null;
    while (!either.aborted) {
      const head: unknown = (await client.query("select value from counters where name = 'changes'")).rows[0]
        ?.value;
      if (seen !== null && head !== seen) fire();
      seen = head;
      await clock.sleep(HEARTBEAT_MS, either);
    }
    if (!signal.aborted) throw lost.signal.reason;
  } finally {
    // A broken connection cannot say goodbye; ending it must not fail what we are here for.
    await client.end().catch(() => undefined);
  }
};

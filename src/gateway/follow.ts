/**
 * Keeps the table current: loads the last good one from disk at start, then follows control by long poll. Order matters:
 *
 *   receive → check → apply in memory → keep on disk → acknowledge (the next poll's `applied`)
 *
 * Applied before acknowledged, because control ends instances once their absence is acknowledged. Kept before
 * acknowledged, because a gateway that restarts while control is down must not go back to a table with ended instances.
 * A disk that refuses is logged and does not hold up the acknowledgement: routing right now outweighs a later restart.
 */
import { open, readFile, rename } from "node:fs/promises";
import type { Clock } from "../core/clock.ts";
import type { RoutingTable } from "../core/routing-table.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { ControlClient } from "./control-client.ts";
import type { Metrics } from "./metrics.ts";
import { readTable } from "./table-shape.ts";
import type { Table } from "./table.ts";

const WAIT_MS = 20_000;
const BACKOFF_MS = [100, 200, 500, 1_000, 2_000] as const;

export interface FollowDeps {
  readonly table: Pick<Table, "version">;
  /** Resolves when every thread routes by it. Rejects on a bad key, with nothing changed. */
  readonly apply: (table: RoutingTable) => Promise<void>;
  readonly control: ControlClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly tableFile: string;
  readonly gatewayId: string;
  /** Ids of dead gateways: until one poll of ours has been answered they stand for us, so no update passes us by. */
  readonly replaces: readonly string[];
}

/** Applies the last good table when there is one. A damaged file is reported and otherwise treated as absent. */
export const loadTable = async (deps: FollowDeps): Promise<void> => {
  let text: string;
  try {
    text = await readFile(deps.tableFile, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT")
      deps.logger.warn({ err: error }, "table file unreadable");
    return;
  }
  const read = readTable(text);
  if (!read.ok) {
    deps.logger.warn({ reason: read.reason }, "table file damaged");
    return;
  }
  try {
    await deps.apply(read.table);
    deps.logger.info({ version: read.table.version }, "table loaded from disk");
  } catch (error) {
    deps.logger.warn({ err: error }, "table file damaged");
  }
};

/**
 * Makes this gateway known to control before it takes a request: what routes by a table must be waited for, and during
 * an upgrade the gateway beside it may be acknowledging newer ones. Control that is down ends nothing meanwhile.
 */
export const announce = async (deps: FollowDeps, timeoutMs: number, signal: AbortSignal): Promise<void> => {
  await poll(deps, { waitMs: 0, replaces: deps.replaces, timeoutMs }, signal).catch(() => undefined);
};

/** Follows until `signal` aborts. Never throws. */
export const followTable = async (deps: FollowDeps, signal: AbortSignal): Promise<void> => {
  let failures = 0;
  let { replaces } = deps;
  while (!signal.aborted) {
    const waitMs = failures === 0 ? WAIT_MS : 0;
    const round = { waitMs, replaces, timeoutMs: waitMs + 10_000 };
    const outcome = await poll(deps, round, signal).catch((error: unknown) => error);
    if (signal.aborted) return;
    if (outcome === undefined) {
      if (failures > 0) deps.logger.info({ failures }, "control answers again");
      failures = 0;
      replaces = [];
      continue;
    }
    if (failures === 0) deps.logger.warn({ err: outcome }, "control does not answer with a table");
    await deps.clock.sleep(BACKOFF_MS[Math.min(failures, BACKOFF_MS.length - 1)] ?? 2_000, signal);
    failures += 1;
  }
};

/** One round. Throws when no usable answer came. */
const poll = async (
  deps: FollowDeps,
  round: { readonly waitMs: number; readonly timeoutMs: number; readonly replaces: readonly string[] },
  signal: AbortSignal,
): Promise<void> => {
  const { table, metrics } = deps;
  const { waitMs, timeoutMs, replaces } = round;
  const query = new URLSearchParams({
    gateway: deps.gatewayId,
    // -1 before the first table: control's first version may be 0.
    applied: String(table.version ?? -1),
    wait_ms: String(table.version === null ? 0 : waitMs),
  });
  for (const id of replaces) query.append("replaces", id);
  try {
    const answer = await deps.control.send({
      method: "GET",
      path: `/internal/table?${query.toString()}`,
      timeoutMs,
      signal,
    });
    if (answer.status !== 204 && answer.status !== 200) throw new Error(`control answered ${answer.status}`);
    metrics.isControlReachable = true;
    if (answer.status === 204) {
      // Without a table to compare with there is nothing to wait for yet; do not spin.
      if (table.version === null) await deps.clock.sleep(BACKOFF_MS[0], signal);
      return;
    }
    const read = readTable(answer.text);
    if (!read.ok) throw new Error(`table refused: ${read.reason}`);
    // Older is fine: after a restore control's versions may have gone back, and control is the one to believe.
    if (read.table.version === table.version) throw new Error("control repeats the table it was told of");
    await deps.apply(read.table);
    metrics.prune();
    await keep(deps, read.table);
  } catch (error) {
    metrics.isControlReachable = false;
    throw error;
  }
};

/** Replaces the file in one step: a reader finds the old table or the new one, whole. */
const keep = async (deps: FollowDeps, table: RoutingTable): Promise<void> => {
  const scratch = `${deps.tableFile}.new`;
  try {
    const file = await open(scratch, "w", 0o600);
    try {
      await file.writeFile(JSON.stringify(table));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(scratch, deps.tableFile);
  } catch (error) {
    deps.logger.error({ err: error }, "table not kept on disk");
  }
};

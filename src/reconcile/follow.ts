/**
 * The fast path: hands every row of the change log that comes after its start to the loops. A row that is lost with a
 * crash between reading and passing is no harm: each loop starts with a full pass.
 */
import type { Clock } from "../core/clock.ts";
import type { Change, ChangeLog } from "../store/store.ts";
import type { Logger } from "../telemetry/logger.ts";

const BATCH = 500;
const RETRY_MS = 1000;

/** Follows from now on; resolves once the cursor is set, so that a full pass started after it misses nothing. */
export const followChanges = async (deps: {
  readonly changes: ChangeLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onChange: (change: Change) => void;
}): Promise<{ stop(): Promise<void> }> => {
  const { changes, clock } = deps;
  const stopping = new AbortController();
  let cursor = await changes.head();
  let isBehind = true;
  let wake: (() => void) | null = null;
  const unsubscribe = changes.onChange(() => {
    isBehind = true;
    wake?.();
  });

  const follow = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      if (!isBehind) await new Promise<void>((resolve) => (wake = resolve));
      if (stopping.signal.aborted) return;
      isBehind = false;
      try {
        for (;;) {
          const rows = await changes.after(cursor, BATCH);
          for (const row of rows) {
            deps.onChange(row);
            cursor = row.seq;
          }
          if (rows.length < BATCH) break;
        }
      } catch (error) {
        deps.logger.error({ err: error, cursor }, "change log unreadable");
        isBehind = true;
        await clock.sleep(RETRY_MS, stopping.signal);
      }
    }
  };
  const following = follow();
  return {
    stop: async () => {
      stopping.abort();
      unsubscribe();
      wake?.();
      await following;
    },
  };
};

/** Waiting in tests of real processes: for a condition, never for a time. */
import { setTimeout as sleep } from "node:timers/promises";

const LOOK_EVERY_MS = 20;

/**
 * Waits until `check` gives something else than null or false, and returns it. A check that throws counts as not yet.
 * Fails after a time no healthy run needs, saying what it waited for.
 */
export const until = async <T>(
  what: string,
  check: () => Promise<T | null | false> | T | null | false,
  timeoutMs = 60_000,
): Promise<T> => {
  const deadline = performance.now() + timeoutMs;
  let last: unknown = null;
  while (performance.now() < deadline) {
    try {
      const found = await check();
      if (found !== null && found !== false) return found;
    } catch (error) {
      last = error;
    }
    await sleep(LOOK_EVERY_MS);
  }
  throw new Error(`waited ${timeoutMs} ms in vain for ${what}`, { cause: last });
};

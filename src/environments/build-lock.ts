/** One builder per environment, also across processes: waits for the lock of a key. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { tryLock } from "../telemetry/process-lock.ts";

const LOOK_AGAIN_MS = 200;

/** Waits for the lock and returns how to release it. Rejects with the signal's reason when it aborts. */
export const acquireBuildLock = async (
  deps: { dir: string; clock: Clock; onWait: () => void },
  name: string,
  signal: AbortSignal,
): Promise<() => void> => {
  await mkdir(deps.dir, { recursive: true });
  const path = join(deps.dir, `${name}.lock`);
  for (let told = false; ; told = true) {
    signal.throwIfAborted();
    const attempt = tryLock(path);
    if (attempt.isHeld) return attempt.release;
    if (!told) deps.onWait();
    await deps.clock.sleep(LOOK_AGAIN_MS, signal);
  }
};

/**
 * One builder per environment, also across processes: a lock file that names its holder. It appears whole (written aside,
 * then linked) and a lock whose holder is gone is recognised and taken away.
 */
import { randomUUID } from "node:crypto";
import { link, mkdir, readFile, rename, rm, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { isAlive, parseIdentity, self } from "../telemetry/process-identity.ts";

const LOOK_AGAIN_MS = 200;

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

const tryLock = async (dir: string, path: string): Promise<boolean> => {
  const aside = join(dir, `${randomUUID()}.lock-new`);
  await writeFile(aside, JSON.stringify(self()));
  try {
    await link(aside, path);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  } finally {
    await rm(aside, { force: true });
  }
};

/** Takes a lock away whose holder is gone. */
const breakStale = async (dir: string, path: string): Promise<void> => {
  const text = await readFile(path, "utf8").catch(() => null);
  if (text === null) return;
  const holder = parseIdentity(text);
  if (holder !== null && isAlive(holder)) return;
  const aside = join(dir, `${randomUUID()}.lock-old`);
  try {
    await rename(path, aside);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    throw error;
  }
  // Between reading and renaming another process may have broken the lock and taken it: then it is given back.
  if ((await readFile(aside, "utf8")) !== text) await link(aside, path).catch(() => undefined);
  await unlink(aside);
};

/** Waits for the lock and returns how to release it. Rejects with the signal's reason when it aborts. */
export const acquireBuildLock = async (
  deps: { dir: string; clock: Clock; onWait: () => void },
  name: string,
  signal: AbortSignal,
): Promise<() => Promise<void>> => {
  await mkdir(deps.dir, { recursive: true });
  const path = join(deps.dir, `${name}.lock`);
  for (let told = false; ;) {
    signal.throwIfAborted();
    if (await tryLock(deps.dir, path)) return () => rm(path, { force: true });
    await breakStale(deps.dir, path);
    if (await tryLock(deps.dir, path)) return () => rm(path, { force: true });
    if (!told) deps.onWait();
    told = true;
    await deps.clock.sleep(LOOK_AGAIN_MS, signal);
  }
};

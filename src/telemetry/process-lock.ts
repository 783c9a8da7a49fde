/**
 * A lock between processes: a file that names its holder. It appears whole (written beside its place, then linked into
 * it, which fails when somebody else was first), and one whose holder is gone is recognised and taken away. Synchronous,
 * so that nothing else of this process can happen between looking and taking.
 */
import { randomUUID } from "node:crypto";
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { isAlive, parseIdentity, self } from "./process-identity.ts";
import type { ProcessIdentity } from "./process-identity.ts";

export interface HeldLock {
  readonly isHeld: true;
  readonly release: () => void;
  /** Makes another process the holder, in one step; from then on `release` does nothing. */
  readonly passTo: (heir: ProcessIdentity) => void;
}
export type LockAttempt =
  | HeldLock
  /** Null: it went from hand to hand while we looked. */
  | { readonly isHeld: false; readonly holder: ProcessIdentity | null };

const ATTEMPTS_MAX = 3;

/** Takes the lock for this process, or says who has it. Its folder must be there. */
export const tryLock = (path: string): LockAttempt => {
  const own = JSON.stringify(self());
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    if (put(path, own)) return held(path, own);
    const found = read(path);
    const holder = found === null ? null : parseIdentity(found);
    if (holder !== null && isAlive(holder)) return { isHeld: false, holder };
    if (found !== null) takeAway(path, found);
  }
  return { isHeld: false, holder: null };
};

/** The lock a predecessor passed to this process; null when it is somebody else's, or nobody's. */
export const receiveLock = (path: string): HeldLock | null => {
  const own = JSON.stringify(self());
  return read(path) === own ? held(path, own) : null;
};

const held = (path: string, own: string): HeldLock => ({
  isHeld: true,
  release: () => {
    if (read(path) === own) rmSync(path, { force: true });
  },
  passTo: ({ pid, startedAt }) => {
    const beside = `${path}.${randomUUID()}`;
    writeFileSync(beside, JSON.stringify({ pid, startedAt }), { flag: "wx", mode: 0o600 });
    // Over the old one: at no moment is there no lock, or one whose holder is gone.
    renameSync(beside, path);
  },
});

/** False when there is one already. */
const put = (path: string, text: string): boolean => {
  const beside = `${path}.${randomUUID()}`;
  try {
    // On a full disk the file is made and cannot be written.
    writeFileSync(beside, text, { flag: "wx", mode: 0o600 });
    linkSync(beside, path);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(beside, { force: true });
  }
};

/** Moved away rather than deleted: of two that find it stale, one gets it and the other finds nothing to move. */
const takeAway = (path: string, stale: string): void => {
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    throw error;
  }
  // Between reading and moving another process may have done the same and taken the lock: then it is given back.
  const moved = read(aside);
  if (moved !== null && moved !== stale) put(path, moved);
  rmSync(aside, { force: true });
};

const read = (path: string): string | null => {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw error;
  }
};

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/**
 * The process runner's files, and the lock that keeps a second runner away from them:
 *
 *   instances/runner.lock                 who runs here: pid and start
 *   instances/users.json                  which user a service's code runs as
 *   instances/<group>/group.json          the group's specification and the next instance number
 *   instances/<group>/<n>/spec.json       what the instance program was started with (LaunchSpec)
 *                         process.json    its pid and start; written right after the start
 *                         address.json    written by the instance once it listens
 *                         ending          it was told to end
 *                         scratch/        its own
 *   logs/<group>/<instance>.log[.1]       what it prints; outlives the instance
 *
 * JSON is written beside its place and renamed, so a reader finds all of it or nothing. Synchronous on purpose: the
 * files are tiny, and nothing else can happen between remembering a start and making it.
 */
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { GroupId } from "../../core/ids.ts";
import type { GroupSpec } from "../runner.ts";
import { tryLock } from "../../telemetry/process-lock.ts";

export interface GroupRecord {
  readonly spec: GroupSpec;
  readonly next: number;
}

export interface RunnerFiles {
  readonly instances: string;
  readonly logs: string;
}

export const filesIn = (dataDir: string): RunnerFiles => ({
  instances: join(dataDir, "instances"),
  logs: join(dataDir, "logs"),
});

export const writeJson = (path: string, value: unknown): void => {
  const beside = `${path}.${process.pid}.tmp`;
  writeFileSync(beside, JSON.stringify(value), { mode: 0o600 });
  renameSync(beside, path);
};

/** Null when there is none or it is damaged (a disk that was full, at most; the rename keeps halves away). */
export const readJson = (path: string): unknown => {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as unknown;
  } catch {
    return null;
  }
};

export const remove = (path: string): void => rmSync(path, { recursive: true, force: true });

export const listNames = (directory: string): readonly string[] => {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
};

/** Groups that an earlier process left, with the numbers of their instances. */
export const leftGroups = (
  files: RunnerFiles,
): readonly { id: GroupId; record: GroupRecord | null; numbers: readonly number[] }[] =>
  listNames(files.instances)
    .filter((name) => name !== LOCK && !name.startsWith(`${LOCK}.`) && !name.startsWith(USERS))
    .map((name) => ({
      id: name as GroupId,
      record: readJson(join(files.instances, name, "group.json")) as GroupRecord | null,
      numbers: listNames(join(files.instances, name))
        .filter((n) => /^\d+$/.test(n))
        .map(Number)
        .toSorted((a, b) => a - b),
    }));

/** One more than any number that the group's record or its logs know. */
export const nextNumber = (files: RunnerFiles, group: GroupId): number => {
  const record = readJson(join(files.instances, group, "group.json")) as GroupRecord | null;
  const logged = listNames(join(files.logs, group)).map((name) =>
    Number(/-(\d+)\.log(\.1)?$/.exec(name)?.[1] ?? 0),
  );
  return Math.max(record?.next ?? 1, 1 + Math.max(0, ...logged));
};

const LOCK = "runner.lock";
const USERS = "users.json";

export const usersFile = (dataDir: string): string => join(filesIn(dataDir).instances, USERS);

/** Takes the directory for this process; throws when a living one has it. Returns the way to let go. */
export const lock = (files: RunnerFiles): (() => void) => {
  mkdirSync(files.instances, { recursive: true, mode: 0o700 });
  const attempt = tryLock(join(files.instances, LOCK));
  if (attempt.isHeld) return attempt.release;
  throw new Error(
    `The data directory is in use: process ${attempt.holder?.pid ?? "(unknown)"} runs instances from ${files.instances}. ` +
      "Stop that platform first, or choose another data directory.",
  );
};

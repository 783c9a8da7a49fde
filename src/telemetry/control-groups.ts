/**
 * What is done with a kernel control group once it exists: a process is put in, everything in it is ended, and it is
 * asked whether the kernel ended something there for want of memory. A group is one directory (cgroup v2) or one
 * directory per controller (v1); who makes and removes them is runners/process/cgroups.ts.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sendSignal } from "./process-identity.ts";

/** A member can start another between two looks; the group is closed for new ones first, so one more look finds all. */
const LOOKS_MAX = 5;

/** Makes a group below another. */
export const subgroupOf = (directories: readonly string[], name: string): readonly string[] =>
  directories.map((directory) => {
    const below = join(directory, name);
    mkdirSync(below, { recursive: true });
    return below;
  });

/** Moves a process in; throws when the kernel does not let it. */
export const putInto = (directories: readonly string[], pid: number): void => {
  for (const directory of directories) writeFileSync(join(directory, "cgroup.procs"), String(pid));
};

/** Ends every process of the group, also those that left the process group of whoever started them. */
export const endMembers = (directories: readonly string[]): void => {
  for (const directory of directories) {
    try {
      if (existsSync(join(directory, "cgroup.kill"))) {
        writeFileSync(join(directory, "cgroup.kill"), "1");
        continue;
      }
      const isClosed = setStarts(directory, "0");
      for (let look = 0; look < LOOKS_MAX; look++) {
        const members = membersOf([directory]);
        for (const pid of members) sendSignal(pid, "SIGKILL", "process");
        if (members.length === 0) break;
      }
      if (isClosed) setStarts(directory, "max");
    } catch {
      // The group is gone, and nothing is left in it.
    }
  }
};

export const membersOf = (directories: readonly string[]): readonly number[] => [
  ...new Set(
    directories.flatMap((directory) =>
      read(join(directory, "cgroup.procs"))
        .split("\n")
        .filter((line) => line !== "")
        .map(Number),
    ),
  ),
];

/** How often the kernel ended a process of the group because its memory was used up. */
export const outOfMemoryCount = (directories: readonly string[]): number =>
  directories.reduce((sum, directory) => {
    const text = read(join(directory, "memory.events")) + read(join(directory, "memory.oom_control"));
    return sum + Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
  }, 0);

/** How many processes may be in the group; false where it does not count them. */
const setStarts = (directory: string, max: string): boolean => {
  const file = join(directory, "pids.max");
  if (!existsSync(file)) return false;
  writeFileSync(file, max);
  return true;
};

const read = (file: string): string => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
};

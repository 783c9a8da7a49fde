/**
 * Tells whether a process recorded earlier still lives. A pid alone is not enough, because numbers are given out again:
 * the moment of its start goes with it.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";

export interface ProcessIdentity {
  readonly pid: number;
  /** Opaque; equal for the same process, different for a later one with the same pid. */
  readonly started: string;
}

const startOf = async (pid: number): Promise<string | null> => {
  if (process.platform === "linux") {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
    if (stat === null) return null;
    // The program's name may hold spaces and brackets: fields are counted from the last one. A zombie is gone.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
    return fields[0] === "Z" ? null : `${boot.trim()}:${fields[19] ?? ""}`;
  }
  return new Promise((resolve) => {
    execFile("ps", ["-o", "lstart=", "-p", String(pid)], (error, stdout) => {
      resolve(error === null ? stdout.trim() : null);
    });
  });
};

export const identify = async (pid: number): Promise<ProcessIdentity | null> => {
  const started = await startOf(pid);
  return started === null ? null : { pid, started };
};

export const isAlive = async (identity: ProcessIdentity): Promise<boolean> =>
  (await startOf(identity.pid)) === identity.started;

/** Reads a recorded identity back; null when the text is none. */
export const parseIdentity = (text: string): ProcessIdentity | null => {
  try {
    const value = JSON.parse(text) as Partial<ProcessIdentity> | null;
    return typeof value?.pid === "number" && typeof value.started === "string"
      ? { pid: value.pid, started: value.started }
      : null;
  } catch {
    return null;
  }
};

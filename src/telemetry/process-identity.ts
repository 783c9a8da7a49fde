/**
 * Who a process is, beyond its number: pid plus start time, so a pid that was reused is never taken for ours. Used by
 * every lock and by every record of a process that may outlive us.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

export interface ProcessIdentity {
  readonly pid: number;
  /** Opaque: ticks since boot (and the boot's id) on Linux, the start date elsewhere. */
  readonly startedAt: string;
}

const linuxBootId = (): string => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();

/** Null when there is no such process (a zombie counts as none: it runs nothing any more). */
export const identify = (pid: number): ProcessIdentity | null => {
  if (process.platform === "linux") {
    try {
      // The command may contain spaces and parentheses; the fields after the last ")" are fixed (proc(5)).
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (fields[0] === "Z" || fields[0] === "X") return null;
      return { pid, startedAt: `${linuxBootId()}:${fields[19]}` };
    } catch {
      return null;
    }
  }
  try {
    const started = execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).trim();
    return started === "" ? null : { pid, startedAt: started };
  } catch {
    return null;
  }
};

export const isAlive = (identity: ProcessIdentity): boolean =>
  identify(identity.pid)?.startedAt === identity.startedAt;

/** This process. */
export const self = (): ProcessIdentity =>
  identify(process.pid) ?? { pid: process.pid, startedAt: "unknown" };

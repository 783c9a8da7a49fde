/**
 * Which process a pid means. Pids are used again, so a process is named by its pid and the moment it started, and on
 * Linux by the boot it started in, because that moment is counted from there. Used by every lock and by every record of
 * a process that may outlive us; also the one way to signal such a process.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

export interface ProcessIdentity {
  readonly pid: number;
  /** Opaque; equal for two looks at the same process. */
  readonly startedAt: string;
}

const isLinux = process.platform === "linux";

const bootId = (): string => {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "unknown";
  }
};

/** The process that has this pid now; null when there is none, or only what is left of one (a zombie). */
export const identify = (pid: number): ProcessIdentity | null => {
  const startedAt = isLinux ? startOnLinux(pid) : startByPs(pid);
  return startedAt === null ? null : { pid, startedAt };
};

/** Whether the process still runs. */
export const isAlive = (who: ProcessIdentity): boolean => identify(who.pid)?.startedAt === who.startedAt;

/** False for a process of an earlier boot, whose number means nothing any more. */
export const isOfThisBoot = (who: ProcessIdentity): boolean =>
  !isLinux || who.startedAt.startsWith(`${bootId()}:`);

/** This process. */
export const self = (): ProcessIdentity => {
  const own = identify(process.pid);
  if (own === null) throw new Error("this process cannot be identified; is /proc mounted?");
  return own;
};

/** Reads back what was written down as JSON; null when the text is no such record. */
export const parseIdentity = (text: string): ProcessIdentity | null => {
  try {
    const value = JSON.parse(text) as Partial<ProcessIdentity> | null;
    return typeof value?.pid === "number" && typeof value.startedAt === "string"
      ? { pid: value.pid, startedAt: value.startedAt }
      : null;
  } catch {
    return null;
  }
};

/** Sends a signal to a process, or to the group it leads; that nobody is left to get it is fine. */
export const sendSignal = (pid: number, signal: NodeJS.Signals, scope: "process" | "group"): void => {
  try {
    process.kill(scope === "group" && process.platform !== "win32" ? -pid : pid, signal);
  } catch {
    // ESRCH: gone
  }
};

const startOnLinux = (pid: number): string | null => {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return null;
  }
  // The command may hold spaces and parentheses; the fields after its closing one are fixed (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, startTime] = [fields[0], fields[19]];
  if (state === undefined || startTime === undefined || "ZXx".includes(state)) return null;
  return `${bootId()}:${startTime}`;
};

const startByPs = (pid: number): string | null => {
  try {
    const line = execFileSync("ps", ["-o", "state=,lstart=", "-p", String(pid)], { encoding: "utf8" }).trim();
    const [state, ...start] = line.split(/\s+/);
    return state === undefined || state === "" || state.startsWith("Z") ? null : start.join(" ");
  } catch {
    return null;
  }
};

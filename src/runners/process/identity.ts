/**
 * Which process a pid means. Pids are used again, so a process is named by its pid and the moment it was born, and on
 * Linux by the boot it was born in, because birth is counted from there. Only this file looks at /proc and `ps`.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";

export interface ProcessIdentity {
  readonly pid: number;
  /** Opaque; equal for two looks at the same process. */
  readonly born: string;
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
  const born = isLinux ? bornOnLinux(pid) : bornByPs(pid);
  return born === null ? null : { pid, born };
};

/** Whether the process still runs. */
export const isAlive = (who: ProcessIdentity): boolean => identify(who.pid)?.born === who.born;

const bornOnLinux = (pid: number): string | null => {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return null;
  }
  // The command may hold spaces and parentheses; fields are counted from its closing one.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, startTime] = [fields[0], fields[19]];
  if (state === undefined || startTime === undefined || "ZXx".includes(state)) return null;
  return `${bootId()}:${startTime}`;
};

const bornByPs = (pid: number): string | null => {
  try {
    const line = execFileSync("ps", ["-o", "state=,lstart=", "-p", String(pid)], { encoding: "utf8" }).trim();
    const [state, ...start] = line.split(/\s+/);
    return state === undefined || state === "" || state.startsWith("Z") ? null : start.join(" ");
  } catch {
    return null;
  }
};

/** Sends a signal to a process, or to its whole group; false when there is none. */
export const send = (pid: number, signal: NodeJS.Signals, scope: "process" | "group"): boolean => {
  try {
    return process.kill(scope === "group" ? -pid : pid, signal);
  } catch {
    return false;
  }
};

/**
 * Ends what is left of a group whose leader is gone. A pid is not given out again while a group of that number has
 * members, so a living process with this pid means that the old group is empty and the number is somebody else's.
 */
export const sweepGroup = (who: ProcessIdentity): void => {
  if (isLinux && !who.born.startsWith(`${bootId()}:`)) return;
  if (identify(who.pid) === null) send(who.pid, "SIGKILL", "group");
};

/** The process that was started with this argument; for one that was started a moment before its starter died. */
export const findByArgument = (argument: string): ProcessIdentity | null => {
  for (const { pid, command } of commands()) {
    if (command.includes(argument) && pid !== process.pid) return identify(pid);
  }
  return null;
};

const commands = function* (): Generator<{ pid: number; command: readonly string[] }> {
  if (isLinux) {
    for (const name of readdirSync("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      try {
        yield { pid: Number(name), command: readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0") };
      } catch {
        // It ended while we looked, or is not ours to look at.
      }
    }
    return;
  }
  for (const line of execFileSync("ps", ["-axo", "pid=,command="], { encoding: "utf8" }).split("\n")) {
    const [pid, ...command] = line.trim().split(" ");
    yield { pid: Number(pid), command };
  }
};

/** Finds and ends what instances leave behind: processes of their group, and ones that were never written down. */
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { identify, isOfThisBoot, sendSignal } from "../../telemetry/process-identity.ts";
import type { ProcessIdentity } from "../../telemetry/process-identity.ts";

/**
 * Ends what is left of a group whose leader is gone. A pid is not given out again while a group of that number has
 * members, so a living process with this pid means that the old group is empty and the number is somebody else's.
 */
export const sweepGroup = (who: ProcessIdentity): void => {
  if (isOfThisBoot(who) && identify(who.pid) === null) sendSignal(who.pid, "SIGKILL", "group");
};

/** The process that was started with this argument; for one that was started a moment before its starter died. */
export const findByArgument = (argument: string): ProcessIdentity | null => {
  for (const { pid, command } of commands()) {
    if (command.includes(argument) && pid !== process.pid) return identify(pid);
  }
  return null;
};

const commands = function* (): Generator<{ pid: number; command: readonly string[] }> {
  if (process.platform === "linux") {
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

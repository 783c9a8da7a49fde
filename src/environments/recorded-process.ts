/** Reads back which process was written down: the holder of a lock, the owner of an unfinished build. */
import type { ProcessIdentity } from "../telemetry/process-identity.ts";

/** Null when the text is no such record. */
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

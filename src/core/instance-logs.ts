/** How the API reads what instances print, without knowing where they run. Implemented over the runner. */
import type { GroupId } from "./ids.ts";

export interface InstanceLogs {
  /** The last `tail` lines, oldest first; with `follow`, new ones until `signal` aborts. */
  read(
    groups: readonly GroupId[],
    options: { tail: number; follow: boolean; signal: AbortSignal },
  ): AsyncIterable<{ readonly instance: string; readonly text: string }>;
}

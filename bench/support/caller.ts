/** Runs the open-loop load (caller-process.ts) in a process of its own and reads what it recorded. */
import { join } from "node:path";
import { quantile } from "./bench.ts";
import type { Bench } from "./bench.ts";
import type { Call, Run } from "./caller-process.ts";

export type { Call, Run } from "./caller-process.ts";

export interface Ongoing {
  /** Sends no more; resolves when the last has ended. */
  stop(): Promise<readonly Call[]>;
  /** Resolves when a run with an end is over. */
  readonly calls: Promise<readonly Call[]>;
}

/** What a run that names nothing else does: fresh callers that give up after ten seconds and do not come back. */
export const RUN = { connectionsMax: 1_000, timeoutMs: 10_000, obedient: 0, seconds: null } as const;

export const startCalls = async (bench: Bench, run: Run): Promise<Ongoing> => {
  const { child } = await bench.fork(join(import.meta.dirname, "caller-process.ts"));
  const calls = new Promise<readonly Call[]>((resolve, reject) => {
    child.once("message", (message: { calls: readonly Call[] }) => {
      child.kill();
      resolve(message.calls);
    });
    child.once("exit", () => reject(new Error("the caller ended")));
  });
  child.send({ run });
  return {
    calls,
    stop: () => {
      child.send({ stop: true });
      return calls;
    },
  };
};

/** The failure of a call that the load generator had no socket for. */
export const NOT_SENT = "no free connection";

export const isGood = ({ status }: Call): boolean => status >= 200 && status < 300;

/** The calls that were due from one moment to another. */
export const dueWithin = (calls: readonly Call[], fromMs: number, toMs: number): readonly Call[] =>
  calls.filter(({ dueMs }) => dueMs >= fromMs && dueMs < toMs);

export const latency = (calls: readonly Call[], q: number): number =>
  quantile(
    calls.map(({ latencyMs }) => latencyMs),
    q,
  );

/** How many calls ended in which way other than with 2xx: `429 × 3, ECONNREFUSED, connecting × 1`. */
export const failures = (calls: readonly Call[]): string => {
  const counts = new Map<string, number>();
  for (const call of calls) {
    if (isGood(call)) continue;
    const name = call.failure === "" ? String(call.status) : call.failure;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].map(([name, count]) => `${name} × ${count}`).join("; ");
};

/**
 * What slow clients cost: a normal load runs all the time, and by turns with and without so many clients that read,
 * write or wait as slowly as they can. Then how long the gateway puts up with each kind.
 */
import { join } from "node:path";
import { nowMs, quantile, rssKb, sleep } from "../support/bench.ts";
import type { Bench, Started } from "../support/bench.ts";
import { RUN, dueWithin, failures, isGood, latency, startCalls } from "../support/caller.ts";
import type { Call } from "../support/caller.ts";
import { SMALL_BODY } from "../support/gateway.ts";
import type { SlowClients, SlowKind } from "./slow-process.ts";

export interface SlowTarget {
  readonly pid: number;
  readonly port: number;
  readonly token: string;
  /** The service the normal load calls. */
  readonly path: string;
  /** Another service of the same gateway. */
  readonly otherPath: string;
  /** Requests that `path` may have in flight. */
  readonly slots: number;
}

const NORMAL_PER_SECOND = 100;
const SETTLE_MS = 1_000;

interface Phase {
  readonly kind: SlowKind;
  readonly count: number;
  readonly where: "the same service" | "another service" | "no service";
}

const phasesFor = (slots: number): readonly Phase[] => [
  { kind: "silent", count: 500, where: "no service" },
  { kind: "slow head", count: 500, where: "no service" },
  { kind: "slow reader", count: 100, where: "another service" },
  { kind: "slow body", count: 100, where: "another service" },
  { kind: "slow reader", count: Math.floor(slots * 0.75), where: "the same service" },
  { kind: "slow body", count: Math.floor(slots * 0.75), where: "the same service" },
  { kind: "slow reader", count: slots + 64, where: "the same service" },
  { kind: "slow body", count: slots + 64, where: "the same service" },
];

const ask = <T>({ child }: Started, order: SlowClients | { readonly report: true }): Promise<T> =>
  new Promise((resolve) => {
    child.once("message", (answer: T) => resolve(answer));
    child.send(order);
  });

const openSlow = async (bench: Bench, clients: SlowClients): Promise<Started> => {
  const holder = await bench.fork(join(import.meta.dirname, "slow-process.ts"));
  await ask(holder, clients);
  return holder;
};

const end = async ({ child }: Started): Promise<void> => {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill();
  await ended;
};

const figures = (calls: readonly Call[]): string =>
  [0.5, 0.95, 0.99].map((q) => latency(calls, q).toFixed(1).padStart(8)).join("");

export const slow = async (bench: Bench, target: SlowTarget, seconds: number): Promise<readonly string[]> => {
  const { pid, port, token, path, otherPath, slots } = target;
  const run = { ...RUN, port, path, token, body: SMALL_BODY, perSecond: NORMAL_PER_SECOND };
  const normal = await startCalls(bench, run);
  await sleep(2 * SETTLE_MS);
  const spans: { phase: Phase; from: number; amid: number; to: number; kb: number; closed: number }[] = [];
  for (const phase of phasesFor(slots)) {
    const from = nowMs();
    await sleep(seconds * 1000);
    const beforeKb = rssKb(pid);
    const amid = nowMs();
    const clientPath = phase.where === "another service" ? otherPath : path;
    const holder = await openSlow(bench, {
      port,
      path: clientPath,
      token,
      kind: phase.kind,
      count: phase.count,
    });
    await sleep(seconds * 1000);
    const to = nowMs();
    const kb = (rssKb(pid) - beforeKb) / phase.count;
    const { closed } = await ask<{ closed: readonly number[] }>(holder, { report: true });
    spans.push({ phase, from, amid, to, kb, closed: closed.length });
    await end(holder);
    // What the slow ones held up has been answered or has failed by now.
    await sleep(SETTLE_MS);
  }
  const calls = await normal.stop();
  return [
    `Slow clients: ${NORMAL_PER_SECOND} requests/s of 10 ms go on; by turns ${seconds} s without and ${seconds} s with the slow ones. The normal load's`,
    `service has ${slots} slots (instances × concurrency). Memory per client is the growth of the gateway's resident memory.`,
    "",
    "                                            without: p50     p95     p99    with: p50     p95     p99   failed  kB/client  ended by the gateway",
    ...spans.map(({ phase, from, amid, to, kb, closed }) => {
      const during = dueWithin(calls, amid, to);
      const bad = during.filter((call) => !isGood(call));
      const name = `  ${String(phase.count).padStart(4)} × ${phase.kind}, ${phase.where}`;
      return `${name.padEnd(44)}    ${figures(dueWithin(calls, from, amid))}     ${figures(during)}${String(bad.length).padStart(9)}${kb.toFixed(1).padStart(11)}${String(closed).padStart(8)}${bad.length === 0 ? "" : `   (${failures(bad)})`}`;
    }),
  ];
};

/** How long one of each kind is let stay, up to `holdSeconds`. */
export const patience = async (
  bench: Bench,
  target: SlowTarget,
  holdSeconds: number,
): Promise<readonly string[]> => {
  const { port, token, path } = target;
  const kinds: readonly SlowKind[] = ["silent", "slow head", "slow body", "slow reader"];
  const count = 10;
  const holders = await Promise.all(
    kinds.map(async (kind) => ({ kind, holder: await openSlow(bench, { port, path, token, kind, count }) })),
  );
  await sleep(holdSeconds * 1000);
  const lines = [
    `How long the gateway puts up with each kind (${count} each, watched for ${holdSeconds} s):`,
    "",
  ];
  for (const { kind, holder } of holders) {
    const { closed } = await ask<{ closed: readonly number[] }>(holder, { report: true });
    const seconds = closed.map((ms) => ms / 1000);
    const when =
      closed.length === 0
        ? ""
        : `, after ${quantile(seconds, 0).toFixed(1)}–${quantile(seconds, 1).toFixed(1)} s`;
    lines.push(`  ${kind.padEnd(14)}${closed.length} of ${count} ended${when}`);
    await end(holder);
  }
  return lines;
};

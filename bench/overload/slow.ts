/**
 * What slow clients cost: a normal load runs all the time, and by turns with and without so many clients that read,
 * write or wait as slowly as they can. Then how long the gateway puts up with each kind.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cpuNs, nowMs, quantile, rssKb, sleep, waitedNs } from "../support/bench.ts";
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
const OPENING_MS = 5_000;

interface Phase {
  readonly kind: SlowKind;
  readonly count: number;
  readonly where: "the same service" | "another service" | "no service";
}

interface Span {
  readonly phase: Phase;
  readonly from: number;
  readonly opening: number;
  readonly opened: number;
  readonly to: number;
  readonly kb: number;
  readonly kernelKb: number;
  /** Of one processor, while they are there. */
  readonly cpuShare: number;
  /** Of the same time: ready to run and without a processor. */
  readonly waitedShare: number;
  readonly closed: number;
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

const PAGE_KB = 4;
/** Memory of all TCP sockets of the machine. */
const socketKb = (): number =>
  Number(/TCP:.* mem (\d+)/.exec(readFileSync("/proc/net/sockstat", "utf8"))?.[1]) * PAGE_KB;

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

const figures = (calls: readonly Call[], quantiles: readonly number[]): string =>
  quantiles.map((q) => latency(calls, q).toFixed(1).padStart(8)).join("");

export const slow = async (bench: Bench, target: SlowTarget, seconds: number): Promise<readonly string[]> => {
  const { pid, port, token, path, otherPath, slots } = target;
  const run = { ...RUN, port, path, token, body: SMALL_BODY, perSecond: NORMAL_PER_SECOND };
  const normal = await startCalls(bench, run);
  await sleep(2 * SETTLE_MS);
  const spans: Span[] = [];
  for (const phase of phasesFor(slots)) {
    const from = nowMs();
    await sleep(seconds * 1000);
    const beforeKb = rssKb(pid);
    const kernelBeforeKb = socketKb();
    const opening = nowMs();
    const clientPath = phase.where === "another service" ? otherPath : path;
    const clients = {
      port,
      path: clientPath,
      token,
      kind: phase.kind,
      count: phase.count,
      overMs: OPENING_MS,
    };
    const holder = await openSlow(bench, clients);
    const opened = nowMs();
    const [cpuBefore, waitedBefore] = [cpuNs(pid), waitedNs(pid)];
    await sleep(seconds * 1000);
    const to = nowMs();
    const cpuShare = (cpuNs(pid) - cpuBefore) / 1e6 / (to - opened);
    const waitedShare = (waitedNs(pid) - waitedBefore) / 1e6 / (to - opened);
    const kb = (rssKb(pid) - beforeKb) / phase.count;
    const kernelKb = (socketKb() - kernelBeforeKb) / phase.count;
    const { closed } = await ask<{ closed: readonly number[] }>(holder, { report: true });
    spans.push({
      phase,
      from,
      opening,
      opened,
      to,
      kb,
      kernelKb,
      cpuShare,
      waitedShare,
      closed: closed.length,
    });
    await end(holder);
    // What the slow ones held up has been answered or has failed by now.
    await sleep(SETTLE_MS);
  }
  const calls = await normal.stop();
  return [
    `Slow clients: ${NORMAL_PER_SECOND} requests/s of 10 ms go on. By turns: ${seconds} s without slow ones (columns "without"), ${OPENING_MS / 1000} s in which they`,
    `come one after the other ("opening"; readers of 10 MB fill every buffer on the way), ${seconds} s with them ("with"). Milliseconds.`,
    `The normal load's service has ${slots} slots (instances × concurrency). kB per client: growth of the gateway's resident memory,`,
    "and of the kernel's buffers for all TCP sockets of the machine, both sides of every connection (net.ipv4.tcp_rmem, tcp_wmem).",
    "waited: how long the gateway was ready to run and other work had the processors.",
    "",
    `${"".padEnd(44)}   without           opening           with                       gateway           kB per      kB  ended by`,
    `${"".padEnd(44)}    p50     p95        p50     p95        p50     p95     p99   failed   CPU   waited    client   kernel   gateway`,
    ...spans.map(({ phase, from, opening, opened, to, kb, kernelKb, cpuShare, waitedShare, closed }) => {
      const bad = dueWithin(calls, opening, to).filter((call) => !isGood(call));
      const name = `  ${String(phase.count).padStart(4)} × ${phase.kind}, ${phase.where}`;
      const latencies = [
        figures(dueWithin(calls, from, opening), [0.5, 0.95]),
        figures(dueWithin(calls, opening, opened), [0.5, 0.95]),
        figures(dueWithin(calls, opened, to), [0.5, 0.95, 0.99]),
      ].join("   ");
      const cost = `${`${(cpuShare * 100).toFixed(0)} %`.padStart(6)}${`${(waitedShare * 100).toFixed(0)} %`.padStart(8)}${kb.toFixed(1).padStart(10)}${kernelKb.toFixed(0).padStart(9)}`;
      return `${name.padEnd(44)}${latencies}${String(bad.length).padStart(9)}${cost}${String(closed).padStart(10)}${bad.length === 0 ? "" : `   ${failures(bad)}`}`;
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
    kinds.map(async (kind) => ({
      kind,
      holder: await openSlow(bench, { port, path, token, kind, count, overMs: 0 }),
    })),
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

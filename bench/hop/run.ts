/**
 * What the hop costs: CPU time of the gateway's process per request and per byte, beside nginx, HAProxy and a naive
 * node:http pipe, which take turns in the same run. Writes results.txt beside itself.
 *
 *   node bench/hop/run.ts [--seconds 4] [--rounds 5] [--only small|large|idle] [--profile [--connections 8]]
 *
 * With --only nothing is written. --profile measures nothing but profiles the gateway under one load → profile.txt.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { cpuNs, describeMachine, median, rssKb, runBench, sleep } from "../support/bench.ts";
import type { Bench, Started } from "../support/bench.ts";
import { SMALL_BODY } from "../support/gateway.ts";
import type { GatewayUnderTest } from "../support/gateway.ts";
import { wrk } from "../support/wrk.ts";
import type { BulkLoad } from "./bulk-process.ts";
import { VERSIONS, startHops } from "./hops.ts";
import type { Hop } from "./hops.ts";
import type { IdleLoad } from "./idle-process.ts";
import { costLines, memoryLines, takeTurns } from "./measure.ts";
import { readProfile, summarise } from "./profile.ts";

const { values: options } = parseArgs({
  options: {
    seconds: { type: "string", default: "4" },
    rounds: { type: "string", default: "5" },
    only: { type: "string" },
    profile: { type: "boolean", default: false },
    connections: { type: "string", default: "8" },
  },
});
const seconds = Number(options.seconds);
const rounds = Number(options.rounds);
/** Compilers need tens of thousands of requests to settle. */
const WARM_UP_SECONDS = 10;
const MEBI = 1024 * 1024;
const HEADING =
  "             hop               CPU µs (least–most)    × nginx, same round     req/s   p50 ms   p99 ms";

interface Stage {
  readonly bench: Bench;
  readonly forSmall: readonly Hop[];
  readonly forLarge: readonly Hop[];
  readonly path: string;
  readonly token: string;
}

/** Sends an order to one of the load processes and waits for its answer. */
const ask = <T>(
  { child }: Started,
  order: BulkLoad | IdleLoad | { profile: string; file?: string },
): Promise<T> =>
  new Promise((resolve, reject) => {
    child.once("message", (answer: T & { error?: string }) =>
      answer.error === undefined ? resolve(answer) : reject(new Error(answer.error)),
    );
    child.send(order);
  });

const small = async ({ bench, forSmall: hops, path, token }: Stage): Promise<readonly string[]> => {
  const lines = [
    "Small: POST, about 100 bytes of JSON each way, keep-alive. CPU per request.",
    "",
    `connections${HEADING.slice(11)}`,
  ];
  for (const connections of [1, 8, 64]) {
    const samples = await takeTurns(hops, rounds, async ({ port }) => {
      const load = { port, path, token, body: SMALL_BODY, connections, seconds };
      const result = await wrk(bench, load);
      return { ...result, units: result.requests };
    });
    lines.push(...costLines(String(connections), samples, 1e3));
  }
  return lines;
};

const large = async ({ bench, forLarge: hops, path, token }: Stage): Promise<readonly string[]> => {
  const body = "a".repeat(100_000);
  const at100k = await takeTurns(hops, rounds, async ({ port }) => {
    const load = { port, path: `${path}/bytes/${body.length}`, token, body, connections: 8, seconds };
    const result = await wrk(bench, load);
    return { ...result, units: (result.requests * body.length * 2) / MEBI };
  });
  const bulk = await bench.fork(join(import.meta.dirname, "bulk-process.ts"));
  const bytes = 10_000_000;
  const at10M = await takeTurns(hops, rounds, async ({ port }) => {
    const before = performance.now();
    const { requests } = await ask<{ requests: number }>(bulk, {
      port,
      path,
      token,
      connections: 4,
      seconds,
      bytes,
    });
    const took = (performance.now() - before) / 1000;
    const unknown = { p50Ms: Number.NaN, p99Ms: Number.NaN };
    return { units: (requests * bytes * 2) / MEBI, perSecond: requests / took, ...unknown };
  });
  bulk.child.kill();
  return [
    "Large: so many bytes in each request and in each answer. CPU per MiB that went through, both directions added.",
    "nginx streams, as the others do: proxy_request_buffering and proxy_buffering off. `nginx, buffers`: requests the same,",
    "answers through 16 × 64 kB in memory, which it reads in fewer, larger pieces. 8 connections, 4 for 10 MB.",
    "",
    ` body bytes${HEADING.slice(11)}`,
    ...costLines(String(body.length), at100k, 1e3),
    ...costLines(String(bytes), at10M, 1e3),
    "",
    "Resident memory in MB around the 10 MB bodies      before   most  after",
    ...memoryLines(at10M),
  ];
};

const IDLE_CONNECTIONS = 1_000;

const idle = async ({ bench, forSmall: hops, path, token }: Stage): Promise<readonly string[]> => {
  const lines = [
    `Idle: ${IDLE_CONNECTIONS} kept-alive connections that have carried one request each, and one more that is active.`,
    "",
    "            hop            kB per connection   idle CPU ms/s   active p50 ms without / with   p99 without / with",
  ];
  for (const { name, pid, port } of hops) {
    const kb: number[] = [];
    const cpu: number[] = [];
    const active: { without: number[]; during: number[] }[] = [
      { without: [], during: [] },
      { without: [], during: [] },
    ];
    for (let round = 0; round < Math.min(rounds, 3); round += 1) {
      const one = { port, path, token, body: SMALL_BODY, connections: 1, seconds: Math.min(seconds, 2) };
      const quiet = await wrk(bench, one);
      const before = rssKb(pid);
      const holder = await bench.fork(join(import.meta.dirname, "idle-process.ts"));
      await ask(holder, { port, path, token, body: SMALL_BODY, connections: IDLE_CONNECTIONS });
      await sleep(1_000);
      kb.push((rssKb(pid) - before) / IDLE_CONNECTIONS);
      const cpuBefore = cpuNs(pid);
      const idleSeconds = Math.min(seconds, 4);
      await sleep(idleSeconds * 1000);
      cpu.push((cpuNs(pid) - cpuBefore) / 1e6 / idleSeconds);
      const busy = await wrk(bench, one);
      active[0]?.without.push(quiet.p50Ms);
      active[0]?.during.push(busy.p50Ms);
      active[1]?.without.push(quiet.p99Ms);
      active[1]?.during.push(busy.p99Ms);
      holder.child.removeAllListeners("message");
      const ended = new Promise((resolve) => holder.child.once("exit", resolve));
      holder.child.kill();
      await ended;
      await sleep(500);
    }
    const [p50, p99] = active.map(
      ({ without, during }) => `${median(without).toFixed(2)} / ${median(during).toFixed(2)}`,
    );
    // The first round's memory: later ones find what the first has left.
    lines.push(
      `            ${name.padEnd(15)}${(kb[0] ?? 0).toFixed(1).padStart(17)}${median(cpu).toFixed(2).padStart(16)}${(p50 ?? "").padStart(31)}${(p99 ?? "").padStart(21)}`,
    );
  }
  return lines;
};

const writeProfile = async ({ bench, path, token }: Stage, gateway: GatewayUnderTest): Promise<void> => {
  const load = {
    port: gateway.port,
    path,
    token,
    body: SMALL_BODY,
    connections: Number(options.connections),
    seconds,
  };
  const file = join(bench.dir, "gateway.cpuprofile");
  await ask(gateway, { profile: "start" });
  const cpuBefore = cpuNs(gateway.pid);
  const { requests } = await wrk(bench, load);
  const cpuUs = (cpuNs(gateway.pid) - cpuBefore) / 1e3 / requests;
  await ask(gateway, { profile: "stop", file });
  const text = `Where the gateway's CPU time goes: POST, about 100 bytes of JSON each way, ${load.connections} connections, ${seconds} s, sampled every 200 µs.
${describeMachine()}
${requests} requests, ${cpuUs.toFixed(1)} µs of CPU each by the kernel's account, the profiler's own work included. The profile's time is wall time: what a
shared machine took away counts where it was taken, so shares count, not microseconds.

${summarise(readProfile(file), requests)}`;
  writeFileSync(join(import.meta.dirname, "profile.txt"), text);
  console.log(text);
};

const SECTIONS = { small, large, idle };

await runBench(async (bench) => {
  const { gateway, ...hops } = await startHops(bench);
  const stage: Stage = { bench, ...hops, token: gateway.token, path: gateway.paths[0] ?? "" };
  const machine = describeMachine();
  // Compilers need some requests to settle; not counted.
  for (const { port } of hops.forSmall) {
    const { path, token } = stage;
    await wrk(bench, { port, path, token, body: SMALL_BODY, connections: 8, seconds: WARM_UP_SECONDS });
  }
  if (options.profile) return writeProfile(stage, gateway);
  const lines = [
    "What one hop costs (run.ts): CPU time of the hop's own process, all threads, from the kernel's scheduler.",
    "The gateway has token check, limits, metrics and access records (to a file) on; the others check and log nothing.",
    `nginx ${VERSIONS.nginx ?? "not installed"}, HAProxy ${VERSIONS.haproxy ?? "not installed"}, wrk ${VERSIONS.wrk ?? "not installed"}; one process and one thread of work each.`,
    machine,
    `${rounds} rounds of ${seconds} s, hops taking turns, another one first in each; medians of the rounds.`,
    "Load generator and instance share the machine, so requests per second say little; CPU per request is the figure.",
  ];
  for (const [name, section] of Object.entries(SECTIONS)) {
    if (options.only !== undefined && options.only !== name) continue;
    const found = ["", ...(await section(stage))];
    console.log(found.join("\n"));
    lines.push(...found);
  }
  if (options.only === undefined)
    writeFileSync(join(import.meta.dirname, "results.txt"), `${lines.join("\n")}\n`);
});

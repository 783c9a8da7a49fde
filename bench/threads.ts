/**
 * What a gateway of two threads does that one of one thread does not, by turns in the same run. *Spread*: more than one
 * processor's work, an instance that answers at once. *Contended*: few slots and a long queue, so that nearly every slot
 * is freed in one thread and wanted in another; what is lost between them would be missing in the goodput. Writes
 * threads.txt beside itself.
 *
 *   node bench/threads.ts [--seconds 4] [--rounds 5]
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { cpuNs, describeMachine, median, runBench } from "./support/bench.ts";
import type { Bench } from "./support/bench.ts";
import { SMALL_BODY, startGateway } from "./support/gateway.ts";
import { wrk } from "./support/wrk.ts";
import type { WrkResult } from "./support/wrk.ts";

const { values: options } = parseArgs({
  options: { seconds: { type: "string", default: "4" }, rounds: { type: "string", default: "5" } },
});
const seconds = Number(options.seconds);
const rounds = Number(options.rounds);
const THREADS = [1, 2];
const SLOTS = 8;
const SERVICE_MS = 5;
const WARM_UP_SECONDS = 8;

interface Sample extends WrkResult {
  readonly cpuUs: number;
}

const instance = async (bench: Bench, serviceMs: number): Promise<number> => {
  const file = join(import.meta.dirname, "support/instance-process.ts");
  return (await bench.fork(file, serviceMs === 0 ? [] : [String(serviceMs)])).port;
};

await runBench(async (bench) => {
  const services = [
    { ports: [await instance(bench, 0)], concurrency: 256, queueMax: 256 },
    { ports: [await instance(bench, SERVICE_MS)], concurrency: SLOTS, queueMax: 256 },
  ];
  const gateways = await Promise.all(
    THREADS.map((threads) => startGateway(bench, services, { threads, dir: `threads-${threads}` })),
  );
  const measure = async (which: number, service: number, connections: number, forSeconds: number) => {
    const gateway = gateways[which];
    if (gateway === undefined) throw new Error("no such gateway");
    const { port, token, pid, paths } = gateway;
    const before = cpuNs(pid);
    const path = paths[service] ?? "";
    const done = await wrk(bench, { port, token, path, body: SMALL_BODY, connections, seconds: forSeconds });
    return { ...done, cpuUs: (cpuNs(pid) - before) / done.requests / 1e3 };
  };
  for (const which of THREADS.keys()) await measure(which, 0, 64, WARM_UP_SECONDS);
  const compare = async (service: number, connections: number): Promise<readonly string[]> => {
    const samples = THREADS.map((): Sample[] => []);
    for (let round = 0; round < rounds; round += 1) {
      for (let n = 0; n < THREADS.length; n += 1) {
        const which = (round + n) % THREADS.length;
        samples[which]?.push(await measure(which, service, connections, seconds));
      }
    }
    return THREADS.map((threads, which) => {
      const own = samples[which] ?? [];
      const of = (key: keyof Sample): number => median(own.map((one) => one[key]));
      const ratio = median(own.map((one, n) => one.perSecond / (samples[0]?.[n]?.perSecond ?? Number.NaN)));
      return `${String(connections).padStart(11)}${String(threads).padStart(9)}${of("perSecond").toFixed(0).padStart(10)}${ratio.toFixed(2).padStart(15)}${of("cpuUs").toFixed(1).padStart(17)}${of("p50Ms").toFixed(2).padStart(9)}${of("p99Ms").toFixed(2).padStart(9)}`;
    });
  };
  const heading = "connections  threads     req/s  × one thread   CPU µs/request   p50 ms   p99 ms";
  const lines = [
    "A gateway of two threads beside one of one thread (threads.ts), with token check, limits, metrics and access records on.",
    describeMachine(),
    `${rounds} rounds of ${seconds} s by turns; medians. The load generator and the instance run on the same processors, so twice the`,
    "requests cannot be had here: there is one processor more for the gateway only while they leave it.",
    "",
    "Spread: about 100 bytes each way, an instance that answers at once.",
    "",
    heading,
    ...(await compare(0, 8)),
    ...(await compare(0, 64)),
    ...(await compare(0, 256)),
    "",
    `Contended: ${SLOTS} slots of ${SERVICE_MS} ms each, at most ${(SLOTS * 1000) / SERVICE_MS} requests/s; the rest waits in the queue.`,
    "",
    heading,
    ...(await compare(1, 64)),
    ...(await compare(1, 200)),
  ];
  console.log(lines.join("\n"));
  writeFileSync(join(import.meta.dirname, "threads.txt"), `${lines.join("\n")}\n`);
});

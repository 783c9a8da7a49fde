/**
 * More than the gateway can pass on: ten times the capacity of its instances, and clients that are slow on purpose.
 * Capacity is the instances' (so many slots of a fixed time each), not the machine's. Writes results.txt beside itself.
 *
 *   node bench/overload/run.ts [--seconds 10] [--hold 75] [--only storm|burst|slow|patience]
 *
 * With --only nothing is written.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { describeMachine, runBench } from "../support/bench.ts";
import type { Bench } from "../support/bench.ts";
import { startGateway } from "../support/gateway.ts";
import { patience, slow } from "./slow.ts";
import { burst, storm } from "./storm.ts";

const { values: options } = parseArgs({
  options: {
    seconds: { type: "string", default: "10" },
    hold: { type: "string", default: "75" },
    only: { type: "string" },
  },
});
const seconds = Number(options.seconds);

const STORM_INSTANCES = 4;
const STORM_CONCURRENCY = 2;
const STORM_SERVICE_MS = 40;
const NORMAL_SERVICE_MS = 10;
const NORMAL_INSTANCES = 2;
/** The defaults of MODELPORT_INSTANCE_CONCURRENCY and MODELPORT_QUEUE_MAX. */
const CONCURRENCY = 64;
const QUEUE_MAX = 256;

const instances = async (bench: Bench, count: number, serviceMs: number): Promise<readonly number[]> => {
  const file = join(import.meta.dirname, "../support/instance-process.ts");
  const started = await Promise.all(
    Array.from({ length: count }, () => bench.fork(file, [String(serviceMs)])),
  );
  return started.map(({ port }) => port);
};

await runBench(async (bench) => {
  const machine = describeMachine();
  const few = await instances(bench, STORM_INSTANCES, STORM_SERVICE_MS);
  const normal = await instances(bench, NORMAL_INSTANCES, NORMAL_SERVICE_MS);
  const other = await instances(bench, NORMAL_INSTANCES, NORMAL_SERVICE_MS);
  const { pid, port, token, paths } = await startGateway(bench, [
    { ports: few, concurrency: STORM_CONCURRENCY, queueMax: QUEUE_MAX },
    { ports: normal, concurrency: CONCURRENCY, queueMax: QUEUE_MAX },
    { ports: other, concurrency: CONCURRENCY, queueMax: QUEUE_MAX },
  ]);
  const [path = "", normalPath = "", otherPath = ""] = paths;
  const target = { pid, port, token, path };
  const slowTarget = { ...target, path: normalPath, otherPath, slots: NORMAL_INSTANCES * CONCURRENCY };
  const sections = {
    storm: () => storm(bench, target, seconds),
    burst: () => burst(bench, target),
    slow: () => slow(bench, slowTarget, Math.max(2, seconds / 2)),
    patience: () => patience(bench, slowTarget, Number(options.hold)),
  };
  const lines = [
    "What overload does to the gateway (run.ts), with token check, limits, metrics and access records (to a file) on.",
    `${STORM_INSTANCES} instances that take ${STORM_CONCURRENCY} requests at a time and ${STORM_SERVICE_MS} ms for each: ${(STORM_INSTANCES * STORM_CONCURRENCY * 1000) / STORM_SERVICE_MS} requests/s and no more. At most ${QUEUE_MAX} wait.`,
    machine,
  ];
  for (const [name, section] of Object.entries(sections)) {
    if (options.only !== undefined && options.only !== name) continue;
    const found = ["", ...(await section())];
    console.log(found.join("\n"));
    lines.push(...found);
  }
  if (options.only === undefined)
    writeFileSync(join(import.meta.dirname, "results.txt"), `${lines.join("\n")}\n`);
});

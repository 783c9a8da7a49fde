/**
 * What a package costs here and elsewhere: one model, one Python worker, one row or picture a request, at 1, 8 and 64
 * connections, against the servers people would pick instead, each with its own batching at its best setting found. Every
 * round starts each server by itself, so that none is measured beside another. Writes results-NAME.txt beside itself.
 *
 *   node bench/packages/setup.ts DIR && node bench/packages/run.ts --peers DIR --model FILE
 *     [--subject iris|image] [--name NAME] [--seconds 4] [--rounds 2] [--only NAME,NAME]
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { cpuNs, describeMachine, median, peakKb, runBench, sleep } from "../support/bench.ts";
import { imageSubject } from "./image.ts";
import { irisSubject } from "./iris.ts";
import { load } from "./load.ts";
import { startServer } from "./server.ts";
import type { Running } from "./server.ts";
import type { ProgramOf, Server, Subject } from "./subject.ts";

const { values: options } = parseArgs({
  options: {
    peers: { type: "string", default: "peers" },
    model: { type: "string", default: "" },
    subject: { type: "string", default: "iris" },
    name: { type: "string" },
    seconds: { type: "string", default: "4" },
    rounds: { type: "string", default: "2" },
    only: { type: "string" },
  },
});
const SUBJECTS: Readonly<Record<string, (model: string, program: ProgramOf) => Subject>> = {
  iris: irisSubject,
  image: imageSubject,
};
const CONNECTIONS = [1, 8, 64] as const;
const WARM_UP_S = 3;
const here = import.meta.dirname;

interface Sample {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errors: number;
  readonly cpuUs: number;
  readonly peakMb: number;
}

/** The table's columns: figure, head, width, digits after the point. */
const COLUMNS: readonly (readonly [keyof Sample, string, number, number])[] = [
  ["perSecond", "requests/s", 10, 0],
  ["p50Ms", "p50 ms", 8, 2],
  ["p99Ms", "p99 ms", 8, 2],
  ["errors", "errors", 7, 0],
  ["cpuUs", "CPU µs", 7, 0],
  ["peakMb", "peak MB", 8, 0],
];

const total = (pids: readonly number[], figure: (pid: number) => number): number =>
  pids.reduce((sum, pid) => {
    try {
      return sum + figure(pid);
    } catch {
      return sum; // It has ended.
    }
  }, 0);

/** Waits until the processes rest: a load leaves requests behind that nobody waits for, and the next must not pay for them. */
const settle = async (pids: readonly number[]): Promise<void> => {
  for (let n = 0; n < 50; n += 1) {
    const before = total(pids, cpuNs);
    await sleep(100);
    if (total(pids, cpuNs) - before < 20e6) return;
  }
};

const measure = async (
  dir: string,
  running: Running,
  { requests }: Server,
  connections: number,
): Promise<Sample> => {
  const { pids } = running;
  await settle(pids);
  const before = total(pids, cpuNs);
  const { requests: count, ...done } = await load(
    dir,
    { ...running, requests },
    connections,
    Number(options.seconds),
  );
  const cpuUs = (total(pids, cpuNs) - before) / Math.max(1, count) / 1e3;
  return { ...done, cpuUs, peakMb: total(pids, peakKb) / 1024 };
};

const tableOf = (names: readonly string[], samples: ReadonlyMap<string, readonly Sample[]>): string[] =>
  CONNECTIONS.flatMap((connections) => {
    const head = `${connections} connection${connections === 1 ? "" : "s"}`.padEnd(32);
    const rows = names.flatMap((name) => {
      const taken = samples.get(`${name}|${connections}`);
      if (taken === undefined) return [];
      const figures = COLUMNS.map(([member, , width, digits]) =>
        median(taken.map((sample) => sample[member]))
          .toFixed(digits)
          .padStart(width),
      );
      return [[name.padEnd(32), ...figures].join(" ")];
    });
    return ["", [head, ...COLUMNS.map(([, title, width]) => title.padStart(width))].join(" "), ...rows];
  });

await runBench(async (bench) => {
  const model = resolve(options.model);
  const subject = SUBJECTS[options.subject]?.(model, (environment, program) =>
    join(resolve(options.peers), environment, "bin", program),
  );
  if (subject === undefined) throw new Error(`--subject: one of ${Object.keys(SUBJECTS).join(", ")}`);
  const name = options.name ?? options.subject;
  const only = options.only?.split(",");
  const servers = subject.servers.filter(
    (server) => only === undefined || only.some((part) => server.name.includes(part)),
  );
  const machine = describeMachine();
  const samples = new Map<string, Sample[]>();
  const left = new Set<string>();
  for (let round = 0; round < Number(options.rounds); round += 1)
    for (const server of servers) {
      let running: Running;
      try {
        running = await startServer(bench, subject, server, model);
      } catch (error) {
        console.error((error as Error).message);
        left.add(server.name);
        continue;
      }
      try {
        await load(bench.dir, { ...running, requests: server.requests }, 64, WARM_UP_S);
        for (const connections of CONNECTIONS) {
          const key = `${server.name}|${connections}`;
          const sample = await measure(bench.dir, running, server, connections);
          samples.set(key, [...(samples.get(key) ?? []), sample]);
          console.log(key, JSON.stringify(sample));
        }
        // What the worker has seen and decided.
        for (const line of running.said().split("\n")) if (line.includes("one by one")) console.log(line);
      } finally {
        await running.stop();
      }
    }
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8", cwd: here });
  const text = [
    `${name}: one worker, requests of ${subject.request} (${subject.servers[0]?.requests.length} different ones), wrk with one thread, ${options.rounds} rounds of ${options.seconds} s, medians. Commit ${commit.trim()}.`,
    machine,
    `CPU and memory of the whole process tree; the load generator shares the machine. Peers and their settings: ${relative(here, subject.programs)}/, requirements.txt.`,
    ...(left.size > 0 ? [`Not measured, since it did not answer: ${[...left].join(", ")}.`] : []),
    ...tableOf(
      servers.map((server) => server.name),
      samples,
    ),
    "",
  ].join("\n");
  if (only === undefined) writeFileSync(join(here, `results-${name}.txt`), text);
  console.log(text);
});

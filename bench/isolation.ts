/**
 * What holding user code to its limits costs: per request and per start, each kind of isolation beside none, by turns.
 * Run as root: `node bench/isolation.ts`; it writes isolation.txt. Needs wrk and /usr/bin/python3.
 *
 * The clean environment is not among the rows: it is made once per worker from what it starts with anyway, and cannot be
 * turned off.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { removeInstances, startInstance } from "../test/support/instance.ts";
import type { Instance } from "../test/support/instance.ts";
import type { GroupId } from "../src/core/ids.ts";
import type { Confinement } from "../src/core/launch.ts";
import { removeNow } from "../src/runners/process/cgroups.ts";
import { openIsolation } from "../src/runners/process/isolation.ts";
import type { GroupSpec } from "../src/runners/runner.ts";
import { cpuNs, describeMachine, median, nowMs, quantile, runBench } from "./support/bench.ts";
import { wrk } from "./support/wrk.ts";

const ROUNDS = 30;
const SECONDS = 1;
const STARTS = 20;
const PYTHON = "/usr/bin/python3";
const MEMORY_MB = 1000;

/** Answers a small request at once; with `mb` it first takes and fills that much memory. */
const SERVICE = `
import json
from model_service.python_model_service import XgSklServingBaseService

class Service(XgSklServingBaseService):
    def __init__(self, model_path):
        pass
    def _preprocess(self, data):
        return json.loads(data)
    def _inference(self, request):
        return [len(b"x" * (request["mb"] * 1000000))]
    def _postprocess(self, answer):
        return answer
`;

const WORK = [
  { name: "a small request", mb: 0 },
  { name: "a request whose code fills 20 MB", mb: 20 },
] as const;

await runBench(async (bench) => {
  mkdirSync(join(bench.dir, "instances"));
  const isolation = openIsolation(bench.dir, { first: 2_000_000_000, last: 2_000_000_999 });
  const { facts } = isolation;
  if (facts.noUsers !== null) throw new Error(`no users of the services' own: ${facts.noUsers}`);
  if (!facts.cgroup.includes("memory")) throw new Error("no control group for memory");
  let named = 0;
  const whole = (): Confinement =>
    isolation.confine(
      {
        id: "bench" as GroupId,
        serviceId: null,
        instance: { memoryMb: MEMORY_MB, cpu: 1, workers: 1 },
      } as GroupSpec,
      `instance-${++named}`,
    );
  const parts = (given: Confinement, keep: Partial<Confinement>): Confinement => {
    if (keep.cgroups?.length === 0) given.cgroups.forEach(removeNow);
    return { ...given, ...keep };
  };
  const KINDS: readonly { readonly name: string; readonly confine: () => Confinement | undefined }[] = [
    { name: "none", confine: () => undefined },
    { name: "user, rlimits", confine: () => parts(whole(), { cgroups: [] }) },
    { name: "control groups", confine: () => parts(whole(), { user: null, rlimits: {} }) },
    { name: "all of it", confine: whole },
  ];
  const start = async (confinement: Confinement | undefined): Promise<Instance> => {
    const instance = await startInstance({
      python: PYTHON,
      files: { "customize_service.py": SERVICE, "model.m": "" },
      ...(confinement === undefined ? {} : { confinement }),
    });
    await instance.ready();
    if (instance.log().includes("warning:")) throw new Error(instance.log());
    return instance;
  };
  const cleanUp = async (isMeant?: (one: Instance | null) => boolean): Promise<void> => {
    await removeInstances(isMeant);
  };

  const head = `What isolation costs, beside none
${describeMachine()}
Control groups v${facts.cgroupVersion} (${facts.cgroup.join(", ")}); a user per service; one Python worker without a framework.
`;
  const blocks: string[] = [];
  try {
    const instances = new Map<string, Instance>();
    for (const { name, confine } of KINDS) instances.set(name, await start(confine()));
    for (const { name: what, mb } of WORK) {
      const rates = new Map<string, number[]>();
      const costs = new Map<string, number[]>();
      const latencies = new Map<string, number[]>();
      for (let round = 0; round < ROUNDS; round++) {
        // Another one first each time.
        for (let at = 0; at < KINDS.length; at++) {
          const { name } = KINDS[(at + round) % KINDS.length] ?? { name: "" };
          const instance = instances.get(name);
          if (instance === undefined) continue;
          const pids = [instance.pid, ...(await instance.stats()).workers.map(({ pid }) => pid ?? 0)];
          const cpu = (): number => pids.reduce((sum, pid) => sum + cpuNs(pid), 0);
          const before = cpu();
          const { requests, perSecond, p50Ms } = await wrk(bench, {
            port: Number(new URL(instance.url).port),
            path: "/",
            token: "",
            body: JSON.stringify({ mb }),
            connections: 1,
            seconds: SECONDS,
          });
          push(costs, name, (cpu() - before) / requests / 1e3);
          push(rates, name, perSecond);
          push(latencies, name, p50Ms * 1000);
        }
      }
      blocks.push(
        table(
          `${what}, one connection, ${ROUNDS} rounds of ${SECONDS} s; median of the rounds (ratio to none in the same round: median, quartiles)`,
          [
            ["", "requests/s", "p50 µs", "CPU µs per request, front and worker"],
            ...KINDS.map(({ name }) => [
              name,
              beside(rates, name, 0),
              beside(latencies, name, 0),
              beside(costs, name, 1),
            ]),
          ],
        ),
      );
    }
    await cleanUp();

    const ready = new Map<string, number[]>();
    const made = new Map<string, number[]>();
    const gone = new Map<string, number[]>();
    for (let round = 0; round < STARTS; round++) {
      for (let at = 0; at < KINDS.length; at++) {
        const kind = KINDS[(at + round) % KINDS.length];
        if (kind === undefined) continue;
        const began = nowMs();
        const confinement = kind.confine();
        push(made, kind.name, nowMs() - began);
        const instance = await start(confinement);
        push(ready, kind.name, nowMs() - began);
        const ending = nowMs();
        await cleanUp((one) => one === instance);
        for (const group of confinement?.cgroups ?? []) removeNow(group);
        push(gone, kind.name, nowMs() - ending);
      }
    }
    blocks.push(
      table(
        `a start and an end, ${STARTS} of each; median (ratio to none in the same round: median, quartiles)`,
        [
          ["", "group and user made, ms", "ready after, ms", "ended after, ms"],
          ...KINDS.map(({ name }) => [
            name,
            median(made.get(name) ?? []).toFixed(2),
            beside(ready, name, 0),
            beside(gone, name, 0),
          ]),
        ],
      ),
    );
  } finally {
    await cleanUp();
    isolation.sweep(new Set());
    isolation.close();
  }
  const report = `${head}\n${blocks.join("\n")}`;
  writeFileSync(join(import.meta.dirname, "isolation.txt"), report);
  process.stdout.write(report);
});

function push(into: Map<string, number[]>, name: string, value: number): void {
  into.set(name, [...(into.get(name) ?? []), value]);
}

function beside(values: ReadonlyMap<string, readonly number[]>, name: string, digits: number): string {
  const own = values.get(name) ?? [];
  const none = values.get("none") ?? [];
  const ratios = own.map((value, round) => value / (none[round] ?? Number.NaN));
  const ratio = `${median(ratios).toFixed(3)}, ${quantile(ratios, 0.25).toFixed(2)}–${quantile(ratios, 0.75).toFixed(2)}`;
  return `${median(own).toFixed(digits)}${name === "none" ? "" : ` (${ratio})`}`;
}

function table(title: string, rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  const lines = rows.map((row) =>
    `  ${row.map((cell, at) => cell.padEnd((widths[at] ?? 0) + 2)).join("")}`.trimEnd(),
  );
  return `${title}\n${lines.join("\n")}\n`;
}

/**
 * Changes under load: a whole platform with the iris example, called at a fixed moderate rate all the time, while
 * versions are rolled, instances come and go, and the platform's own processes end and start again. Quiet stretches lie
 * between all of these, so that each disturbance is set beside its own neighbourhood. Writes rollout.txt beside itself.
 *
 *   node bench/rollout.ts [--requests 10000] [--rate 250] [--rounds 4] [--only update,scale,control,gateway,upgrade]
 *
 * With --only nothing is written.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { deploy, entry, importModel, iris, service } from "../test/support/packages.ts";
import type { ConfigEntry } from "../test/support/packages.ts";
import { Platform, REPO } from "../test/support/platform.ts";
import type { RoleName } from "../src/supervisor/state.ts";
import { describeMachine, median, nowMs, quantile, runBench, sleep } from "./support/bench.ts";
import { RUN, dueWithin, failures, isGood, latency, startCalls } from "./support/caller.ts";
import type { Call } from "./support/caller.ts";

const { values: options } = parseArgs({
  options: {
    requests: { type: "string", default: "10000" },
    rate: { type: "string", default: "250" },
    rounds: { type: "string", default: "4" },
    only: { type: "string" },
  },
});
const requests = Number(options.requests);
const rate = Number(options.rate);
const rounds = Number(options.rounds);
const MANY = 5;
const LOOK_EVERY_MS = 100;
const GIVE_UP_MS = 60_000;
/** After a change: what it leaves behind (a process that ends, a cache that fills) still belongs to it. */
const SETTLE_MS = 1_000;

interface Disturbance {
  readonly name: string;
  readonly what: string;
  /** One change, from its start until everything is as it should be. */
  readonly change: () => Promise<void>;
  /** Done again and again for its whole stretch, or once at its beginning. */
  readonly repeats: boolean;
}

interface Stretch {
  readonly disturbance: Disturbance;
  /** The quiet part, which the disturbed one follows. */
  readonly from: number;
  readonly begun: number;
  readonly to: number;
  readonly changes: number;
}

/** Looks seldom, so that looking does not disturb. */
const wait = async (what: string, holds: () => Promise<boolean> | boolean): Promise<void> => {
  const deadline = nowMs() + GIVE_UP_MS;
  while (nowMs() < deadline) {
    // What cannot be asked just now, because it restarts, does not hold yet.
    if (await Promise.resolve(holds()).catch(() => false)) return;
    await sleep(LOOK_EVERY_MS);
  }
  throw new Error(`waited in vain for ${what}`);
};

const disturbancesOf = (
  platform: Platform,
  id: string,
  models: readonly string[],
): readonly Disturbance[] => {
  let current = 0;
  const put = async (config: ConfigEntry): Promise<void> => {
    const answer = await platform.call("PUT", `/v1/{project_id}/services/${id}`, { config: [config] });
    if (answer.status !== 200) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
    await wait("the service to run as asked", async () => {
      const { status } = await service(platform, id);
      if (status === "failed") throw new Error("the service failed");
      const { body } = await platform.call("GET", `/v1/{project_id}/services/${id}/monitor`);
      const { service_running_instance_count: ready } = body as { service_running_instance_count: number };
      return status === "running" && ready === config.instance_count;
    });
  };
  const model = (): string => models[current % models.length] ?? "";
  const replaced = async (role: RoleName, end: (pid: number) => Promise<void> | void): Promise<void> => {
    const before = platform.state.roles[role]?.pid ?? 0;
    await end(before);
    await wait(`another ${role}`, () => {
      const now = platform.state.roles[role]?.pid;
      return now !== undefined && now !== before;
    });
    await wait("the API", async () => (await service(platform, id)).status === "running");
  };
  return [
    {
      name: "update",
      what: "rolling update to the other version, one after the other",
      repeats: true,
      change: async () => {
        current += 1;
        await put(entry(model()));
      },
    },
    {
      name: "scale",
      what: `1 → ${MANY} → 1 instances, one after the other`,
      repeats: true,
      change: async () => {
        await put(entry(model(), { instance_count: MANY }));
        await put(entry(model()));
      },
    },
    {
      name: "control",
      what: "kill -9 of control; the supervisor restarts it",
      repeats: false,
      change: () => replaced("control", (pid) => void process.kill(pid, "SIGKILL")),
    },
    {
      name: "gateway",
      what: "SIGTERM to the gateway; it serves until the supervisor has started the next one",
      repeats: false,
      change: () => replaced("gateway", (pid) => void process.kill(pid, "SIGTERM")),
    },
    {
      name: "upgrade",
      what: "modelport upgrade: the listener is handed over",
      repeats: false,
      change: () =>
        replaced("gateway", async () => {
          const done = await platform.cli("upgrade");
          if (done.code !== 0) throw new Error(`modelport upgrade: ${done.output}`);
        }),
    },
  ];
};

/** One quiet stretch and one disturbed; the disturbed one ends when its share of requests has passed and all is done. */
const stretch = async (disturbance: Disturbance, quietMs: number, disturbedMs: number): Promise<Stretch> => {
  const from = nowMs();
  await sleep(quietMs);
  const begun = nowMs();
  let changes = 0;
  do {
    await disturbance.change();
    changes += 1;
  } while (disturbance.repeats && nowMs() - begun < disturbedMs);
  console.log(`${disturbance.name}: ${changes} in ${((nowMs() - begun) / 1000).toFixed(1)} s`);
  await sleep(Math.max(SETTLE_MS, disturbedMs - (nowMs() - begun)));
  return { disturbance, from, begun, to: nowMs(), changes };
};

const row = (name: string, calls: readonly Call[], more: string): string => {
  const bad = calls.filter((call) => !isGood(call)).length;
  const late = quantile(
    calls.map(({ lateMs }) => lateMs),
    0.95,
  );
  const figures = [0.5, 0.95, 0.99].map((q) => latency(calls, q).toFixed(1).padStart(8)).join("");
  return `${name.padEnd(10)}${String(calls.length).padStart(9)}${String(bad).padStart(8)}${figures}${late.toFixed(1).padStart(8)}${more}`;
};

const report = (calls: readonly Call[], stretches: readonly Stretch[]): readonly string[] => {
  const quiet = stretches.flatMap(({ from, begun }) => dueWithin(calls, from, begun));
  const lines = [
    "                                                           own    p95 above its quiet neighbours, ms",
    "            requests  failed  p50 ms     p95     p99  delay   all rounds   each round    changes",
    row("quiet", quiet, ""),
  ];
  const reasons: string[] = [];
  for (const disturbance of new Set(stretches.map((one) => one.disturbance))) {
    const own = stretches.filter((one) => one.disturbance === disturbance);
    const during = own.flatMap(({ begun, to }) => dueWithin(calls, begun, to));
    const beside = own.flatMap(({ from, begun }) => dueWithin(calls, from, begun));
    const apart = own.map(
      ({ from, begun, to }) =>
        latency(dueWithin(calls, begun, to), 0.95) - latency(dueWithin(calls, from, begun), 0.95),
    );
    const all = latency(during, 0.95) - latency(beside, 0.95);
    const spread = `${Math.min(...apart).toFixed(1)} … ${median(apart).toFixed(1)} … ${Math.max(...apart).toFixed(1)}`;
    const changes = own.reduce((sum, one) => sum + one.changes, 0);
    lines.push(
      row(
        disturbance.name,
        during,
        `${all.toFixed(1).padStart(10)}${spread.padStart(22)}${String(changes).padStart(6)}`,
      ),
    );
    const why = failures(during);
    if (why !== "") reasons.push(`  failed in ${disturbance.name}: ${why}`);
  }
  const why = failures(quiet);
  if (why !== "") reasons.push(`  failed in quiet: ${why}`);
  return [...lines, ...reasons];
};

await runBench(async (bench) => {
  const machine = describeMachine();
  const platform = new Platform();
  try {
    await platform.start();
    const models = [
      (await importModel(platform, "iris", "0.0.1", iris())).id,
      (await importModel(platform, "iris", "0.0.2", iris())).id,
    ];
    const id = await deploy(platform, "rollout", [entry(models[0] ?? "")]);
    const hasUpgrade = /^\s+(?:modelport )?upgrade\b/m.test((await platform.cli("--help")).output);
    const disturbances = disturbancesOf(platform, id, models).filter(
      ({ name }) =>
        (options.only === undefined || options.only.split(",").includes(name)) &&
        (name !== "upgrade" || hasUpgrade),
    );
    const load = await startCalls(bench, {
      ...RUN,
      port: platform.state.port,
      path: `/v1/infers/${id}`,
      token: await platform.token(),
      body: readFileSync(join(REPO, "examples/iris/request.json"), "utf8"),
      perSecond: rate,
    });
    await sleep(2 * SETTLE_MS);
    const disturbedMs = (requests / rate / rounds) * 1000;
    const stretches: Stretch[] = [];
    for (let round = 0; round < rounds; round += 1)
      for (const disturbance of disturbances)
        stretches.push(await stretch(disturbance, disturbedMs / disturbances.length, disturbedMs));
    const calls = await load.stop();
    const lines = [
      "Predictions while things change (rollout.ts): a whole platform, examples/iris, one instance unless said otherwise.",
      `${rate} requests/s, open loop, kept-alive connections, all the time; latency from the moment a request was due.`,
      "Failed: anything but an answer with 2xx. Own delay: p95 of how late the load generator itself was, part of the latency.",
      machine,
      "",
      ...report(calls, stretches),
      "",
      ...disturbances.map(({ name, what }) => `${name.padEnd(10)}${what}`),
      ...(hasUpgrade ? [] : ["upgrade   left out: this version has no such command"]),
    ];
    const text = `${lines.join("\n")}\n`;
    process.stdout.write(text);
    if (options.only === undefined) writeFileSync(join(import.meta.dirname, "rollout.txt"), text);
  } finally {
    await platform.stop();
  }
});

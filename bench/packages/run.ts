/**
 * What a package costs here and elsewhere: one scikit-learn model, one Python worker, requests of one row, at 1, 8 and 64
 * connections, against the servers people would pick instead, each with its own batching at its best setting found. Every round
 * starts each server by itself, so that none is measured beside another. Writes results-MODEL.txt beside itself.
 *
 *   node bench/packages/setup.ts DIR && node bench/packages/run.ts --peers DIR --model FILE.m --name iris
 *     [--seconds 4] [--rounds 2] [--only NAME,NAME]
 */
import { execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  cpSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import {
  cpuNs,
  describeMachine,
  freePort,
  median,
  nowMs,
  peakKb,
  runBench,
  sleep,
} from "../support/bench.ts";
import type { Bench } from "../support/bench.ts";
import { startGateway } from "../support/gateway.ts";

const { values: options } = parseArgs({
  options: {
    peers: { type: "string", default: "peers" },
    model: { type: "string", default: "" },
    name: { type: "string", default: "iris" },
    seconds: { type: "string", default: "4" },
    rounds: { type: "string", default: "2" },
    only: { type: "string", default: "" },
  },
});
const seconds = Number(options.seconds);
const CONNECTIONS = [1, 8, 64] as const;
const BODIES = 16;
/** `data`: the guide's form. `list`: the same as a list of one, as BentoML's batches want it. `v2`: KServe's V2 form. */
type Form = "data" | "list" | "v2";

interface Server {
  readonly name: string;
  readonly path: string;
  readonly form: Form;
  /** The command with its environment; the port is the one to listen on. */
  readonly command: (port: number) => { argv: readonly string[]; env?: Readonly<Record<string, string>> };
  readonly python?: string;
}

const model = resolve(options.model);
const peers = resolve(options.peers);
const here = import.meta.dirname;
const bin = (env: string, program: string): string => join(peers, env, "bin", program);

const SERVERS: readonly Server[] = [
  ...(["auto", "off"] as const).map((mode): Server => ({
    name: `Modelport, batching ${mode}`,
    path: "/",
    form: "data",
    command: () => ({
      argv: [process.execPath, join(here, "../../src/main.ts"), "modelserver", "--spec", mode],
    }),
  })),
  {
    name: "Modelport, through the gateway",
    path: "/",
    form: "data",
    command: () => ({
      argv: [process.execPath, join(here, "../../src/main.ts"), "modelserver", "--spec", "auto"],
    }),
  },
  {
    name: "gunicorn + Flask, sync",
    path: "/",
    form: "data",
    command: (port) => ({
      argv: [bin("wsgi", "gunicorn"), "-w", "1", "-b", `127.0.0.1:${port}`, "flask_app:app"],
    }),
  },
  {
    name: "gunicorn + Flask, gevent",
    path: "/",
    form: "data",
    command: (port) => ({
      argv: [bin("wsgi", "gunicorn"), "-w", "1", "-k", "gevent", "-b", `127.0.0.1:${port}`, "flask_app:app"],
    }),
  },
  {
    name: "FastAPI + uvicorn",
    path: "/",
    form: "data",
    command: (port) => ({
      argv: [
        bin("asgi", "uvicorn"),
        "fastapi_app:app",
        "--port",
        `${port}`,
        "--no-access-log",
        "--log-level",
        "warning",
      ],
    }),
  },
  {
    name: "LitServe",
    path: "/predict",
    form: "data",
    command: () => ({ argv: [bin("litserve", "python"), "litserve_app.py"] }),
  },
  {
    name: "BentoML",
    path: "/",
    form: "list",
    command: (port) => ({
      argv: [
        bin("bentoml", "bentoml"),
        "serve",
        "bentoml_app:Iris",
        "--port",
        `${port}`,
        "--host",
        "127.0.0.1",
      ],
    }),
  },
  {
    name: "MLServer",
    path: "/v2/models/iris/infer",
    form: "v2",
    command: () => ({ argv: [bin("mlserver", "python"), "mlserver_app.py"] }),
  },
  {
    name: "Ray Serve",
    path: "/",
    form: "data",
    command: () => ({ argv: [bin("ray", "python"), "ray_app.py"] }),
  },
  {
    name: "pytriton",
    path: "/v2/models/iris/infer",
    form: "v2",
    command: () => ({ argv: [bin("pytriton", "python"), "pytriton_app.py"] }),
  },
];

const bodyOf = (form: Form, n: number): string => {
  const row = [4.5 + n * 0.2, 3 + (n % 9) / 10, 1 + n * 0.35, 0.1 + n * 0.15].map((value) =>
    Number(value.toFixed(2)),
  );
  if (form === "v2")
    return JSON.stringify({ inputs: [{ name: "rows", shape: [1, 4], datatype: "FP64", data: row }] });
  const [sepal_length, sepal_width, petal_length, petal_width] = row;
  const data = { req_data: [{ sepal_length, sepal_width, petal_length, petal_width }] };
  return JSON.stringify({ data: form === "list" ? [data] : data });
};

/** The process and all below it. */
const tree = (pid: number): readonly number[] => {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      // It has just ended.
    }
  }
  const all = [pid];
  for (const one of all) all.push(...(children.get(one) ?? []));
  return all;
};
const total = (pids: readonly number[], figure: (pid: number) => number): number =>
  pids.reduce((sum, pid) => {
    try {
      return sum + figure(pid);
    } catch {
      return sum;
    }
  }, 0);

interface Sample {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errors: number;
  readonly cpuUs: number;
  readonly peakMb: number;
}

/** The table's columns: figure, width, digits after the point. */
const COLUMNS: readonly (readonly [keyof Sample, number, number])[] = [
  ["perSecond", 10, 0],
  ["p50Ms", 8, 2],
  ["p99Ms", 8, 2],
  ["errors", 7, 0],
  ["cpuUs", 7, 0],
  ["peakMb", 8, 0],
];

interface Running {
  readonly port: number;
  readonly pids: readonly number[];
  readonly path: string;
  readonly token: string;
  readonly stop: () => Promise<void>;
}

const UNIT: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000 };

const load = (bench: Bench, server: Server, at: Running, connections: number, forSeconds: number) =>
  new Promise<Omit<Sample, "cpuUs" | "peakMb"> & { requests: number }>((done, reject) => {
    const script = join(bench.dir, "post.lua");
    const bodies = Array.from({ length: BODIES }, (_, n) => `[[${bodyOf(server.form, n)}]]`).join(",");
    writeFileSync(
      script,
      `local bodies = {${bodies}}\nlocal n = 0\nwrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n` +
        `wrk.headers["X-Auth-Token"] = "${at.token}"\n` +
        `request = function() n = n + 1; return wrk.format(nil, nil, nil, bodies[n % ${BODIES} + 1]) end\n`,
    );
    const url = `http://127.0.0.1:${at.port}${at.path}`;
    const child = spawn("wrk", [
      "-t1",
      `-c${connections}`,
      `-d${forSeconds}s`,
      "--latency",
      "--timeout",
      "30s",
      "-s",
      script,
      url,
    ]);
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    child.once("error", reject);
    child.once("close", () => {
      const [, requests = "0", took = "1"] = /(\d+) requests in ([\d.]+)s/.exec(text) ?? [];
      const latency = (percent: string): number => {
        const [, value, unit = ""] = new RegExp(`\\n\\s+${percent}%\\s+([\\d.]+)(us|ms|s)`).exec(text) ?? [];
        return Number(value) * (UNIT[unit] ?? Number.NaN);
      };
      const refused = Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0);
      const broken = [...(/Socket errors: (.*)/.exec(text)?.[1] ?? "").matchAll(/\d+/g)];
      done({
        requests: Number(requests),
        perSecond: (Number(requests) - refused) / Number(took),
        p50Ms: latency("50"),
        p99Ms: latency("99"),
        errors: refused + broken.reduce((sum, [digits]) => sum + Number(digits), 0),
      });
    });
  });

const answers = async (server: Server, at: Omit<Running, "stop">): Promise<boolean> => {
  try {
    const answer = await fetch(`http://127.0.0.1:${at.port}${at.path}`, {
      method: "POST",
      body: bodyOf(server.form, 0),
      headers: { "Content-Type": "application/json", "X-Auth-Token": at.token },
      signal: AbortSignal.timeout(5000),
    });
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    return false;
  }
};

/** The spec of an instance with the package of examples/iris around the model; returns its folder. */
const writeSpec = (bench: Bench, mode: string): string => {
  const dir = join(bench.dir, `instance-${mode}-${nowMs()}`);
  const packageDir = join(dir, "model");
  cpSync(join(here, "../../examples/iris/model"), packageDir, { recursive: true });
  for (const name of readdirSync(packageDir)) if (name.endsWith(".m")) rmSync(join(packageDir, name));
  cpSync(model, join(packageDir, basename(model)));
  mkdirSync(join(dir, "scratch"), { recursive: true });
  const spec = {
    instanceId: "bench-1",
    engine: "Scikit_Learn",
    modelName: "iris",
    modelVersion: "1.0.0",
    packageDir,
    modelFile: basename(model),
    python: bin("wsgi", "python"),
    envs: {},
    workers: 1,
    batching: { mode, maxSize: 64, maxDelayMs: 20 },
    predictTimeoutMs: 40_000,
    startTimeoutMs: 60_000,
    drainTimeoutMs: 1000,
    errorInfo: true,
    host: "127.0.0.1",
    addressFile: join(dir, "address.json"),
    scratchDir: join(dir, "scratch"),
  };
  writeFileSync(join(dir, "spec.json"), JSON.stringify(spec));
  return dir;
};

const start = async (bench: Bench, server: Server): Promise<Running> => {
  const wanted = await freePort();
  const { argv } = server.command(wanted);
  const mode = argv.at(-2) === "--spec" ? argv.at(-1) : undefined;
  const dir = mode === undefined ? null : writeSpec(bench, mode);
  const [program = "", ...args] = dir === null ? argv : [...argv.slice(0, -1), join(dir, "spec.json")];
  const log = openSync(join(bench.dir, "server.log"), "w");
  const child = spawn(program, args, {
    cwd: dir ?? join(here, "peers"),
    env: {
      PATH: process.env["PATH"] ?? "",
      HOME: bench.dir,
      PORT: `${wanted}`,
      MODEL: model,
      PYTHONPATH: dir === null ? join(here, "peers") : "",
      PYTHONDONTWRITEBYTECODE: "1",
      OMP_NUM_THREADS: "1",
      OPENBLAS_NUM_THREADS: "1",
      BENTOML_DO_NOT_TRACK: "1",
      RAY_USAGE_STATS_ENABLED: "0",
    },
    stdio: ["ignore", log, log],
    detached: true,
  });
  closeSync(log);
  const pid = child.pid ?? 0;
  const stop = async (): Promise<void> => {
    const all = tree(pid);
    const signal = (name: NodeJS.Signals): void => {
      for (const one of all)
        try {
          process.kill(one, name);
        } catch {
          // It has ended.
        }
    };
    signal("SIGTERM");
    for (let n = 0; n < 40 && child.exitCode === null && child.signalCode === null; n += 1) await sleep(100);
    signal("SIGKILL");
    await sleep(500);
  };
  const portNow = (): number => {
    if (dir === null) return wanted;
    try {
      return (JSON.parse(readFileSync(join(dir, "address.json"), "utf8")) as { port: number }).port;
    } catch {
      return 0;
    }
  };
  const began = nowMs();
  for (;;) {
    const direct = { port: portNow(), pids: [], path: server.path, token: "" };
    if (direct.port !== 0 && (await answers(server, direct))) break;
    if (nowMs() - began > 90_000 || child.exitCode !== null) {
      await stop();
      throw new Error(
        `${server.name} does not answer: ${readFileSync(join(bench.dir, "server.log"), "utf8").slice(-2000)}`,
      );
    }
    await sleep(200);
  }
  const port = portNow();
  if (!server.name.includes("gateway")) return { port, pids: tree(pid), path: server.path, token: "", stop };
  const gateway = await startGateway(bench, [{ ports: [port], concurrency: 64, queueMax: 256 }], {
    dir: `gateway-${nowMs()}`,
  });
  return {
    port: gateway.port,
    pids: [...tree(pid), gateway.pid],
    path: gateway.paths[0] ?? "",
    token: gateway.token,
    stop: async () => {
      process.kill(gateway.pid);
      await stop();
    },
  };
};

await runBench(async (bench) => {
  const only = options.only === "" ? null : options.only.split(",");
  const servers = SERVERS.filter(({ name }) => only === null || only.some((part) => name.includes(part)));
  const machine = describeMachine();
  const samples = new Map<string, Sample[]>();
  const left: string[] = [];
  for (let round = 0; round < Number(options.rounds); round += 1)
    for (const server of servers) {
      let running: Running;
      try {
        running = await start(bench, server);
      } catch (error) {
        const reason = (error as Error).message;
        console.error(reason);
        if (!left.includes(server.name)) left.push(server.name);
        continue;
      }
      await load(bench, server, running, 64, 3);
      for (const connections of CONNECTIONS) {
        const pids = running.pids;
        const before = total(pids, cpuNs);
        const { requests, ...done } = await load(bench, server, running, connections, seconds);
        const cpuUs = (total(pids, cpuNs) - before) / Math.max(1, requests) / 1e3;
        const sample = { ...done, cpuUs, peakMb: total(pids, peakKb) / 1024 };
        const key = `${server.name}|${connections}`;
        samples.set(key, [...(samples.get(key) ?? []), sample]);
        console.log(key, JSON.stringify(sample));
      }
      await running.stop();
    }
  const figure = (name: string, connections: number, pick: (sample: Sample) => number): number =>
    median((samples.get(`${name}|${connections}`) ?? []).map(pick));
  const lines = CONNECTIONS.flatMap((connections) => [
    "",
    `${connections} connection${connections === 1 ? "" : "s"}${" ".repeat(connections === 1 ? 19 : connections > 9 ? 17 : 18)} requests/s   p50 ms   p99 ms  errors  CPU µs  peak MB`,
    ...servers
      .filter(({ name }) => samples.has(`${name}|${connections}`))
      .map(({ name }) =>
        [
          name.padEnd(32),
          ...COLUMNS.map(([member, width, digits]) =>
            figure(name, connections, (sample) => sample[member])
              .toFixed(digits)
              .padStart(width),
          ),
        ].join(" "),
      ),
  ]);
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], {
    encoding: "utf8",
    cwd: here,
  }).trim();
  const text = [
    `${options.name}: one worker, requests of one row (${BODIES} different ones), wrk with one thread, ${options.rounds} rounds of ${seconds} s, medians. Commit ${commit}.`,
    machine,
    "CPU and memory of the whole process tree; the load generator shares the machine. Peers and their settings: peers/, requirements.txt.",
    ...(left.length > 0 ? [`Not measured, since it did not answer: ${left.join(", ")}.`] : []),
    ...lines,
    "",
  ].join("\n");
  writeFileSync(join(here, `results-${options.name}.txt`), text);
  console.log(text);
});

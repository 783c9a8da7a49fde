/** A server of the bench as a running process: started, waited for, known with all its processes, stopped. */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort, nowMs, sleep } from "../support/bench.ts";
import type { Bench } from "../support/bench.ts";
import { startGateway } from "../support/gateway.ts";
import type { Ours, Server, Subject } from "./subject.ts";

const START_MS = 90_000;

export interface Running {
  readonly url: string;
  readonly token: string;
  /** The whole tree. */
  readonly pids: readonly number[];
  /** What the server has said, on both outputs. */
  readonly said: () => string;
  readonly stop: () => Promise<void>;
}

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

/** The spec of an instance with the package around the model; returns its folder. */
const writeSpec = (bench: Bench, subject: Subject, { batching }: Ours): string => {
  const dir = join(bench.dir, `instance-${nowMs()}`);
  mkdirSync(join(dir, "scratch"), { recursive: true });
  const spec = {
    ...subject.writePackage(join(dir, "model")),
    instanceId: "bench-1",
    modelVersion: "1.0.0",
    packageDir: join(dir, "model"),
    envs: {},
    workers: 1,
    batching: { mode: batching, maxSize: 64, maxDelayMs: 20 },
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

const answers = async (url: string, server: Server): Promise<boolean> => {
  try {
    const [first] = server.requests;
    const answer = await fetch(url, {
      method: "POST",
      body: first?.body ?? "",
      headers: { "Content-Type": first?.contentType ?? "" },
      signal: AbortSignal.timeout(5000),
    });
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    return false;
  }
};

interface Program {
  readonly argv: readonly string[];
  readonly dir: string;
  readonly modules: readonly string[];
  readonly port: () => number;
}

const programOf = async (bench: Bench, subject: Subject, server: Server): Promise<Program> => {
  if ("command" in server) {
    const port = await freePort();
    const { programs: dir, modules } = subject;
    return { argv: server.command(port), dir, modules, port: () => port };
  }
  const dir = writeSpec(bench, subject, server);
  const main = join(import.meta.dirname, "../../src/main.ts");
  return {
    argv: [process.execPath, main, "modelserver", "--spec", join(dir, "spec.json")],
    dir,
    modules: [],
    port: () => {
      try {
        return (JSON.parse(readFileSync(join(dir, "address.json"), "utf8")) as { port: number }).port;
      } catch {
        return 0;
      }
    },
  };
};

export const startServer = async (
  bench: Bench,
  subject: Subject,
  server: Server,
  model: string,
): Promise<Running> => {
  const { argv, dir, modules, port } = await programOf(bench, subject, server);
  const [program = "", ...args] = argv;
  const logFile = join(bench.dir, "server.log");
  const log = openSync(logFile, "w");
  const child = spawn(program, args, {
    cwd: dir,
    env: {
      PATH: process.env["PATH"] ?? "",
      HOME: bench.dir,
      PORT: `${port()}`,
      MODEL: model,
      PYTHONPATH: modules.join(":"),
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
  const said = (): string => readFileSync(logFile, "utf8");
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
  const began = nowMs();
  const url = (): string => `http://127.0.0.1:${port()}${server.path}`;
  while (port() === 0 || !(await answers(url(), server))) {
    if (nowMs() - began > START_MS || child.exitCode !== null) {
      await stop();
      throw new Error(`${server.name} does not answer: ${said().slice(-2000)}`);
    }
    await sleep(200);
  }
  const alone = { url: url(), token: "", pids: tree(pid), said, stop };
  if ("command" in server || !server.gateway) return alone;
  const gateway = await startGateway(bench, [{ ports: [port()], concurrency: 64, queueMax: 256 }], {
    dir: `gateway-${nowMs()}`,
  }).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return {
    ...alone,
    url: `http://127.0.0.1:${gateway.port}${gateway.paths[0] ?? ""}`,
    token: gateway.token,
    pids: [...alone.pids, gateway.pid],
    stop: async () => {
      process.kill(gateway.pid);
      await stop();
    },
  };
};

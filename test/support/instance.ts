/** A real modelserver process on a package, for system tests: started, asked, ended and cleaned up. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { AddressFile, HealthAnswer, LaunchSpec } from "../../src/core/launch.ts";
import { until } from "./until.ts";

export interface Stats {
  readonly queued: number;
  readonly inFlight: number;
  readonly restarts: number;
  readonly workers: readonly {
    readonly state: string;
    readonly pid: number | null;
    readonly predictions: number;
  }[];
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  json(): unknown;
}

export interface Instance {
  readonly pid: number;
  readonly url: string;
  readonly dir: string;
  predict(
    body: unknown,
    options?: { headers?: Record<string, string>; signal?: AbortSignal },
  ): Promise<Answer>;
  health(): Promise<{ status: number; answer: HealthAnswer }>;
  stats(): Promise<Stats>;
  log(): string;
  /** Waits until it is ready; fails with its log when it failed. */
  ready(): Promise<void>;
  signal(name: NodeJS.Signals): void;
  /** Waits for its end. */
  ended(): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    // A zombie answers signals; it is gone all the same.
    return !/^\d+ \(.*\) [ZX] /s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "ENOENT" && !existsSync("/proc/self");
  }
};

const running: { instance: Instance | null; cleanup: () => Promise<void> }[] = [];

/** Ends and removes every instance a test started, or those it chooses. */
export const removeInstances = async (
  isMeant: (instance: Instance | null) => boolean = () => true,
): Promise<void> => {
  const meant = running.filter((one) => isMeant(one.instance));
  for (const one of meant) running.splice(running.indexOf(one), 1);
  await Promise.all(meant.map((one) => one.cleanup()));
};

/** Starts one on a package made of `files`, or on `packageDir`. Resolves once it listens. */
export const startInstance = async (
  options: Partial<LaunchSpec> & {
    readonly python: string;
    readonly files?: Readonly<Record<string, string | Uint8Array>>;
  },
): Promise<Instance> => {
  const { files, ...given } = options;
  const dir = mkdtempSync(join(tmpdir(), "modelserver-"));
  // As the platform's directories are to users of the services' own.
  chmodSync(dir, 0o711);
  const packageDir = join(dir, "package");
  mkdirSync(packageDir);
  for (const [name, text] of Object.entries(files ?? {})) writeFileSync(join(packageDir, name), text);
  const spec: LaunchSpec = {
    instanceId: "group-1",
    engine: "Scikit_Learn",
    modelName: "tested",
    modelVersion: "0.0.1",
    packageDir,
    modelFile: "model.m",
    envs: {},
    workers: 1,
    predictTimeoutMs: 40_000,
    startTimeoutMs: 60_000,
    drainTimeoutMs: 20_000,
    errorInfo: true,
    host: "127.0.0.1",
    addressFile: join(dir, "address.json"),
    scratchDir: join(dir, "scratch"),
    ...given,
  };
  const specFile = join(dir, "spec.json");
  writeFileSync(specFile, JSON.stringify(spec));
  const logFile = join(dir, "log");
  const log = openSync(logFile, "a");
  const child = spawn(process.execPath, [join(import.meta.dirname, "run-modelserver.ts"), specFile], {
    stdio: ["ignore", log, log],
    // A variable of the platform's that must not reach user code.
    env: { ...process.env, MODELPORT_SECRET: "not for user code" },
  });
  closeSync(log);
  const ended = once(child, "exit");
  const readLog = (): string => readFileSync(logFile, "utf8");
  const entry: (typeof running)[number] = {
    instance: null,
    cleanup: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
      const timer = new AbortController();
      await Promise.race([ended, sleep(10_000, undefined, { signal: timer.signal }).catch(() => {})]);
      timer.abort();
      child.kill("SIGKILL");
      await ended;
      rmSync(dir, { recursive: true, force: true });
    },
  };
  running.push(entry);
  await until(
    "the address file",
    () => existsSync(spec.addressFile) || child.exitCode !== null || child.signalCode !== null,
  );
  if (!existsSync(spec.addressFile)) throw new Error(`the modelserver ended at once:\n${readLog()}`);
  const address = JSON.parse(readFileSync(spec.addressFile, "utf8")) as AddressFile;
  const url = `http://127.0.0.1:${address.port}`;
  const health = async (): Promise<{ status: number; answer: HealthAnswer }> => {
    const response = await fetch(`${url}/health`);
    return { status: response.status, answer: (await response.json()) as HealthAnswer };
  };
  const instance: Instance = {
    pid: address.pid,
    url,
    dir,
    predict: async (body, { headers, signal } = {}) => {
      const response = await fetch(url, {
        method: "POST",
        body: typeof body === "string" ? body : JSON.stringify(body),
        headers: { "Content-Type": "application/json", ...headers },
        ...(signal === undefined ? {} : { signal }),
      });
      const text = await response.text();
      return {
        status: response.status,
        headers: response.headers,
        text,
        json: () => JSON.parse(text) as unknown,
      };
    },
    health,
    stats: async () => (await (await fetch(`${url}/stats`)).json()) as Stats,
    log: readLog,
    ready: async () => {
      await until("the instance to be ready", async () => {
        const { answer } = await health();
        if (answer.status === "failed") throw new Error(`${answer.failure.message}\n${readLog()}`);
        return answer.status === "OK";
      });
    },
    signal: (name) => void child.kill(name),
    ended: async () => {
      const [code, signal] = (await ended) as [number | null, NodeJS.Signals | null];
      return { code, signal };
    },
  };
  entry.instance = instance;
  return instance;
};

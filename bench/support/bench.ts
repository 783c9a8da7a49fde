/**
 * What every bench needs: a temporary folder, processes that end with it, and what the kernel says a process costs.
 * Linux only: costs are read from /proc.
 */
import { execFileSync, fork, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { join } from "node:path";

export interface Started {
  readonly child: ChildProcess;
  readonly pid: number;
  /** 0 for a process that listens on none. */
  readonly port: number;
}

export class Bench {
  readonly dir = mkdtempSync(join(tmpdir(), "modelport-bench-"));
  readonly #children: ChildProcess[] = [];

  /** Starts a file of the benches as a process; resolves with what it says first, its port. */
  fork(file: string, args: readonly string[] = []): Promise<Started> {
    return new Promise((resolve, reject) => {
      const child = fork(file, [...args]);
      this.#children.push(child);
      child.once("message", (message) =>
        resolve({ child, pid: child.pid ?? 0, port: (message as { port: number }).port }),
      );
      child.once("exit", (code) => reject(new Error(`${file} ended with ${code}`)));
    });
  }

  /** Starts another program that runs until the bench ends. */
  spawn(command: string, args: readonly string[]): ChildProcess {
    const child = spawn(command, args, { stdio: "ignore" });
    this.#children.push(child);
    return child;
  }

  end(): void {
    for (const child of this.#children) child.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Runs a bench's main function and leaves nothing behind, however it ends. */
export const runBench = async (main: (bench: Bench) => Promise<void>): Promise<never> => {
  const bench = new Bench();
  let code = 0;
  try {
    await main(bench);
  } catch (error) {
    console.error(error);
    code = 1;
  } finally {
    bench.end();
  }
  process.exit(code);
};

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Milliseconds of the machine's monotonic clock: the same in every process. */
export const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;

export const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });

/** The sum over all threads of a process of one figure of the scheduler's account, in nanoseconds. */
const schedulerNs = (pid: number, field: 0 | 1): number =>
  readdirSync(`/proc/${pid}/task`)
    .map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[field]))
    .reduce((sum, ns) => sum + ns, 0);

/** CPU nanoseconds of a process so far, all its threads. */
export const cpuNs = (pid: number): number => schedulerNs(pid, 0);

/** Nanoseconds its threads were ready to run and had to wait for a processor: what a busy machine did to it. */
export const waitedNs = (pid: number): number => schedulerNs(pid, 1);

const statusKb = (pid: number, field: string): number =>
  Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);

/** Resident memory now, in kB. */
export const rssKb = (pid: number): number => statusKb(pid, "VmRSS");

/** The most resident memory since the last `resetPeak`, in kB. */
export const peakKb = (pid: number): number => statusKb(pid, "VmHWM");

export const resetPeak = (pid: number): void => writeFileSync(`/proc/${pid}/clear_refs`, "5");

/** The share q of the values lies at or below the answer; NaN without values. */
export const quantile = (values: readonly number[], q: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN;

export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2;
};

/** The version a program names, null when it is not installed. */
export const versionOf = (command: string, flag: string, pattern: RegExp): string | null => {
  const text = execFileSync("sh", ["-c", `${command} ${flag} 2>&1 || true`], { encoding: "utf8" });
  return pattern.exec(text)?.[1] ?? null;
};

/** What a reader must know of the machine to judge the numbers. */
export const describeMachine = (): string => {
  const busy = loadavg()[0] ?? 0;
  const shared =
    busy > 0.5 ? " It was shared with other work: compare rows of one block, not absolutes." : "";
  return `${cpus().length} × ${cpus()[0]?.model ?? "?"}, Linux ${release()}, Node ${process.version}. Load average before the run: ${busy.toFixed(1)}.${shared}`;
};

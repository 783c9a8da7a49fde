/** The real platform for tests: its own data directory and a port of the kernel's choice, driven by its command line. */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "..", "..");
const BIN = join(ROOT, "bin", "modelport.mjs");

export interface Finished {
  readonly code: number;
  readonly output: string;
}

export class RealPlatform {
  dir = "";

  async open(): Promise<this> {
    this.dir = await mkdtemp(join(tmpdir(), "modelport-e2e-"));
    return this;
  }

  async close(): Promise<void> {
    await this.modelport("down");
    await rm(this.dir, { recursive: true, force: true });
  }

  env(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      MODELPORT_DATA: join(this.dir, "data"),
      MODELPORT_PORT: "0",
      NO_COLOR: "1",
    };
  }

  /** Runs a command to its end, both outputs together. */
  run(command: string, args: readonly string[], cwd = ROOT): Promise<Finished> {
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, { cwd, env: this.env(), stdio: ["ignore", "pipe", "pipe"] });
      let output = "";
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (chunk: string) => {
          output += chunk;
        });
      }
      child.once("error", reject);
      child.once("close", (code) => resolve({ code: code ?? 1, output }));
    });
  }

  modelport(...args: readonly string[]): Promise<Finished> {
    return this.run(process.execPath, [BIN, ...args]);
  }

  /** Runs a line of a transcript; `modelport` in it is ours. */
  shell(line: string, cwd = ROOT): Promise<Finished> {
    const shim = `modelport() { '${process.execPath}' '${BIN}' "$@"; }`;
    return this.run("bash", ["-c", `${shim}\n${line}`], cwd);
  }

  /** Starts something that goes on, and resolves once its output contains `text`. */
  startUntil(
    command: string,
    args: readonly string[],
    text: string,
  ): Promise<{ pressCtrlC: () => void; output: () => string; ended: Promise<number> }> {
    return new Promise((resolve, reject) => {
      // A group of its own: Ctrl-C on a terminal reaches every process of it, npm and shells included.
      const child = spawn(command, args, {
        cwd: ROOT,
        env: this.env(),
        stdio: ["ignore", "pipe", "pipe"],
        detached: true,
      });
      const pressCtrlC = (): void => {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGINT");
      };
      let output = "";
      const ended = new Promise<number>((done) => child.once("close", (code) => done(code ?? 1)));
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (chunk: string) => {
          output += chunk;
          if (output.includes(text)) resolve({ pressCtrlC, output: () => output, ended });
        });
      }
      child.once("error", reject);
      void ended.then((code) => reject(new Error(`${command} ended with ${code}:\n${output}`)));
    });
  }
}

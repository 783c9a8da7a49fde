/**
 * A whole platform for one test on a fresh data directory and a free port: `start` runs `modelport up` as a process of
 * its own, `shell` and `startUntil` run what a user would type, `call` speaks to the API. `stop` ends it the clean way,
 * whoever started it, and fails when anything is left behind.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect } from "vitest";
import { runningState } from "../../src/supervise.ts";
import type { PlatformState } from "../../src/supervise.ts";
import { identify } from "../../src/telemetry/process-identity.ts";
import { until } from "./until.ts";

export { until } from "./until.ts";

export const REPO = resolve(import.meta.dirname, "../..");
const BIN = join(REPO, "bin", "modelport.mjs");

export interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers: Headers;
}

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Both, in the order they came. */
  readonly output: string;
}

export interface Ongoing {
  readonly pressCtrlC: () => void;
  readonly output: () => string;
  readonly ended: Promise<number>;
}

export interface Profile {
  readonly endpoint: string;
  readonly domain: string;
  readonly user: string;
  readonly password: string;
  readonly project: { readonly id: string; readonly name: string };
}

/** Every process whose command line or working files name the directory: what a leak would look like. */
export const processesOf = (dir: string): readonly string[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        const environment = readFileSync(`/proc/${pid}/environ`, "utf8");
        const ours = command.includes(dir) || environment.includes(dir);
        return ours && identify(Number(pid)) !== null && Number(pid) !== process.pid
          ? [`${pid} ${command}`]
          : [];
      } catch {
        return [];
      }
    });

export class Platform {
  readonly dataDir: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #program: string;
  #child: ChildProcess | null = null;
  #token: string | null = null;
  output = "";

  /** `program`: where it is run from, when not from this clone. `parent`: where the data directory is made. */
  constructor(
    env: Readonly<Record<string, string>> = {},
    { program = REPO, parent = tmpdir() }: { readonly program?: string; readonly parent?: string } = {},
  ) {
    this.#program = program;
    this.dataDir = mkdtempSync(join(parent, "modelport-e2e-"));
    this.#env = env;
  }

  get environment(): Record<string, string | undefined> {
    return { ...process.env, MODELPORT_DATA: this.dataDir, MODELPORT_PORT: "0", NO_COLOR: "1", ...this.#env };
  }

  get state(): PlatformState {
    const state = runningState(this.dataDir);
    if (state === null) throw new Error(`the platform does not run; it printed:\n${this.output}`);
    return state;
  }

  get profile(): Profile {
    return JSON.parse(readFileSync(join(this.dataDir, "cli.json"), "utf8")) as Profile;
  }

  /** `more`: settings of this start alone. */
  async start(more: Readonly<Record<string, string>> = {}): Promise<this> {
    const child = spawn(process.execPath, [join(this.#program, "src/start.js"), "up"], {
      cwd: REPO,
      env: { ...this.environment, ...more },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    child.stdout.on("data", (chunk: Buffer) => (this.output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (this.output += chunk.toString()));
    await until("the platform to answer", async () => {
      if (child.exitCode !== null) throw new Error(this.output);
      const state = runningState(this.dataDir);
      if (state?.roles.gateway === undefined) return null;
      return (await fetch(`${state.url}/healthz`)).ok ? true : null;
    });
    return this;
  }

  /** Ends it as Ctrl-C does, one that was started detached with `down`, and checks that nothing stays behind. */
  async stop(): Promise<void> {
    await this.stopButKeepFiles();
    rmSync(this.dataDir, { recursive: true, force: true });
  }

  async stopButKeepFiles(): Promise<void> {
    const child = this.#child;
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((done) => child.once("exit", done));
      child.kill("SIGINT");
      await ended;
    } else if (runningState(this.dataDir) !== null) await this.cli("down");
    await until(
      "no process left",
      () => (processesOf(this.dataDir).length === 0 ? true : null),
      10_000,
    ).catch(() => {
      expect(processesOf(this.dataDir), "processes left behind").toEqual([]);
    });
  }

  /** `kill -9` of the supervisor. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGKILL");
    await ended;
  }

  async token(): Promise<string> {
    if (this.#token !== null) return this.#token;
    const { domain, user, password, project } = this.profile;
    this.#token = await this.login({ domain, user, password, project: project.name });
    return this.#token;
  }

  async login(who: { domain: string; user: string; password: string; project: string }): Promise<string> {
    const answer = await fetch(`${this.state.url}/v3/auth/tokens`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        auth: {
          identity: {
            methods: ["password"],
            password: { user: { name: who.user, password: who.password, domain: { name: who.domain } } },
          },
          scope: { project: { name: who.project } },
        },
      }),
    });
    const token = answer.headers.get("x-subject-token");
    if (answer.status !== 201 || token === null)
      throw new Error(`login: ${answer.status} ${await answer.text()}`);
    return token;
  }

  /** Calls the platform; `path` may hold {project_id}. */
  async call(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const answer = await fetch(this.state.url + path.replace("{project_id}", this.profile.project.id), {
      method,
      headers: {
        "x-auth-token": await this.token(),
        ...(body === undefined || body instanceof Uint8Array ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined
        ? {}
        : { body: body instanceof Uint8Array ? body.slice().buffer : JSON.stringify(body) }),
    });
    const text = await answer.text();
    let parsed: unknown = text;
    try {
      parsed = JSON.parse(text);
    } catch {
      // Not JSON: the text itself.
    }
    return { status: answer.status, body: parsed, headers: answer.headers };
  }

  /** Runs the command line against this platform. */
  cli(...args: readonly string[]): Promise<Finished> {
    return this.run(process.execPath, [join(this.#program, "src/start.js"), ...args]);
  }

  /** Runs a command to its end, with this platform's settings. */
  run(command: string, args: readonly string[], cwd = REPO): Promise<Finished> {
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, { cwd, env: this.environment, stdio: ["ignore", "pipe", "pipe"] });
      const texts = { stdout: "", stderr: "", output: "" };
      for (const name of ["stdout", "stderr"] as const) {
        child[name].setEncoding("utf8").on("data", (chunk: string) => {
          texts[name] += chunk;
          texts.output += chunk;
        });
      }
      child.once("error", reject);
      child.once("close", (code) => resolve({ code: code ?? 1, ...texts }));
    });
  }

  /** Runs a line of a transcript; `modelport` in it is ours. */
  shell(line: string, cwd = REPO): Promise<Finished> {
    const shim = `modelport() { '${process.execPath}' '${BIN}' "$@"; }`;
    return this.run("bash", ["-c", `${shim}\n${line}`], cwd);
  }

  /** Starts something that goes on, and resolves once its output contains `text`. */
  startUntil(command: string, args: readonly string[], text: string): Promise<Ongoing> {
    return new Promise((resolve, reject) => {
      // A group of its own: Ctrl-C on a terminal reaches every process of it, npm and shells included.
      const child = spawn(command, args, {
        cwd: REPO,
        env: this.environment,
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

/** Runs command lines against a contract server, with the process around them made of strings and a clock that waits for nothing. */
import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { runCli } from "../../src/cli/main.ts";
import type { CliIo, Sink } from "../../src/cli/io.ts";
import type { PackageRun } from "../../src/cli/package-run.ts";
import type { DoctorProbe, PlatformControl } from "../../src/cli/platform-control.ts";
import { instant } from "../../src/core/ids.ts";
import { runtimeStates } from "../../src/core/runtimes.ts";
import { ADMINISTRATOR, ContractServer, PROJECT } from "./contract-server.ts";

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

class Text implements Sink {
  text = "";
  readonly #onText: ((text: string) => void) | undefined;
  constructor(onText?: (text: string) => void) {
    this.#onText = onText;
  }
  write(chunk: string | Uint8Array): void {
    const text = typeof chunk === "string" ? chunk : Buffer.from(chunk).toString("utf8");
    this.text += text;
    this.#onText?.(text);
  }
}

const NOW = Date.UTC(2026, 10, 23, 18, 30, 0);

export class CliHarness {
  readonly server = new ContractServer();
  dir = "";
  /** Abort it to press Ctrl-C. */
  interrupt = new AbortController();
  /** What the platform of this machine does; calls are noted. */
  readonly platformCalls: string[] = [];
  isRunning = true;
  probes: DoctorProbe[] = [];
  /** What `modelport run` finds; a test that runs packages puts its own here. */
  packageRun: PackageRun = {
    serve: () => Promise.reject(new Error("nothing is served here")),
    command: () => Promise.reject(new Error("nothing is run here")),
  };
  /** Where the examples are; the harness's own folder, which holds an `iris`, unless a test says otherwise. */
  examplesDir = "";

  async start(): Promise<this> {
    await this.server.start();
    this.dir = await mkdtemp(join(tmpdir(), "modelport-cli-"));
    this.examplesDir = this.dir;
    await this.writeProfile({});
    await this.writePackage("iris");
    return this;
  }

  async stop(): Promise<void> {
    await this.server.stop();
    await rm(this.dir, { recursive: true, force: true });
  }

  get profilePath(): string {
    return join(this.dir, "cli.json");
  }

  async writeProfile(changes: Readonly<Record<string, unknown>>): Promise<void> {
    await writeFile(
      this.profilePath,
      JSON.stringify({ endpoint: this.server.url, ...ADMINISTRATOR, project: PROJECT, ...changes }),
    );
  }

  /** A package folder below `dir`; returns its path. */
  async writePackage(name: string, files: Readonly<Record<string, string>> = {}): Promise<string> {
    const content = {
      "model/config.json": '{"model_type":"Scikit_Learn","model_algorithm":"iris"}',
      "model/iris.m": "weights",
      "model/__pycache__/customize_service.pyc": "left out",
      ...files,
    };
    for (const [path, text] of Object.entries(content)) {
      const target = join(this.dir, name, path);
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, text);
    }
    return join(this.dir, name);
  }

  #platform(): PlatformControl {
    return {
      up: async ({ detach, onStep }) => {
        this.platformCalls.push(detach ? "up --detach" : "up");
        onStep("starting");
        const alreadyRunning = this.isRunning;
        this.isRunning = true;
        return {
          url: this.server.url,
          alreadyRunning,
          ended: new Promise(() => {}),
          stop: async () => {
            this.platformCalls.push("stop");
            this.isRunning = false;
          },
        };
      },
      down: async () => {
        const wasRunning = this.isRunning;
        this.isRunning = false;
        return { wasRunning };
      },
      upgrade: async ({ onStep }) => {
        onStep("starting the new gateway");
        return this.isRunning
          ? { wasRunning: true, url: this.server.url, before: 41, after: 42 }
          : { wasRunning: false };
      },
      state: async () =>
        this.isRunning
          ? {
              running: true,
              url: this.server.url,
              since: instant(NOW - 60_000),
              processes: [{ role: "gateway", pid: 42, state: "ready", restarts: 0 }],
            }
          : { running: false },
      probes: () => this.probes,
    };
  }

  async run(
    argv: readonly string[],
    more: { stdin?: string; isTty?: boolean; columns?: number; onStdout?: (text: string) => void } = {},
  ): Promise<Ran> {
    const stdout = new Text(more.onStdout);
    const stderr = new Text();
    let elapsed = 0;
    const io: CliIo = {
      stdout,
      stderr,
      stdin: Readable.from(more.stdin === undefined ? [] : [Buffer.from(more.stdin)]),
      isTty: more.isTty === true,
      isStderrTty: false,
      colour: more.isTty === true,
      columns: more.columns ?? 100,
      dataDir: this.dir,
      profilePath: this.profilePath,
      examplesDir: this.examplesDir,
      clock: {
        now: () => instant(NOW),
        monotonicMs: () => elapsed,
        sleep: async (ms) => {
          elapsed += ms;
          await new Promise<void>((resolve) => setImmediate(resolve));
        },
      },
      interrupt: this.interrupt.signal,
      packageRun: async () => this.packageRun,
      runtimes: async () => runtimeStates([11], [9], 11, { mac: false }),
      platform: this.#platform(),
    };
    const code = await runCli(argv, io);
    return { code, stdout: stdout.text, stderr: stderr.text };
  }
}

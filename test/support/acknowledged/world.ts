/**
 * A control role on a data directory of the test's own that is killed with SIGKILL and started again, any number of
 * times. The next process is always loaded in advance, so that a round costs what the role's own start costs.
 */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { randomUUID } from "node:crypto";
import { readConfig } from "../../../src/config.ts";
import type { Config } from "../../../src/config.ts";
import type { DomainId, ModelId, ProjectId, UserId } from "../../../src/core/ids.ts";
import { openStore } from "../../../src/store/open-store.ts";
import { systemClock } from "../../../src/telemetry/clock.ts";
import { createLogger } from "../../../src/telemetry/logger.ts";
import { sampleModel } from "../store-samples.ts";
import { createClient } from "./client.ts";
import type { Client, Tally } from "./client.ts";
import type { FromChild, ToChild } from "./control-child.ts";

const CHILD = fileURLToPath(new URL("./control-child.ts", import.meta.url));
const ENVIRONMENT = "e".repeat(64);

interface Loaded {
  readonly child: ChildProcess;
  readonly loaded: Promise<void>;
  readonly errors: () => string;
}

const load = (): Loaded => {
  const child = fork(CHILD, { execArgv: [], stdio: ["ignore", "ignore", "pipe", "ipc"] });
  let text = "";
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => (text = (text + chunk).slice(-20_000)));
  const loaded = new Promise<void>((resolve, reject) => {
    child.once("message", () => resolve());
    child.once("exit", () => reject(new Error(`control ended before it was told to start:\n${text}`)));
  });
  loaded.catch(() => undefined);
  return { child, loaded, errors: () => text };
};

export class World {
  readonly dataDir = mkdtempSync(join(tmpdir(), "mp-acknowledged-"));
  readonly config: Config;
  readonly tally: Tally = { acknowledged: 0, refused: 0, unanswered: 0 };
  /** Versions that services can be deployed with. */
  models: readonly string[] = [];
  kills = 0;
  project = "";
  admin = "";
  password = "";
  token = "";
  #next: Loaded = load();
  #now: Loaded | null = null;
  #client: Client | null = null;

  constructor(databaseUrl: string | null) {
    const read = readConfig({ MODELPORT_DATA: this.dataDir, MODELPORT_LOG_LEVEL: "error" });
    if (!read.ok) throw new Error("the settings are wrong");
    this.config = { ...read.config, databaseUrl };
  }

  get client(): Client {
    if (this.#client === null) throw new Error("control does not run");
    return this.#client;
  }

  /** Tells the loaded process to start; resolves once it listens. */
  async start(): Promise<void> {
    await this.begin();
    await this.ready();
  }

  /** Tells the loaded process to start and does not wait. */
  async begin(): Promise<void> {
    await this.#next.loaded;
    this.#now = this.#next;
    this.#next = load();
    this.#now.child.send({ type: "start", config: this.config } satisfies ToChild);
  }

  async ready(): Promise<void> {
    const now = this.#now;
    if (now === null) throw new Error("control was not started");
    await new Promise<void>((resolve, reject) => {
      now.child.on("message", (message: FromChild) => message.type === "ready" && resolve());
      now.child.once("exit", () => reject(new Error(`control ended by itself:\n${now.errors()}`)));
    });
    this.#client = createClient(join(this.dataDir, "run", "control.sock"), () => this.token, this.tally);
  }

  async kill(): Promise<void> {
    const now = this.#now;
    if (now === null) return;
    this.#now = null;
    const ended = now.child.exitCode === null ? once(now.child, "exit") : Promise.resolve();
    now.child.kill("SIGKILL");
    await ended;
    this.kills += 1;
    // Kept until the next start: a caller between two calls finds nobody.
    this.#client?.close();
  }

  /** Everything the first start and the versions to deploy need; control runs afterwards. */
  async prepare(): Promise<void> {
    await this.start();
    await this.kill();
    const profile = JSON.parse(readFileSync(join(this.dataDir, "cli.json"), "utf8")) as {
      domain: string;
      user: string;
      password: string;
      project: { id: string };
    };
    this.project = profile.project.id;
    this.admin = profile.user;
    this.password = profile.password;
    await this.#publish();
    await this.start();
    const token = await this.login(profile.user, profile.password);
    if (token === null) throw new Error("the administrator cannot log in");
    this.token = token;
    this.kills = 0;
  }

  /** A token of this user for the project; null when the call was refused or not answered. */
  async login(name: string, password: string): Promise<string | null> {
    const answer = await this.client.call("POST", "/v3/auth/tokens", {
      body: {
        auth: {
          identity: {
            methods: ["password"],
            password: { user: { name, password, domain: { name: "modelport" } } },
          },
          scope: { project: { id: this.project } },
        },
      },
    });
    const token = answer?.headers["x-subject-token"];
    return answer?.status === 201 && typeof token === "string" ? token : null;
  }

  /** Ends what runs and removes what was made, unless the directory is to be looked at. */
  async close(options: { keep: boolean }): Promise<void> {
    for (const { child } of [this.#next, ...(this.#now === null ? [] : [this.#now])]) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
    this.#client?.close();
    if (!options.keep) rmSync(this.dataDir, { recursive: true, force: true });
  }

  /** Published versions, written by hand: what they would run is not what this is about. */
  async #publish(): Promise<void> {
    const folder = join(this.dataDir, "environments", ENVIRONMENT);
    mkdirSync(join(folder, "bin"), { recursive: true });
    writeFileSync(join(folder, "bin", "python"), "");
    writeFileSync(
      join(folder, "modelport-environment.json"),
      JSON.stringify({ version: 1, key: ENVIRONMENT }),
    );
    const { databaseUrl } = this.config;
    const store = await openStore({
      database:
        databaseUrl === null
          ? { kind: "sqlite", path: join(this.dataDir, "modelport.db") }
          : { kind: "postgres", url: databaseUrl },
      clock: systemClock,
      logger: createLogger("test", "silent"),
    });
    const ids: string[] = [];
    for (const version of ["1.0.0", "1.0.1", "1.0.2"]) {
      const id = randomUUID() as ModelId;
      const model = sampleModel({
        id,
        projectId: this.project as ProjectId,
        domainId: "d".repeat(32) as DomainId,
        ownerId: "e".repeat(32) as UserId,
        name: "deployable",
        version,
      });
      await store.models.create(model, { type: "normal", info: "made", occurredAt: systemClock.now() });
      const published = {
        engine: "Scikit_Learn" as const,
        packageDigest: "d".repeat(64),
        sizeBytes: 1,
        modelFile: "m",
        hasCustomService: true,
        environmentKey: ENVIRONMENT,
        config: {},
      };
      await store.models.finish(id, { published }, []);
      ids.push(id);
    }
    await store.close();
    this.models = ids;
  }
}

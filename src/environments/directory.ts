/**
 * Python environments on disk:
 *
 *   <root>/<key>/            complete: it came here by one rename, with its record in it, and held-at.json once it was held
 *   <root>/.scratch/<id>/    unfinished: owner.json (who builds), program.json (at work), source-user.json and env/
 *   <root>/.scratch/<id>/    held: owner.json (who holds) and held.json (the key of a complete one)
 *   <root>/.scratch/*.lock   one per key being built
 *
 * What a killed build left is recognised by its owner being gone, its still running installer is ended, and it is removed
 * by the next sweep.
 */
import { randomUUID } from "node:crypto";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { access, mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../telemetry/logger.ts";
import { identify, isAlive, parseIdentity, self, sendSignal } from "../telemetry/process-identity.ts";
import type { Substitution } from "./environments.ts";
import { endSourceBuild } from "./source-user.ts";

/** What an environment remembers about itself. */
export interface EnvironmentRecord {
  readonly version: 1;
  readonly key: string;
  readonly engine: string;
  readonly python: string;
  readonly lines: readonly string[];
  readonly substitutions: readonly Substitution[];
  readonly warnings: readonly string[];
}

const RECORD = "modelport-environment.json";
const HELD_AT = "held-at.json";
const KEY = /^[0-9a-f]{64}$/;
const LEFTOVER = { recursive: true, force: true, maxRetries: 5, retryDelay: 100 } as const;

/** The interpreter inside an environment. */
export const PYTHON = process.platform === "win32" ? join("Scripts", "python.exe") : join("bin", "python");

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

export class EnvironmentDirectory {
  readonly #root: string;
  readonly #logger: Logger;
  readonly #clock: Clock;
  /** Where locks and unfinished environments are. */
  readonly scratch: string;

  constructor(root: string, logger: Logger, clock: Clock) {
    this.#root = root;
    this.#logger = logger;
    this.#clock = clock;
    this.scratch = join(root, ".scratch");
  }

  pythonOf(key: string): string {
    return join(this.#root, key, PYTHON);
  }

  /** The record of a complete environment whose interpreter is still there; null otherwise. */
  async record(key: string): Promise<EnvironmentRecord | null> {
    if (!KEY.test(key)) return null;
    const text = await readFile(join(this.#root, key, RECORD), "utf8").catch(() => null);
    if (text === null || !(await exists(this.pythonOf(key)))) return null;
    return JSON.parse(text) as EnvironmentRecord;
  }

  async keys(): Promise<readonly string[]> {
    return (await readdir(this.#root)).filter((name) => KEY.test(name));
  }

  /** A folder for one build. */
  begin(): string {
    const work = join(this.scratch, randomUUID());
    // In one turn: a sweep takes a folder without an owner for a leftover.
    mkdirSync(work, { recursive: true });
    try {
      writeFileSync(join(work, "owner.json"), JSON.stringify(self()));
    } catch (error) {
      rmSync(work, { recursive: true, force: true });
      throw error;
    }
    return work;
  }

  /** Notes the program at work in a build, so that a later process can end it if we are killed. */
  async note(work: string, pid: number): Promise<void> {
    const identity = identify(pid);
    if (identity !== null) await writeFile(join(work, "program.json"), JSON.stringify(identity));
  }

  /** Makes `<work>/env` visible as the environment of its record: `flush` brings its content to the disk before. */
  async publish(work: string, record: EnvironmentRecord, flush: () => Promise<void>): Promise<void> {
    // Nothing that a package put there in its place is written through.
    await rm(join(work, "env", RECORD), LEFTOVER);
    await writeFile(join(work, "env", RECORD), JSON.stringify(record, null, 2), { flag: "wx" });
    await flush();
    const home = join(this.#root, record.key);
    // Only a broken one can be in the way (its interpreter is gone): a sound one would have been used.
    if (await exists(home)) await rename(home, join(work, "broken"));
    await rename(join(work, "env"), home);
  }

  async discard(work: string): Promise<void> {
    await rm(work, LEFTOVER);
  }

  /** Deletes a complete environment: out of sight in this turn, whoever asks for it from now on finds none and builds. */
  async remove(key: string): Promise<void> {
    // By one rename: an environment that is half deleted is never found.
    const aside = join(this.scratch, randomUUID());
    mkdirSync(aside, { recursive: true });
    renameSync(join(this.#root, key), join(aside, "env"));
    await rm(aside, { recursive: true, force: true });
  }

  /** Marks a complete environment as held by this process until the returned function is called. */
  async hold(key: string): Promise<() => Promise<void>> {
    const mark = this.begin();
    await writeFile(join(mark, "held.json"), JSON.stringify(key));
    await this.#noteHeld(key);
    return async () => {
      await this.#noteHeld(key);
      await rm(mark, { recursive: true, force: true });
    };
  }

  /** Only for the next time: one that is gone, or cannot be written to, is built again then. */
  async #noteHeld(key: string): Promise<void> {
    const file = join(this.#root, key, HELD_AT);
    await writeFile(file, JSON.stringify(this.#clock.now())).catch(() => undefined);
  }

  /** When it was held last, epoch ms; long ago for one that never was. */
  async heldAt(key: string): Promise<number> {
    const text = await readFile(join(this.#root, key, HELD_AT), "utf8").catch(() => "");
    return /^\d{1,16}$/.test(text) ? Number(text) : Number.NEGATIVE_INFINITY;
  }

  /** The keys that living processes hold; the marks of dead ones are removed by every sweep. */
  async held(): Promise<ReadonlySet<string>> {
    const keys = new Set<string>();
    for (const name of await readdir(this.scratch)) {
      const path = join(this.scratch, name);
      const key = await readFile(join(path, "held.json"), "utf8").catch(() => null);
      const owner = parseIdentity(await readFile(join(path, "owner.json"), "utf8").catch(() => ""));
      if (key !== null && owner !== null && isAlive(owner)) keys.add(JSON.parse(key) as string);
    }
    return keys;
  }

  /** Removes what killed builds left. */
  async sweep(): Promise<void> {
    await mkdir(this.scratch, { recursive: true });
    for (const name of await readdir(this.scratch)) {
      const path = join(this.scratch, name);
      if (name.endsWith(".lock")) continue;
      const owner = parseIdentity(await readFile(join(path, "owner.json"), "utf8").catch(() => ""));
      if (owner !== null && isAlive(owner)) continue;
      const program = parseIdentity(await readFile(join(path, "program.json"), "utf8").catch(() => ""));
      if (program !== null && isAlive(program)) sendSignal(program.pid, "SIGKILL", "group");
      await endSourceBuild(path);
      await rm(path, LEFTOVER);
      this.#logger.info({ name }, "removed an unfinished environment");
    }
  }
}

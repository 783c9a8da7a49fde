/**
 * As whom packages are built from their sources, whose build scripts are anybody's code: where the platform may change users,
 * a user of each build's own that can read nothing of the platform, with a cache of its own, so that none leaves anything in
 * the one that all builds share. Nothing of that user runs and no file belongs to it once the build is over.
 */
import { chownSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unreachable } from "../telemetry/reach.ts";
import { createRun } from "./programs.ts";
import type { Run } from "./uv.ts";

/** The users that builds take theirs from. */
export interface SourceUsers {
  readonly first: number;
  readonly last: number;
}

interface SourceUser {
  readonly uid: number;
  readonly gid: number;
}

export interface SourceBuildsDeps {
  /** Null: there are none, and everything runs as the platform's user. */
  readonly users: SourceUsers | null;
  /** The build's own folder. */
  readonly work: string;
  /** What the user must be able to read: uv and the interpreter. */
  readonly needs: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly note: (pid: number) => Promise<void>;
  readonly onLog: (line: string) => void;
}

/** Says in a build's folder whom it builds as. */
const USER = "source-user.json";
/** Nobody below is taken for such a user, whatever a file says. */
const LEAST = 1000;

export class SourceBuilds {
  readonly #deps: SourceBuildsDeps;
  readonly #platform: Run;
  #user: SourceUser | null = null;
  #run: Run | null = null;

  constructor(deps: SourceBuildsDeps) {
    this.#deps = deps;
    this.#platform = createRun(deps);
  }

  /** Runs programs that may execute the code of packages. */
  run(): Run {
    this.#run ??= this.#open();
    return this.#run;
  }

  /** The same, while what is in this folder of the build is theirs to change. */
  async within(dir: string, work: (run: Run) => Promise<void>): Promise<void> {
    const run = this.run();
    const user = this.#user;
    if (user === null) return work(run);
    await this.#demand("chown", "-R", "-h", `${user.uid}:${user.gid}`, dir);
    await work(run);
    await endProcessesOf(user);
    await this.#demand("chown", "-R", "-h", `${process.getuid?.()}:${process.getgid?.()}`, dir);
    await this.#demand("chmod", "-R", "go-w", dir);
  }

  /** Must be called once the build is over, however it ended, and before its folder is removed. */
  async end(): Promise<void> {
    if (this.#user !== null) await endProcessesOf(this.#user);
  }

  #open(): Run {
    const { users, work, needs, onLog } = this.#deps;
    if (users === null) return this.#platform;
    const uid = unusedOf(users);
    const user = { uid, gid: uid };
    const obstacle = unreachable(user, [work, ...needs]);
    if (obstacle !== null) {
      onLog(`packages are built from their sources as the platform's user: ${obstacle}`);
      return this.#platform;
    }
    writeFileSync(join(work, USER), JSON.stringify(user));
    this.#user = user;
    const own = (name: string): string => {
      const path = join(work, "sources", name);
      mkdirSync(path, { recursive: true });
      chownSync(path, uid, uid);
      return path;
    };
    const env = { ...this.#deps.env, UV_CACHE_DIR: own("cache"), HOME: own("home"), TMPDIR: own("tmp") };
    return createRun({ ...this.#deps, user, env });
  }

  async #demand(program: string, ...args: readonly string[]): Promise<void> {
    const { code, stderr } = await this.#platform(program, args);
    if (code !== 0) throw new Error(`${program} failed: ${stderr}`);
  }
}

/** Ends what a build whose platform was killed left running. */
export const endSourceBuild = async (work: string): Promise<void> => {
  try {
    await endProcessesOf(JSON.parse(readFileSync(join(work, USER), "utf8")) as SourceUser);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
};

/** One that no process of the machine has: another platform may take its users from the same range. */
const unusedOf = ({ first, last }: SourceUsers): number => {
  const taken = new Set(
    readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid),
  );
  const free = Array.from({ length: last - first + 1 }, (_, at) => first + at).filter(
    (uid) => !taken.has(uid),
  );
  return free[Math.floor(Math.random() * free.length)] ?? first;
};

/** All of them in one step of the kernel, which those that multiply cannot outrun. */
const endProcessesOf = async ({ uid, gid }: SourceUser): Promise<void> => {
  if (!(uid >= LEAST)) throw new Error(`${uid} is no user of builds`);
  const run = createRun({
    env: { PATH: "/usr/bin:/bin" },
    user: { uid, gid },
    // Also when the build itself was given up.
    signal: new AbortController().signal,
    note: () => Promise.resolve(),
  });
  await run("/bin/sh", ["-c", `test "$(id -u)" = ${uid} && kill -KILL -1`]);
};

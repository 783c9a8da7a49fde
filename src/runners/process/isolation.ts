/**
 * What instances' user code is held to on this machine: a user per service where the platform is root, control groups
 * where it may make them, limits of the process where not. Each part is taken where it can be had; `facts` says which.
 *
 *   the data directory      0711 with own users: they pass through it to what they are told, and cannot list it
 *   instances, packages     0711 likewise; a package's name is a digest that only its users are told
 *   everything else in it   closed to others
 */
import { chmodSync, lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Confinement } from "../../core/launch.ts";
import type { GroupSpec } from "../runner.ts";
import { openCgroups } from "./cgroups.ts";
import type { Cgroups } from "./cgroups.ts";
import { listNames, readJson, usersFile, writeJson } from "./files.ts";

export interface UserRange {
  readonly first: number;
  readonly last: number;
}

export interface IsolationFacts {
  /** Why user code runs as the platform's user; null: it has its own. */
  readonly noUsers: "not-root" | "off" | "unmapped" | "capabilities" | null;
  /** Which limits a control group sets; empty: none. */
  readonly cgroup: readonly string[];
  readonly cgroupVersion: 1 | 2 | null;
  /** Whether limits of the process (rlimits) stand in for memory and number of processes. */
  readonly rlimits: readonly ("memory" | "processes")[];
}

export interface Isolation {
  readonly facts: IsolationFacts;
  /** For an instance that is about to start. Throws when a group cannot be made that could be made before. */
  confine(group: GroupSpec, instance: string): Confinement;
  /** Ends and removes what instances that are not named left in groups. */
  sweep(living: ReadonlySet<string>): void;
  close(): void;
}

/** Of a directory that others may pass through and not list. */
export const PASSAGE = 0o711;

/** Processes and threads of one instance: well above what numeric libraries start on large machines. */
const PROCESSES_MAX = 1024;
const OPEN_FILES_MAX = 4096;
const BUILD_USERS = 1000;

/** Kept in one place, so that it is as open as it has to be and not more. */
const PASSED_THROUGH = new Set(["instances", "packages", "environments", "tools"]);

/** The capabilities that giving away a process and its files takes: CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID. */
const CAPABILITIES = 0b1110_1011n;

/** What this machine offers, without changing anything but an empty group that is removed again. */
export const probeIsolation = (dataDir: string, users: UserRange | null): IsolationFacts => {
  // A name of its own: the groups of a platform that runs here are not touched.
  const cgroups = openCgroups(`${dataDir}#probe`);
  cgroups?.close();
  return factsOf(cgroups, users);
};

/**
 * Which users there are for services and for builds of packages from their sources, one for each of both; null: none, because
 * the platform cannot change users or shall not, or because there are too few.
 */
export const shareUsers = (
  users: UserRange | null,
): { readonly services: UserRange | null; readonly builds: UserRange | null } => {
  if (users === null || whyNoUsers(users) !== null) return { services: users, builds: null };
  const builds = Math.min(BUILD_USERS, Math.floor((users.last - users.first + 1) / 4));
  const last = users.last - builds;
  return {
    services: { first: users.first, last },
    builds: builds === 0 ? null : { first: last + 1, last: users.last },
  };
};

export const openIsolation = (dataDir: string, users: UserRange | null): Isolation => {
  const cgroups = openCgroups(dataDir);
  const facts = factsOf(cgroups, users);
  const range = facts.noUsers === null ? users : null;
  if (range !== null) openPassage(dataDir);
  const numbers = range === null ? null : new UserNumbers(usersFile(dataDir), range);
  return {
    facts,
    confine: ({ id, serviceId, instance: { memoryMb, cpu, workers } }, instance) => {
      const uid = numbers?.of(serviceId ?? id) ?? null;
      return {
        user: uid === null ? null : { uid, gid: uid },
        cgroups: cgroups?.create(instance, { memoryMb, cpu, processes: PROCESSES_MAX }) ?? [],
        rlimits: {
          NOFILE: OPEN_FILES_MAX,
          // Counted per process and per user: shares of what the instance may have.
          ...(facts.rlimits.includes("memory") ? { DATA: Math.floor(memoryMb / workers) * 1024 * 1024 } : {}),
          ...(facts.rlimits.includes("processes") ? { NPROC: PROCESSES_MAX } : {}),
        },
        memoryMb,
      };
    },
    sweep: (living) => cgroups?.sweep(living),
    close: () => cgroups?.close(),
  };
};

const factsOf = (cgroups: Cgroups | null, users: UserRange | null): IsolationFacts => {
  const noUsers = whyNoUsers(users);
  const cgroup = cgroups?.controllers ?? [];
  return {
    noUsers,
    cgroup,
    cgroupVersion: cgroups?.version ?? null,
    rlimits: [
      ...(cgroup.includes("memory") || process.platform !== "linux" ? [] : (["memory"] as const)),
      // The platform's user may have any number of other processes, and root is not counted.
      ...(cgroup.includes("pids") || noUsers !== null ? [] : (["processes"] as const)),
    ],
  };
};

const whyNoUsers = (users: UserRange | null): IsolationFacts["noUsers"] => {
  if (users === null) return "off";
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "not-root";
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  if ((BigInt(`0x${effective}`) & CAPABILITIES) !== CAPABILITIES) return "capabilities";
  const maps = (file: string): boolean =>
    readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => line.trim().split(/\s+/).map(Number))
      .some(([from = 0, , count = 0]) => users.first >= from && users.last < from + count);
  return maps("/proc/self/uid_map") && maps("/proc/self/gid_map") ? null : "unmapped";
};

const openPassage = (dataDir: string): void => {
  for (const name of listNames(dataDir)) {
    const path = join(dataDir, name);
    const status = lstatSync(path, { throwIfNoEntry: false });
    if (status === undefined || status.isSymbolicLink()) continue;
    const wanted = PASSED_THROUGH.has(name) ? (status.mode & 0o777) | 0o011 : status.mode & 0o700;
    if ((status.mode & 0o777) !== wanted) chmodSync(path, wanted);
  }
  chmodSync(dataDir, PASSAGE);
};

/** Which user a service has: the same at every start, and nobody else's. */
class UserNumbers {
  readonly #file: string;
  readonly #range: UserRange;
  readonly #numbers: Map<string, number>;

  constructor(file: string, range: UserRange) {
    this.#file = file;
    this.#range = range;
    const known = readJson(file) as Record<string, number> | null;
    this.#numbers = new Map(
      Object.entries(known ?? {}).filter(([, n]) => n >= range.first && n <= range.last),
    );
  }

  of(owner: string): number {
    const known = this.#numbers.get(owner);
    if (known !== undefined) return known;
    const size = this.#range.last - this.#range.first + 1;
    // The oldest owners are forgotten first; a range that is large enough has none that still runs among them.
    while (this.#numbers.size >= size) {
      const [oldest] = this.#numbers.keys();
      if (oldest === undefined) break;
      this.#numbers.delete(oldest);
    }
    const taken = new Set(this.#numbers.values());
    let number = this.#range.first + (this.#numbers.size % size);
    while (taken.has(number)) number = number === this.#range.last ? this.#range.first : number + 1;
    this.#numbers.set(owner, number);
    writeJson(this.#file, Object.fromEntries(this.#numbers));
    return number;
  }
}

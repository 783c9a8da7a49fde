/**
 * The control groups instances' workers run in, where this machine lets us make some:
 *
 *   <the platform's own group>/modelport-<data directory>/<instance>/w<n>      memory and processes; shares of the CPU
 *
 * Always below the platform's own group, so whatever holds the platform holds them too. v1 has one such tree per
 * controller, v2 one for all. A group is removed with its instance; groups nobody knows any more at the next start.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import type { Clock } from "../../core/clock.ts";
import { endMembers, membersOf } from "../../telemetry/control-groups.ts";

const CONTROLLERS = ["memory", "pids", "cpu"] as const;
type Controller = (typeof CONTROLLERS)[number];

export interface GroupLimits {
  readonly memoryMb: number;
  readonly processes: number;
  readonly cpu: number;
}

export interface Cgroups {
  readonly version: 1 | 2;
  readonly controllers: readonly Controller[];
  /** Makes an instance's group with its limits; the directories to hand to the instance. Throws when it cannot. */
  create(instance: string, limits: GroupLimits): readonly string[];
  /** Ends and removes the groups of instances that are not named. */
  sweep(living: ReadonlySet<string>): void;
  /** Removes the tree itself, when it is empty. */
  close(): void;
}

/** Where the kernel's view of this process is read; tests name their own. */
export interface KernelFiles {
  readonly cgroup: string;
  readonly mountinfo: string;
}
const KERNEL: KernelFiles = { cgroup: "/proc/self/cgroup", mountinfo: "/proc/self/mountinfo" };

interface Tree {
  readonly version: 1 | 2;
  /** The directory that holds the instances' groups. */
  readonly root: string;
  readonly controllers: readonly Controller[];
}

/** Opens the trees of a data directory; null where the machine has no control groups or does not let us make any. */
export const openCgroups = (dataDir: string, kernel: KernelFiles = KERNEL): Cgroups | null => {
  const name = `modelport-${createHash("sha256").update(dataDir).digest("hex").slice(0, 12)}`;
  const trees = openTrees(name, kernel);
  // Without the two that are limits the third, which only shares, is not worth a tree.
  if (!trees.some((tree) => tree.controllers.some((one) => one !== "cpu"))) {
    for (const tree of trees) removeDirectory(tree.root);
    return null;
  }
  return {
    version: trees.some((tree) => tree.version === 2) ? 2 : 1,
    controllers: CONTROLLERS.filter((one) => trees.some((tree) => tree.controllers.includes(one))),
    create: (instance, limits) =>
      trees.map((tree) => {
        const directory = join(tree.root, instance);
        mkdirSync(directory, { recursive: true });
        for (const controller of tree.controllers) setLimits(tree.version, controller, directory, limits);
        if (tree.version === 2)
          enable(
            directory,
            tree.controllers.filter((one) => one !== "cpu"),
          );
        return directory;
      }),
    sweep: (living) => {
      for (const tree of trees) {
        for (const instance of below(tree.root)) {
          if (!living.has(basename(instance))) removeNow(instance);
        }
      }
    },
    close: () => {
      for (const tree of trees) removeDirectory(tree.root);
    },
  };
};

const REMOVE_MS = 5_000;
const REMOVE_POLL_MS = 20;

/** Ends what is in an instance's group and removes it. A process that is still ending keeps its group for a moment. */
export const removeCgroup = async (directories: readonly string[], clock: Clock): Promise<void> => {
  const until = clock.monotonicMs() + REMOVE_MS;
  for (const directory of directories) {
    while (!removeNow(directory) && clock.monotonicMs() < until) await clock.sleep(REMOVE_POLL_MS);
  }
};

/** The same without waiting; false when something in it was still ending. */
export const removeNow = (directory: string): boolean => {
  for (const worker of below(directory)) {
    endMembers([worker]);
    removeDirectory(worker);
  }
  // Only what was put there by hand.
  if (membersOf([directory]).length > 0) endMembers([directory]);
  return removeDirectory(directory);
};

const openTrees = (name: string, kernel: KernelFiles): readonly Tree[] => {
  const trees: Tree[] = [];
  for (const { version, directory, names } of ownGroups(kernel)) {
    for (const above of version === 2 ? delegated(directory) : [directory]) {
      const root = join(above, name);
      // v2 hands on what a group has only when told to, and nobody has told the delegated group yet.
      const offered = version === 2 ? words(join(above, "cgroup.controllers")) : names;
      const controllers = CONTROLLERS.filter((one) => offered.includes(one));
      if (controllers.length === 0) continue;
      try {
        mkdirSync(root, { recursive: true });
        if (version === 2) for (const one of [above, root]) enable(one, controllers);
        const usable = controllers.filter((one) => version === 1 || isEnabled(root, one));
        if (usable.length === 0) throw new Error("no controller can be used here");
        // All instances together weigh as much as busy processes on every processor would.
        if (usable.includes("cpu")) weigh(version, root, availableParallelism());
        trees.push({ version, root, controllers: usable });
        break;
      } catch {
        // A read-only mount, another user's group, or processes beside the groups (v2).
        removeDirectory(root);
      }
    }
  }
  return trees;
};

/**
 * v2 gives controllers only to groups that hold no processes themselves. A service manager that delegates leaves us in
 * a group named `platform` below the delegated one (systemd: `Delegate=yes`, `DelegateSubgroup=platform`).
 */
const delegated = (own: string): readonly string[] =>
  basename(own) === "platform" ? [dirname(own), own] : [own];

/** The group this process is in, per hierarchy, and the controllers that v1 names with it. */
const ownGroups = (
  kernel: KernelFiles,
): readonly {
  version: 1 | 2;
  directory: string;
  names: readonly string[];
}[] => {
  const mounts = lines(kernel.mountinfo).flatMap((line) => {
    const [before = "", after = ""] = line.split(" - ");
    const [, , , root = "/", point = ""] = before.split(" ");
    const [type = "", , options = ""] = after.split(" ");
    return type === "cgroup" || type === "cgroup2"
      ? [{ root, point, type, options: options.split(",") }]
      : [];
  });
  return lines(kernel.cgroup).flatMap((line) => {
    const [, names = "", ...rest] = line.split(":");
    const path = rest.join(":");
    const version = names === "" ? 2 : 1;
    const mount = mounts.find((one) =>
      version === 2
        ? one.type === "cgroup2"
        : one.type === "cgroup" && names.split(",").every((n) => one.options.includes(n)),
    );
    if (mount === undefined) return [];
    // In a container the mount may show only a part of the tree.
    const inside = relative(mount.root, path);
    const directory = inside.startsWith("..") ? mount.point : join(mount.point, inside);
    return [{ version, directory, names: names.split(",") }];
  });
};

const setLimits = (version: 1 | 2, controller: Controller, directory: string, limits: GroupLimits): void => {
  const bytes = String(limits.memoryMb * 1024 * 1024);
  switch (controller) {
    case "memory":
      if (version === 2) {
        put(directory, "memory.max", bytes);
        tryPut(directory, "memory.swap.max", "0");
      } else {
        put(directory, "memory.limit_in_bytes", bytes);
        tryPut(directory, "memory.memsw.limit_in_bytes", bytes);
      }
      return;
    case "pids":
      return put(directory, "pids.max", String(limits.processes));
    case "cpu":
      return weigh(version, directory, limits.cpu);
  }
};

/** A share, not a ceiling: who runs alone has the whole machine. */
const weigh = (version: 1 | 2, directory: string, cpu: number): void => {
  if (version === 2)
    tryPut(directory, "cpu.weight", String(Math.min(10_000, Math.max(1, Math.round(100 * cpu)))));
  else tryPut(directory, "cpu.shares", String(Math.min(262_144, Math.max(2, Math.round(1024 * cpu)))));
};

const enable = (directory: string, controllers: readonly Controller[]): void => {
  for (const one of controllers) {
    if (!isEnabledBelow(directory, one)) put(directory, "cgroup.subtree_control", `+${one}`);
  }
};
const isEnabled = (directory: string, one: Controller): boolean =>
  words(join(directory, "cgroup.controllers")).includes(one);
const isEnabledBelow = (directory: string, one: Controller): boolean =>
  words(join(directory, "cgroup.subtree_control")).includes(one);

const put = (directory: string, file: string, value: string): void =>
  // Never made anew: in a group every file that exists is the kernel's.
  writeFileSync(join(directory, file), value, { flag: "r+" });

const tryPut = (directory: string, file: string, value: string): void => {
  try {
    put(directory, file, value);
  } catch {
    // A kernel without it (no swap accounting); what matters more is set.
  }
};

const removeDirectory = (directory: string): boolean => {
  try {
    rmdirSync(directory);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "ENOENT";
  }
};

const below = (directory: string): readonly string[] => {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(directory, entry.name));
  } catch {
    return [];
  }
};

const lines = (file: string): readonly string[] => {
  try {
    return readFileSync(file, "utf8")
      .split("\n")
      .filter((line) => line !== "");
  } catch {
    return [];
  }
};
const words = (file: string): readonly string[] => lines(file).flatMap((line) => line.split(" "));

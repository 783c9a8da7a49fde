/**
 * What is read and written of control groups of version 2, on a directory that looks as the kernel's does. Directories
 * do not behave as groups: that limits hold is for machines that have them (isolation.system.test.ts and
 * user-code.system.test.ts there).
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openCgroups } from "./cgroups.ts";
import type { KernelFiles } from "./cgroups.ts";

const DATA = "/var/lib/modelport";
const NAME = `modelport-${createHash("sha256").update(DATA).digest("hex").slice(0, 12)}`;

let top: string;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), "cgroup2-"));
});
afterEach(() => rmSync(top, { recursive: true, force: true }));

/** A group with the files the kernel would give it. */
const group = (path: string, controllers: string, more: readonly string[] = []): void => {
  mkdirSync(join(top, path), { recursive: true });
  writeFileSync(join(top, path, "cgroup.controllers"), `${controllers}\n`);
  for (const file of ["cgroup.subtree_control", "cgroup.procs", ...more])
    writeFileSync(join(top, path, file), "");
};
const kernel = (own: string, mountedFrom = "/"): KernelFiles => {
  const files = { cgroup: join(top, "cgroup"), mountinfo: join(top, "mountinfo") };
  writeFileSync(files.cgroup, `0::${own}\n`);
  writeFileSync(
    files.mountinfo,
    `24 1 8:1 / / rw,relatime - ext4 /dev/vda rw\n35 24 0:30 ${mountedFrom} ${top} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n`,
  );
  return files;
};
const read = (...path: readonly string[]): string => readFileSync(join(top, ...path), "utf8");
const LIMITS = ["memory.max", "memory.swap.max", "pids.max", "cpu.weight"];

test("below a delegated group that has told nobody of its controllers yet, instances get their limits", () => {
  group("unit", "cpuset cpu io memory pids");
  // The group this process is in: nothing is handed on to it.
  group("unit/platform", "");
  group(`unit/${NAME}`, "cpu memory pids", ["cpu.weight"]);
  group(`unit/${NAME}/one`, "cpu memory pids", LIMITS);
  const cgroups = openCgroups(DATA, kernel("/unit/platform"));
  expect(cgroups).toMatchObject({ version: 2, controllers: ["memory", "pids", "cpu"] });
  const directory = join(top, "unit", NAME, "one");
  expect(cgroups?.create("one", { memoryMb: 300, processes: 40, cpu: 2 })).toEqual([directory]);
  expect(LIMITS.map((file) => read("unit", NAME, "one", file))).toEqual(["314572800", "0", "40", "200"]);
  // Handed on from group to group, or the next one below would have nothing to limit by.
  for (const path of ["unit", `unit/${NAME}`, `unit/${NAME}/one`])
    expect(read(path, "cgroup.subtree_control")).not.toBe("");
  expect(read("unit/platform", "cgroup.subtree_control")).toBe("");
});

test("a mount that shows a part of the tree, as in a container, is entered where this process is", () => {
  group("", "cpu memory pids");
  group(NAME, "memory pids");
  const cgroups = openCgroups(DATA, kernel("/docker/abc", "/docker/abc"));
  expect(cgroups).toMatchObject({ version: 2, controllers: ["memory", "pids"] });
});

test("where no controller that limits can be had, there are no groups and nothing is left behind", () => {
  group("user", "cpu");
  expect(openCgroups(DATA, kernel("/user"))).toBeNull();
  group("bare", "");
  expect(openCgroups(DATA, kernel("/bare"))).toBeNull();
  for (const path of ["user", "bare"]) expect(existsSync(join(top, path, NAME))).toBe(false);
});

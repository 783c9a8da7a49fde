/** What packages may do to the platform while an environment with them is built: nothing, whatever they bring. */
import { spawn } from "node:child_process";
import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { sdist, wheel } from "../../test/support/archives.ts";
import { IndexWorld, openBench, pin } from "../../test/support/index-world.ts";
import type { Bench } from "../../test/support/index-world.ts";
import { until } from "../../test/support/until.ts";
import { shareUsers } from "../runners/process/isolation.ts";

const USERS = { first: 2_000_100_000, last: 2_000_100_399 };
const { builds } = shareUsers(USERS);
/** An interpreter that everybody on this machine may run. */
const PYTHON = "/usr/bin/python3";
const obstacle = builds === null ? "no users of their own here" : existsSync(PYTHON) ? null : `no ${PYTHON}`;

let bench: Bench;
let world: IndexWorld;
beforeAll(async () => {
  bench = await openBench();
  chmodSync(bench.tools, 0o711);
});
afterAll(() => bench.remove());
beforeEach(async () => {
  world = await IndexWorld.open(bench);
  chmodSync(world.home, 0o711);
});
afterEach(() => world.close());

/** The machine's index has the build backend; ours has the package. */
const ready = (name: string) =>
  world.ready([pin(name)], {
    open: { environment: world.settings({}, true), machinePython: PYTHON, sourceUsers: builds },
  });

const running = (): readonly number[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid ?? 0)
    .filter((uid) => uid >= USERS.first && uid <= USERS.last);

test("a package's build script runs as a user of the build's own, reads and plants nothing, and leaves nothing running", async (context) => {
  if (obstacle !== null) return context.skip(obstacle);
  const secret = join(world.home, "secret");
  writeFileSync(secret, "key", { mode: 0o600 });
  const cache = join(bench.tools, "cache");
  mkdirSync(cache, { recursive: true });
  const setup = `
import os, subprocess
from setuptools import setup
def tries(what):
    try:
        return what()
    except Exception as error:
        return type(error).__name__
seen = {
    "user": (os.getuid(), os.getgid(), os.getgroups()),
    "secret": tries(lambda: open(${JSON.stringify(secret)}).read()),
    "cache": tries(lambda: open(${JSON.stringify(join(cache, "planted"))}, "w")),
    "list": tries(lambda: os.listdir(${JSON.stringify(world.home)})),
}
with open("modelport_curious.py", "w") as module:
    module.write("SEEN = %r\\n" % seen)
subprocess.Popen(["sleep", "600"], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
setup(name="modelport-curious", version="1.0", py_modules=["modelport_curious"])
`;
  world.index.add(sdist({ name: "modelport-curious", version: "1.0", setup }));
  const { python } = await ready("modelport-curious");
  await until("nothing of it to run", () => running().length === 0);
  const seen = JSON.parse(
    await world.prints(python, "import json, modelport_curious; print(json.dumps(modelport_curious.SEEN))"),
  ) as { user: [number, number, number[]] };
  expect(seen).toMatchObject({
    secret: "PermissionError",
    cache: "PermissionError",
    list: "PermissionError",
  });
  const [uid, gid, groups] = seen.user;
  expect([uid >= (builds?.first ?? 0) && uid <= (builds?.last ?? 0), gid, groups]).toEqual([true, uid, []]);
  const home = dirname(dirname(python));
  const strange = readdirSync(home, { recursive: true, encoding: "utf8" }).filter((path) => {
    const status = lstatSync(join(home, path));
    return status.uid !== process.getuid?.() || (!status.isSymbolicLink() && (status.mode & 0o022) !== 0);
  });
  expect(strange).toEqual([]);
  expect(readdirSync(join(world.root, ".scratch")).filter((name) => !name.endsWith(".lock"))).toEqual([]);
});

test("what a build of a killed platform left running is ended at the next start", async (context) => {
  if (obstacle !== null || builds === null) return context.skip(obstacle ?? "");
  const { first: uid } = builds;
  const work = join(world.root, ".scratch", "left");
  mkdirSync(work, { recursive: true });
  writeFileSync(join(work, "source-user.json"), JSON.stringify({ uid, gid: uid }));
  const child = spawn("sleep", ["600"], { uid, gid: uid, cwd: "/", stdio: "ignore" });
  const ended = new Promise((resolve) => child.once("exit", (_code, signal) => resolve(signal)));
  await until("it to run", () => running().includes(uid));
  await world.ready([], { open: { sourceUsers: builds } });
  expect([await ended, existsSync(work)]).toEqual(["SIGKILL", false]);
});

test("a wheel runs nothing at its installation, whatever it hangs into the interpreter's start", async () => {
  const mark = join(world.home, "ran");
  const pth = `import os; open(${JSON.stringify(mark)}, "w").write(str(os.getuid()))\n`;
  world.index.add(wheel({ name: "modelport-hook", version: "1.0", files: { "modelport_hook.pth": pth } }));
  const { python } = await world.ready([pin("modelport-hook")]);
  expect(existsSync(mark)).toBe(false);
  // It is hung in: the environment's own interpreter runs it, as a worker does under its service's user.
  await world.prints(python, "print(1)");
  expect(existsSync(mark)).toBe(true);
});

import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import pino from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { GroupId } from "../../core/ids.ts";
import { systemClock } from "../../telemetry/clock.ts";
import { identify, isAlive } from "../../telemetry/process-identity.ts";
import type { GroupSpec, InstanceObservation, Runner } from "../runner.ts";
import { SERVICE, runnerSuite } from "../runner.suite.ts";
import { until as waitUntil } from "../../../test/support/until.ts";
import { openProcessRunner } from "./runner.ts";

const PROGRAM = resolve(import.meta.dirname, "../../../test/support/fake-instance.mjs");

const open = (dataDir: string): Promise<Runner> =>
  openProcessRunner({
    dataDir,
    nodePath: process.execPath,
    mainPath: PROGRAM,
    host: "127.0.0.1",
    errorInfo: true,
    clock: systemClock,
    logger: pino({ level: "silent" }),
    hostEnv: { PATH: "/usr/bin:/bin", SECRET_OF_THE_PLATFORM: "x" },
    devices: null,
  });

const group = (id: string, replicas: number, behaviour: string, startTimeoutMs = 30_000): GroupSpec => ({
  id: id as GroupId,
  serviceId: SERVICE,
  replicas,
  instance: {
    engine: "Scikit_Learn",
    modelName: "m",
    modelVersion: "1.0.0",
    packageDir: "/nowhere",
    modelFile: "m",
    python: "/nowhere/python",
    envs: { BEHAVE: behaviour },
    workers: 1,
    cpu: 1,
    memoryMb: 100,
    predictTimeoutMs: 1000,
    startTimeoutMs,
    drainTimeoutMs: 1000,
  },
});

const until = async (condition: () => boolean | Promise<boolean>): Promise<void> => {
  await waitUntil("the runner to get there", condition);
};

/** Pids of instance programs started from this data directory. */
const processesOf = (dataDir: string): readonly number[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`${dataDir}/`) && identify(pid) !== null;
      } catch {
        return false;
      }
    });

let dataDir: string;
let runner: Runner;

const setUp = async (): Promise<void> => {
  dataDir = mkdtempSync(join(tmpdir(), "mp-runner-"));
  runner = await open(dataDir);
};

const tearDown = async (): Promise<void> => {
  await runner.close({ stopInstances: true });
  await until(() => processesOf(dataDir).length === 0);
  const left = readdirSync(join(dataDir, "instances"));
  rmSync(dataDir, { recursive: true });
  expect(left).toEqual([]);
};

const urlOf = (instance: InstanceObservation | undefined): string =>
  instance !== undefined && "url" in instance ? instance.url : "";

runnerSuite("the process runner", async () => {
  await setUp();
  return {
    runner,
    group,
    until,
    crash: () => {
      for (const pid of processesOf(dataDir)) process.kill(pid, "SIGKILL");
      return Promise.resolve();
    },
    close: tearDown,
  };
});

describe("the process runner", () => {
  beforeEach(setUp);
  afterEach(tearDown);

  const ready = async (): Promise<readonly InstanceObservation[]> =>
    (await runner.observe()).flatMap((g) => g.instances).filter((i) => i.state === "ready");

  test("adopts what an earlier one left running, without a moment in which it is not ready", async () => {
    await runner.apply(group("g1", 2, "ready"));
    await until(async () => (await ready()).length === 2);
    const before = await ready();
    const pids = processesOf(dataDir);
    await runner.close({ stopInstances: false });
    runner = await open(dataDir);
    expect((await ready()).map((i) => [i.id, urlOf(i)])).toEqual(before.map((i) => [i.id, urlOf(i)]));
    expect(processesOf(dataDir)).toEqual(pids);
    await runner.apply(group("g1", 2, "ready"));
    expect(processesOf(dataDir)).toEqual(pids);
  });

  test("shows what an instance decided about joining requests, to a runner that adopts it as well", async () => {
    const told = { state: "ready", batching: { state: "off", text: "they differ" } };
    await runner.apply(group("g1", 1, "ready"));
    await until(async () => (await ready()).length === 1);
    const [before] = await ready();
    expect(before).toMatchObject({ batching: null });
    let heard = 0;
    runner.onChange(() => (heard += 1));
    await fetch(`${urlOf(before)}/decide`);
    await until(() => heard > 0);
    expect(await ready()).toMatchObject([told]);
    await runner.close({ stopInstances: false });
    runner = await open(dataDir);
    expect(await ready()).toMatchObject([told]);
  });

  test("notices the end of an adopted instance and replaces it", async () => {
    await runner.apply(group("g1", 1, "ready"));
    await until(async () => (await ready()).length === 1);
    await runner.close({ stopInstances: false });
    runner = await open(dataDir);
    await runner.apply(group("g1", 1, "ready"));
    const [old] = await ready();
    for (const pid of processesOf(dataDir)) process.kill(pid, "SIGKILL");
    await until(async () => (await ready()).some((i) => i.id !== old?.id));
  });

  test("finds an instance whose starter died before it could write down the pid", async () => {
    await runner.apply(group("g1", 1, "ready"));
    await until(async () => (await ready()).length === 1);
    await runner.close({ stopInstances: false });
    rmSync(join(dataDir, "instances/g1/1/process.json"));
    runner = await open(dataDir);
    expect(await ready()).toHaveLength(1);
  });

  test("cleans up after instances that died while nobody watched, and trusts no pid that is used again", async () => {
    await runner.apply(group("g1", 1, "ready"));
    await until(async () => (await ready()).length === 1);
    await runner.close({ stopInstances: false });
    for (const pid of processesOf(dataDir)) process.kill(pid, "SIGKILL");
    await until(() => processesOf(dataDir).length === 0);
    // As if the pid had been given to this very process meanwhile.
    const stale = { pid: process.pid, startedAt: "another boot:1" };
    writeFileSync(join(dataDir, "instances/g1/1/process.json"), JSON.stringify(stale));
    runner = await open(dataDir);
    expect(await runner.observe()).toEqual([]);
    expect(readdirSync(join(dataDir, "instances"))).toEqual(["runner.lock"]);
  });

  test("goes on ending an instance that an earlier one had told to end", async () => {
    await runner.apply(group("g1", 1, "ready"));
    await until(async () => (await ready()).length === 1);
    await runner.close({ stopInstances: false });
    writeFileSync(join(dataDir, "instances/g1/1/ending"), "");
    runner = await open(dataDir);
    await until(() => processesOf(dataDir).length === 0);
    expect(await ready()).toEqual([]);
  });

  test("refuses a second runner on the same directory and recognises a lock nobody holds", async () => {
    await expect(open(dataDir)).rejects.toThrow(/in use: process \d+/);
    await runner.close({ stopInstances: true });
    writeFileSync(
      join(dataDir, "instances/runner.lock"),
      JSON.stringify({ pid: 1, startedAt: "another boot:1" }),
    );
    runner = await open(dataDir);
  });

  test("lets predictions in flight finish before a released instance ends", async () => {
    await runner.apply(group("g1", 1, "ready"));
    await until(async () => (await ready()).length === 1);
    const [instance] = await ready();
    const answer = fetch(`${urlOf(instance)}/work`).then((r) => r.text());
    await fetch(`${urlOf(instance)}/health`);
    await runner.scale("g1" as GroupId, 0);
    await runner.release("g1" as GroupId, instance?.id ?? ("" as never));
    expect(await answer).toBe("done");
    expect(processesOf(dataDir)).toEqual([]);
  });

  test("kills an instance that ignores SIGTERM when its time is over", async () => {
    await runner.apply(group("g1", 1, "stubborn"));
    await until(async () => (await ready()).length === 1);
    const [instance] = await ready();
    await runner.scale("g1" as GroupId, 0);
    await runner.release("g1" as GroupId, instance?.id ?? ("" as never));
    expect(processesOf(dataDir)).toEqual([]);
  });

  test("replaces an instance that runs but does not answer", async () => {
    await runner.apply(group("g1", 1, "ready"));
    await until(async () => (await ready()).length === 1);
    const [old] = await ready();
    await fetch(`${urlOf(old)}/deaf`).catch(() => undefined);
    await until(async () => (await ready()).some((i) => i.id !== old?.id));
    const [seen] = await runner.observe();
    expect(seen?.lastFailure?.reason).toBe("not-answering");
  });

  test("takes an instance that is busy with itself out of the ready ones, and back", async () => {
    await runner.apply(group("g1", 1, "ready"));
    await until(async () => (await ready()).length === 1);
    const [instance] = await ready();
    await fetch(`${urlOf(instance)}/pause`);
    await until(async () => (await ready()).length === 0);
    await fetch(`${urlOf(instance)}/resume`);
    await until(async () => (await ready()).length === 1);
    expect((await ready())[0]?.id).toBe(instance?.id);
  });

  test("hands instances nothing of the platform's environment but what programs need", async () => {
    await runner.apply(group("g1", 1, "ready"));
    await until(async () => (await ready()).length === 1);
    const [instance] = await ready();
    const env = (await (await fetch(`${urlOf(instance)}/env`)).json()) as Record<string, string>;
    expect(Object.keys(env).toSorted()).toEqual(["HOME", "PATH"]);
    expect(env.HOME).toContain("instances/g1/1/scratch");
  });

  test("shows what instances print, also after their end, and follows what comes", async () => {
    await runner.apply(group("g1", 1, "ready"));
    await until(async () => (await ready()).length === 1);
    const [instance] = await ready();
    const stop = new AbortController();
    const lines: string[] = [];
    const following = (async () => {
      for await (const line of runner.logs("g1" as GroupId, {
        tail: 10,
        follow: true,
        signal: stop.signal,
      })) {
        lines.push(line.text);
      }
    })();
    await until(() => lines.includes("start g1-1"));
    await fetch(`${urlOf(instance)}/say`);
    await until(() => lines.includes("asked"));
    stop.abort();
    await following;
    await runner.remove("g1" as GroupId);
    const after: string[] = [];
    const once = { tail: 2, follow: false, signal: new AbortController().signal };
    for await (const line of runner.logs("g1" as GroupId, once)) after.push(line.text);
    expect(after).toEqual(["asked", "SIGTERM"]);
    expect(await runner.loggedGroups()).toEqual(["g1"]);
    await runner.removeLogs("g1" as GroupId);
    expect(await runner.loggedGroups()).toEqual([]);
  });

  test("says so when the instance program cannot be started at all", async () => {
    await runner.close({ stopInstances: true });
    const broken = await openProcessRunner({
      dataDir,
      nodePath: "/nowhere/node",
      mainPath: PROGRAM,
      host: "127.0.0.1",
      errorInfo: true,
      clock: systemClock,
      logger: pino({ level: "silent" }),
      hostEnv: {},
      devices: null,
    });
    runner = broken;
    await runner.apply(group("g1", 1, "ready"));
    await until(async () => (await runner.observe())[0]?.lastFailure?.reason === "spawn");
  });
});

describe("process identity", () => {
  test("tells a process from another one with the same pid", () => {
    const self = identify(process.pid);
    expect(self !== null && isAlive(self)).toBe(true);
    expect(isAlive({ pid: process.pid, startedAt: "another" })).toBe(false);
    expect(identify(2 ** 22 + 1)).toBeNull();
  });
});

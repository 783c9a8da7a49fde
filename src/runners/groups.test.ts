import pino from "pino";
import { beforeEach, describe, expect, test } from "vitest";
import { FakeClock } from "../../test/support/clock.ts";
import type { GroupId } from "../core/ids.ts";
import { GroupKeeper } from "./groups.ts";
import type { InstanceReport } from "./groups.ts";
import type { GroupSpec } from "./runner.ts";

const ID = "g1" as GroupId;
const group = (replicas: number): GroupSpec => ({
  id: ID,
  serviceId: null,
  replicas,
  instance: {
    engine: "Scikit_Learn",
    modelName: "m",
    modelVersion: "1.0.0",
    packageDir: "/nowhere",
    modelFile: "m",
    python: "/nowhere/python",
    envs: {},
    workers: 1,
    cpu: 1,
    memoryMb: 100,
    predictTimeoutMs: 1000,
    startTimeoutMs: 1000,
    drainTimeoutMs: 1000,
  },
});

describe("a group", () => {
  let clock: FakeClock;
  let keeper: GroupKeeper;
  let reports: Map<number, (seen: InstanceReport) => void>;
  let isDiskFull: boolean;

  beforeEach(() => {
    clock = new FakeClock();
    reports = new Map();
    isDiskFull = false;
    keeper = new GroupKeeper({
      clock,
      logger: pino({ level: "silent" }),
      driver: {
        start: (_group, n, report) => {
          reports.set(n, report);
          return { end: () => Promise.resolve(), detach: () => undefined };
        },
        save: () => {
          if (isDiskFull) throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
        },
        nextNumber: () => 1,
        forget: () => Promise.resolve(),
      },
    });
  });

  const states = async (): Promise<readonly string[]> =>
    (await keeper.observe()).flatMap((g) => g.instances.map((i) => `${i.id} ${i.state}`));
  const ready = (n: number): void => reports.get(n)?.({ state: "ready", url: `http://${n}.invalid` });

  test("shows an instance that is wanted again as what it said last, not as ready", async () => {
    await keeper.apply(group(2));
    ready(1);
    ready(2);
    await keeper.scale(ID, 1);
    expect(await states()).toEqual(["g1-1 ready", "g1-2 draining"]);
    reports.get(2)?.({ state: "starting" });
    await keeper.scale(ID, 2);
    expect(await states()).toEqual(["g1-1 ready", "g1-2 starting"]);
    await keeper.scale(ID, 1);
    ready(2);
    await keeper.scale(ID, 2);
    expect(await states()).toEqual(["g1-1 ready", "g1-2 ready"]);
  });

  test("shows and tells what an instance decided, which stays as ready as it was", async () => {
    await keeper.apply(group(1));
    ready(1);
    await clock.advance(1_000);
    const [before] = (await keeper.observe()).flatMap((g) => g.instances);
    expect(before).toMatchObject({ state: "ready", batching: null });
    let heard = 0;
    keeper.onChange(() => (heard += 1));
    const batching = { state: "on", text: "they agree" } as const;
    reports.get(1)?.({ state: "decided", batching });
    expect((await keeper.observe()).flatMap((g) => g.instances)).toEqual([{ ...before, batching }]);
    expect(heard).toBe(1);
  });

  test("replaces an instance as soon as the disk takes its record again, without being asked", async () => {
    await keeper.apply(group(1));
    ready(1);
    isDiskFull = true;
    reports.get(1)?.({ state: "failed", failure: { reason: "exited", message: "killed" } });
    await clock.advance(5_000);
    expect([...reports.keys()]).toEqual([1]);
    isDiskFull = false;
    await clock.advance(1_000);
    expect([...reports.keys()]).toEqual([1, 2]);
    ready(2);
    expect(await states()).toEqual(["g1-2 ready"]);
  });
});

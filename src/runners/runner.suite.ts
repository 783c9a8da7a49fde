/** What every runner guarantees, whatever it runs instances on. Each implementation calls this from its own test file. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { GroupId, ServiceId } from "../core/ids.ts";
import type { GroupObservation, GroupSpec, InstanceObservation, Runner } from "./runner.ts";

/** What the instances of a group do; `exit` and `fail` at their start, `hang` never becomes ready. */
export type Behaviour = "ready" | "slow" | "exit" | "fail" | "hang";

export interface RunnerHarness {
  readonly runner: Runner;
  /** A group whose instances behave so. */
  group(id: string, replicas: number, behaviour: Behaviour, startTimeoutMs?: number): GroupSpec;
  /** Waits, in the runner's own time, until it holds. */
  until(condition: () => boolean | Promise<boolean>): Promise<void>;
  /** Lets an instance that is ready fall over. */
  crash(instance: InstanceObservation): Promise<void>;
  /** Ends everything; fails when anything is left behind. */
  close(): Promise<void>;
}

export const SERVICE = "5e4d1c1e-0000-4000-8000-000000000000" as ServiceId;

export const runnerSuite = (name: string, open: () => Promise<RunnerHarness>): void => {
  describe(`${name} as a runner`, () => {
    let harness: RunnerHarness;
    let runner: Runner;
    const id = "g1" as GroupId;

    beforeEach(async () => {
      harness = await open();
      runner = harness.runner;
    });
    afterEach(() => harness.close());

    const seen = async (): Promise<GroupObservation> =>
      (await runner.observe()).find((g) => g.id === id) ?? {
        id,
        serviceId: null,
        uses: { packageDir: "", python: "" },
        instances: [],
        failuresInARow: 0,
        lastFailure: null,
      };
    const inState = async (state: InstanceObservation["state"]): Promise<readonly InstanceObservation[]> =>
      (await seen()).instances.filter((i) => i.state === state);
    const untilReady = (n: number): Promise<void> =>
      harness.until(async () => (await inState("ready")).length === n);

    test("brings a group to its replicas, each with an address of its own", async () => {
      await runner.apply(harness.group("g1", 2, "ready"));
      await untilReady(2);
      const urls = (await inState("ready")).map((i) => (i.state === "ready" ? i.url : ""));
      expect(new Set(urls).size).toBe(2);
      expect((await seen()).serviceId).toBe(SERVICE);
    });

    test("starts nothing more when the same group is applied again", async () => {
      await runner.apply(harness.group("g1", 1, "slow"));
      await runner.apply(harness.group("g1", 1, "slow"));
      await untilReady(1);
      expect((await seen()).instances).toHaveLength(1);
    });

    test("does not restart what runs when it scales up", async () => {
      await runner.apply(harness.group("g1", 1, "ready"));
      await untilReady(1);
      const [first] = await inState("ready");
      await runner.scale(id, 2);
      await untilReady(2);
      expect((await inState("ready")).map((i) => i.id)).toContain(first?.id);
    });

    test("lets surplus ready instances serve on as draining until they are released, the youngest first", async () => {
      await runner.apply(harness.group("g1", 2, "ready"));
      await untilReady(2);
      const youngest = (await seen()).instances.at(-1)?.id;
      await runner.scale(id, 1);
      const [draining] = await inState("draining");
      expect(draining?.id).toBe(youngest);
      await runner.release(id, draining?.id ?? ("" as never));
      expect((await seen()).instances).toHaveLength(1);
    });

    test("takes a draining instance back when more are wanted again", async () => {
      await runner.apply(harness.group("g1", 1, "ready"));
      await untilReady(1);
      const [first] = await inState("ready");
      await runner.scale(id, 0);
      expect(await inState("draining")).toHaveLength(1);
      await runner.scale(id, 1);
      expect((await inState("ready")).map((i) => i.id)).toEqual([first?.id]);
    });

    test("ends surplus that was never ready at once", async () => {
      await runner.apply(harness.group("g1", 2, "hang"));
      await runner.scale(id, 0);
      await harness.until(async () => (await seen()).instances.length === 0);
    });

    test("releases only what drains", async () => {
      await runner.apply(harness.group("g1", 1, "ready"));
      await untilReady(1);
      const [ready] = await inState("ready");
      await runner.release(id, ready?.id ?? ("" as never));
      await runner.release("unknown" as GroupId, "unknown-1" as never);
      expect(await inState("ready")).toHaveLength(1);
    });

    test("counts failed starts in a row and says why they failed", async () => {
      await runner.apply(harness.group("g1", 1, "exit"));
      await harness.until(async () => (await seen()).failuresInARow >= 2);
      expect((await seen()).lastFailure?.message).toContain("ValueError: no such model");
    });

    test("passes on the failure that an instance gives as its health", async () => {
      await runner.apply(harness.group("g1", 1, "fail"));
      await harness.until(async () => (await seen()).lastFailure !== null);
      expect((await seen()).lastFailure).toMatchObject({ reason: "load-failed" });
    });

    test("gives an instance up that is not ready in time", async () => {
      await runner.apply(harness.group("g1", 1, "hang", 700));
      await harness.until(async () => (await seen()).lastFailure?.reason === "start-timeout");
    });

    test("replaces an instance that falls over, under a new id", async () => {
      await runner.apply(harness.group("g1", 1, "ready"));
      await untilReady(1);
      const [first] = await inState("ready");
      if (first !== undefined) await harness.crash(first);
      await harness.until(async () => (await inState("ready")).some((i) => i.id !== first?.id));
      expect((await seen()).instances).toHaveLength(1);
    });

    test("stops replacing when nothing is wanted any more", async () => {
      await runner.apply(harness.group("g1", 1, "exit"));
      await harness.until(async () => (await seen()).failuresInARow >= 1);
      await runner.scale(id, 0);
      await harness.until(async () => (await seen()).instances.length === 0);
    });

    test("removes a group with all its instances, in whatever state, and never reuses their ids", async () => {
      await runner.apply(harness.group("g1", 2, "ready"));
      await untilReady(2);
      const before = (await seen()).instances.map((i) => i.id);
      await runner.remove(id);
      expect(await runner.observe()).toEqual([]);
      await runner.remove(id);
      await runner.apply(harness.group("g1", 1, "ready"));
      await untilReady(1);
      expect(before).not.toContain((await inState("ready"))[0]?.id);
    });

    test("tells listeners whose group changed until they stop listening", async () => {
      const heard: unknown[] = [];
      const stop = runner.onChange((group, service) => heard.push([group, service]));
      await runner.apply(harness.group("g1", 1, "ready"));
      await untilReady(1);
      expect(heard).toContainEqual([id, SERVICE]);
      stop();
      const count = heard.length;
      await runner.remove(id);
      expect(heard).toHaveLength(count);
    });
  });
};

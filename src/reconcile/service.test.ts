import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FakeClock } from "../../test/support/clock.ts";
import { openServiceControl } from "../../test/support/service-control.ts";
import { sampleService } from "../../test/support/store-samples.ts";
import type { DomainId, GroupId, InstanceId, ModelId, ProjectId, ServiceId, UserId } from "../core/ids.ts";
import type { Published } from "../core/model.ts";
import type { Failure, RevisionEntry, Service } from "../core/service.ts";
import type { Behaviour, FakeRunner } from "../runners/fake.ts";
import { createFakeRunner } from "../runners/fake.ts";
import { openStore } from "../store/open-store.ts";
import type { Store } from "../store/store.ts";

const logger = pino({ level: "silent" });
const PROJECT = "a".repeat(32) as ProjectId;
const READY: Behaviour = { kind: "ready", afterMs: 300 };
const failure: Failure = {
  reason: "load-failed",
  message: "The model could not be loaded. ModuleNotFoundError: No module named 'nope'",
};
const FAILS: Behaviour = { kind: "fail", afterMs: 100, failure };

/** The control role, as far as services go. */
const openControl = (): ReturnType<typeof openServiceControl> =>
  openServiceControl({
    store,
    runner,
    clock,
    logger,
    python: (key) => (key === "gone" ? null : `/envs/${key}/bin/python`),
    load: (model) => loads.get(model) ?? null,
  });

let directory: string;
let clock: FakeClock;
let store: Store;
let runner: FakeRunner;
let control: Awaited<ReturnType<typeof openServiceControl>>;
/** What instances of a group do; READY when not named. */
let behaviours: Map<string, Behaviour>;
let loads: Map<ModelId, Failure>;
let id: ServiceId;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "mp-reconcile-"));
  clock = new FakeClock();
  store = await openStore({
    database: { kind: "sqlite", path: join(directory, "modelport.db") },
    clock,
    logger,
  });
  behaviours = new Map();
  loads = new Map();
  runner = createFakeRunner({ clock, logger, script: (group) => behaviours.get(group.id) ?? READY });
  control = await openControl();
  id = randomUUID() as ServiceId;
  // Past the time in which gateways that went on without us get to be heard of again.
  await clock.advance(6000);
});
afterEach(async () => {
  await control.stop();
  await runner.close({ stopInstances: true });
  await store.close();
  rmSync(directory, { recursive: true });
  expect(control.counted.failed).toBe(0);
});

const publishedWith = (environmentKey: string | null): Published => ({
  engine: "Scikit_Learn",
  packageDigest: environmentKey === null ? null : "digest",
  sizeBytes: 1,
  modelFile: "m.pkl",
  hasCustomService: true,
  environmentKey,
  config: {},
});

/** `environmentKey` null: with dynamic loading, and not loaded yet. */
const addModel = async (version: string, environmentKey: string | null = "env"): Promise<ModelId> => {
  const modelId = randomUUID() as ModelId;
  await store.models.create(
    {
      id: modelId,
      projectId: PROJECT,
      domainId: "d".repeat(32) as DomainId,
      ownerId: "e".repeat(32) as UserId,
      workspaceId: "0",
      name: "m",
      version,
      type: "Scikit_Learn",
      description: "",
      installTypes: ["real-time"],
      sourceLocation: "obs://b/m",
      request: {},
      status: "publishing",
      failure: null,
      published: null,
      createdAt: clock.now(),
    },
    { type: "normal", info: "import", occurredAt: clock.now() },
  );
  await store.models.finish(modelId, { published: publishedWith(environmentKey) }, []);
  return modelId;
};

const entry = async (group: string, patch: Partial<RevisionEntry> = {}): Promise<RevisionEntry> => ({
  groupId: group as GroupId,
  modelId: patch.modelId ?? (await addModel(`1.0.${group.length}${group.codePointAt(0) ?? 0}`)),
  modelName: "m",
  modelVersion: group,
  weight: 100,
  specification: "modelarts.vm.cpu.2u",
  customSpec: null,
  instanceCount: 2,
  envs: {},
  deployTimeout: 3,
  maxSurge: 1,
  maxUnavailable: 0,
  terminationGracePeriodSeconds: 240,
  ...patch,
});

const deploy = async (entries: readonly RevisionEntry[], patch: Partial<Service> = {}): Promise<void> => {
  const now = clock.now();
  await store.services.create(
    sampleService({
      id,
      projectId: PROJECT,
      name: "svc",
      publishAt: now,
      updateAt: now,
      transitionAt: now,
      operationAt: now,
      ...patch,
    }),
    entries,
    [{ type: "normal", info: "The service starts to be deployed.", occurredAt: now }],
  );
};

const update = (entries: readonly RevisionEntry[]) =>
  store.services.update(PROJECT, id, clock.now(), () => ({
    desired: "running",
    status: "deploying",
    progress: 0,
    errorMessage: null,
    revision: { entries },
    events: [],
  }));
const stop = () =>
  store.services.update(PROJECT, id, clock.now(), () => ({
    desired: "stopped",
    status: "stopping",
    events: [],
  }));
const start = () =>
  store.services.update(PROJECT, id, clock.now(), () => ({
    desired: "running",
    status: "deploying",
    progress: 0,
    events: [],
  }));
const erase = () =>
  store.services.update(PROJECT, id, clock.now(), () => ({
    desired: "deleted",
    status: "deleting",
    events: [],
  }));

const service = async (): Promise<Service> => {
  const found = await store.services.byId(id);
  if (found === null) throw new Error("the service is gone");
  return found;
};
const untilStatus = (status: Service["status"]): Promise<void> =>
  clock.until(async () => (await service()).status === status);
const infos = async (): Promise<readonly string[]> =>
  (await store.events.ofService(id, { order: "asc", offset: 0, limit: 1000 })).rows.map((e) => e.info);
/** What the gateway would be told: weight and instances by group. */
const routed = async (): Promise<Record<string, [number, readonly string[]]>> =>
  Object.fromEntries(
    ((await store.routes.get(id))?.groups ?? []).map((g) => [g.id, [g.weight, g.instances.map((i) => i.id)]]),
  );
const settledOn = (group: string, count: number): Promise<void> =>
  clock.until(
    () => runner.alive().length === count && runner.alive().every((i) => i.startsWith(`${group}-`)),
  );

describe("a deployment", () => {
  test("becomes running with a route to every instance and tells its phases once, in their order", async () => {
    await deploy([await entry("a")]);
    await untilStatus("running");
    expect(await service()).toMatchObject({ progress: 100, servingRevision: 1, errorMessage: null });
    expect(await routed()).toEqual({ a: [100, ["a-1", "a-2"]] });
    expect((await store.services.revision(id, 1))?.result).toBe("SUCCESS");
    await clock.advance(120_000);
    expect(await infos()).toEqual([
      "The service starts to be deployed.",
      "preparing environment",
      "[m a] prepare environment success",
      "[m a] schedule resource success",
      "[m a] starting model",
      "[m a] start model success",
      "Service svc started.",
    ]);
    expect(control.counted.corrections).toBe(0);
  });

  test("that cannot start fails with the instance's own words and leaves no instance", async () => {
    behaviours.set("a", FAILS);
    await deploy([await entry("a")]);
    await untilStatus("failed");
    expect((await service()).errorMessage).toBe(`[m a] ${failure.message}`);
    expect(await store.services.revision(id, 1)).toMatchObject({ result: "FAIL" });
    expect((await infos()).at(-1)).toContain("No module named 'nope'");
    await clock.until(async () => (await runner.observe()).length === 0);
    const events = (await infos()).length;
    await clock.advance(300_000);
    expect(runner.alive()).toEqual([]);
    expect(await infos()).toHaveLength(events);
    expect((await store.routes.get(id))?.state).toBe("stopped");
  });

  test("that never becomes ready fails at its timeout", async () => {
    behaviours.set("a", { kind: "hang" });
    await deploy([await entry("a")]);
    await clock.advance(2 * 60_000);
    expect((await service()).status).toBe("deploying");
    await untilStatus("failed");
    expect((await infos()).at(-1)).toMatch(/^Service deployment timed out\./);
  });

  test("whose environment is gone fails and says what to do", async () => {
    const modelId = await addModel("9.0.0", "gone");
    await deploy([await entry("a", { modelId })]);
    await untilStatus("failed");
    expect((await service()).errorMessage).toContain("Import the version again.");
    expect(runner.started).toEqual([]);
  });

  test("with dynamic loading waits for the files, and fails with the reason if they cannot be taken", async () => {
    const modelId = await addModel("9.0.0", null);
    await deploy([await entry("a", { modelId })]);
    await clock.advance(60_000);
    expect((await infos()).at(-1)).toBe("preparing environment");
    expect([(await service()).status, runner.started]).toEqual(["deploying", []]);
    await store.models.loaded(modelId, publishedWith("env"), []);
    await untilStatus("running");
    const lost = await addModel("9.0.1", null);
    loads.set(lost, { reason: "model-load", message: "It is gone." });
    await update([await entry("b", { modelId: lost })]);
    await untilStatus("running");
    expect((await service()).errorMessage).toBe("[m b] It is gone.");
  });

  test("with dynamic loading says what was not done when the time of the deployment was over", async () => {
    await deploy([await entry("a", { modelId: await addModel("9.0.0", null), deployTimeout: 2 })]);
    await untilStatus("failed");
    expect((await service()).errorMessage).toContain(
      "did not become ready within 2 minutes. Files and dependencies of the version were still being taken.",
    );
  });
});

describe("an update", () => {
  beforeEach(async () => {
    await deploy([await entry("a")]);
    await untilStatus("running");
  });

  test("replaces the instances without a moment in which fewer are routed than wanted", async () => {
    await update([await entry("b")]);
    await clock.until(async () => {
      const count = Object.values(await routed()).flatMap(([weight, list]) =>
        weight > 0 ? list : [],
      ).length;
      expect(count).toBeGreaterThanOrEqual(2);
      return (await service()).status === "running";
    });
    await settledOn("b", 2);
    expect(await routed()).toEqual({ b: [100, ["b-1", "b-2"]] });
    expect(await service()).toMatchObject({ revision: 2, servingRevision: 2 });
    expect((await infos()).at(-1)).toBe("The service has been updated.");
  });

  test("releases an old instance only after every living gateway has applied the route without it", async () => {
    const acknowledge = (version: number) => store.routes.acknowledge("gw", version, clock.now());
    await acknowledge(await store.routes.version());
    const before = await store.routes.version();
    await update([await entry("b")]);
    await clock.until(async () => Object.keys(await routed()).includes("b"));
    for (let i = 0; i < 5; i += 1) {
      await acknowledge(before);
      await clock.advance(1000);
      expect(runner.alive()).toEqual(expect.arrayContaining(["a-1", "a-2"]));
    }
    await clock.until(async () => {
      await acknowledge(await store.routes.version());
      return runner.alive().every((i) => i.startsWith("b-"));
    });
  });

  test("is not called running before every living gateway routes by it", async () => {
    const before = await store.routes.version();
    await update([await entry("b")]);
    for (let i = 0; i < 20; i += 1) {
      await store.routes.acknowledge("gw", before, clock.now());
      await clock.advance(1000);
      expect((await service()).status).toBe("deploying");
    }
    await clock.until(async () => {
      await store.routes.acknowledge("gw", await store.routes.version(), clock.now());
      return (await service()).status === "running";
    });
  });

  test("does not wait for a gateway that is gone", async () => {
    await store.routes.acknowledge("dead", 0, clock.now());
    await update([await entry("b")]);
    await settledOn("b", 2);
  });

  test("that cannot start is rolled back with its reason; the old instances never stopped", async () => {
    behaviours.set("b", FAILS);
    const old = [...runner.alive()];
    await update([await entry("b")]);
    await untilStatus("running");
    await clock.until(async () => (await runner.observe()).length === 1);
    expect(runner.alive()).toEqual(old);
    expect(await service()).toMatchObject({
      revision: 1,
      servingRevision: 1,
      errorMessage: `[m b] ${failure.message}`,
    });
    expect(await store.services.revision(id, 2)).toMatchObject({
      result: "FAIL",
      reason: `[m b] ${failure.message}`,
    });
    expect((await infos()).slice(-2)).toEqual([
      `Failed to update the service. Perform a rollback. Error: [m b] ${failure.message}`,
      `Failed to update the service. The update has been rolled back. Error: [m b] ${failure.message}`,
    ]);
    expect(await routed()).toEqual({ a: [100, ["a-1", "a-2"]] });
  });

  test("overtaken by another one ends in the newest alone", async () => {
    await update([await entry("b")]);
    await clock.advance(320);
    await update([await entry("cc")]);
    await untilStatus("running");
    await settledOn("cc", 2);
    await clock.until(async () => (await runner.observe()).length === 1);
    expect(await service()).toMatchObject({ revision: 3, servingRevision: 3 });
    expect(await store.services.revision(id, 2)).toMatchObject({ result: "FAIL" });
  });

  test("of the instance count alone restarts nothing", async () => {
    const modelId = (await store.services.revision(id, 1))?.entries[0]?.modelId;
    if (modelId === undefined) throw new Error("no revision");
    await update([await entry("a", { modelId, instanceCount: 4 })]);
    await untilStatus("running");
    expect(runner.alive()).toEqual(["a-1", "a-2", "a-3", "a-4"]);
    await update([await entry("a", { modelId, instanceCount: 1 })]);
    await settledOn("a", 1);
    expect(runner.alive()).toEqual(["a-1"]);
    expect(runner.started).toHaveLength(4);
  });

  test("goes on where it was when the control role is replaced in the middle", async () => {
    await update([await entry("b")]);
    await clock.advance(320);
    await control.stop();
    await clock.advance(5000);
    control = await openControl();
    await untilStatus("running");
    await settledOn("b", 2);
    expect(runner.started.filter((i) => i.startsWith("b-"))).toHaveLength(2);
  });
});

describe("a service that runs", () => {
  beforeEach(async () => {
    await deploy([await entry("a")]);
    await untilStatus("running");
  });

  test("is concerning while it lacks an instance and running again after; traffic goes to what is left", async () => {
    runner.crash("a-1" as InstanceId, failure);
    await untilStatus("concerning");
    expect(await routed()).toEqual({ a: [100, ["a-2"]] });
    await untilStatus("running");
    expect(await routed()).toEqual({ a: [100, ["a-2", "a-3"]] });
    const said = await infos();
    expect(said).toContain("Only 1 of 2 instances are ready.");
    expect(said).toContain(`An instance of [m a] failed and is replaced. Error: ${failure.message}`);
    expect(said.at(-1)).toBe("All instances are ready again.");
  });

  test("does not fill its history while an instance falls over again and again", async () => {
    for (let i = 0; i < 20; i += 1) {
      const [first] = runner.alive();
      if (first !== undefined) runner.crash(first, { ...failure, message: `pid ${i} fell over` });
      await clock.advance(5000);
    }
    expect((await infos()).filter((info) => info.startsWith("An instance of")).length).toBeLessThanOrEqual(5);
    expect((await infos()).filter((info) => info.startsWith("Only 1 of 2")).length).toBe(1);
  });

  const ON = { state: "on", text: "requests are joined from now on: 12 gave the same answers" } as const;
  const OFF = { state: "off", text: "requests are answered one by one: joined, 1 became 2" } as const;
  const decided = async (): Promise<readonly string[]> =>
    (await infos()).filter((info) => info.startsWith("Batching of "));

  test("tells what its instances decided about joining once, however many come to it and whoever looks", async () => {
    runner.decide("a-2" as InstanceId, ON);
    await clock.advance(100);
    const first = [`Batching of [m a] is on. Instance a-2: ${ON.text}`];
    expect(await decided()).toEqual(first);
    runner.decide("a-1" as InstanceId, { ...ON, text: "requests are joined from now on: 20 did" });
    await clock.advance(100);
    await control.stop();
    control = await openControl();
    await clock.advance(120_000);
    expect(await decided()).toEqual(first);
    expect((await service()).status).toBe("running");
  });

  test("tells that an instance came to another decision, once, and what the next version decides by itself", async () => {
    runner.decide("a-1" as InstanceId, ON);
    await clock.advance(100);
    runner.decide("a-2" as InstanceId, OFF);
    await clock.advance(100);
    await control.stop();
    control = await openControl();
    await clock.advance(120_000);
    const both = [
      `Batching of [m a] is on. Instance a-1: ${ON.text}`,
      `Batching of [m a] is off. Instance a-2: ${OFF.text}`,
    ];
    expect(await decided()).toEqual(both);
    await update([await entry("b")]);
    await untilStatus("running");
    await settledOn("b", 2);
    expect(await decided()).toEqual(both);
    runner.decide("b-1" as InstanceId, OFF);
    await clock.advance(100);
    expect(await decided()).toEqual([...both, `Batching of [m b] is off. Instance b-1: ${OFF.text}`]);
  });

  test("stops: its route is closed first, then its instances end, and it starts again", async () => {
    await stop();
    await untilStatus("stopped");
    expect(runner.alive()).toEqual([]);
    expect(await runner.observe()).toEqual([]);
    expect(await store.routes.get(id)).toMatchObject({ state: "stopped", groups: [] });
    expect((await infos()).at(-1)).toBe("The service stopped.");
    await start();
    await untilStatus("running");
    expect(runner.alive()).toHaveLength(2);
    expect(runner.started).toHaveLength(4);
  });

  test("is failed, not rolled back, when it cannot start again", async () => {
    await stop();
    await untilStatus("stopped");
    behaviours.set("a", FAILS);
    await start();
    await untilStatus("failed");
    expect(await service()).toMatchObject({ servingRevision: null });
  });

  test("is gone after a delete with its instances, route, events and rows", async () => {
    await erase();
    await clock.until(async () => (await store.services.byId(id)) === null);
    expect(runner.alive()).toEqual([]);
    expect(await runner.observe()).toEqual([]);
    expect(await store.routes.get(id)).toBeNull();
    expect(await infos()).toEqual([]);
  });

  test("loses the instances that a killed control role left behind its row", async () => {
    await control.stop();
    await erase();
    await store.services.purge(id);
    control = await openControl();
    await clock.until(async () => (await runner.observe()).length === 0);
    expect(runner.alive()).toEqual([]);
  });
});

describe("interrupted", () => {
  test("by a stop during the start, ends stopped with nothing left", async () => {
    await deploy([await entry("a")]);
    await clock.until(() => runner.alive().length === 2);
    await stop();
    await untilStatus("stopped");
    expect(runner.alive()).toEqual([]);
    expect(await store.services.revision(id, 1)).toMatchObject({ result: "FAIL" });
  });

  test("by a delete during the deployment, ends gone with nothing left", async () => {
    await deploy([await entry("a")]);
    await clock.until(() => runner.alive().length === 2);
    await erase();
    await clock.until(async () => (await store.services.byId(id)) === null);
    expect(await runner.observe()).toEqual([]);
  });

  test("by its schedule, stops and says so", async () => {
    const dueAt = (clock.now() + 60_000) as Service["dueAt"];
    await deploy([await entry("a")], {
      dueAt,
      schedule: [{ type: "stop", time_unit: "MINUTES", duration: 1 }],
    });
    await untilStatus("running");
    await untilStatus("stopped");
    expect(clock.now()).toBeGreaterThanOrEqual(Number(dueAt));
    expect(await infos()).toContain("The service stops when the auto stop time expires.");
    expect(await service()).toMatchObject({ desired: "stopped", dueAt: null });
  });
});

describe("a clock that is set by an hour", () => {
  const HOUR_MS = 3_600_000;

  test.each([HOUR_MS, -HOUR_MS])("(%i ms) ends no deployment early or late", async (byMs) => {
    behaviours.set("a", { kind: "hang" });
    await deploy([await entry("a")]);
    await clock.advance(60_000);
    clock.jump(byMs);
    runner.pause("a-1" as InstanceId, true);
    await clock.advance(60_000);
    expect((await service()).status).toBe("deploying");
    await clock.advance(61_000);
    expect((await service()).status).toBe("failed");
  });

  test.each([HOUR_MS, -HOUR_MS])("(%i ms) releases nothing before the gateway has applied", async (byMs) => {
    const acknowledge = (version: number) => store.routes.acknowledge("gw", version, clock.now());
    await deploy([await entry("a")]);
    await untilStatus("running");
    const before = await store.routes.version();
    await acknowledge(before);
    clock.jump(byMs);
    await update([await entry("b")]);
    await clock.until(async () => Object.keys(await routed()).includes("b"));
    await clock.advance(10_000);
    expect(runner.alive()).toEqual(expect.arrayContaining(["a-1", "a-2"]));
    await acknowledge(await store.routes.version());
    await clock.until(async () => {
      await acknowledge(await store.routes.version());
      return runner.alive().every((i) => i.startsWith("b-"));
    });
  });

  test("makes a schedule due once, and setting it back does not make it due again", async () => {
    const dueAt = (clock.now() + HOUR_MS) as Service["dueAt"];
    await deploy([await entry("a")], {
      dueAt,
      schedule: [{ type: "stop", time_unit: "HOURS", duration: 1 }],
    });
    await untilStatus("running");
    clock.jump(HOUR_MS);
    await untilStatus("stopped");
    clock.jump(-HOUR_MS);
    await start();
    await untilStatus("running");
    await clock.advance(HOUR_MS + 60_000);
    expect((await service()).status).toBe("running");
    const said = (await infos()).filter((info) => info.includes("auto stop time expires"));
    expect(said).toHaveLength(1);
  });

  test("back before a schedule does not make it fire early", async () => {
    const dueAt = (clock.now() + 60_000) as Service["dueAt"];
    await deploy([await entry("a")], { dueAt });
    await untilStatus("running");
    clock.jump(-HOUR_MS);
    await clock.advance(120_000);
    expect((await service()).status).toBe("running");
    await clock.advance(HOUR_MS);
    await untilStatus("stopped");
  });
});

/** The rules of service writes, as a table over all states and actions, and what each allowed write leaves behind. */
import { describe, expect, test } from "vitest";
import { AppError } from "./errors.ts";
import { instant } from "./ids.ts";
import type { GroupId, ModelId, ServiceId } from "./ids.ts";
import { decideDelete, decideScale, decideUpdate, dueTime, firstEntries } from "./service-update.ts";
import type { DecidedChange, UpdateRequest } from "./service-update.ts";
import type { Revision, RevisionEntry, Service, ServiceConfig, ServiceStatus } from "./service.ts";

const NOW = instant(1_000_000);
const ID = "f76f20ba-78f5-44e8-893a-37c8c600c02f" as ServiceId;
const A = "model-a" as ModelId;
const B = "model-b" as ModelId;
const MODELS = new Map([
  [A, { name: "iris", version: "0.0.1" }],
  [B, { name: "iris", version: "0.0.2" }],
]);

const config = (more: Partial<ServiceConfig> = {}): ServiceConfig => ({
  modelId: A,
  weight: 100,
  specification: "modelarts.vm.cpu.2u",
  customSpec: null,
  instanceCount: 1,
  envs: { A: "1", B: "2" },
  deployTimeout: null,
  maxSurge: 1,
  maxUnavailable: 0,
  terminationGracePeriodSeconds: 240,
  ...more,
});

const service = (status: ServiceStatus, more: Partial<Service> = {}): Service =>
  ({
    id: ID,
    status,
    desired: status === "deleting" ? "deleted" : status.startsWith("stop") ? "stopped" : "running",
    revision: 4,
    servingRevision: 4,
    generation: 7,
    schedule: [],
    dueAt: null,
    ...more,
  }) as Service;

const revision = (configs: readonly ServiceConfig[] = [config()]): Revision => ({
  serviceId: ID,
  number: 4,
  entries: configs.map((c, index): RevisionEntry => ({
    ...c,
    groupId: `f76f20ba78f5-r4-${index}` as GroupId,
    modelName: "iris",
    modelVersion: "0.0.1",
  })),
  createdAt: instant(1),
  result: "SUCCESS",
  reason: null,
});

const update = (
  status: ServiceStatus,
  request: UpdateRequest,
  more: { before?: readonly ServiceConfig[]; service?: Partial<Service> } = {},
): DecidedChange => decideUpdate(service(status, more.service), revision(more.before), request, MODELS, NOW);

const STATES: readonly ServiceStatus[] = [
  "deploying",
  "running",
  "concerning",
  "failed",
  "stopping",
  "stopped",
  "deleting",
];

const ACTIONS: Record<
  string,
  { allowed: readonly ServiceStatus[]; run: (status: ServiceStatus) => DecidedChange }
> = {
  describe: {
    allowed: ["deploying", "running", "concerning", "failed", "stopping", "stopped"],
    run: (status) => update(status, { description: "new" }),
  },
  start: { allowed: ["failed", "stopped"], run: (status) => update(status, { status: "running" }) },
  stop: {
    allowed: ["deploying", "running", "concerning", "failed"],
    run: (status) => update(status, { status: "stopped" }),
  },
  configure: {
    allowed: ["running", "concerning", "failed", "stopped"],
    run: (status) => update(status, { config: [config({ envs: { NEW: "1" } })] }),
  },
  scale: {
    allowed: ["running", "concerning", "failed"],
    run: (status) => decideScale(service(status), revision(), new Map([[A, 3]]), NOW),
  },
  delete: { allowed: STATES, run: (status) => decideDelete(service(status), NOW) },
};

describe.each(Object.entries(ACTIONS))("%s", (_name, { allowed, run }) => {
  test.each(STATES)("in %s", (status) => {
    if (allowed.includes(status)) {
      expect(run(status).events).toBeInstanceOf(Array);
      return;
    }
    try {
      run(status);
      expect.unreachable("it was allowed");
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      expect(error.code).toBe("SERVICE_STATE");
      expect(error.message).toContain(`Service in state ${status} cannot be `);
    }
  });
});

const groups = (change: DecidedChange): readonly string[] =>
  change.revision?.entries.map((e) => e.groupId) ?? [];

describe("groups of a new configuration", () => {
  test("are kept when only instance counts, weights and update limits differ", () => {
    const before = [config({ weight: 60 }), config({ modelId: B, weight: 40 })];
    const change = update(
      "running",
      {
        config: [
          config({ weight: 10, instanceCount: 3, maxUnavailable: 1, envs: { B: "2", A: "1" } }),
          config({ modelId: B, weight: 90 }),
        ],
      },
      { before },
    );
    expect(groups(change)).toEqual(["f76f20ba78f5-r4-0", "f76f20ba78f5-r4-1"]);
  });

  test("are new for every entry when nothing differs, which is how a service is restarted", () => {
    expect(groups(update("running", { config: [config()] }))).toEqual(["f76f20ba78f5-r8-0"]);
    expect(groups(update("concerning", { config: [config()] }))).toEqual(["f76f20ba78f5-r8-0"]);
  });

  test("are new for the entries that start differently, and kept for the others", () => {
    const change = update(
      "running",
      { config: [config({ weight: 90 }), config({ modelId: B, weight: 10 })] },
      { before: [config()] },
    );
    expect(groups(change)).toEqual(["f76f20ba78f5-r4-0", "f76f20ba78f5-r8-1"]);
    for (const more of [
      { envs: { A: "1" } },
      { specification: "modelarts.vm.cpu.4u" },
      { deployTimeout: 5 },
      { terminationGracePeriodSeconds: 30 },
      { specification: "custom", customSpec: { cpu: 1, memory: 512 } },
    ]) {
      expect(groups(update("running", { config: [config(more)] }))).toEqual(["f76f20ba78f5-r8-0"]);
    }
  });

  test("are new when the service has no healthy instances to keep", () => {
    const scaled = { config: [config({ instanceCount: 2 })] };
    expect(groups(update("failed", scaled))).toEqual(["f76f20ba78f5-r8-0"]);
    expect(groups(update("stopped", scaled))).toEqual(["f76f20ba78f5-r8-0"]);
    expect(groups(update("failed", { status: "running" }))).toEqual(["f76f20ba78f5-r8-0"]);
  });

  test("never come twice, also not after a rollback took the revision's number back", () => {
    const afterRollback = { service: { revision: 1, generation: 9 } };
    expect(groups(update("running", { config: [config()] }, afterRollback))).toEqual(["f76f20ba78f5-r10-0"]);
    expect(firstEntries(ID, [config()], MODELS)[0]?.groupId).toBe("f76f20ba78f5-r1-0");
  });

  test("have names that are safe in files and DNS labels", () => {
    for (const id of groups(update("running", { config: [config()] })))
      expect(id).toMatch(/^[a-z0-9-]{1,50}$/);
  });
});

describe("a PUT", () => {
  test("with status and config applies the status only", () => {
    const change = update("running", {
      status: "stopped",
      config: [config({ instanceCount: 9 })],
      description: "d",
    });
    expect(change).toMatchObject({ desired: "stopped", status: "stopping", description: "d" });
    expect(change.revision).toBeUndefined();
  });

  test("that starts or changes a service makes it deploying and forgets the last failure", () => {
    for (const change of [
      update("failed", { status: "running" }),
      update("failed", { config: [config()] }),
    ]) {
      expect(change).toMatchObject({
        desired: "running",
        status: "deploying",
        progress: 0,
        errorMessage: null,
      });
    }
  });

  test("that starts a stopped service keeps its revision", () => {
    expect(update("stopped", { status: "running" }).revision).toBeUndefined();
  });

  test("of the description touches nothing else", () => {
    expect(update("deploying", { description: "" })).toEqual({ description: "", events: [] });
  });

  test("of the schedule sets the moment of the automatic stop and says so", () => {
    const schedule = [{ type: "stop", time_unit: "HOURS", duration: 2 }] as const;
    const change = update("running", { schedule });
    expect(change.dueAt).toBe(NOW + 2 * 3_600_000);
    expect(change.events[0]?.info).toBe("Auto stop is enabled. The service will stop after 2 HOURS.");
    expect(update("running", { schedule: [] })).toMatchObject({ dueAt: null, schedule: [] });
    expect(update("stopped", { schedule }).dueAt).toBeNull();
    expect(update("stopped", { status: "running" }, { service: { schedule } }).dueAt).toBe(NOW + 7_200_000);
    expect(update("running", { status: "stopped" }, { service: { schedule } }).dueAt).toBeNull();
  });
});

test("scaling keeps the groups, and asking for the present count does nothing", () => {
  const change = decideScale(service("running"), revision(), new Map([[A, 3]]), NOW);
  expect(change.revision?.entries).toMatchObject([{ instanceCount: 3, groupId: "f76f20ba78f5-r4-0" }]);
  expect(decideScale(service("running"), revision(), new Map([[A, 1]]), NOW)).toEqual({ events: [] });
});

test("scaling a version that the service does not have is refused", () => {
  expect(() => decideScale(service("running"), revision(), new Map([[B, 3]]), NOW)).toThrow(
    "Model model-b under service f76f20ba-78f5-44e8-893a-37c8c600c02f does not exist.",
  );
});

test("deleting twice changes nothing the second time", () => {
  expect(decideDelete(service("deploying"), NOW)).toMatchObject({ desired: "deleted", status: "deleting" });
  expect(decideDelete(service("deleting"), NOW)).toEqual({ events: [] });
});

test("the earliest entry of a schedule counts", () => {
  expect(
    dueTime(
      [
        { type: "stop", time_unit: "DAYS", duration: 1 },
        { type: "stop", time_unit: "MINUTES", duration: 5 },
      ],
      NOW,
    ),
  ).toBe(NOW + 300_000);
});

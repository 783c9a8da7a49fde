import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FakeClock } from "../../test/support/clock.ts";
import type { DomainId, GroupId, ModelId, ProjectId, ServiceId, UserId } from "../core/ids.ts";
import type { Model } from "../core/model.ts";
import { createFakeRunner } from "../runners/fake.ts";
import type { FakeRunner } from "../runners/fake.ts";
import { openStore } from "../store/open-store.ts";
import type { Store } from "../store/store.ts";
import { createRetention } from "./retention.ts";

const logger = pino({ level: "silent" });
const DAY_MS = 24 * 3_600_000;
const MODEL = "11111111-1111-4111-8111-111111111111" as ModelId;
const TRIAL = `import-${MODEL}`;

let directory: string;
let clock: FakeClock;
let store: Store;
let runner: FakeRunner;
let reclaimed: ReadonlySet<string>[];
let triedIn: ReadonlySet<string>[];
let removedLogs: string[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "mp-retention-"));
  clock = new FakeClock();
  store = await openStore({
    database: { kind: "sqlite", path: join(directory, "modelport.db") },
    clock,
    logger,
  });
  runner = createFakeRunner({ clock, logger, script: () => ({ kind: "ready", afterMs: 10 }) });
  reclaimed = [];
  removedLogs = [];
  triedIn = [];
});
afterEach(async () => {
  await runner.close({ stopInstances: true });
  await store.close();
  rmSync(directory, { recursive: true });
});

const retention = (
  more: {
    environmentsFail?: boolean;
    holding?: { packages: ReadonlySet<string>; environments: ReadonlySet<string> };
  } = {},
) =>
  createRetention({
    store,
    clock,
    logger,
    runner: {
      ...runner,
      loggedGroups: () => Promise.resolve(["gone", "trial", TRIAL] as GroupId[]),
      removeLogs: (group) => {
        removedLogs.push(group);
        return Promise.resolve();
      },
    },
    packages: {
      reclaim: (used) => {
        reclaimed.push(used);
        return Promise.resolve([]);
      },
      forgetTrials: (used) => {
        triedIn.push(used);
        return Promise.resolve();
      },
    },
    imports: { holding: () => more.holding ?? { packages: new Set(), environments: new Set() } },
    environments: {
      reclaim: () =>
        more.environmentsFail === true ? Promise.reject(new Error("disk")) : Promise.resolve([]),
    },
  });

const model: Model = {
  id: MODEL,
  projectId: "a".repeat(32) as ProjectId,
  domainId: "d".repeat(32) as DomainId,
  ownerId: "e".repeat(32) as UserId,
  workspaceId: "0",
  name: "m",
  version: "1.0.0",
  type: "Scikit_Learn",
  description: "",
  installTypes: ["real-time"],
  sourceLocation: "obs://b/m",
  request: {},
  status: "publishing",
  failure: null,
  published: null,
  createdAt: 0 as Model["createdAt"],
};

const startTrial = async (id = "trial", serviceId: ServiceId | null = null): Promise<void> => {
  await runner.apply({
    id: id as GroupId,
    serviceId,
    replicas: 1,
    instance: {
      engine: "Scikit_Learn",
      modelName: "m",
      modelVersion: "1.0.0",
      packageDir: "/packages/a-digest",
      modelFile: "m",
      python: "/environments/a-key/bin/python",
      envs: {},
      workers: 1,
      cpu: 1,
      memoryMb: 100,
      predictTimeoutMs: 1000,
      startTimeoutMs: 1000,
      drainTimeoutMs: 1000,
    },
  });
};

const eventCount = async (): Promise<number> =>
  (await store.events.ofModel(MODEL, { order: "asc", offset: 0, limit: 10 })).total;

test("keeps an AI application's events for three months and no longer", async () => {
  await store.models.create(model, { type: "normal", info: "import", occurredAt: clock.now() });
  await clock.advance(80 * DAY_MS);
  await retention().run();
  expect(await eventCount()).toBe(1);
  await clock.advance(20 * DAY_MS);
  await retention().run();
  expect(await eventCount()).toBe(0);
});

test("keeps what an import under way holds, and nothing else", async () => {
  await store.models.create(model, { type: "normal", info: "import", occurredAt: clock.now() });
  await startTrial(TRIAL);
  await startTrial("trial");
  const holding = { packages: new Set(["held-digest"]), environments: new Set(["held-key"]) };
  await retention({ holding }).run();
  expect(runner.alive()).toEqual([`${TRIAL}-1`]);
  expect(removedLogs).toEqual(["gone", "trial"]);
  expect(reclaimed).toEqual([new Set(["held-digest", "a-digest"])]);
  expect(triedIn).toEqual([new Set(["held-key", "a-key"])]);
});

test("keeps what instances run on whose version was deleted, until they are gone", async () => {
  await startTrial("drains", "a-service" as ServiceId);
  await retention().run();
  expect(reclaimed).toEqual([new Set(["a-digest"])]);
  expect(triedIn).toEqual([new Set(["a-key"])]);
  await runner.remove("drains" as GroupId);
  await retention().run();
  expect(reclaimed.at(-1)).toEqual(new Set());
});

test("removes trial starts that nobody waits for and the logs of groups that are gone", async () => {
  await startTrial();
  await retention().run();
  expect(runner.alive()).toEqual([]);
  expect(removedLogs).toEqual(["gone", "trial", TRIAL]);
  expect(reclaimed).toEqual([new Set()]);
});

test("does the rest when one step fails", async () => {
  await startTrial();
  await retention({ environmentsFail: true }).run();
  expect(runner.alive()).toEqual([]);
});

test("repeats every hour until it is stopped", async () => {
  const rounds = retention();
  rounds.start();
  await clock.advance(3_600_000 + 1);
  expect(reclaimed).toHaveLength(2);
  await rounds.stop();
  expect(clock.sleepers).toBe(0);
});

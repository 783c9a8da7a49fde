/**
 * The table of what user code may do wrong (test/user-code/rows.ts) against a real instance, confined as the process
 * runner would confine it on this machine, with a neighbour beside it that must not notice.
 */
import { accessSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { isAlive, removeInstances, startInstance } from "../../test/support/instance.ts";
import type { Instance } from "../../test/support/instance.ts";
import { plainPython } from "../../test/support/python-env.ts";
import { until } from "../../test/support/until.ts";
import { loadService, predictionService } from "../../test/user-code/package.ts";
import { LOADS, PREDICTIONS } from "../../test/user-code/rows.ts";
import type { GroupId } from "../core/ids.ts";
import type { Confinement } from "../core/launch.ts";
import { openIsolation } from "../runners/process/isolation.ts";
import type { Isolation } from "../runners/process/isolation.ts";
import type { GroupSpec } from "../runners/runner.ts";
import { membersOf } from "../telemetry/control-groups.ts";

const MEMORY_MB = 1000;
const DEADLINE_MS = 1500;
const PROCESSES = 40;
const USERS = { first: 2_000_000_000, last: 2_000_000_999 };

let dir: string;
let isolation: Isolation;
let python: string;
let neighbour: Instance;
let started = 0;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "user-code-"));
  mkdirSync(join(dir, "instances"));
  isolation = openIsolation(dir, USERS);
  // One that a user of the service's own can run, where the machine has one.
  python = "/usr/bin/python3";
  try {
    accessSync(python);
  } catch {
    python = await plainPython();
  }
  neighbour = await start({ "customize_service.py": WELL_BEHAVED });
  await neighbour.ready();
});
afterEach(() => removeInstances((one) => one !== neighbour));
afterAll(async () => {
  await removeInstances();
  isolation.sweep(new Set());
  await until("the groups to be gone", () => {
    isolation.sweep(new Set());
    return true;
  });
  isolation.close();
  rmSync(dir, { recursive: true, force: true });
});

const WELL_BEHAVED = loadService({ what: "works", python: "SERVICE" });

const confine = (name: string): Confinement => {
  const group = {
    id: name as GroupId,
    serviceId: null,
    replicas: 1,
    instance: { memoryMb: MEMORY_MB, cpu: 1, workers: 1 },
  } as GroupSpec;
  const confinement = isolation.confine(group, name);
  // Fewer than in earnest, so that a machine of two processors is not busy with them.
  const counting = confinement.cgroups.find(
    (one) => isolation.facts.cgroupVersion === 2 || one.includes("/pids/"),
  );
  if (counting !== undefined) writeFileSync(join(counting, "pids.max"), String(PROCESSES));
  return confinement;
};

const start = (
  files: Readonly<Record<string, string>>,
  more: Partial<Parameters<typeof startInstance>[0]> = {},
): Promise<Instance> =>
  startInstance({
    python,
    files: { "model.m": "", ...files },
    confinement: confine(`instance-${++started}`),
    ...more,
  });

/** Predictions of the neighbour, one after the other, for as long as something else goes on. */
const undisturbed = async <T>(during: Promise<T>): Promise<T> => {
  let isOver = false;
  const over = during.finally(() => {
    isOver = true;
  });
  over.catch(() => {});
  do {
    const answer = await neighbour.predict({});
    expect([answer.status, answer.text]).toEqual([200, '{"data": {"resp_data": [1]}}']);
  } while (!isOver);
  return over;
};

/** How many living processes a user has. */
const processesOf = (uid: number): number =>
  readdirSync("/proc").filter((name) => {
    try {
      return /^\d+$/.test(name) && statSync(`/proc/${name}`).uid === uid && isAlive(Number(name));
    } catch {
      return false;
    }
  }).length;

describe("a prediction whose code", () => {
  for (const row of PREDICTIONS) {
    it(`${row.what}${row.note === undefined ? "" : ` (${row.note})`}`, async (context) => {
      const hasGroup = isolation.facts.cgroup.includes("memory") && isolation.facts.cgroup.includes("pids");
      if (row.needs === "cgroup" && !hasGroup)
        return context.skip("this machine lets us make no control groups");
      if (row.needs === "user" && isolation.facts.noUsers !== null)
        return context.skip(`no own users here: ${isolation.facts.noUsers}`);
      const confinement = confine(`instance-${++started}`);
      const instance = await start(
        { "customize_service.py": predictionService(row) },
        {
          predictTimeoutMs: row.status === 504 ? DEADLINE_MS : 30_000,
          ...(row.needs === "rlimits" || row.needs === "user"
            ? {
                confinement: {
                  ...confinement,
                  cgroups: [],
                  rlimits: { ...confinement.rlimits, DATA: MEMORY_MB * 1024 * 1024, NPROC: PROCESSES },
                },
              }
            : { confinement }),
        },
      );
      await instance.ready();
      const before = (await instance.stats()).workers[0]?.pid ?? 0;

      const answer = await undisturbed(instance.predict({ bad: true }));

      expect([answer.status, answer.text.slice(0, 2000)]).toEqual([row.status, expect.any(String)]);
      if (row.msg !== undefined) expect(answer.json()).toMatchObject({ erno: "PY.0105", msg: row.msg });
      if (row.says !== undefined) expect(answer.text).toContain(row.says.replaceAll('"', String.raw`\"`));
      // Who comes next is answered, by the same worker or by the one that takes its place.
      expect((await undisturbed(instance.predict({}))).status).toBe(200);
      const { restarts, workers } = await instance.stats();
      expect(restarts).toBe(row.worker === "goes on" ? 0 : 1);
      expect(workers[0]?.pid === before).toBe(row.worker === "goes on");
      expect((await instance.health()).answer.status).toBe("OK");
      if (row.worker === "is replaced") await until("the worker to be gone", () => !isAlive(before));
      const { log } = row;
      if (log !== undefined) await until(`${log} in the log`, () => instance.log().includes(log));
      const { user } = confinement;
      if (row.needs === "user" && user !== null)
        await until("its user to have nothing but the new worker", () => processesOf(user.uid) === 1);
      if (row.needs === "cgroup") {
        const worker = confinement.cgroups.map((one) => join(one, "w1"));
        await until("nothing but the new worker to be left", () => {
          const members = membersOf(worker).filter(isAlive);
          return members.length === 1 && members[0] === workers[0]?.pid;
        });
      }
    });
  }
});

describe("a package that", () => {
  for (const row of LOADS) {
    it(row.what, async () => {
      const instance = await start(
        { "customize_service.py": loadService(row) },
        {
          predictTimeoutMs: 30_000,
          ...(row.startTimeoutMs === undefined ? {} : { startTimeoutMs: row.startTimeoutMs }),
        },
      );
      const { failure, log } = row;
      if (row.python.includes("SERVICE")) {
        expect((await undisturbed(instance.predict({}))).status).toBe(200);
        if (row.log !== undefined) expect((await instance.predict({ bad: true })).status).toBe(500);
      }
      if (failure === undefined) {
        expect((await undisturbed(instance.predict({}))).status).toBe(200);
        expect((await instance.health()).answer.status).toBe("OK");
      } else {
        await undisturbed(
          until("the failure", async () => (await instance.health()).answer.status === "failed"),
        );
        expect((await instance.health()).answer).toMatchObject({
          failure: { reason: failure.reason, message: expect.stringContaining(failure.message) },
        });
        const refused = await instance.predict({});
        expect([refused.status, refused.text]).toEqual([503, expect.stringContaining(failure.message)]);
      }
      if (log !== undefined) expect(instance.log()).toContain(log);
    });
  }
});

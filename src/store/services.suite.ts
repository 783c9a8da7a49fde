/** What the store promises about services, revisions and usage; part of store.suite.ts. */
import { beforeEach, describe, expect, test } from "vitest";
import { fail } from "../core/errors.ts";
import { instant } from "../core/ids.ts";
import type { ModelId, ServiceId } from "../core/ids.ts";
import type { Model } from "../core/model.ts";
import type { Service } from "../core/service.ts";
import {
  OTHER_PROJECT,
  PROJECT,
  sampleEntry,
  sampleIdentity,
  sampleModel,
  sampleService,
} from "../../test/support/store-samples.ts";
import { event, everything } from "./store.suite.ts";
import type { StoreUnderTest } from "./store.suite.ts";
import type { ServiceFilter, ServiceStore } from "./store.ts";

export const servicesSuite = (given: () => StoreUnderTest): void => {
  let model: Model;
  let services: ServiceStore;

  const create = async (more: Partial<Service> = {}, of: Model = model): Promise<Service> => {
    const service = sampleService(more);
    expect(await services.create(service, [sampleEntry(of)], [event("start to deploy service")])).toBe(
      "created",
    );
    return service;
  };
  const infos = async (id: ServiceId): Promise<string[]> =>
    (await given().store.events.ofService(id, everything)).rows.map((row) => row.info);

  describe("services", () => {
    beforeEach(async () => {
      services = given().store.services;
      model = sampleModel();
      await given().store.models.create(model, event("created"));
    });

    test("creates a name once in a project, whole, also in a race of processes", async () => {
      const other = await given().reopen();
      const samples = Array.from({ length: 20 }, () => sampleService({ name: "svc" }));
      const results = await Promise.all(
        samples.map((service, n) =>
          (n % 2 === 0 ? services : other.services).create(service, [sampleEntry(model)], [event("start")]),
        ),
      );
      expect(results.filter((result) => result === "created")).toHaveLength(1);
      const winner = samples[results.indexOf("created")];
      expect((await services.all()).map((service) => service.id)).toEqual([winner?.id]);
      for (const service of samples) {
        const wanted = service === winner;
        expect(await services.revisions(service.id)).toHaveLength(wanted ? 1 : 0);
        expect(await infos(service.id)).toHaveLength(wanted ? 1 : 0);
      }
    });

    test("never creates more than the limit of a project, also in a race of processes", async () => {
      const { project, ...identity } = sampleIdentity();
      await given().store.identity.bootstrap({ ...identity, project });
      const other = await given().reopen();
      const results = await Promise.all(
        Array.from({ length: 12 }, async (_, n) => {
          // Each with a version of its own: what they share is the project alone.
          const of = sampleModel({ projectId: project.id });
          await given().store.models.create(of, event("created"));
          const service = sampleService({ projectId: project.id });
          return (n % 2 === 0 ? services : other.services).create(service, [sampleEntry(of)], [], 5);
        }),
      );
      expect(results.filter((result) => result === "created")).toHaveLength(5);
      expect(results.filter((result) => result === "full")).toHaveLength(7);
      expect(await services.all()).toHaveLength(5);
    });

    test("says that a name is taken also when the project is full", async () => {
      const first = await create();
      const again = sampleService({ name: first.name });
      expect(await services.create(again, [sampleEntry(model)], [], 1)).toBe("exists");
    });

    test("changes several services together, or none of them", async () => {
      const [a, b] = [await create(), await create()];
      const erase = () => ({ desired: "deleted" as const, events: [event("delete")] });
      const missing = sampleService().id;
      await expect(
        services.updateAll(PROJECT, [a.id, missing, b.id], instant(9), erase),
      ).rejects.toMatchObject({
        code: "SERVICE_NOT_FOUND",
      });
      expect((await services.all()).map((service) => service.desired)).toEqual(["running", "running"]);
      expect(await infos(a.id)).toHaveLength(1);
      await services.updateAll(PROJECT, [b.id, a.id], instant(9), erase);
      expect((await services.all()).map((service) => service.desired)).toEqual(["deleted", "deleted"]);
    });

    test("returns what was created, field by field", async () => {
      const entries = [
        sampleEntry(model, { weight: 40, envs: { A: "b" }, customSpec: { cpu: 0.5, memory: 512 } }),
        sampleEntry(model, { weight: 60, maxUnavailable: 0.25 }),
      ];
      const service = sampleService({
        description: "d",
        schedule: [{ type: "stop", time_unit: "HOURS", duration: 3 }],
        dueAt: instant(1_800_000_000_000),
        additionalProperties: { smn_notification: { topic: "x" } },
      });
      await services.create(service, entries, [event("start to deploy service")]);
      expect(await services.get(PROJECT, service.id)).toEqual(service);
      expect(await services.byId(service.id)).toEqual(service);
      expect(await services.revision(service.id, 1)).toEqual({
        serviceId: service.id,
        number: 1,
        entries,
        createdAt: service.updateAt,
        result: "RUNNING",
        reason: null,
      });
      expect(await services.revision(service.id, 2)).toBeNull();
      expect(await given().store.changes.after(0, 100)).toMatchObject([
        { kind: "model" },
        { kind: "service", id: service.id },
      ]);
    });

    test("refuses to create or update with a model that is gone or another tenant's, and leaves nothing", async () => {
      const theirs = sampleModel({ projectId: OTHER_PROJECT });
      await given().store.models.create(theirs, event("created"));
      const gone = sampleModel();
      for (const wrong of [theirs, gone]) {
        const service = sampleService();
        await expect(services.create(service, [sampleEntry(wrong)], [event("x")])).rejects.toMatchObject({
          code: "SERVICE_MODEL_NOT_FOUND",
        });
        expect(await services.byId(service.id)).toBeNull();
        expect(await infos(service.id)).toEqual([]);
      }
      const service = await create();
      const update = services.update(PROJECT, service.id, instant(9), () => ({
        revision: { entries: [sampleEntry(gone)] },
        events: [],
      }));
      await expect(update).rejects.toMatchObject({ code: "SERVICE_MODEL_NOT_FOUND" });
      expect(await services.byId(service.id)).toEqual(service);
      expect(await services.revisions(service.id)).toHaveLength(1);
    });

    test("shows a tenant nothing of another's", async () => {
      const theirModel = sampleModel({ projectId: OTHER_PROJECT });
      await given().store.models.create(theirModel, event("created"));
      const theirs = await create({ projectId: OTHER_PROJECT, name: "same" }, theirModel);
      await create({ name: "same" });
      expect(await services.get(PROJECT, theirs.id)).toBeNull();
      expect((await services.list(PROJECT, { ...everything, sortBy: "publish_at" })).total).toBe(1);
      let asked = false;
      const updated = await services.update(PROJECT, theirs.id, instant(9), () => {
        asked = true;
        return { desired: "deleted", events: [] };
      });
      expect([updated, asked]).toEqual([null, false]);
      expect(await services.get(OTHER_PROJECT, theirs.id)).toEqual(theirs);
    });

    test("lists by every filter and order", async () => {
      const other = sampleModel();
      await given().store.models.create(other, event("created"));
      const times = (n: number) => ({ publishAt: instant(n), transitionAt: instant(100 - n) });
      const a = await create({ name: "a_1", workspaceId: "7", ...times(1) });
      await create({ name: "aX1", status: "running", ...times(2) }, other);
      await create({ name: "b%", ...times(3) });
      const names = async (filter: Partial<ServiceFilter>): Promise<string[]> =>
        (await services.list(PROJECT, { ...everything, sortBy: "publish_at", ...filter })).rows.map(
          (s) => s.name,
        );
      expect(await names({})).toEqual(["a_1", "aX1", "b%"]);
      expect(await names({ order: "desc" })).toEqual(["b%", "aX1", "a_1"]);
      expect(await names({ sortBy: "transition_at" })).toEqual(["b%", "aX1", "a_1"]);
      expect(await names({ sortBy: "service_name" })).toEqual(["aX1", "a_1", "b%"]);
      expect(await names({ name: "A_" })).toEqual(["a_1"]);
      expect(await names({ name: "%" })).toEqual(["b%"]);
      expect(await names({ id: a.id })).toEqual(["a_1"]);
      expect(await names({ workspaceId: "7" })).toEqual(["a_1"]);
      expect(await names({ status: "running" })).toEqual(["aX1"]);
      expect(await names({ modelId: other.id })).toEqual(["aX1"]);
      expect(await names({ modelId: "nothing" as ModelId })).toEqual([]);
      expect(await names({ inferType: "batch" })).toEqual([]);
      expect(await names({ inferType: "real-time", limit: 1, offset: 1 })).toEqual(["aX1"]);
      const page = await services.list(PROJECT, { sortBy: "publish_at", order: "asc", offset: 3, limit: 5 });
      expect(page).toEqual({ total: 3, rows: [] });
    });

    test("gives decide the current rows and applies what it says", async () => {
      const service = await create();
      const entry = sampleEntry(model, { instanceCount: 2 });
      const result = await services.update(
        PROJECT,
        service.id,
        instant(1_700_000_000_500),
        (now, revision) => {
          expect(now).toEqual(service);
          expect(revision.number).toBe(1);
          return {
            description: "new",
            status: "deploying",
            progress: 5,
            errorMessage: null,
            dueAt: instant(7),
            additionalProperties: { a: 1 },
            revision: { entries: [entry] },
            events: [event("update", 1_700_000_000_500)],
          };
        },
      );
      const expected: Service = {
        ...service,
        description: "new",
        progress: 5,
        dueAt: instant(7),
        additionalProperties: { a: 1 },
        revision: 2,
        generation: 2,
        updateAt: instant(1_700_000_000_500),
        operationAt: instant(1_700_000_000_500),
      };
      expect(result?.service).toEqual(expected);
      expect(result?.revision).toMatchObject({ number: 2, entries: [entry], createdAt: 1_700_000_000_500 });
      expect(await services.byId(service.id)).toEqual(expected);
      expect(await services.revision(service.id, 1)).toMatchObject({ result: "FAIL" });
      expect(await infos(service.id)).toEqual(["start to deploy service", "update"]);
    });

    test("leaves everything as it is when decide refuses", async () => {
      const service = await create();
      const head = await given().store.changes.head();
      const refused = services.update(PROJECT, service.id, instant(9), () => {
        throw fail("SERVICE_STATE", { state: "deploying", action: "updated" });
      });
      await expect(refused).rejects.toMatchObject({ code: "SERVICE_STATE" });
      expect(await services.byId(service.id)).toEqual(service);
      expect(await given().store.changes.head()).toBe(head);
      expect(
        await services.update(PROJECT, "none" as ServiceId, instant(9), () => ({ events: [] })),
      ).toBeNull();
    });

    test("lets concurrent updates of one service, also of two processes, take turns", async () => {
      const other = await given().reopen();
      const service = await create({ additionalProperties: { n: 0 } });
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, n) =>
          (n % 2 === 0 ? services : other.services).update(PROJECT, service.id, instant(9), (now) => ({
            additionalProperties: { n: Number(now.additionalProperties["n"]) + 1 },
            revision: { entries: [sampleEntry(model)] },
            events: [],
          })),
        ),
      );
      expect(await services.byId(service.id)).toMatchObject({
        additionalProperties: { n: 20 },
        generation: 21,
        revision: 21,
      });
      const numbers = results.map((result) => result?.revision.number).toSorted((a = 0, b = 0) => a - b);
      expect(numbers).toEqual(Array.from({ length: 20 }, (_, n) => n + 2));
      const times = (await services.revisions(service.id)).map((revision) => revision.createdAt);
      expect(new Set(times).size).toBe(21);
    });

    test("finds a revision by its update time, newest first without one, and keeps a bounded history", async () => {
      const service = await create();
      await services.settle(service.id, 1, instant(9), { servingRevision: 1, events: [] });
      for (let n = 0; n < 120; n++) {
        await services.update(PROJECT, service.id, instant(1_800_000_000_000 + n), () => ({
          revision: { entries: [sampleEntry(model)] },
          events: [],
        }));
      }
      const numbers = (await services.revisions(service.id)).map((revision) => revision.number);
      expect(numbers).toEqual([...Array.from({ length: 100 }, (_, n) => 121 - n), 1]);
      expect(await services.revisions(service.id, { limit: 2 })).toMatchObject([
        { number: 121 },
        { number: 120 },
      ]);
      const found = await services.revisions(service.id, { createdAt: instant(1_800_000_000_119) });
      expect(found).toMatchObject([{ number: 121 }]);
    });

    test("drops the reconciler's answer to a question that is no longer asked", async () => {
      const service = await create();
      await services.update(PROJECT, service.id, instant(9), () => ({ desired: "stopped", events: [] }));
      const late = { status: "running", servingRevision: 1, events: [event("late")] } as const;
      expect(await services.settle(service.id, 1, instant(10), late)).toBe(false);
      expect(await services.byId(service.id)).toMatchObject({ status: "deploying", servingRevision: null });
      expect(await infos(service.id)).toEqual(["start to deploy service"]);
      expect(await services.settle("none" as ServiceId, 1, instant(10), late)).toBe(false);
    });

    test("settles status, result and rollback, and records a change only for what the user wants", async () => {
      const service = await create();
      const { changes } = given().store;
      const head = await changes.head();
      const done = await services.settle(service.id, 1, instant(50), {
        status: "running",
        progress: 100,
        servingRevision: 1,
        revisionResult: { number: 1, result: "SUCCESS", reason: null },
        events: [event("running")],
      });
      expect(done).toBe(true);
      expect(await changes.head()).toBe(head);
      expect(await services.byId(service.id)).toMatchObject({
        status: "running",
        progress: 100,
        servingRevision: 1,
        generation: 1,
        transitionAt: 50,
      });
      expect(await services.revision(service.id, 1)).toMatchObject({ result: "SUCCESS", reason: null });
      await services.settle(service.id, 1, instant(60), { status: "running", events: [] });
      expect((await services.byId(service.id))?.transitionAt).toBe(50);

      await services.update(PROJECT, service.id, instant(70), () => ({
        status: "deploying",
        revision: { entries: [sampleEntry(model)] },
        events: [],
      }));
      await services.settle(service.id, 2, instant(80), {
        status: "running",
        rollbackTo: 1,
        errorMessage: "ValueError: bad",
        revisionResult: { number: 2, result: "FAIL", reason: "ValueError: bad" },
        events: [],
      });
      expect(await services.byId(service.id)).toMatchObject({
        revision: 1,
        servingRevision: 1,
        errorMessage: "ValueError: bad",
      });
      expect(await services.revision(service.id, 1)).toMatchObject({ result: "SUCCESS" });
      expect(await services.revision(service.id, 2)).toMatchObject({
        result: "FAIL",
        reason: "ValueError: bad",
      });
      expect(await changes.head()).toBe(head + 2);
    });

    test("purges a deleted service whole, and no other", async () => {
      const [service, kept] = [await create(), await create()];
      const { routes, changes } = given().store;
      const route = { projectId: PROJECT, name: "r", state: "stopped", groups: [] } as const;
      await routes.put({ id: service.id, ...route });
      await routes.put({ id: kept.id, ...route });
      await expect(services.purge(service.id)).rejects.toThrow("cannot be purged");
      await services.update(PROJECT, service.id, instant(9), () => ({ desired: "deleted", events: [] }));
      const before = await routes.version();
      await services.purge(service.id);
      await services.purge(service.id);
      await services.note(service.id, [event("late")]);
      expect(await services.byId(service.id)).toBeNull();
      expect(await services.revisions(service.id)).toEqual([]);
      expect(await infos(service.id)).toEqual([]);
      expect(await routes.get(service.id)).toBeNull();
      expect(await routes.version()).toBe(before + 1);
      await expect(routes.put({ id: service.id, ...route })).rejects.toMatchObject({
        code: "SERVICE_NOT_FOUND",
      });
      expect((await services.all()).map((s) => s.id)).toEqual([kept.id]);
      expect(await routes.get(kept.id)).not.toBeNull();
      expect((await changes.after(0, 100)).map((change) => change.id)).toContain(service.id);
    });

    test("counts a usage report once, however often it is sent", async () => {
      const service = await create();
      const counts = [
        { id: service.id, invocations: 3, failures: 1 },
        { id: "unknown", invocations: 9, failures: 9 },
      ];
      await Promise.all(Array.from({ length: 5 }, () => services.addUsage(counts, "g1", 1)));
      await services.addUsage(counts, "g2", 1);
      await services.addUsage(counts, "g1", 2);
      await services.addUsage(counts, "g1", 1);
      expect(await services.byId(service.id)).toMatchObject({ invocationTimes: 9, failedTimes: 3 });
    });
  });
};

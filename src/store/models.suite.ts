/** What the store promises about AI applications and their histories; part of store.suite.ts. */
import { describe, expect, test } from "vitest";
import { instant } from "../core/ids.ts";
import { LIMITS } from "../core/limits.ts";
import type { Model, Published } from "../core/model.ts";
import {
  OTHER_PROJECT,
  PROJECT,
  sampleEntry,
  sampleModel,
  sampleService,
} from "../../test/support/store-samples.ts";
import { event, everything } from "./store.suite.ts";
import type { StoreUnderTest } from "./store.suite.ts";
import type { ModelFilter } from "./store.ts";

const published = (digest: string, sizeBytes = 10): Published => ({
  engine: "Scikit_Learn",
  packageDigest: digest,
  sizeBytes,
  modelFile: "m",
  hasCustomService: true,
  environmentKey: `env-${digest}`,
  config: { model_type: "Scikit_Learn" },
});

export const modelsSuite = (given: () => StoreUnderTest): void => {
  const create = async (more: Partial<Model> = {}): Promise<Model> => {
    const model = sampleModel(more);
    expect(await given().store.models.create(model, event("created"))).toBe("created");
    return model;
  };
  const names = async (filter: Partial<ModelFilter>): Promise<string[]> => {
    const { rows } = await given().store.models.list(PROJECT, {
      sortBy: "create_at",
      ...everything,
      ...filter,
    });
    return rows.map((row) => row.name);
  };

  describe("models", () => {
    test("creates a name and version once in a project, also in a race of processes", async () => {
      const other = await given().reopen();
      const models = Array.from({ length: 20 }, () => sampleModel({ name: "iris" }));
      const results = await Promise.all(
        models.map((model, n) =>
          (n % 2 === 0 ? given().store : other).models.create(model, event("created")),
        ),
      );
      expect(results.filter((result) => result === "created")).toHaveLength(1);
      const winner = models[results.indexOf("created")];
      expect((await given().store.models.versions(PROJECT, "iris")).map((m) => m.id)).toEqual([winner?.id]);
      const events = await Promise.all(models.map((m) => given().store.events.ofModel(m.id, everything)));
      expect(events.reduce((sum, { total }) => sum + total, 0)).toBe(1);
      expect(await given().store.changes.after(0, 100)).toMatchObject([{ kind: "model", id: winner?.id }]);
      await create({ name: "iris", version: "1.0.1" });
      await create({ name: "iris", projectId: OTHER_PROJECT });
    });

    test("shows a tenant nothing of another's", async () => {
      const { models } = given().store;
      const theirs = await create({ name: "theirs", projectId: OTHER_PROJECT });
      expect(await models.get(PROJECT, theirs.id)).toBeNull();
      expect(await models.versions(PROJECT, "theirs")).toEqual([]);
      expect(await names({})).toEqual([]);
      expect(await models.delete(PROJECT, theirs.id)).toBe("not-found");
      expect(await models.get(OTHER_PROJECT, theirs.id)).toEqual(theirs);
      expect(await models.byId(theirs.id)).toEqual(theirs);
    });

    test("takes _ as a wildcard and everything else literally in fuzzy names", async () => {
      for (const name of ["a_b", "axb", "ab", "a%b", "a\\b", "A_B-long"]) await create({ name });
      expect((await names({ name: "a_b" })).toSorted()).toEqual(
        ["A_B-long", "a%b", "a\\b", "a_b", "axb"].toSorted(),
      );
      expect(await names({ name: "a_b", exactMatch: true })).toEqual(["a_b"]);
      expect(await names({ name: "a%" })).toEqual(["a%b"]);
      expect(await names({ name: "\\" })).toEqual(["a\\b"]);
      expect(await names({ name: "LONG" })).toEqual(["A_B-long"]);
      expect(await names({ name: "%" })).toEqual(["a%b"]);
      expect(await names({ name: "'; drop table models; --" })).toEqual([]);
    });

    test("filters by every other field", async () => {
      await create({
        name: "one",
        version: "2.0.0",
        description: "50% of_it",
        type: "XGBoost",
        workspaceId: "7",
      });
      const two = await create({ name: "two", description: "500 of it" });
      await given().store.models.finish(two.id, { failure: "no" }, []);
      expect(await names({ version: "2.0.0" })).toEqual(["one"]);
      expect(await names({ description: "50%" })).toEqual(["one"]);
      expect(await names({ description: "OF_IT" })).toEqual(["one"]);
      expect(await names({ type: "XGBoost" })).toEqual(["one"]);
      expect(await names({ notType: "XGBoost" })).toEqual(["two"]);
      expect(await names({ workspaceId: "7" })).toEqual(["one"]);
      expect(await names({ status: "failed" })).toEqual(["two"]);
      expect(await names({ status: "failed", version: "2.0.0" })).toEqual([]);
    });

    test("sorts versions by number, sizes by number and times both ways", async () => {
      const versions = ["1.9.0", "1.10.0", "10.0.0", "2.0.0", "1.9.10", "1.9.9"];
      for (const [n, version] of versions.entries()) {
        const model = await create({ name: `v${version}`, version, createdAt: instant(1000 + n) });
        await given().store.models.finish(model.id, { published: published("d", 10 ** n) }, []);
      }
      const byVersion = ["v1.9.0", "v1.9.9", "v1.9.10", "v1.10.0", "v2.0.0", "v10.0.0"];
      expect(await names({ sortBy: "model_version" })).toEqual(byVersion);
      expect(await names({ sortBy: "model_version", order: "desc" })).toEqual(byVersion.toReversed());
      const created = versions.map((version) => `v${version}`);
      expect(await names({ sortBy: "create_at", order: "desc" })).toEqual(created.toReversed());
      expect(await names({ sortBy: "model_size" })).toEqual(created);
    });

    test("pages as a window of rows, with the whole count, empty past the end", async () => {
      const ids = new Set<string>();
      for (let n = 0; n < 7; n++) await create({ name: "same", version: `1.0.${n}` });
      const filter = { sortBy: "create_at", order: "desc", limit: 3 } as const;
      for (const [offset, length] of [
        [0, 3],
        [3, 3],
        [6, 1],
        [7, 0],
        [100, 0],
      ] as const) {
        const page = await given().store.models.list(PROJECT, { ...filter, offset });
        expect(page.total).toBe(7);
        expect(page.rows).toHaveLength(length);
        for (const row of page.rows) ids.add(row.id);
      }
      expect(ids.size).toBe(7);
    });

    test("lists versions of a name newest first", async () => {
      await create({ name: "n", version: "1.0.0", createdAt: instant(1) });
      await create({ name: "n", version: "0.9.0", createdAt: instant(2) });
      await create({ name: "n2", version: "3.0.0", createdAt: instant(3) });
      const rows = await given().store.models.versions(PROJECT, "n");
      expect(rows.map((row) => row.version)).toEqual(["0.9.0", "1.0.0"]);
    });

    test("gives a version with dynamic loading what it uses once, and only after it is published", async () => {
      const { models } = given().store;
      const model = await create();
      expect(await models.loaded(model.id, published("a"), [])).toBe(false);
      const before = { ...published("a"), packageDigest: null, environmentKey: null };
      expect(await models.finish(model.id, { published: before }, [])).toBe(true);
      expect(await models.inUse()).toEqual({ packages: new Set(), environments: new Set() });
      expect(await models.loaded(model.id, published("a"), [event("loaded")])).toBe(true);
      expect(await models.loaded(model.id, published("b"), [event("late")])).toBe(false);
      expect((await models.byId(model.id))?.published).toEqual(published("a"));
      expect(await models.inUse()).toEqual({ packages: new Set(["a"]), environments: new Set(["env-a"]) });
    });

    test("finishes a version once, and remembers what it uses", async () => {
      const { models, events } = given().store;
      const good = await create();
      const bad = await create();
      const open = await create();
      expect(new Set(await models.unfinished())).toEqual(new Set([good.id, bad.id, open.id]));
      const outcome = { published: published("d1", 5_000_000_000) };
      expect(await models.finish(good.id, outcome, [event("done")])).toBe(true);
      expect(await models.finish(good.id, { failure: "late" }, [event("late")])).toBe(false);
      expect(await models.finish(bad.id, { failure: "because" }, [event("failed")])).toBe(true);
      expect(await models.byId(good.id)).toEqual({ ...good, status: "published", ...outcome });
      expect(await models.byId(bad.id)).toEqual({ ...bad, status: "failed", failure: "because" });
      expect(await models.unfinished()).toEqual([open.id]);
      expect((await events.ofModel(good.id, everything)).rows.map((e) => e.info)).toEqual([
        "created",
        "done",
      ]);
      expect(await models.inUse()).toEqual({ packages: new Set(["d1"]), environments: new Set(["env-d1"]) });
      expect(await models.delete(PROJECT, good.id)).toBe("deleted");
      expect(await models.inUse()).toEqual({ packages: new Set(), environments: new Set() });
      expect(await models.finish(good.id, outcome, [event("late")])).toBe(false);
    });

    test("deletes a version with its events, and says so in the change log", async () => {
      const { models, events, changes } = given().store;
      const model = await create();
      const head = await changes.head();
      expect(await models.delete(PROJECT, model.id)).toBe("deleted");
      expect(await models.delete(PROJECT, model.id)).toBe("not-found");
      expect((await events.ofModel(model.id, everything)).total).toBe(0);
      await events.noteModel(model.id, [event("late")]);
      expect((await events.ofModel(model.id, everything)).total).toBe(0);
      expect(await changes.after(head, 10)).toMatchObject([{ kind: "model", id: model.id }]);
    });

    test("refuses to delete what a service wants or serves, until it is deleted or has moved on", async () => {
      const { models, services } = given().store;
      const [one, two] = [await create(), await create()];
      const service = sampleService();
      await services.create(service, [sampleEntry(one)], []);
      expect(await models.delete(PROJECT, one.id)).toBe("in-use");
      await services.settle(service.id, 1, instant(2), { servingRevision: 1, events: [] });
      await services.update(PROJECT, service.id, instant(3), () => ({
        revision: { entries: [sampleEntry(two)] },
        events: [],
      }));
      expect(await models.delete(PROJECT, one.id)).toBe("in-use");
      expect(await models.delete(PROJECT, two.id)).toBe("in-use");
      await services.settle(service.id, 2, instant(4), { servingRevision: 2, events: [] });
      expect(await models.delete(PROJECT, one.id)).toBe("deleted");
      await services.update(PROJECT, service.id, instant(5), () => ({ desired: "deleted", events: [] }));
      expect(await models.delete(PROJECT, two.id)).toBe("deleted");
    });

    test("never deletes a version at the moment a service takes it up", async () => {
      const other = await given().reopen();
      for (let round = 0; round < 10; round++) {
        const model = await create();
        const service = sampleService();
        const [deleted, created] = await Promise.allSettled([
          given().store.models.delete(PROJECT, model.id),
          other.services.create(service, [sampleEntry(model)], []),
        ]);
        if (created.status === "fulfilled") {
          expect(deleted).toMatchObject({ value: "in-use" });
          expect(await other.models.byId(model.id)).not.toBeNull();
        } else {
          expect(created.reason).toMatchObject({ code: "SERVICE_MODEL_NOT_FOUND" });
          expect(deleted).toMatchObject({ value: "deleted" });
          expect(await other.services.byId(service.id)).toBeNull();
        }
      }
    });
  });

  describe("events", () => {
    test("are filtered, ordered as they happened and paged", async () => {
      const model = await create();
      const { events } = given().store;
      await events.noteModel(model.id, [
        { type: "abnormal", info: "Out of 100% memory", occurredAt: instant(30) },
        { type: "normal", info: "second of a moment", occurredAt: instant(10) },
        { type: "normal", info: "third of a moment", occurredAt: instant(10) },
      ]);
      const infos = async (filter: object): Promise<string[]> =>
        (await events.ofModel(model.id, { ...everything, ...filter })).rows.map((row) => row.info);
      const all = ["second of a moment", "third of a moment", "Out of 100% memory", "created"];
      expect(await infos({})).toEqual(all);
      expect(await infos({ order: "desc" })).toEqual(all.toReversed());
      expect(await infos({ type: "abnormal" })).toEqual(["Out of 100% memory"]);
      expect(await infos({ info: "OUT OF 100%" })).toEqual(["Out of 100% memory"]);
      expect(await infos({ info: "1_0" })).toEqual([]);
      expect(await infos({ from: instant(10), to: instant(29) })).toEqual(all.slice(0, 2));
      const page = await events.ofModel(model.id, { order: "asc", offset: 1, limit: 2 });
      expect(page).toMatchObject({ total: 4, rows: [{ info: all[1] }, { info: all[2] }] });
    });

    test("are forgotten by age, each kind by its own", async () => {
      const { events, services } = given().store;
      const model = await create();
      const service = sampleService();
      await services.create(service, [sampleEntry(model)], [event("old", 10), event("new", 20)]);
      await events.prune({ models: instant(0), services: instant(20) });
      expect((await events.ofService(service.id, everything)).rows.map((e) => e.info)).toEqual(["new"]);
      expect((await events.ofModel(model.id, everything)).total).toBe(1);
      await events.prune({ models: instant(2_000_000_000_000), services: instant(0) });
      expect((await events.ofModel(model.id, everything)).total).toBe(0);
    });

    test("are kept up to a number per history, the newest of them", async () => {
      const { events } = given().store;
      const busy = await create();
      const calm = await create({ version: "0.0.2" });
      const told = Array.from({ length: LIMITS.eventsKept.value + 5 }, (_, n) => event(`event ${n}`));
      await events.noteModel(busy.id, told);
      await events.prune({ models: instant(0), services: instant(0) });
      const { total, rows } = await events.ofModel(busy.id, everything);
      expect(total).toBe(LIMITS.eventsKept.value);
      expect(rows.at(-1)?.info).toBe(told.at(-1)?.info);
      expect((await events.ofModel(calm.id, everything)).total).toBe(1);
    });
  });
};

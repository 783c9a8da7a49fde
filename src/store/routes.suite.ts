/** What the store promises about the routing table, gateways and the change log; part of store.suite.ts. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { beforeEach, describe, expect, test } from "vitest";
import { instant } from "../core/ids.ts";
import type { ServiceId } from "../core/ids.ts";
import type { ServiceRoute } from "../core/routing-table.ts";
import { PROJECT, sampleEntry, sampleModel, sampleService } from "../../test/support/store-samples.ts";
import { event } from "./store.suite.ts";
import type { StoreUnderTest } from "./store.suite.ts";
import type { RouteStore } from "./store.ts";

export const routesSuite = (given: () => StoreUnderTest): void => {
  let routes: RouteStore;
  const serviceId = async (): Promise<ServiceId> => {
    const model = sampleModel();
    const service = sampleService();
    await given().store.models.create(model, event("created"));
    await given().store.services.create(service, [sampleEntry(model)], []);
    return service.id;
  };
  const route = (id: ServiceId, url = "http://127.0.0.1:1"): ServiceRoute => ({
    id,
    projectId: PROJECT,
    name: "svc",
    state: "serving",
    groups: [
      {
        id: "g",
        modelId: "m",
        modelName: "iris",
        modelVersion: "1.0.0",
        weight: 100,
        concurrency: 64,
        queueMax: 256,
        queueAgeMs: 10_000,
        healthPath: "/health",
        instances: [{ id: "g-1", url }],
      },
    ],
  });

  describe("routes", () => {
    beforeEach(() => {
      routes = given().store.routes;
    });

    test("raises the table's version for what changes, and only then", async () => {
      const [one, two] = [await serviceId(), await serviceId()];
      const empty = await routes.version();
      expect(empty).toBeGreaterThan(0);
      const first = await routes.put(route(one));
      expect(first).toBe(empty + 1);
      const second = await routes.put(route(two));
      const reordered = Object.fromEntries(
        Object.entries(route(one)).toReversed(),
      ) as unknown as ServiceRoute;
      expect(await routes.put(reordered)).toBe(first);
      expect(await routes.version()).toBe(second);
      expect(await routes.put(route(one, "http://127.0.0.1:2"))).toBe(second + 1);
      expect(await routes.get(one)).toEqual(route(one, "http://127.0.0.1:2"));
      const table = await routes.table();
      expect(table.version).toBe(second + 1);
      expect(table.services.map((service) => service.id)).toEqual([one, two].toSorted());
      expect(await routes.delete(one)).toBe(second + 2);
      expect(await routes.delete(one)).toBe(second + 2);
      expect(await routes.get(one)).toBeNull();
    });

    test("reads a table and a version that belong together while others write", async () => {
      const ids = [await serviceId(), await serviceId()];
      const other = await given().reopen();
      const versions = new Map<string, number>();
      const writing = Promise.all(
        ids.map(async (id) => {
          for (let n = 0; n < 15; n++) {
            const url = `http://127.0.0.1:${n + 1}`;
            versions.set(`${id} ${url}`, await other.routes.put(route(id, url)));
          }
        }),
      );
      const tables = [];
      for (let n = 0; n < 15; n++) {
        tables.push(await routes.table());
        await nextTurn();
      }
      await writing;
      for (const table of tables) {
        const newest = table.services.map(
          (s) => versions.get(`${s.id} ${s.groups[0]?.instances[0]?.url}`) ?? 0,
        );
        if (newest.length > 0) expect(table.version).toBe(Math.max(...newest));
      }
      expect((await routes.table()).version).toBe(await routes.version());
    });

    test("calls a version applied when every gateway heard of lately has it", async () => {
      expect(await routes.isApplied(5, instant(0))).toBe(true);
      await routes.acknowledge("g1", 5, instant(1000));
      await routes.acknowledge("g2", 4, instant(1000));
      expect(await routes.isApplied(5, instant(500))).toBe(false);
      expect(await routes.isApplied(4, instant(500))).toBe(true);
      expect(await routes.isApplied(5, instant(1001))).toBe(true);
      await routes.acknowledge("g2", 5, instant(1100));
      expect(await routes.isApplied(5, instant(500))).toBe(true);
      expect(await routes.isApplied(6, instant(500))).toBe(false);
      await routes.forget("g1");
      await routes.forget("g2");
      expect(await routes.isApplied(6, instant(500))).toBe(true);
    });

    test("does not wait for a gateway that only reported usage", async () => {
      await given().store.services.addUsage([], "g1", 1);
      expect(await routes.isApplied(1, instant(1))).toBe(true);
    });

    test("forgets gateways that vanished without a word", async () => {
      await routes.acknowledge("lost", 1, instant(1000));
      await routes.acknowledge("here", 2, instant(1000 + 2 * 24 * 3600 * 1000));
      expect(await routes.isApplied(2, instant(0))).toBe(true);
    });
  });

  describe("changes", () => {
    test("are numbered in the order of the commits: a cursor misses none", async () => {
      const { store } = given();
      const other = await given().reopen();
      const seen = new Set<string>();
      let cursor = 0;
      const follow = async (): Promise<void> => {
        for (const change of await store.changes.after(cursor, 7)) {
          expect(change.seq).toBeGreaterThan(cursor);
          cursor = change.seq;
          seen.add(change.id);
        }
      };
      const models = Array.from({ length: 40 }, () => sampleModel());
      let writing = true;
      const writers = Promise.all(
        models.map((model, n) => (n % 2 === 0 ? store : other).models.create(model, event("created"))),
      ).finally(() => (writing = false));
      while (writing) {
        await follow();
        // SQLite answers without the event loop; the other writer waits in it.
        await nextTurn();
      }
      await writers;
      for (let n = 0; n < 7; n++) await follow();
      expect(models.filter((model) => !seen.has(model.id))).toEqual([]);
      expect(cursor).toBe(await store.changes.head());
    });

    test("keep one row per thing, the newest", async () => {
      const { store } = given();
      const id = await serviceId();
      for (let n = 0; n < 5; n++) {
        await store.services.update(PROJECT, id, instant(9), () => ({ description: `${n}`, events: [] }));
      }
      const rows = await store.changes.after(0, 100);
      expect(rows.filter((row) => row.id === id)).toHaveLength(1);
      expect(rows.at(-1)).toEqual({ seq: await store.changes.head(), kind: "service", id });
      await store.changes.prune(await store.changes.head());
      expect(await store.changes.after(0, 100)).toHaveLength(1);
    });

    test("are told to listeners of this process at once, and not after they left or it failed", async () => {
      const { store } = given();
      let calls = 0;
      const leave = store.changes.onChange(() => calls++);
      store.changes.onChange(() => {
        throw new Error("a listener's own problem");
      });
      const before = calls;
      await store.models.create(sampleModel(), event("created"));
      expect(calls).toBeGreaterThan(before);
      leave();
      const left = calls;
      await store.models.create(sampleModel(), event("created"));
      expect(calls).toBe(left);
    });

    test("of another process are told to listeners", async () => {
      const other = await given().reopen();
      let calls = 0;
      given().store.changes.onChange(() => calls++);
      // The first call may come from the listening itself.
      await expect
        .poll(
          async () => {
            await other.identity.revokeToken(`t${calls}`, instant(1));
            return calls;
          },
          { timeout: 5000, interval: 300 },
        )
        .toBeGreaterThan(1);
    });
  });
};

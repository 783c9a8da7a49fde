import { afterEach, describe, expect, test } from "vitest";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readFileSync } from "node:fs";
import { loadTable } from "./follow.ts";
import type { FollowDeps } from "./follow.ts";
import { readTable } from "./table-shape.ts";
import { Table } from "./table.ts";
import { systemTimer } from "./timer.ts";
import { createWorld, group, service, until } from "./world.fixture.ts";
import type { World } from "./world.fixture.ts";

let world: World;
afterEach(() => world.close());

describe("the routing table", () => {
  test("acknowledges a version only when every later request is routed by it, under load", async () => {
    world = await createWorld();
    const hits: number[] = [];
    const origins = await Promise.all(
      [0, 1, 2].map((n) =>
        world.instance((_request, response) => {
          hits.push(n);
          response.end(String(n));
        }),
      ),
    );
    const one = service([group([origins[0] ?? ""])]);
    await world.control.acknowledged(world.control.publish({ services: [one] }));
    let running = true;
    let failed = 0;
    const load = Array.from({ length: 8 }, async () => {
      while (running) if ((await world.call(`/v1/infers/${one.id}`)).status !== 200) failed += 1;
    });
    for (let round = 1; round <= 12; round += 1) {
      const to = round % 3;
      const before = hits.length;
      await until(() => hits.length > before);
      const next = service([group([origins[to] ?? ""])], { id: one.id });
      await world.control.acknowledged(world.control.publish({ services: [next] }));
      // What was admitted before the acknowledgement may still arrive; a new request may not go elsewhere.
      expect((await world.call(`/v1/infers/${one.id}`)).body.toString()).toBe(String(to));
    }
    running = false;
    await Promise.all(load);
    expect(failed).toBe(0);
  });

  test("sends what waits for a group that is gone to the one that replaced it", async () => {
    world = await createWorld();
    const held: (() => void)[] = [];
    const old = await world.instance((_request, response) => held.push(() => response.end("old")));
    const fresh = await world.instance((_request, response) => void response.end("fresh"));
    const one = service([group([old], { concurrency: 1 })]);
    await world.control.acknowledged(world.control.publish({ services: [one] }));
    const first = world.call(`/v1/infers/${one.id}`);
    await until(() => held.length === 1);
    const waiting = world.call(`/v1/infers/${one.id}`);
    const metrics = async (): Promise<string> => (await world.call("/metrics")).body.toString();
    while (!/queue_length\{[^}]*\} 1\n/.test(await metrics()));
    await world.control.acknowledged(
      world.control.publish({ services: [service([group([fresh])], { id: one.id })] }),
    );
    expect((await waiting).body.toString()).toBe("fresh");
    held[0]?.();
    expect((await first).body.toString()).toBe("old");
  });

  test("keeps requests in flight on an instance that left the table", async () => {
    world = await createWorld();
    const open: (() => void)[] = [];
    const old = await world.instance((_request, response) => open.push(() => response.end("old")));
    const fresh = await world.instance((_request, response) => void response.end("fresh"));
    const one = service([group([old])]);
    await world.control.acknowledged(world.control.publish({ services: [one] }));
    const slow = world.call(`/v1/infers/${one.id}`);
    await until(() => open.length === 1);
    await world.control.acknowledged(
      world.control.publish({ services: [service([group([fresh])], { id: one.id })] }),
    );
    expect((await world.call(`/v1/infers/${one.id}`)).body.toString()).toBe("fresh");
    open[0]?.();
    expect((await slow).body.toString()).toBe("old");
  });

  test("splits traffic by weight, and gives a group without instances no share", async () => {
    world = await createWorld();
    const [a, b] = await Promise.all(
      ["a", "b"].map((name) => world.instance((_request, response) => void response.end(name))),
    );
    const groups = [
      group([a ?? ""], { weight: 70 }),
      group([b ?? ""], { weight: 30 }),
      group([], { weight: 50 }),
    ];
    const one = service(groups);
    await world.control.acknowledged(world.control.publish({ services: [one] }));
    const counts: Record<string, number> = { a: 0, b: 0 };
    for (let n = 0; n < 100; n += 1) {
      const name = (await world.call(`/v1/infers/${one.id}`)).body.toString();
      counts[name] = (counts[name] ?? 0) + 1;
    }
    expect(Math.abs((counts["a"] ?? 0) - 70)).toBeLessThanOrEqual(3);
  });

  test("serves while control is down, also across its own restart, and follows again when it is back", async () => {
    world = await createWorld();
    const origin = await world.instance((_request, response) => void response.end("ok"));
    const one = service([group([origin])]);
    await world.control.acknowledged(world.control.publish({ services: [one] }));
    await world.control.stop();
    expect((await world.call(`/v1/infers/${one.id}`)).status).toBe(200);
    await world.restartGateway();
    expect((await world.call(`/v1/infers/${one.id}`)).status).toBe(200);
    const health = await world.call("/healthz", { token: null });
    expect([health.status, health.json["control"]]).toEqual([200, "unreachable"]);
    const api = await world.call(`/v1/${one.projectId}/models`);
    expect([api.status, api.json["error_code"]]).toEqual([503, "APIGW.0202"]);
    expect(api.headers["retry-after"]).toBeDefined();
    await world.control.start();
    await world.control.acknowledged(world.control.publish({ services: [] }));
    expect((await world.call(`/v1/infers/${one.id}`)).status).toBe(404);
  });

  test("refuses a table that does not fit, keeps the one it has and acknowledges nothing", async () => {
    world = await createWorld();
    const origin = await world.instance((_request, response) => void response.end("ok"));
    const one = service([group([origin])]);
    await world.control.acknowledged(world.control.publish({ services: [one] }));
    const bad = [
      { services: [service([group(["ftp://elsewhere"])], { id: one.id })] },
      { services: [one, one] },
      { identity: { ...world.identity, keys: { k1: "bm8ga2V5" } } },
    ];
    for (const change of bad) {
      const polls = world.control.applied.length;
      const version = world.control.publish({ services: [one], identity: world.identity, ...change });
      await until(() => world.control.applied.length > polls);
      expect(world.control.applied).not.toContain(version);
      expect((await world.call(`/v1/infers/${one.id}`)).status).toBe(200);
    }
    await world.control.acknowledged(world.control.publish({ services: [one], identity: world.identity }));
  });

  test("follows a control whose versions went back, as after a restore", async () => {
    world = await createWorld();
    const origin = await world.instance((_request, response) => void response.end("ok"));
    for (let n = 0; n < 3; n += 1) await world.control.acknowledged(world.control.publish({ services: [] }));
    const one = service([group([origin])]);
    const polls = world.control.applied.length;
    world.control.restore({ version: 2, identity: world.identity, services: [one] });
    await until(() => world.control.applied.slice(polls).includes(2));
    expect((await world.call(`/v1/infers/${one.id}`)).status).toBe(200);
  });

  test("keeps what is in flight where it is when the versions go back, and routes the rest by the restored table", async () => {
    world = await createWorld();
    const open: (() => void)[] = [];
    const late = await world.instance((_request, response) => open.push(() => response.end("late")));
    const early = await world.instance((_request, response) => void response.end("early"));
    const one = service([group([late], { concurrency: 1 })]);
    for (let n = 0; n < 3; n += 1) {
      await world.control.acknowledged(world.control.publish({ services: [one] }));
    }
    const inFlight = world.call(`/v1/infers/${one.id}`);
    await until(() => open.length === 1);
    const waiting = world.call(`/v1/infers/${one.id}`);
    const metrics = async (): Promise<string> => (await world.call("/metrics")).body.toString();
    while (!/queue_length\{[^}]*\} 1\n/.test(await metrics()));
    const polls = world.control.applied.length;
    const restored = service([group([early])], { id: one.id });
    world.control.restore({ version: 2, identity: world.identity, services: [restored] });
    await until(() => world.control.applied.slice(polls).includes(2));
    expect((await waiting).body.toString()).toBe("early");
    open[0]?.();
    expect((await inFlight).body.toString()).toBe("late");
  });

  test.each([
    ["empty", ""],
    ["cut off", '{"version":5,"iden'],
    ["zeros, as after a power failure", "\0".repeat(64)],
    ["of another shape", '{"version":5}'],
    [
      "with a key that is none",
      JSON.stringify({
        version: 5,
        identity: { keys: { k: "bm8" }, revokedTokens: [], refusedUsers: {} },
        services: [],
      }),
    ],
  ])(
    "takes a table file that is %s for none, says so, and replaces it by control's next",
    async (_name, text) => {
      const dir = await mkdtemp(join(tmpdir(), "mp-gateway-table-"));
      try {
        const tableFile = join(dir, "table.json");
        await writeFile(tableFile, text);
        const table = new Table({ timer: systemTimer, monotonicMs: () => 0 });
        const warnings: string[] = [];
        const logger = { warn: (_about: object, message: string) => void warnings.push(message) };
        await loadTable({ table, tableFile, logger } as unknown as FollowDeps);
        expect(table.version).toBeNull();
        expect(warnings).toEqual(["table file damaged"]);
        world = await createWorld({ tableFile });
        await world.control.acknowledged(world.control.publish({ services: [] }));
        await until(() => {
          const kept = readTable(readFileSync(tableFile, "utf8"));
          return kept.ok && kept.table.version === 2;
        });
      } finally {
        await rm(dir, { recursive: true, force: true });
      }
    },
  );

  test("starts without a table when the file is damaged and control is down: 503, then healthy once it is there", async () => {
    const dir = await mkdtemp(join(tmpdir(), "mp-gateway-table-"));
    try {
      const tableFile = join(dir, "table.json");
      await writeFile(tableFile, '{"version":5,"iden');
      world = await createWorld({ tableFile, controlSocket: join(dir, "nobody.sock") });
      const answer = await world.call("/v1/infers/some-service");
      expect([answer.status, answer.json["error_code"]]).toEqual([503, "APIG.0610"]);
      expect((await world.call("/healthz")).status).toBe(503);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});

describe("a clean stop", () => {
  test("lets what is in flight finish, takes nothing new, writes the records and says goodbye", async () => {
    world = await createWorld();
    const open: (() => void)[] = [];
    const origin = await world.instance((_request, response) => open.push(() => response.end("finished")));
    const one = service([group([origin])]);
    await world.control.acknowledged(world.control.publish({ services: [one] }));
    const slow = world.call(`/v1/infers/${one.id}`);
    await until(() => open.length === 1);
    const stopped = world.stopGateway();
    await expect(world.call(`/v1/infers/${one.id}`)).rejects.toThrow(/ECONNREFUSED/);
    expect(world.control.goodbyes).toEqual([]);
    open[0]?.();
    const answer = await slow;
    expect([answer.body.toString(), answer.headers.connection]).toEqual(["finished", "close"]);
    await stopped;
    expect(world.control.goodbyes).toEqual(["gateway-under-test"]);
    expect(world.records).toHaveLength(1);
    expect(world.control.usage.flatMap((report) => report.services)).toEqual([
      { id: one.id, invocations: 1, failures: 0 },
    ]);
  });
});

describe("usage", () => {
  test("reports every invocation once, though answers to reports are lost and control goes away", async () => {
    world = await createWorld();
    const origin = await world.instance((request, response) => {
      response.statusCode = request.url === "/bad" ? 500 : 200;
      response.end();
    });
    const one = service([group([origin])]);
    await world.control.acknowledged(world.control.publish({ services: [one] }));
    world.control.loseUsageAnswers = 1;
    for (let n = 0; n < 5; n += 1) await world.call(`/v1/infers/${one.id}`);
    await world.call(`/v1/infers/${one.id}/bad`);
    await world.call("/v1/infers/unknown");
    await until(() => world.control.usage.length >= 1);
    await world.control.stop();
    await world.call(`/v1/infers/${one.id}`);
    await world.control.start();
    await world.stopGateway();
    // Control's rule: a sequence it has seen counts once, and its content is the same.
    const bySequence = new Map(world.control.usage.map((report) => [report.sequence, report]));
    expect(world.control.usage.length).toBeGreaterThan(bySequence.size);
    let invocations = 0;
    let failures = 0;
    for (const report of bySequence.values()) {
      for (const count of report.services) {
        expect(count.id).toBe(one.id);
        invocations += count.invocations;
        failures += count.failures;
      }
    }
    expect({ invocations, failures }).toEqual({ invocations: 7, failures: 1 });
    expect(world.control.goodbyes).toEqual(["gateway-under-test"]);
  });
});

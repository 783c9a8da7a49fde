/** What a caller hears of the queue's bounds and of instances that say they are not ready. */
import { afterEach, expect, test } from "vitest";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createWorld, group, service, until } from "./world.fixture.ts";
import type { World } from "./world.fixture.ts";

let world: World;
afterEach(() => world.close());

test("who has waited as long as the version allows is told 429 and when to come back; who is being answered is not", async () => {
  world = await createWorld();
  const open: (() => void)[] = [];
  const origin = await world.instance((_request, response) => open.push(() => response.end("answered")));
  const one = service([group([origin], { concurrency: 1, queueAgeMs: 100 })]);
  await world.control.acknowledged(world.control.publish({ services: [one] }));
  const first = world.call(`/v1/infers/${one.id}`);
  await until(() => open.length === 1);
  const late = await world.call(`/v1/infers/${one.id}`);
  expect([late.status, late.json["error_code"]]).toEqual([429, "ModelArts.4206"]);
  expect(Number(late.headers["retry-after"])).toBeGreaterThanOrEqual(1);
  open[0]?.();
  expect((await first).body.toString()).toBe("answered");
  expect(open).toHaveLength(1);
});

test("an instance that says it is not ready gets nothing while another is, and everything when it is the last", async () => {
  world = await createWorld();
  const asked = { ready: 0, unready: 0 };
  const servers = (["ready", "unready"] as const).map((name) =>
    createServer((request, response) => {
      if (request.url !== "/health") return void response.end(name);
      asked[name] += 1;
      response.writeHead(name === "ready" ? 200 : 503).end();
    }),
  );
  try {
    const origins: string[] = [];
    for (const server of servers) {
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      origins.push(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    }
    const one = service([group(origins)]);
    await world.control.acknowledged(world.control.publish({ services: [one] }));
    // Heard of by the second question at the latest.
    await until(() => asked.unready >= 2);
    const names = new Set<string>();
    for (let n = 0; n < 10; n += 1) names.add((await world.call(`/v1/infers/${one.id}`)).body.toString());
    expect(names).toEqual(new Set(["ready"]));
    const left = {
      ...one,
      groups: one.groups.map((each) => ({ ...each, instances: each.instances.slice(1) })),
    };
    await world.control.acknowledged(world.control.publish({ services: [left] }));
    expect((await world.call(`/v1/infers/${one.id}`)).body.toString()).toBe("unready");
  } finally {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  }
});

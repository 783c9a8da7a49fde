/** What the gateway's limits, counts and records are worth when several threads share its port. */
import { randomUUID } from "node:crypto";
import { Agent, request } from "node:http";
import type { IncomingMessage } from "node:http";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createWorld, group, service, until, useThreads } from "./world.fixture.ts";
import type { World } from "./world.fixture.ts";

const THREADS = 3;
useThreads(THREADS);

let world: World;
/** Every request comes over a connection of its own, so that the kernel deals them out over the threads. */
const fresh = (
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; text: string }> =>
  new Promise((resolve, reject) => {
    const agent = new Agent({ keepAlive: false });
    const call = request(
      {
        host: "127.0.0.1",
        port: world.port,
        path,
        agent,
        headers: { "x-auth-token": world.token(), ...headers },
      },
      (answer: IncomingMessage) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (part: string) => (text += part));
        answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text }));
      },
    );
    call.on("error", reject).end();
  });

beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

const statuses = (answers: readonly { status: number }[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
};

test("in-flight per instance and the queue's length are bounded over all threads together, exactly", async () => {
  const open: (() => void)[] = [];
  let most = 0;
  const origin = await world.instance((_request, response) => {
    open.push(() => response.end("answered"));
    most = Math.max(most, open.length);
  });
  const one = service([group([origin], { concurrency: 4, queueMax: 10 })]);
  await world.control.acknowledged(world.control.publish({ services: [one] }));
  const calls = Array.from({ length: 60 }, () => fresh(`/v1/infers/${one.id}`));
  const settled: { status: number }[] = [];
  for (const call of calls) void call.then((answer) => settled.push(answer));
  await until(() => settled.length === 46 && open.length === 4);
  expect(statuses(settled)).toEqual({ 429: 46 });
  while (settled.length < 60) {
    open.shift()?.();
    await until(() => open.length > 0 || settled.length === 60);
  }
  expect(statuses(settled)).toEqual({ 200: 14, 429: 46 });
  expect(most).toBe(4);
});

test("a slot that one thread frees goes to who waits longest, in whichever thread", async () => {
  const order: string[] = [];
  const open: (() => void)[] = [];
  const origin = await world.instance((incoming, response) => {
    order.push(String(incoming.headers["x-request-id"]));
    open.push(() => response.end());
  });
  const one = service([group([origin], { concurrency: 1, queueMax: 100 })]);
  await world.control.acknowledged(world.control.publish({ services: [one] }));
  const queueLength = async (): Promise<number> => {
    const { text } = await fresh("/metrics");
    return Number(/^modelport_gateway_queue_length\{[^}]*\} (\d+)$/m.exec(text)?.[1] ?? -1);
  };
  const ids = Array.from({ length: 25 }, () => randomUUID());
  const calls: Promise<{ status: number }>[] = [];
  for (const [index, id] of ids.entries()) {
    calls.push(fresh(`/v1/infers/${one.id}`, { "x-request-id": id }));
    // The next one comes when this one is at the instance or in the queue.
    if (index === 0) await until(() => open.length === 1);
    else while ((await queueLength()) !== index);
  }
  for (let n = 1; n <= ids.length; n += 1) {
    await until(() => order.length === n);
    open[n - 1]?.();
  }
  expect(statuses(await Promise.all(calls))).toEqual({ 200: 25 });
  expect(order).toEqual(ids);
});

test("metrics, invocations and access records tell of all threads, whichever is asked, and nothing is lost at the end", async () => {
  const origin = await world.instance((_request, response) => response.end());
  const one = service([group([origin])]);
  await world.control.acknowledged(world.control.publish({ services: [one] }));
  const CALLS = 90;
  const answers = await Promise.all(Array.from({ length: CALLS }, () => fresh(`/v1/infers/${one.id}`)));
  expect(statuses(answers)).toEqual({ 200: CALLS });
  const counted = (text: string): number =>
    Number(
      new RegExp(
        `^modelport_gateway_requests_total\\{service="${one.id}"[^}]*outcome="2xx"[^}]*\\} (\\d+)$`,
        "m",
      ).exec(text)?.[1],
    );
  for (let n = 0; n < 12; n += 1) {
    const { text } = await fresh("/metrics");
    expect(counted(text)).toBe(CALLS);
    for (let thread = 0; thread < THREADS; thread += 1) {
      expect(text).toContain(`modelport_gateway_event_loop_delay_seconds_count{thread="${thread}"}`);
    }
    expect(text).toContain("modelport_gateway_control_reachable 1");
    expect(text).toContain("fake_control_metric 1");
  }
  const last = fresh(`/v1/infers/${one.id}`);
  await last;
  await world.stopGateway();
  const invocations = world.control.usage.flatMap(({ services }) => services);
  expect(invocations.reduce((sum, { invocations: count }) => sum + count, 0)).toBe(CALLS + 1);
  expect(world.records.filter(({ service: id }) => id === one.id)).toHaveLength(CALLS + 1);
});

test("a table is acknowledged once every thread routes by it", async () => {
  const origins = await Promise.all(
    ["a", "b"].map((name) => world.instance((_request, response) => response.end(name))),
  );
  const id = randomUUID();
  for (let round = 0; round < 20; round += 1) {
    const origin = origins[round % 2] ?? "";
    const route = service([group([origin], { id: "g" })], { id });
    await world.control.acknowledged(world.control.publish({ services: [route] }));
    const answers = await Promise.all(Array.from({ length: 9 }, () => fresh(`/v1/infers/${id}`)));
    expect(new Set(answers.map(({ text }) => text))).toEqual(new Set([round % 2 === 0 ? "a" : "b"]));
  }
});

test("what one thread's requests show of an instance counts for all of them", async () => {
  const origin = await world.instance((_request, response) => response.end("alive"));
  const gone = "http://127.0.0.1:9";
  const one = service([group([gone, origin])]);
  await world.control.acknowledged(world.control.publish({ services: [one] }));
  const answers = await Promise.all(Array.from({ length: 60 }, () => fresh(`/v1/infers/${one.id}`)));
  expect(statuses(answers)).toEqual({ 200: 60 });
});

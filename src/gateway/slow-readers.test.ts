/** What callers cost that do not read their answers: a bounded amount each, and nobody else's slot. */
import { readdirSync, readlinkSync } from "node:fs";
import { readdir } from "node:fs/promises";
import type { RequestListener } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { request } from "node:http";
import type { Readable } from "node:stream";
import { afterEach, describe, expect, test } from "vitest";
import { systemTimer } from "./timer.ts";
import type { Timer } from "./timer.ts";
import { createWorld, group, service, until } from "./world.fixture.ts";
import type { World } from "./world.fixture.ts";

/** More than all buffers on the way take. */
const LARGE = Buffer.alloc(16 * 1024 * 1024);
for (let at = 0; at < LARGE.length; at += 4) LARGE.writeUInt32LE(at, at);

let world: World;
const ends: (() => void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) end();
  await world.close();
});

const deploy = async (listener: RequestListener): Promise<string> => {
  const one = service([group([await world.instance(listener)], { concurrency: 1, queueMax: 8 })]);
  await world.control.acknowledged(world.control.publish({ services: [one] }));
  return one.id;
};

const large: RequestListener = (asked, response) => void response.end(asked.url === "/quick" ? "ok" : LARGE);

/** A caller that has its answer's head and reads nothing. */
const askOnly = (transport: "http1" | "http2", id: string): Promise<{ answer: Readable; die: () => void }> =>
  new Promise((resolve) => {
    const path = `/v1/infers/${id}`;
    const headers = { "x-auth-token": world.token() };
    if (transport === "http1") {
      const asking = request({ port: world.port, path, headers, agent: false });
      const die = (): void => void asking.destroy();
      ends.push(die);
      asking.on("response", (answer) => resolve({ answer: answer.on("error", () => undefined), die }));
      return void asking.on("error", () => undefined).end();
    }
    const session = connectHttp2(`https://127.0.0.1:${world.port}`, { rejectUnauthorized: false });
    session.on("error", () => undefined);
    const die = (): void => session.destroy();
    ends.push(die);
    const stream = session.request({ ":path": path, ...headers });
    stream.on("error", () => undefined);
    stream.on("response", () => resolve({ answer: stream, die }));
  });

const readAll = async (answer: Readable): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
};

/** Files without a name that this process has open in the gateway's directory. */
const openFiles = (): number =>
  readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(world.spoolDir);
    } catch {
      return false;
    }
  }).length;

describe.each(["http1", "http2"] as const)("over %s", (transport) => {
  test("who does not read its answer holds no slot, and has it whole when it reads", async () => {
    world = await createWorld({}, transport);
    const id = await deploy(large);
    const { answer } = await askOnly(transport, id);
    for (let n = 0; n < 3; n += 1) expect((await world.call(`/v1/infers/${id}/quick`)).status).toBe(200);
    expect(world.records.some((record) => record.bytes_out > 1000)).toBe(false);
    expect(openFiles()).toBe(1);
    expect(await readdir(world.spoolDir)).toEqual([]);
    expect((await readAll(answer)).equals(LARGE)).toBe(true);
    await until(() => openFiles() === 0 && world.records.length === 4);
    expect(world.records.at(-1)).toMatchObject({ outcome: "2xx", owner: "none", bytes_out: LARGE.length });
  });

  test("a caller that dies leaves nothing behind", async () => {
    world = await createWorld({}, transport);
    const id = await deploy(large);
    const { die } = await askOnly(transport, id);
    expect((await world.call(`/v1/infers/${id}/quick`)).status).toBe(200);
    expect(openFiles()).toBe(1);
    die();
    await until(() => openFiles() === 0 && world.records.length === 2);
    expect(world.records.at(-1)).toMatchObject({ outcome: "aborted", owner: "client", error: null });
  });

  test("a stream that nobody read for a while goes on live once somebody does", async () => {
    world = await createWorld({}, transport);
    let say = (_text: string): void => undefined;
    let finish = (): void => undefined;
    const id = await deploy((_asked, response) => {
      response.write(LARGE);
      say = (text) => void response.write(text);
      finish = () => void response.end("last");
    });
    const { answer } = await askOnly(transport, id);
    await until(() => openFiles() === 1);
    let bytes = 0;
    let tail = "";
    answer.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      tail = chunk.toString("latin1").slice(-100);
    });
    await until(() => bytes === LARGE.length);
    for (const word of ["one", "two", "three"]) {
      say(word);
      await until(() => tail.endsWith(word));
    }
    finish();
    await until(() => answer.readableEnded);
    expect([bytes, tail.endsWith("last")]).toEqual([LARGE.length + "onetwothreelast".length, true]);
  });
});

test("who takes nothing for half a minute, when its instance is done, does not get the rest", async () => {
  const impatient: Timer = {
    after: (ms, callback) => systemTimer.after(ms === 30_000 ? 100 : ms, callback),
  };
  world = await createWorld({ timer: impatient });
  const id = await deploy(large);
  await askOnly("http1", id);
  await until(() => world.records.length === 1);
  expect(world.records[0]).toMatchObject({ status: 200, outcome: "aborted", owner: "client", error: null });
  await until(() => openFiles() === 0);
});

test("the prediction's time runs out on the caller, not on the instance that is done", async () => {
  world = await createWorld({ predictTimeoutMs: 1_000 });
  const id = await deploy(large);
  await askOnly("http1", id);
  expect((await world.call(`/v1/infers/${id}/quick`)).status).toBe(200);
  await until(() => world.records.length === 2);
  expect(world.records.at(-1)).toMatchObject({ outcome: "aborted", owner: "client", error: null });
});

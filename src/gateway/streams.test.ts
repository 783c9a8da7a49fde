import { request as httpRequest } from "node:http";
import type { IncomingMessage } from "node:http";
import { afterEach, expect, test } from "vitest";
import { createWorld, group, service, until } from "./world.fixture.ts";
import type { World } from "./world.fixture.ts";

let world: World;
afterEach(() => world.close());

const MEGABYTE = 1024 * 1024;

test("holds no bodies: many large streams both ways at once stay far below their sum in memory", async () => {
  const streams = 40;
  const size = 5 * MEGABYTE;
  world = await createWorld({ bodyBytesMax: size });
  const origin = await world.instance((request, response) => void request.pipe(response));
  const one = service([group([origin])]);
  await world.control.acknowledged(world.control.publish({ services: [one] }));
  const chunk = Buffer.alloc(64 * 1024, 7);
  let peak = 0;
  const before = process.memoryUsage().rss;
  const stream = (): Promise<number> =>
    new Promise((resolve, reject) => {
      const call = httpRequest({
        port: world.port,
        host: "127.0.0.1",
        method: "POST",
        path: `/v1/infers/${one.id}`,
        headers: { "x-auth-token": world.token(), "content-length": size },
      });
      let sent = 0;
      const push = (): void => {
        while (sent < size) {
          sent += chunk.length;
          if (!call.write(chunk)) return void call.once("drain", push);
        }
        call.end();
      };
      push();
      call.on("error", reject);
      call.on("response", (answer) => {
        let got = 0;
        answer.on("data", (bytes: Buffer) => {
          got += bytes.length;
          peak = Math.max(peak, process.memoryUsage.rss());
        });
        answer.on("end", () => resolve(got));
        answer.on("error", reject);
      });
    });
  const sizes = await Promise.all(Array.from({ length: streams }, stream));
  expect(sizes).toEqual(sizes.map(() => size));
  // 40 × 5 MB would be 200 MB in each direction, 400 in both. Client, gateway and instance share this process, whose garbage
  // alone has come to 160.
  expect(peak - before).toBeLessThan(250 * MEGABYTE);
});

test("stops reading from an instance while the caller does not read, when nothing can be put aside", async () => {
  world = await createWorld({ spoolDir: "/dev/null/none" });
  let written = 0;
  const total = 64 * MEGABYTE;
  const origin = await world.instance((_request, response) => {
    const chunk = Buffer.alloc(MEGABYTE);
    const push = (): void => {
      while (written < total) {
        written += chunk.length;
        if (!response.write(chunk)) return void response.once("drain", push);
      }
      response.end();
    };
    push();
  });
  const one = service([group([origin])]);
  await world.control.acknowledged(world.control.publish({ services: [one] }));
  const call = httpRequest({
    port: world.port,
    host: "127.0.0.1",
    path: `/v1/infers/${one.id}`,
    headers: { "x-auth-token": world.token() },
  });
  call.end();
  const answer = await new Promise<IncomingMessage>((resolve) => call.once("response", resolve));
  answer.pause();
  // Two equal readings in a row, a round trip through the gateway apart: the flow has come to a stand.
  let last = -1;
  while (written !== last) {
    last = written;
    for (let n = 0; n < 20; n += 1) await world.call("/healthz");
  }
  expect(written).toBeLessThan(total / 2);
  let got = 0;
  answer.on("data", (bytes: Buffer) => (got += bytes.length));
  answer.resume();
  await until(() => got === total);
});

test("passes an event stream on as it comes", async () => {
  world = await createWorld();
  const steps: (() => void)[] = [];
  const origin = await world.instance((_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write("data: 1\n\n");
    steps.push(
      () => response.write("data: 2\n\n"),
      () => response.end(),
    );
  });
  const one = service([group([origin])]);
  await world.control.acknowledged(world.control.publish({ services: [one] }));
  let text = "";
  const call = httpRequest({
    port: world.port,
    host: "127.0.0.1",
    path: `/v1/infers/${one.id}`,
    headers: { "x-auth-token": world.token() },
  });
  call.on("response", (answer) => answer.on("data", (bytes: Buffer) => (text += bytes.toString())));
  call.end();
  await until(() => text === "data: 1\n\n");
  steps[0]?.();
  await until(() => text === "data: 1\n\ndata: 2\n\n");
  steps[1]?.();
});

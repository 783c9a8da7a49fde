import { connect } from "node:net";
import type { Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../telemetry/clock.ts";
import { createWorld, until } from "./world.fixture.ts";
import type { World } from "./world.fixture.ts";

let world: World;
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await world.close();
});

test("ends the connection of a caller that does not take the answers it asked for", async () => {
  let shiftMs = 0;
  const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + shiftMs };
  world = await createWorld({ clock });
  const open = async (): Promise<Socket> => {
    const socket = connect(world.port, "127.0.0.1");
    sockets.push(socket);
    socket.on("error", () => undefined);
    await new Promise((resolve) => socket.once("connect", resolve));
    return socket;
  };
  const deaf = await open();
  // Answers of some 15 MB, more than the buffers of both sides hold.
  const requests = 60_000;
  deaf.write("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(requests));
  let taken = deaf.bytesWritten - deaf.writableLength;
  // It takes no more requests: it waits for its answers to be read.
  for (let same = 0; same < 20;) {
    await world.call("/healthz");
    const now = deaf.bytesWritten - deaf.writableLength;
    same = now === taken ? same + 1 : 0;
    taken = now;
  }
  const idle = await open();
  let isSwept = false;
  idle.once("close", () => (isSwept = true));
  idle.resume();
  shiftMs = 31_000;
  await until(() => isSwept);
  let answers = "";
  deaf.on("data", (bytes: Buffer) => (answers += bytes.toString("latin1")));
  await new Promise((resolve) => deaf.once("close", resolve));
  expect(answers.split("HTTP/1.1 200 OK").length - 1).toBeLessThan(requests);
});

test("a repeated head that came in pieces is not read a second time with what comes behind it", async () => {
  world = await createWorld();
  const socket = connect(world.port, "127.0.0.1");
  sockets.push(socket);
  socket.setNoDelay(true);
  let text = "";
  socket.on("data", (bytes: Buffer) => (text += bytes.toString("latin1")));
  const statuses = (): string[] => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((found) => found[1] ?? "");
  const first = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
  const second = "GET /v1/infers HTTP/1.1\r\nHost: a\r\n\r\n";
  socket.write(first);
  await until(() => statuses().length === 1);
  socket.write(first.slice(0, 20));
  // Another connection's round trip: the piece has been read by then.
  await world.call("/healthz");
  socket.write(first.slice(20) + second.slice(0, 20));
  await until(() => statuses().length === 2);
  socket.write(second.slice(20));
  await until(() => statuses().length === 3);
  expect(statuses()[2]).toMatch(/^4/);
  // Refused for its target, not as bytes that are no request.
  expect(text).not.toContain("Connection: close");
  await world.call("/healthz");
  expect(statuses()).toHaveLength(3);
});

/** What callers cost each other, and what a lost connection costs them: slow bodies, keep-alive races, pipelines. */
import { connect } from "node:net";
import type { Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { systemTimer } from "./timer.ts";
import type { Timer } from "./timer.ts";
import { createWorld, group, sendRaw, service, until } from "./world.fixture.ts";
import type { World } from "./world.fixture.ts";

let world: World;
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await world.close();
});

const deploy = async (
  origins: readonly string[],
  more: Parameters<typeof group>[1] = {},
): Promise<string> => {
  const one = service([group(origins, more)]);
  await world.control.acknowledged(world.control.publish({ services: [one] }));
  return one.id;
};

const open = (): Socket & { text: string } => {
  const socket = Object.assign(connect(world.port, "127.0.0.1"), { text: "" });
  socket.on("data", (bytes: Buffer) => (socket.text += bytes.toString("latin1")));
  socket.on("error", () => undefined);
  sockets.push(socket);
  return socket;
};

const post = (id: string, lines: string, body = ""): string =>
  `POST /v1/infers/${id} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: ${world.token()}\r\n${lines}\r\n${body}`;

test("a caller that sends its body slowly holds no instance: others are answered on the only slot meanwhile", async () => {
  world = await createWorld();
  const bodies: string[] = [];
  const origin = await world.instance((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      bodies.push(body);
      response.end(body);
    });
  });
  const id = await deploy([origin], { concurrency: 1, queueMax: 0 });
  const slow = open();
  slow.write(post(id, "Content-Length: 6\r\n", "abc"));
  for (let n = 0; n < 5; n += 1) {
    const answer = await world.call(`/v1/infers/${id}`, { body: `quick ${n}` });
    expect([answer.status, answer.body.toString()]).toEqual([200, `quick ${n}`]);
  }
  expect(bodies).not.toContain("abc");
  slow.write("def");
  await until(() => slow.text.endsWith("abcdef"));
  expect(slow.text).toMatch(/^HTTP\/1\.1 200 /);
});

test("a chunked body that was gathered goes on with its length: not every server reads chunks", async () => {
  world = await createWorld();
  const origin = await world.instance((request, response) => {
    request.resume();
    request.on("end", () => response.end(JSON.stringify(request.headers)));
  });
  const id = await deploy([origin]);
  const answer = await sendRaw(
    world.port,
    post(id, "Transfer-Encoding: chunked\r\nConnection: close\r\n", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
  );
  expect(answer).toContain('"content-length":"5"');
  expect(answer).not.toContain("transfer-encoding");
});

test("a POST that lost the keep-alive race is sent again, whole, on a fresh connection; nobody notices", async () => {
  world = await createWorld();
  let requests = 0;
  const origin = await world.instance((request, response) => {
    requests += 1;
    // The second request meets a server that closes its idle connection: nothing of it is read or answered.
    if (requests === 2) return void request.socket.destroy();
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => response.end(body));
  });
  const id = await deploy([origin]);
  for (const body of ["first", "second", "third"]) {
    const answer = await world.call(`/v1/infers/${id}`, { body });
    expect([answer.status, answer.body.toString()]).toEqual([200, body]);
  }
  expect(requests).toBe(4);
  await until(() => world.records.length === 3);
  expect(world.records.map((record) => record.attempts)).toEqual([1, 2, 1]);
});

test("sends again once, never twice: an instance that dies of a request gets no third one", async () => {
  world = await createWorld();
  let requests = 0;
  const origin = await world.instance((request, response) => {
    requests += 1;
    if (requests === 1) return void response.end("ok");
    request.socket.destroy();
  });
  const id = await deploy([origin]);
  expect((await world.call(`/v1/infers/${id}`, { body: "x" })).status).toBe(200);
  expect((await world.call(`/v1/infers/${id}`, { body: "x" })).status).toBe(502);
  expect(requests).toBe(3);
});

test("a body too large to keep goes on a connection of its own, which no server takes for idle", async () => {
  world = await createWorld();
  const ports: (number | undefined)[] = [];
  const origin = await world.instance((request, response) => {
    ports.push(request.socket.remotePort);
    let size = 0;
    request.on("data", (chunk: Buffer) => (size += chunk.length));
    request.on("end", () => response.end(String(size)));
  });
  const id = await deploy([origin]);
  const large = "x".repeat(700_000);
  for (const body of ["small", "small", large, "small"]) {
    const answer = await world.call(`/v1/infers/${id}`, { body });
    expect([answer.status, answer.body.toString()]).toEqual([200, String(body.length)]);
  }
  expect(ports[1]).toBe(ports[0]);
  expect(ports[2]).not.toBe(ports[0]);
});

test("connections of their own do not pile up: beside an idle one they end with their answer", async () => {
  world = await createWorld();
  const connections = new Set<Socket>();
  const origin = await world.instance((request, response) => {
    connections.add(request.socket);
    request.socket.once("close", () => connections.delete(request.socket));
    request.resume();
    request.on("end", () => response.end());
  });
  const id = await deploy([origin]);
  const large = "x".repeat(700_000);
  for (let n = 0; n < 10; n += 1) await world.call(`/v1/infers/${id}`, { body: large });
  await until(() => connections.size === 1);
});

/** The gateway's clock for callers that are too slow, without its five seconds. */
const impatient: Timer = {
  after: (ms, callback) => systemTimer.after(ms === 5_000 ? 50 : ms, callback),
};

test("where answers cannot be put aside, who does not read gives way when it holds the last slot, and only then", async () => {
  world = await createWorld({ timer: impatient, spoolDir: "/dev/null/answers" });
  const origin = await world.instance((request, response) => {
    if (request.url === "/quick") return void response.end("ok");
    response.end(Buffer.alloc(64 * 1024 * 1024));
  });
  const id = await deploy([origin], { concurrency: 3, queueMax: 8 });
  const readNothing = (): Socket => {
    const socket = open();
    socket.write(`GET /v1/infers/${id} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: ${world.token()}\r\n\r\n`);
    socket.pause();
    return socket;
  };
  readNothing();
  // A slot is left even while a quick one is answered: nobody is in anybody's way, however often the gateway looks.
  for (let n = 0; n < 40; n += 1) {
    expect((await world.call(`/v1/infers/${id}/quick`)).status).toBe(200);
  }
  expect(world.records.filter((record) => record.outcome === "aborted")).toEqual([]);
  readNothing();
  readNothing();
  expect((await world.call(`/v1/infers/${id}/quick`)).status).toBe(200);
  await until(() => world.records.some((record) => record.outcome === "aborted"));
  expect(world.records.find((record) => record.outcome === "aborted")).toMatchObject({ owner: "client" });
});

test("a hundred requests sent at once on one connection are answered in order, one at a time", async () => {
  world = await createWorld();
  let atOnce = 0;
  let most = 0;
  const urls: (string | undefined)[] = [];
  const origin = await world.instance((request, response) => {
    atOnce += 1;
    most = Math.max(most, atOnce);
    urls.push(request.url);
    setImmediate(() => {
      atOnce -= 1;
      response.end(request.url);
    });
  });
  const id = await deploy([origin]);
  const one = (n: number, more = ""): string =>
    `GET /v1/infers/${id}/${n} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: ${world.token()}\r\n${more}\r\n`;
  const all = Array.from({ length: 100 }, (_, n) => one(n, n === 99 ? "Connection: close\r\n" : ""));
  const answer = await sendRaw(world.port, all.join(""));
  expect(answer.match(/HTTP\/1\.1 200 /g)?.length).toBe(100);
  expect(urls).toEqual(all.map((_, n) => `/${n}`));
  expect(most).toBe(1);
});

test("what was pipelined behind a body is read when the body's request is refused as it ends", async () => {
  world = await createWorld({ bodyBytesMax: 10 });
  const one = service([group([])], { state: "stopped" });
  await world.control.acknowledged(world.control.publish({ services: [one] }));
  const last = `GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
  // Refused in the middle of a chunked body that is all there, and at the end of one that comes in two pieces.
  const tooLarge = post(
    one.id,
    "Transfer-Encoding: chunked\r\n",
    "5\r\nabcde\r\n9\r\nfghijklmn\r\n0\r\n\r\n",
  );
  const refused = await sendRaw(world.port, tooLarge + last);
  expect(refused.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 400", "HTTP/1.1 200"]);
  const live = await world.instance(
    (request, response) => void request.resume().on("end", () => response.end()),
  );
  const busy = await deploy([live]);
  const second = await sendRaw(
    world.port,
    post(busy, "Transfer-Encoding: chunked\r\n", "5\r\nabcde\r\n9\r\nfghijklmn\r\n0\r\n\r\n") + last,
  );
  expect(second.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 413", "HTTP/1.1 200"]);
  const caller = open();
  caller.write(post(busy, "Content-Length: 6\r\n", "abc"));
  await until(() => caller.bytesWritten > 0);
  await world.call("/healthz");
  await world.control.acknowledged(
    world.control.publish({ services: [service([group([])], { id: busy, state: "stopped" })] }),
  );
  caller.write(`def${last}`);
  await until(() => caller.closed);
  expect(caller.text.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 400", "HTTP/1.1 200"]);
});

test("a caller's head that repeats but for one byte is read anew: no answer of another token's", async () => {
  world = await createWorld();
  const origin = await world.instance((request, response) => void response.end(request.headers["x-mark"]));
  const id = await deploy([origin]);
  const good = world.token();
  const damaged = `${good.slice(0, -9)}${good.at(-9) === "A" ? "B" : "A"}${good.slice(-8)}`;
  const get = (token: string, mark: string): string =>
    `GET /v1/infers/${id} HTTP/1.1\r\nHost: x\r\nX-Mark: ${mark}\r\nX-Auth-Token: ${token}\r\n\r\n`;
  const caller = open();
  for (const [token, mark, status] of [
    [good, "a", 200],
    [good, "a", 200],
    [good, "b", 200],
    [damaged, "b", 401],
    [good, "b", 200],
  ] as const) {
    caller.text = "";
    caller.write(get(token, mark));
    await until(() => /\r\n\r\n./s.test(caller.text));
    expect(caller.text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    if (status === 200) await until(() => caller.text.includes(`\r\n\r\n`) && caller.text.includes(mark));
  }
});

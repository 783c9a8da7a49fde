/** What is HTTP/2's own: streams, windows, resets and floods, with raw frames where no client library misbehaves so. */
import { connect as connectHttp2 } from "node:http2";
import type { ClientHttp2Session, ClientHttp2Stream, OutgoingHttpHeaders } from "node:http2";
import { createServer as createTcpServer } from "node:net";
import type { AddressInfo } from "node:net";
import { connect } from "node:tls";
import type { TLSSocket } from "node:tls";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createWorld, group, service, speak, until } from "./world.fixture.ts";
import type { World } from "./world.fixture.ts";

speak("http2");
let world: World;
const closing: (() => void)[] = [];
beforeEach(async () => {
  world = await createWorld();
});
afterEach(async () => {
  for (const close of closing.splice(0)) close();
  await world.close();
});

const deploy = async (origin: string): Promise<string> => {
  const one = service([group([origin])]);
  await world.control.acknowledged(world.control.publish({ services: [one] }));
  return `/v1/infers/${one.id}`;
};

const open = (): ClientHttp2Session => {
  const session = connectHttp2(`https://127.0.0.1:${world.port}`, {
    rejectUnauthorized: false,
    maxSendHeaderBlockLength: 1024 * 1024,
  });
  session.on("error", () => undefined);
  closing.push(() => session.destroy());
  return session;
};

interface Outcome {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
  readonly isWhole: boolean;
  readonly reset: number;
}
const outcome = (stream: ClientHttp2Stream): Promise<Outcome> =>
  new Promise((resolve) => {
    let [status, text, isWhole] = [0, "", false];
    let headers: Record<string, unknown> = {};
    stream.on("response", (head) => {
      headers = head;
      status = Number(head[":status"]);
    });
    stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
    stream.on("end", () => (isWhole = true));
    stream.on("error", () => undefined);
    stream.on("close", () => resolve({ status, headers, text, isWhole, reset: stream.rstCode ?? 0 }));
  });
const ask = (
  session: ClientHttp2Session,
  path: string,
  more: OutgoingHttpHeaders = {},
): ClientHttp2Stream => {
  const stream = session.request({ ":path": path, "x-auth-token": world.token(), ...more });
  stream.on("error", () => undefined);
  return stream;
};

describe("requests and answers", () => {
  test("fields arrive as over HTTP/1.1: host from :authority, cookies as one, bytes as they were", async () => {
    const path = await deploy(
      await world.instance((request, response) => {
        response.setHeader("x-twice", ["a", "b"]);
        response.end(JSON.stringify(request.headers));
      }),
    );
    const call = ask(open(), path, { cookie: ["a=1", "b=2"], "x-name": "Gr\u00fc\u00dfe", te: "trailers" });
    const { status, headers, text } = await outcome(call);
    expect(status).toBe(200);
    expect(headers["x-twice"]).toBe("a, b");
    expect(Object.keys(headers)).not.toContain("connection");
    const seen = JSON.parse(text) as Record<string, string>;
    expect(seen["cookie"]).toBe("a=1; b=2");
    expect(seen["x-name"]).toBe("Gr\u00fc\u00dfe");
    expect(seen).not.toHaveProperty("te");
  });

  test("HEAD, 204 and 304 have no body, and the connection goes on", async () => {
    const path = await deploy(
      await world.instance((request, response) => {
        if (request.method === "HEAD") return void response.setHeader("content-length", "5").end();
        response.writeHead(request.url === "/204" ? 204 : 304).end();
      }),
    );
    const session = open();
    const head = await outcome(ask(session, path, { ":method": "HEAD" }));
    expect([head.status, head.headers["content-length"], head.text]).toEqual([200, "5", ""]);
    expect((await outcome(ask(session, `${path}/204`))).status).toBe(204);
    expect((await outcome(ask(session, `${path}/304`))).status).toBe(304);
    await until(() => world.records.length === 3);
    expect(world.records.map((one) => one.outcome)).toEqual(["2xx", "2xx", "3xx"]);
  });

  test.each([
    ["a Host that is not :authority", { host: "elsewhere", ":authority": "here" }, "/healthz"],
    ["an http scheme", { ":scheme": "http" }, "/healthz"],
    [".. segments", {}, "/v1/x/../infers/y"],
  ])("refuses %s with 400, and the connection goes on", async (_name, fields, path) => {
    const session = open();
    expect((await outcome(ask(session, path, fields))).status).toBe(400);
    expect((await outcome(ask(session, "/healthz"))).status).toBe(200);
  });

  test("an answer of unknown length that is cut short is reset, never ended", async () => {
    let hasBegun = (): boolean => false;
    const server = createTcpServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        void until(() => hasBegun()).then(() => socket.destroy());
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    closing.push(() => server.close());
    const path = await deploy(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const raw = await rawSession();
    hasBegun = () => raw.frames.some((one) => one.type === 0 && one.payload.length > 0);
    raw.request(1, path);
    await until(() => raw.frames.some((one) => one.type === 3 || (one.type === 0 && (one.flags & 1) !== 0)));
    expect(raw.frames.filter((one) => one.type === 0 && (one.flags & 1) !== 0)).toEqual([]);
    expect(raw.frames.find((one) => one.type === 3)?.payload.readUInt32BE()).toBe(2);
  });

  test("an answer before the end of the request is given whole", async () => {
    const session = open();
    const stream = ask(session, "/v1/infers/none", { ":method": "POST" });
    stream.write("x");
    const { status, text } = await outcome(stream);
    expect([status, text.includes("APIG.0101")]).toEqual([404, true]);
    expect((await outcome(ask(session, "/healthz"))).status).toBe(200);
  });

  test("a caller that resets its stream stops the instance's work; its other streams go on", async () => {
    const held: (() => void)[] = [];
    let aborted = 0;
    const path = await deploy(
      await world.instance((request, response) => {
        if (request.url === "/quick") return void response.end("ok");
        held.push(() => response.end());
        response.on("close", () => (aborted += 1));
      }),
    );
    const session = open();
    const slow = ask(session, path);
    await until(() => held.length === 1);
    slow.close(8);
    await until(() => aborted === 1);
    expect((await outcome(ask(session, `${path}/quick`))).text).toBe("ok");
    await until(() => world.records.length === 2);
    expect(world.records[0]).toMatchObject({ status: 499, outcome: "aborted", owner: "client" });
  });

  test("a body shorter than its content-length reaches no instance", async () => {
    let reached = 0;
    const path = await deploy(
      await world.instance((_, response) => {
        reached += 1;
        response.end();
      }),
    );
    const raw = await rawSession();
    raw.request(1, path, { method: "POST", fields: { "content-length": "5" }, isEnd: false });
    raw.send(0, 1, 1, Buffer.from("abc"));
    await until(() => raw.frames.some((one) => one.type === 3 || one.type === 7));
    expect(reached).toBe(0);
  });

  test("stops reading from an instance while the caller gives no window, when nothing can be put aside", async () => {
    await world.close();
    world = await createWorld({ spoolDir: "/dev/null/none" });
    let written = 0;
    const total = 32 * 1024 * 1024;
    const path = await deploy(
      await world.instance((_request, response) => {
        const chunk = Buffer.alloc(1024 * 1024);
        const push = (): void => {
          while (written < total) {
            written += chunk.length;
            if (!response.write(chunk)) return void response.once("drain", push);
          }
          response.end();
        };
        push();
      }),
    );
    const session = open();
    const stream = ask(session, path);
    await new Promise((resolve) => stream.once("response", resolve));
    let last = -1;
    while (written !== last) {
      last = written;
      for (let n = 0; n < 10; n += 1) expect((await outcome(ask(session, "/healthz"))).status).toBe(200);
    }
    expect(written).toBeLessThan(total / 2);
    let got = 0;
    stream.on("data", (bytes: Buffer) => (got += bytes.length));
    await until(() => got === total);
  });
});

describe("bounds", () => {
  test("refuses streams beyond 128 at a time, and answers the others", async () => {
    const held: (() => void)[] = [];
    const path = await deploy(
      await world.instance((_, response) => held.push(() => response.end("ok")) as unknown as void),
    );
    const raw = await rawSession();
    for (let n = 0; n < 140; n += 1) raw.request(n * 2 + 1, path);
    await until(() => raw.frames.filter((one) => one.type === 3).length === 12 && held.length === 64);
    expect(world.records.length).toBe(0);
    raw.socket.destroy();
    await until(() => world.records.length === 128);
  });

  test("refuses fields that are over the limit, in bytes or in number", async () => {
    const session = open();
    const large = Object.fromEntries(Array.from({ length: 9 }, (_, n) => [`x-${n}`, "a".repeat(16_000)]));
    const big = await outcome(ask(session, "/healthz", large));
    expect(big.status).toBe(494);
    const other = open();
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`x-${n}`, "a"]));
    const refused = await outcome(ask(other, "/healthz", many));
    expect(refused.status === 400 || refused.reset === 11).toBe(true);
    expect((await outcome(ask(other, "/healthz"))).status).toBe(200);
  });

  test("ends a connection that opens streams only to reset them", async () => {
    const path = await deploy(await world.instance(() => undefined));
    const raw = await rawSession();
    const cancel = Buffer.from([0, 0, 0, 8]);
    for (let n = 0; n < 2_000 && !raw.isClosed(); n += 1) {
      raw.request(n * 2 + 1, path);
      raw.send(3, 0, n * 2 + 1, cancel);
      if (n % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await until(raw.isClosed);
    expect((await world.call("/healthz")).status).toBe(200);
  });

  test.each([
    ["settings", 4, 0, Buffer.alloc(0)],
    ["pings", 6, 0, Buffer.alloc(8)],
  ])("ends a connection that floods %s", async (_name, type, flags, payload) => {
    const raw = await rawSession();
    for (let n = 0; n < 5_000 && !raw.isClosed(); n += 1) {
      raw.send(type, flags, 0, payload);
      if (n % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await until(raw.isClosed);
    expect((await world.call("/healthz")).status).toBe(200);
  });

  test("a closing gateway says GOAWAY and finishes what has begun", async () => {
    const held: (() => void)[] = [];
    const path = await deploy(
      await world.instance((_, response) => held.push(() => response.end("finished")) as unknown as void),
    );
    const session = open();
    const slow = outcome(ask(session, path));
    await until(() => held.length === 1);
    const goaway = new Promise((resolve) => session.once("goaway", resolve));
    const closed = world.stopGateway();
    expect(await goaway).toBe(0);
    held[0]?.();
    expect(await slow).toMatchObject({ status: 200, text: "finished", isWhole: true });
    await closed;
  });
});

interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** A caller that writes frames as a test says. */
const rawSession = async (): Promise<{
  readonly socket: TLSSocket;
  readonly frames: Frame[];
  readonly isClosed: () => boolean;
  send(type: number, flags: number, stream: number, payload: Buffer): void;
  request(
    stream: number,
    path: string,
    more?: { method?: string; fields?: Record<string, string>; isEnd?: boolean },
  ): void;
}> => {
  const socket = connect({
    port: world.port,
    host: "127.0.0.1",
    rejectUnauthorized: false,
    ALPNProtocols: ["h2"],
  });
  closing.push(() => socket.destroy());
  let isClosed = false;
  let held: Buffer = Buffer.alloc(0);
  const frames: Frame[] = [];
  socket.on("error", () => undefined);
  socket.on("close", () => (isClosed = true));
  socket.on("data", (bytes: Buffer) => {
    held = Buffer.concat([held, bytes]);
    while (held.length >= 9 && held.length >= 9 + held.readUIntBE(0, 3)) {
      const end = 9 + held.readUIntBE(0, 3);
      frames.push({
        type: held[3] ?? 0,
        flags: held[4] ?? 0,
        stream: held.readUInt32BE(5),
        payload: held.subarray(9, end),
      });
      held = held.subarray(end);
    }
  });
  await new Promise((resolve) => socket.once("secureConnect", resolve));
  const send = (type: number, flags: number, stream: number, payload: Buffer): void => {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.length, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(stream, 5);
    if (!socket.destroyed) socket.write(Buffer.concat([head, payload]));
  };
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  send(4, 0, 0, Buffer.alloc(0));
  /** HPACK's literal without indexing, lengths in the 7-bit prefix form. */
  const text = (value: string): Buffer => {
    const length =
      value.length < 127
        ? [value.length]
        : [127, ((value.length - 127) & 127) | 128, (value.length - 127) >> 7];
    return Buffer.concat([Buffer.from(length), Buffer.from(value, "latin1")]);
  };
  const token = world.token();
  return {
    socket,
    frames,
    isClosed: () => isClosed,
    send,
    request: (stream, path, { method = "GET", fields = {}, isEnd = true } = {}) => {
      const pairs = {
        ":method": method,
        ":scheme": "https",
        ":authority": "x",
        ":path": path,
        "x-auth-token": token,
        ...fields,
      };
      const block = Object.entries(pairs).flatMap(([name, value]) => [
        Buffer.from([0]),
        text(name),
        text(value),
      ]);
      send(1, isEnd ? 5 : 4, stream, Buffer.concat(block));
    },
  };
};

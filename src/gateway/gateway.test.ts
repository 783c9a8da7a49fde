import { request as httpRequest } from "node:http";
import { createServer as createTcpServer } from "node:net";
import type { AddressInfo } from "node:net";
import type { IncomingMessage, ServerResponse } from "node:http";
import { afterEach, describe, expect, test } from "vitest";
import { createWorld, group, sendRaw, service, until } from "./world.fixture.ts";
import type { World } from "./world.fixture.ts";

let world: World;
afterEach(() => world.close());

const OK = (_: IncomingMessage, response: ServerResponse): void => void response.end("ok");

/** Publishes one service with one group and waits until the gateway routes by it. */
const deploy = async (
  origins: readonly string[],
  more: Parameters<typeof group>[1] = {},
  route: Parameters<typeof service>[1] = {},
): Promise<string> => {
  const one = service([group(origins, more)], route);
  await world.control.acknowledged(world.control.publish({ services: [one] }));
  return one.id;
};

const readAll = async (request: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
};

describe("who may call", () => {
  test("refuses missing, damaged, foreign, expired and domain-scoped tokens with the documented bodies", async () => {
    world = await createWorld();
    const id = await deploy([await world.instance(OK)]);
    const prefix = "Incorrect IAM authentication information: ";
    const cases: [token: string | null, status: number, code: string, message: string][] = [
      [null, 401, "APIG.0301", `${prefix}x-auth-token not found`],
      ["nonsense", 401, "APIG.0301", `${prefix}decrypt token fail`],
      [world.token({ kid: "unknown" }), 401, "APIG.0301", `${prefix}Unauthorized`],
      [world.token({ exp: 1 }), 401, "APIG.0301", `${prefix}Unauthorized`],
      [`${world.token().slice(0, -4)}AAAA`, 401, "APIG.0301", `${prefix}Unauthorized`],
      [world.domainToken(), 403, "APIG.0302", "The IAM user is not authorized to access the API."],
    ];
    for (const [token, status, code, message] of cases) {
      const answer = await world.call(`/v1/infers/${id}`, { token });
      expect([answer.status, answer.json["error_code"], answer.json["error_msg"]]).toEqual([
        status,
        code,
        message,
      ]);
      expect(answer.json["request_id"]).toBe(answer.headers["x-request-id"]);
      expect(answer.json["request_id"]).toMatch(/^[0-9a-f]{32}$/);
    }
  });

  test("cannot be asked whether another project's service exists", async () => {
    world = await createWorld();
    const id = await deploy([await world.instance(OK)]);
    const token = world.token({ project: "f".repeat(32) });
    const headers = { "x-request-id": "same" };
    const other = await world.call(`/v1/infers/${id}`, { token, headers });
    const unknown = await world.call("/v1/infers/00000000-0000-0000-0000-000000000000", { headers });
    expect(other.status).toBe(404);
    expect(other.json["error_code"]).toBe("APIG.0101");
    expect(other.body.equals(unknown.body)).toBe(true);
  });

  test("refuses a revoked token and a refused user within one table change, though they were remembered", async () => {
    world = await createWorld();
    const one = service([group([await world.instance(OK)])]);
    await world.control.acknowledged(world.control.publish({ services: [one] }));
    const revoked = world.token({ jti: "leaked" });
    const bob = world.token({ user: "bob" });
    for (const token of [revoked, bob]) {
      expect((await world.call(`/v1/infers/${one.id}`, { token })).status).toBe(200);
    }
    const identity = {
      ...world.identity,
      revokedTokens: ["leaked"],
      refusedUsers: { bob: Number.MAX_SAFE_INTEGER },
    };
    await world.control.acknowledged(world.control.publish({ identity }));
    for (const token of [revoked, bob]) {
      expect((await world.call(`/v1/infers/${one.id}`, { token })).status).toBe(401);
    }
    expect((await world.call(`/v1/infers/${one.id}`)).status).toBe(200);
  });
});

describe("what an instance gets", () => {
  test("method, subpath, query and body verbatim; no platform credentials, no hop-by-hop fields", async () => {
    world = await createWorld({}, "http1");
    const seen: { method: string; url: string; raw: string[]; body: string }[] = [];
    const origin = await world.instance((request, response) => {
      void readAll(request).then((body) => {
        seen.push({
          method: request.method ?? "",
          url: request.url ?? "",
          raw: request.rawHeaders,
          body: body.toString(),
        });
        response.setHeader("X-Model", "iris");
        response.setHeader("Connection", "X-Secret");
        response.setHeader("X-Secret", "1");
        response.end("answer");
      });
    });
    const id = await deploy([origin]);
    const answer = await world.call(`/v1/infers/${id}/predictions/a%2Fb?x=%20y&&z`, {
      method: "PUT",
      body: "payload",
      headers: {
        "X-Request-Id": "caller-1",
        X_Request_Id: "forged",
        "X-Custom": "kept",
        Authorization: "Bearer of-the-container",
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        Connection: "close, X-Named",
        "X-Named": "dropped",
        TE: "trailers",
      },
    });
    expect(answer.status).toBe(200);
    expect(answer.body.toString()).toBe("answer");
    expect(answer.headers["x-model"]).toBe("iris");
    expect(answer.headers["x-secret"]).toBeUndefined();
    expect(answer.headers["x-request-id"]).toBe("caller-1");
    expect(answer.headers["server-timing"]).toMatch(
      /^auth;dur=[\d.]+, queue;dur=[\d.]+, upstream;dur=[\d.]+, total;dur=[\d.]+$/,
    );
    const [got] = seen;
    expect(got).toMatchObject({ method: "PUT", url: "/predictions/a%2Fb?x=%20y&&z", body: "payload" });
    const headers = new Map<string, string>();
    for (let i = 0; i < (got?.raw.length ?? 0); i += 2) {
      headers.set((got?.raw[i] ?? "").toLowerCase(), got?.raw[i + 1] ?? "");
    }
    const deadline = Number(headers.get("x-request-deadline-ms"));
    expect(deadline > 0 && deadline <= 10_000).toBe(true);
    headers.delete("x-request-deadline-ms");
    expect(Object.fromEntries(headers)).toEqual({
      host: origin.slice("http://".length),
      "x-custom": "kept",
      authorization: "Bearer of-the-container",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      "x-request-id": "caller-1",
      "x-forwarded-for": "127.0.0.1",
      "content-length": "7",
    });
  });

  test("/ for the bare service path", async () => {
    world = await createWorld();
    const id = await deploy([await world.instance((request, response) => void response.end(request.url))]);
    expect((await world.call(`/v1/infers/${id}`)).body.toString()).toBe("/");
    expect((await world.call(`/v1/infers/${id}?q=1`)).body.toString()).toBe("/?q=1");
  });

  test("HEAD, 204 and 304 without a body, then the next request on the same connection", async () => {
    world = await createWorld();
    const sockets = new Set<unknown>();
    const origin = await world.instance((request, response) => {
      sockets.add(request.socket);
      response.statusCode = Number(new URL(request.url ?? "/", "http://x").searchParams.get("s") ?? 200);
      response.end(request.method === "GET" && response.statusCode === 200 ? "body" : undefined);
    });
    const id = await deploy([origin]);
    expect((await world.call(`/v1/infers/${id}`, { method: "HEAD" })).body.length).toBe(0);
    expect((await world.call(`/v1/infers/${id}?s=204`)).status).toBe(204);
    expect((await world.call(`/v1/infers/${id}?s=304`)).status).toBe(304);
    expect((await world.call(`/v1/infers/${id}`)).body.toString()).toBe("body");
    // Each thread keeps connections of its own.
    expect(sockets.size).toBeLessThanOrEqual(world.threads);
  });
});

describe("limits", () => {
  test("refuses a body over the limit before reading it, and a chunked one while it streams", async () => {
    world = await createWorld({ bodyBytesMax: 1000 });
    let reached = 0;
    const origin = await world.instance((request, response) => {
      reached += 1;
      request.on("error", () => undefined);
      void readAll(request).then(
        () => response.end("ok"),
        () => undefined,
      );
    });
    const id = await deploy([origin]);
    const declared = await world.call(`/v1/infers/${id}`, { body: Buffer.alloc(1001) });
    expect([declared.status, declared.json["error_code"]]).toEqual([413, "ModelArts.4104"]);
    expect(reached).toBe(0);
    const chunked = await world.call(`/v1/infers/${id}`, {
      method: "POST",
      headers: { "transfer-encoding": "chunked" },
      body: Buffer.alloc(1001),
    });
    expect([chunked.status, chunked.json["error_code"]]).toEqual([413, "ModelArts.4104"]);
    expect((await world.call(`/v1/infers/${id}`, { body: Buffer.alloc(1000) })).status).toBe(200);
  });

  test("asks for a body only when it is wanted (Expect: 100-continue)", async () => {
    world = await createWorld({ bodyBytesMax: 1000 }, "http1");
    const id = await deploy([
      await world.instance((request, response) => void readAll(request).then((b) => response.end(b))),
    ]);
    const head = `POST /v1/infers/${id} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: ${world.token()}\r\nExpect: 100-continue\r\nConnection: close\r\n`;
    const refused = await sendRaw(world.port, `${head}Content-Length: 5000\r\n\r\n`);
    expect(refused).toMatch(/^HTTP\/1\.1 413 /);
    const wanted = await sendRaw(world.port, `${head}Content-Length: 5\r\n\r\nhello`);
    expect(wanted).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /);
    expect(wanted.endsWith("hello")).toBe(true);
  });

  test("queues up to the limit, then answers 429 with Retry-After; the queue is served in order", async () => {
    world = await createWorld();
    const open: ServerResponse[] = [];
    const order: string[] = [];
    const origin = await world.instance((request, response) => {
      order.push(request.url ?? "");
      open.push(response);
    });
    const id = await deploy([origin], { concurrency: 1, queueMax: 2 });
    const first = world.call(`/v1/infers/${id}/1`);
    await until(() => open.length === 1);
    const waiting: Promise<{ status: number }>[] = [];
    for (const n of [2, 3]) {
      waiting.push(world.call(`/v1/infers/${id}/${n}`));
      await until(() => queueLength === n - 1 || refreshQueue());
    }
    const refused = await world.call(`/v1/infers/${id}/4`);
    expect([refused.status, refused.json["error_code"]]).toEqual([429, "ModelArts.4206"]);
    expect(Number(refused.headers["retry-after"])).toBeGreaterThanOrEqual(1);
    for (let n = 1; n <= 3; n += 1) {
      await until(() => open.length === n);
      open[n - 1]?.end("ok");
    }
    expect((await Promise.all([first, ...waiting])).map((answer) => answer.status)).toEqual([200, 200, 200]);
    expect(order).toEqual(["/1", "/2", "/3"]);
  });

  /** The queue's length as /metrics tells it; asked for in the background, read by conditions. */
  let queueLength = -1;
  let asking = false;
  const refreshQueue = (): boolean => {
    if (!asking) {
      asking = true;
      void world.call("/metrics", { token: null }).then((answer) => {
        asking = false;
        queueLength = Number(/queue_length\{[^}]*\} (\d+)/.exec(answer.body.toString())?.[1] ?? -1);
      });
    }
    return false;
  };

  test("tells apart: no ready instance (503), stopped (400), no service id (400)", async () => {
    world = await createWorld();
    const id = await deploy([]);
    const none = await world.call(`/v1/infers/${id}`);
    expect([none.status, none.json["error_code"]]).toEqual([503, "ModelArts.4503"]);
    expect(none.headers["retry-after"]).toBeDefined();
    const stopped = await deploy([], {}, { state: "stopped" });
    const answer = await world.call(`/v1/infers/${stopped}`);
    expect([answer.status, answer.json["error_code"]]).toEqual([400, "ModelArts.4203"]);
    const missing = await world.call("/v1/infers/");
    expect([missing.status, missing.json["error_code"]]).toEqual([400, "ModelArts.4201"]);
  });

  test("answers 504 at the deadline, aborts the instance's work, and frees the slot", async () => {
    world = await createWorld({ predictTimeoutMs: 200 });
    let aborted = 0;
    const origin = await world.instance((request, response) => {
      if (request.url === "/quick") return void response.end("ok");
      response.on("close", () => (aborted += 1));
    });
    const id = await deploy([origin], { concurrency: 1 });
    const slow = await world.call(`/v1/infers/${id}`, { body: "{}" });
    expect([slow.status, slow.json["error_code"]]).toEqual([504, "APIG.0203"]);
    await until(() => aborted === 1);
    expect((await world.call(`/v1/infers/${id}/quick`)).status).toBe(200);
    await until(() => world.records.length >= 2);
    expect(world.records[0]).toMatchObject({ status: 504, error: "UPSTREAM_TIMEOUT", owner: "upstream" });
  });

  test("bounds the wait in the queue by the deadline", async () => {
    world = await createWorld({ predictTimeoutMs: 300 });
    const id = await deploy([await world.instance(() => undefined)], { concurrency: 1 });
    const answers = await Promise.all([world.call(`/v1/infers/${id}`), world.call(`/v1/infers/${id}`)]);
    expect(answers.map((answer) => answer.status)).toEqual([504, 504]);
  });
});

describe("when an instance fails", () => {
  test("a refused connection goes to the next instance, for POST too; nobody notices", async () => {
    world = await createWorld();
    const dead = createTcpServer().listen(0, "127.0.0.1");
    await until(() => dead.listening);
    const gone = `http://127.0.0.1:${(dead.address() as AddressInfo).port}`;
    await new Promise<void>((resolve) => dead.close(() => resolve()));
    const alive = await world.instance(
      (request, response) => void readAll(request).then((b) => response.end(b)),
    );
    const id = await deploy([gone, alive, gone]);
    for (let n = 0; n < 10; n += 1) {
      const answer = await world.call(`/v1/infers/${id}`, { body: `body ${n}` });
      expect([answer.status, answer.body.toString()]).toEqual([200, `body ${n}`]);
    }
    await world.control.acknowledged(world.control.publish({ services: [service([group([gone])], { id })] }));
    const refused = await world.call(`/v1/infers/${id}`, { body: "x" });
    expect([refused.status, refused.json["error_code"]]).toEqual([503, "ModelArts.4302"]);
  });

  test("a POST that reached an instance is never sent again", async () => {
    world = await createWorld();
    let posts = 0;
    const origin = await world.instance((request) => {
      posts += 1;
      request.on("data", () => request.socket.destroy());
    });
    const id = await deploy([origin, origin]);
    const answer = await world.call(`/v1/infers/${id}`, { body: "x" });
    expect([answer.status, answer.json["error_code"]]).toEqual([502, "ModelArts.4505"]);
    expect(posts).toBe(1);
  });

  test("a GET that lost the keep-alive race is sent again on a fresh connection", async () => {
    world = await createWorld();
    let requests = 0;
    let hasRaced = false;
    const seen = new Set<unknown>();
    const origin = await world.instance((request, response) => {
      requests += 1;
      const isReused = seen.has(request.socket);
      seen.add(request.socket);
      if (!isReused || hasRaced) return void response.end("ok");
      hasRaced = true;
      request.socket.destroy();
    });
    const id = await deploy([origin]);
    let calls = 0;
    // Until one meets a connection of one before it: each thread has its own.
    for (; !hasRaced; calls += 1) expect((await world.call(`/v1/infers/${id}`)).status).toBe(200);
    expect(requests).toBe(calls + 1);
  });

  test("an answer cut short is cut short for the caller too, never completed quietly", async () => {
    world = await createWorld();
    const origin = await world.instance((_request, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("half", () => response.destroy());
    });
    const id = await deploy([origin]);
    await expect(world.call(`/v1/infers/${id}`)).rejects.toThrow(/aborted|ECONNRESET|hang up|INTERNAL_ERROR/);
    await until(() => world.records.length === 1);
    expect(world.records[0]).toMatchObject({
      outcome: "aborted",
      owner: "upstream",
      error: "UPSTREAM_BROKEN",
    });
  });

  test("an answer that two parsers could read differently is a 502", async () => {
    world = await createWorld();
    const server = createTcpServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () =>
        socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
      );
    }).listen(0, "127.0.0.1");
    await until(() => server.listening);
    try {
      const id = await deploy([`http://127.0.0.1:${(server.address() as AddressInfo).port}`]);
      expect((await world.call(`/v1/infers/${id}`)).status).toBe(502);
    } finally {
      server.close();
    }
  });

  test("a caller that goes away frees the slot and stops the instance's work", async () => {
    world = await createWorld({}, "http1");
    let started = 0;
    let aborted = 0;
    const origin = await world.instance((request, response) => {
      if (request.url === "/quick") return void response.end("ok");
      started += 1;
      response.on("close", () => (aborted += 1));
    });
    const id = await deploy([origin], { concurrency: 1 });
    const call = httpRequest({
      port: world.port,
      host: "127.0.0.1",
      path: `/v1/infers/${id}`,
      headers: { "x-auth-token": world.token() },
    });
    call.on("error", () => undefined);
    call.end();
    await until(() => started === 1);
    call.destroy();
    await until(() => aborted === 1);
    expect((await world.call(`/v1/infers/${id}/quick`)).status).toBe(200);
    await until(() => world.records.length >= 2);
    expect(world.records[0]).toMatchObject({ status: 499, outcome: "aborted", owner: "client" });
  });
});

import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createWorld, group, sendRaw, service, until } from "./world.fixture.ts";
import type { World } from "./world.fixture.ts";

let world: World;
let id: string;
const reached: string[] = [];
beforeAll(async () => {
  world = await createWorld();
  const origin = await world.instance((request, response) => {
    reached.push(`${request.method} ${request.url}`);
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => response.end(body));
  });
  const one = service([group([origin])]);
  id = one.id;
  await world.control.acknowledged(world.control.publish({ services: [one] }));
});
afterAll(() => world.close());

describe("strict HTTP", () => {
  const post = (lines: string, body = ""): string =>
    `POST /v1/infers/${id} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: ${world.token()}\r\n${lines}\r\n${body}`;

  test.each([
    ["two Content-Lengths", "Content-Length: 1\r\nContent-Length: 1\r\n", "a"],
    [
      "Content-Length with Transfer-Encoding",
      "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
      "0\r\n\r\n",
    ],
    ["a signed Content-Length", "Content-Length: +1\r\n", "a"],
    [
      "a coding that is not chunked",
      "Transfer-Encoding: gzip, chunked\r\nConnection: close\r\n",
      "0\r\n\r\n",
    ],
    ["a folded header line", "X-A: 1\r\n b\r\n", ""],
    ["a NUL in a header", "X-A: \0\r\n", ""],
    ["a space before the colon", "X-A : 1\r\n", ""],
  ])("refuses %s with 400 before an instance sees it", async (_name, lines, body) => {
    const before = reached.length;
    const answer = await sendRaw(world.port, post(lines, body));
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('"error_code":"APIG');
    expect(reached.length).toBe(before);
  });

  test.each([
    ["an absolute-form target", "http://elsewhere/v1/infers/ID"],
    [".. segments", "/v1/infers/ID/../x"],
    ["encoded .. segments", "/v1/infers/ID/%2E%2e/x"],
    ["a .. before the service", "/v1/x/../infers/ID"],
    ["a broken escape", "/v1/infers/ID/%zz"],
    ["a backslash", "/v1/infers/ID/a\\b"],
  ])("refuses %s with 400", async (_name, target) => {
    const before = reached.length;
    const text = `GET ${target.replace("ID", id)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Auth-Token: ${world.token()}\r\n\r\n`;
    expect(await sendRaw(world.port, text)).toMatch(/^HTTP\/1\.1 400 /);
    expect(reached.length).toBe(before);
  });

  test("refuses an oversize header block (494) and target (414)", async () => {
    const big = `GET / HTTP/1.1\r\nHost: x\r\nX-A: ${"a".repeat(140_000)}\r\n\r\n`;
    expect(await sendRaw(world.port, big)).toMatch(/^HTTP\/1\.1 494 /);
    const long = `GET /v1/infers/${"a".repeat(40_000)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
    expect(await sendRaw(world.port, long)).toMatch(/^HTTP\/1\.1 414 /);
  });

  test("refuses a body whose chunks turn out bad, and no instance hears of it", async () => {
    const before = reached.length;
    const answer = await sendRaw(world.port, post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\nzz\r\n"));
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(reached.length).toBe(before);
  });

  test("ends a streamed body whose chunks turn out bad, with the instance's half aborted", async () => {
    const before = reached.length;
    const socket = connect(world.port, "127.0.0.1");
    let answer = "";
    socket.on("data", (bytes: Buffer) => (answer += bytes.toString()));
    socket.on("error", () => undefined);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    const size = 300 * 1024;
    socket.write(post("Transfer-Encoding: chunked\r\n", `${size.toString(16)}\r\n${"a".repeat(size)}\r\n`));
    await until(() => reached.length > before);
    socket.write("zz\r\n");
    await closed;
    expect(answer).not.toMatch(/ 200 /);
  });

  test("answers an ordinary request that asks for an upgrade as an ordinary one", async () => {
    const answer = await sendRaw(
      world.port,
      `GET /v1/infers/${id} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nX-Auth-Token: ${world.token()}\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  });

  test("two pipelined requests get two answers, in order", async () => {
    const one = (path: string, last: string): string =>
      `GET /v1/infers/${id}/${path} HTTP/1.1\r\nHost: x\r\n${last}X-Auth-Token: ${world.token()}\r\n\r\n`;
    const answer = await sendRaw(world.port, one("first", "") + one("second", "Connection: close\r\n"));
    expect(answer.match(/HTTP\/1\.1 200 /g)?.length).toBe(2);
    expect(reached.slice(-2)).toEqual(["GET /first", "GET /second"]);
  });
});

describe("everything that is not a prediction", () => {
  test("goes to control with its credentials, a request id and its body", async () => {
    const answer = await world.call("/v3/auth/tokens?nocatalog=true", {
      method: "POST",
      body: "x".repeat(3_000_000),
      headers: { "x-request-id": "abc" },
      token: "tok",
    });
    expect(answer.status).toBe(200);
    expect(answer.json).toMatchObject({
      method: "POST",
      url: "/v3/auth/tokens?nocatalog=true",
      size: 3_000_000,
    });
    expect(answer.json["headers"]).toMatchObject({ "x-auth-token": "tok", "x-request-id": "abc" });
    expect(answer.headers["x-request-id"]).toBe("abc");
  });

  test.each([
    "/internal/table",
    "/internal",
    "//internal/usage",
    "/%69nternal/table",
    "/%2569nternal/table",
    "/INTERNAL/x",
  ])("never reaches control's internal routes: %s", async (path) => {
    const polls = world.control.applied.length;
    const answer = await world.call(path);
    expect([answer.status, answer.json["error_code"]]).toEqual([404, "APIGW.0101"]);
    expect(world.control.applied.length).toBe(polls);
  });

  test("counts with bounded labels whatever callers send", async () => {
    for (let n = 0; n < 20; n += 1) await world.call(`/v1/infers/invented-${n}`);
    await world.call(`/v1/infers/${id}`);
    const text = (await world.call("/metrics", { token: null })).body.toString();
    expect(text).not.toContain("invented");
    expect(text).toMatch(/\nfake_control_metric 1\n/);
    expect(text).toContain(`service="${id}",version="1.0.0",outcome="2xx",owner="none"`);
    expect(text).toMatch(/requests_total\{service="other",version="",outcome="4xx",owner="route"\} \d+/);
  });

  test("writes one record per request, without query or token", async () => {
    await world.call(`/v1/infers/${id}/x?secret=1`, { headers: { "x-request-id": "recorded" } });
    await until(() => world.records.some((record) => record.request_id === "recorded"));
    const mine = world.records.filter((record) => record.request_id === "recorded");
    expect(mine).toHaveLength(1);
    expect(mine[0]).toMatchObject({
      path: `/v1/infers/${id}/x`,
      status: 200,
      user: "alice",
      service: id,
      attempts: 1,
    });
    expect(JSON.stringify(mine)).not.toMatch(/secret|MP1\./);
  });
});

/**
 * The table of odd requests and odd answers (test/http/), each tried through the public socket against an instance that
 * keeps the bytes it got. docs/http.md is made of the same table, so what it says is what happens.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createWorld, group, service, until } from "../src/gateway/world.fixture.ts";
import type { World } from "../src/gateway/world.fixture.ts";
import { ANSWERS } from "./http/answers.ts";
import { FIELDS } from "./http/fields.ts";
import { FRAMING } from "./http/framing.ts";
import { REQUESTS } from "./http/requests.ts";
import { chunked, get, post } from "./http/row.ts";
import type { AnswerRow, Got, RequestRow } from "./http/row.ts";
import { converse } from "./support/raw-caller.ts";
import { OK, startRawInstance } from "./support/raw-instance.ts";
import type { RawInstance } from "./support/raw-instance.ts";
import { disagreement, fieldOf, readAnswers, readRequests, statusOf } from "./support/wire.ts";
import type { Message } from "./support/wire.ts";

let world: World;
let instance: RawInstance;
let id: string;
let token: string;
beforeAll(async () => {
  world = await createWorld();
  world.control.handler = (_request, response) => response.writeHead(404).end();
  instance = await startRawInstance();
  const one = service([group([instance.origin])]);
  id = one.id;
  token = world.token();
  await world.control.acknowledged(world.control.publish({ services: [one] }));
});
afterAll(async () => {
  await instance.close();
  await world.close();
});

const filled = (text: string): string =>
  text.replaceAll("{url}", `/v1/infers/${id}`).replaceAll("{token}", token);

/** The one form of a request behind the gateway. */
const onTheWire = (asked: Got): string => {
  const got = { ...asked, ...(asked.body === undefined ? {} : { body: filled(asked.body) }) };
  const framing =
    got.chunks !== undefined
      ? "Transfer-Encoding: chunked\r\n"
      : got.body === undefined
        ? ""
        : `Content-Length: ${got.body.length}\r\n`;
  const body =
    got.chunks === undefined
      ? (got.body ?? "")
      : `${got.chunks === "" ? "" : `${got.chunks.length.toString(16)}\r\n${got.chunks}\r\n`}0\r\n\r\n`;
  const fields = (got.fields ?? []).map((field) => `${field}\r\n`).join("");
  return `${got.line} HTTP/1.1\r\nHost: {instance}\r\n${fields}X-Request-Id: {id}\r\nX-Request-Deadline-Ms: {ms}\r\nX-Forwarded-For: 127.0.0.1\r\n${framing}\r\n${body}`;
};

/** One chunk of several: where a body was cut into chunks depends on how its packets came. */
const joined = (message: Message): string => {
  const head = [message.start, ...message.fields.map(([name, value]) => `${name}: ${value}`)].join("\r\n");
  const { body, framing } = message;
  if (framing !== "chunked") return `${head}\r\n\r\n${body}`;
  return `${head}\r\n\r\n${body === "" ? "" : `${body.length.toString(16)}\r\n${body}\r\n`}0\r\n\r\n`;
};

const OWN_ID = /^X-Request-Id: (?:[0-9a-f]{32}|caller-1|a)$/m;
const settled = (): boolean => instance.connections.every((one) => one.isClosed || one.rest === "");

const record = (): void => {
  instance.connections.splice(
    0,
    instance.connections.length,
    ...instance.connections.filter((one) => !one.isClosed),
  );
  for (const one of instance.connections) {
    one.bytes = "";
    one.requests = 0;
  }
};

/** Whole requests the instance got since `record`, and the bytes of those that were cut. */
const received = (): { whole: string[]; bytes: string } => {
  const whole: string[] = [];
  let bytes = "";
  for (const one of instance.connections) {
    bytes += one.bytes;
    const strict = readRequests(one.bytes, "strict");
    expect(disagreement(strict, readRequests(one.bytes, "lenient"))).toBe(null);
    whole.push(
      ...strict.messages.map((message) =>
        joined(message)
          .replace(`\r\nHost: ${instance.authority}\r\n`, "\r\nHost: {instance}\r\n")
          .replace(/^X-Request-Deadline-Ms: \d+$/m, "X-Request-Deadline-Ms: {ms}")
          .replace(OWN_ID, "X-Request-Id: {id}"),
      ),
    );
  }
  return { whole, bytes };
};

/** On one line: a difference then shows as two lines, whatever the row is about. */
const inOneLine = (outcome: object): string => JSON.stringify(outcome);

const outcomeOf = async (row: RequestRow): Promise<string> => {
  instance.onHead = null;
  instance.onRequest = () => ({ bytes: OK });
  record();
  const got = await converse({
    port: world.port,
    pieces: [filled(row.send)],
    finals: row.answers.filter((status) => status >= 200).length,
    ends: row.ends === true,
  });
  await until(settled);
  const { whole } = received();
  return inOneLine({
    answers: got.answers.map(statusOf),
    problem: got.problem,
    connection: got.isHanging ? "hanging" : got.isKept ? "kept" : "closed",
    gets: whole.toSorted(),
  });
};

describe.each(Object.entries({ ...REQUESTS, ...FIELDS, ...FRAMING }))("%s", (_chapter, rows) => {
  test.each(rows.map((row) => [row.what, row] as const))("%s", async (_what, row) => {
    const gets = typeof row.gets === "string" ? [] : row.gets.map((got) => onTheWire(got)).toSorted();
    const { answers, connection } = row;
    expect(await outcomeOf(row)).toBe(inOneLine({ answers, problem: null, connection, gets }));
  });
});

/** What the gateway adds to every answer of an instance, or what the front adds to it. */
const ADDED = new Set(["x-request-id", "server-timing", "date", "connection", "keep-alive"]);

const answerOutcome = async (row: AnswerRow): Promise<string> => {
  record();
  const reply = { bytes: row.instance, afterwards: row.afterwards ?? "keep" } as const;
  instance.onRequest = () => reply;
  instance.onHead = row.isEarly === true ? () => reply : null;
  const got = await converse({
    port: world.port,
    pieces: [filled(row.send ?? get())],
    finals: row.answers.filter((status) => status >= 200).length,
    isHead: row.send?.startsWith("HEAD") ?? false,
  });
  instance.onHead = null;
  instance.onRequest = () => ({ bytes: OK });
  const before = instance.connections.filter((one) => one.requests > 0).length;
  await world.call(`/v1/infers/${id}/next`);
  const isReused = instance.connections.filter((one) => one.requests > 0).length === before;
  const last = got.answers.at(-1);
  const isCut = last === undefined;
  return inOneLine({
    answers: isCut ? [Number(/^HTTP\/1\.1 (\d{3}) /.exec(got.text)?.[1])] : got.answers.map(statusOf),
    problem: got.problem,
    connection: got.isHanging ? "hanging" : got.isKept ? "kept" : "closed",
    ...(row.reused === undefined ? {} : { reused: isReused }),
    ...(row.fields === undefined
      ? {}
      : {
          fields: last?.fields
            .filter(([name]) => !ADDED.has(name.toLowerCase()))
            .map(([name, value]) => `${name}: ${value}`),
          body: last?.body,
        }),
  });
};

describe.each(Object.entries(ANSWERS))("%s", (_chapter, rows) => {
  test.each(rows.map((row) => [row.what, row] as const))("%s", async (_what, row) => {
    const { answers, connection, reused, fields, body } = row;
    expect(await answerOutcome(row)).toBe(
      inOneLine({
        answers,
        problem: null,
        connection,
        reused,
        ...(fields === undefined ? {} : { fields, body }),
      }),
    );
  });
});

describe("pieces", () => {
  const text =
    chunked("3;a=b\r\nabc\r\n0\r\nX-A: 1\r\n\r\n") +
    post("Content-Length: 3\r\n", "abc") +
    get("Connection: close\r\n");

  test("a request means the same wherever it is cut into packets", async () => {
    const bytes = filled(text);
    record();
    for (let at = 1; at < bytes.length; at += 1) {
      const got = await converse({
        port: world.port,
        pieces: [bytes.slice(0, at), bytes.slice(at)],
        finals: 3,
      });
      expect(got.answers.map(statusOf), `cut at ${at}`).toEqual([200, 200, 200]);
    }
    const { whole } = received();
    expect(whole).toHaveLength(3 * (bytes.length - 1));
    // Behind the gateway the same body is the same, whether it came in chunks or with its length.
    expect(new Set(whole).size).toBe(2);
  });

  test("a request means the same byte by byte", async () => {
    record();
    const got = await converse({ port: world.port, pieces: filled(text).split(""), finals: 3 });
    expect(got.answers.map(statusOf)).toEqual([200, 200, 200]);
    expect(received().whole).toHaveLength(3);
  });

  test("an answer means the same wherever it is cut into packets", async () => {
    const bytes =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n2\r\nok\r\n0\r\nX-B: 1\r\n\r\n";
    const seen = new Set<string>();
    for (let at = 1; at < bytes.length; at += 1) {
      instance.onRequest = () => ({ bytes: bytes.slice(0, at), later: bytes.slice(at) });
      const got = await converse({ port: world.port, pieces: [filled(get())], finals: 1 });
      seen.add(readAnswers(got.text, "strict", { hasEnded: true }).messages[0]?.body ?? "none");
    }
    instance.onRequest = () => ({ bytes: OK });
    expect([...seen]).toEqual(["ok"]);
  });
});

test("every refusal has the body of an error, a request id and the time", async () => {
  for (const row of Object.values({ ...REQUESTS, ...FIELDS, ...FRAMING }).flat()) {
    const [status = 0] = row.answers;
    // A 404 of the table is control's, or the stand-in for it.
    if (row.answers.length !== 1 || status < 400 || status === 404) continue;
    const got = await converse({
      port: world.port,
      pieces: [filled(row.send)],
      finals: 1,
      ends: row.ends === true,
    });
    const answer = got.answers[0];
    if (answer === undefined) throw new Error(row.what);
    expect(fieldOf(answer, "x-request-id"), row.what).toMatch(/^[A-Za-z0-9_-]{1,128}$/);
    expect(fieldOf(answer, "date"), row.what).toMatch(/ GMT$/);
    expect(answer.body, row.what).toMatch(/^\{/);
    expect(JSON.parse(answer.body), row.what).toMatchObject({
      error_code: expect.stringMatching(/^(?:APIG|ModelArts)/),
    });
  }
});

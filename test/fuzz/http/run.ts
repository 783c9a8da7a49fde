/**
 * The fuzz itself: lanes work side by side, each a service of its own whose instance keeps what it got, so that every
 * request an instance gets belongs to the one case its lane is at. A finding is a sentence; there must be none.
 */
import { connect } from "node:net";
import type { World } from "../../../src/gateway/world.fixture.ts";
import { group, service } from "../../../src/gateway/world.fixture.ts";
import { startRawInstance } from "../../support/raw-instance.ts";
import type { RawInstance } from "../../support/raw-instance.ts";
import { disagreement, fieldOf, readAnswers, readRequests, statusOf } from "../../support/wire.ts";
import type { Message } from "../../support/wire.ts";
import { judge } from "./llhttp.ts";
import type { Aim, Case } from "./mutate.ts";

export interface Finding {
  readonly what: string;
  /** Which case of which seed, or the name of a kept input. */
  readonly from: string;
  /** The input, latin1. */
  readonly text: string;
}

export interface Tally {
  cases: number;
  /** Requests the caller's bytes can strictly be read as. */
  requests: number;
  forwarded: number;
  /** Answers by status. */
  readonly statuses: Map<number, number>;
  closedWithoutAnswer: number;
  /** Cases in which llhttp refuses what the gateway forwarded, and its reason. */
  readonly beyondLlhttp: Map<string, number>;
  /** Cases in which the gateway refused (400) what llhttp takes. */
  strictThanLlhttp: number;
  readonly findings: Finding[];
}

export const newTally = (): Tally => ({
  cases: 0,
  requests: 0,
  forwarded: 0,
  statuses: new Map(),
  closedWithoutAnswer: 0,
  beyondLlhttp: new Map(),
  strictThanLlhttp: 0,
  findings: [],
});

const count = <K>(map: Map<K, number>, key: K): void => void map.set(key, (map.get(key) ?? 0) + 1);

const HANG_MS = 20_000;
/** How long a case waits for an answer that its reading promises before the caller ends its side. */
const PATIENCE_MS = 150;

export interface Sent {
  readonly text: string;
  readonly isHanging: boolean;
}

/** Sends pieces; ends the caller's side when `isEnough` says so, or after a while; resolves when the connection is over. */
export const send = (
  port: number,
  pieces: readonly string[],
  isEnough: (text: string) => boolean,
  patienceMs = PATIENCE_MS,
): Promise<Sent> =>
  new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    let text = "";
    let isHanging = false;
    let isAllSent = false;
    const end = (): void => void (socket.writable && socket.end());
    const hang = setTimeout(() => {
      isHanging = true;
      socket.destroy();
    }, HANG_MS);
    const patience = setTimeout(end, patienceMs);
    const look = (): void => void (isAllSent && isEnough(text) && end());
    const waiting = [...pieces];
    const next = (): void => {
      const piece = waiting.shift();
      if (piece === undefined || !socket.writable) {
        isAllSent = true;
        return look();
      }
      socket.write(piece, "latin1");
      setImmediate(next);
    };
    socket.on("connect", next);
    socket.on("data", (bytes: Buffer) => {
      text += bytes.toString("latin1");
      look();
    });
    socket.on("end", end);
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearTimeout(hang);
      clearTimeout(patience);
      resolve({ text, isHanging });
    });
  });

const isFinal = (message: Message): boolean => statusOf(message) >= 200;
const methodOf = (message: Message): string => message.start.slice(0, message.start.indexOf(" "));

/** How an instance tells which request its answer is to. */
const echoOf = (message: Message): string => `${message.start.split(" ")[1] ?? ""} ${message.body.length}`;
const echo = (message: Message): string => {
  const isBodiless = methodOf(message) === "HEAD";
  return `HTTP/1.1 200 OK\r\nX-Echo: ${echoOf(message)}\r\nContent-Length: 2\r\n\r\n${isBodiless ? "" : "ok"}`;
};

/** What the gateway must make of the target of a request for `url`; null when it is not one. */
const behind = (target: string, url: string): string | null => {
  if (!target.startsWith(url)) return null;
  const rest = target.slice(url.length);
  return rest.startsWith("/") ? rest : rest === "" || rest.startsWith("?") ? `/${rest}` : null;
};

export interface Lane {
  readonly aim: Aim;
  readonly instance: RawInstance;
  /** Whole requests the instance got in this case. */
  readonly got: Message[];
  /** Strict and lenient readings of what it got did not agree. */
  readonly quarrels: string[];
}

export const openLanes = async (world: World, count_: number): Promise<Lane[]> => {
  const lanes: Lane[] = [];
  const services = [];
  const token = world.token();
  for (let n = 0; n < count_; n += 1) {
    const instance = await startRawInstance();
    const one = service([group([instance.origin])]);
    services.push(one);
    const lane: Lane = { aim: { url: `/v1/infers/${one.id}`, token }, instance, got: [], quarrels: [] };
    instance.onWhole = (bytes) => {
      const quarrel = disagreement(readRequests(bytes, "strict"), readRequests(bytes, "lenient"));
      if (quarrel !== null) lane.quarrels.push(`${quarrel} in ${JSON.stringify(bytes.slice(0, 2_000))}`);
    };
    instance.onRequest = (message) => {
      lane.got.push(message);
      return { bytes: echo(message) };
    };
    lanes.push(lane);
  }
  await world.control.acknowledged(world.control.publish({ services }));
  return lanes;
};

export const closeLanes = async (lanes: readonly Lane[]): Promise<void> => {
  await Promise.all(lanes.map((lane) => lane.instance.close()));
};

/** Everything of the case has reached the instance: its connections hold no part of a request. */
const settle = async (lane: Lane): Promise<void> => {
  const { instance } = lane;
  while (instance.connections.some((one) => !one.isClosed && one.rest !== "")) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  instance.connections.splice(
    0,
    instance.connections.length,
    ...instance.connections.filter((one) => !one.isClosed),
  );
};

/** What must hold of one case, whatever its bytes. */
const examine = (lane: Lane, text: string, sent: Sent): string[] => {
  const wrong = lane.quarrels.splice(0);
  const asked = readRequests(text, "strict");
  if (sent.isHanging) wrong.push("neither an answer nor an end");
  // 1. Nothing reaches the instance but requests that the caller sent whole: same method, path and body, in order.
  const open = [...asked.messages];
  const echoes: string[] = [];
  for (const got of lane.got) {
    const [method = "", path = ""] = got.start.split(" ");
    const at = open.findIndex((message) => {
      const [given = "", target = ""] = message.start.split(" ");
      return given === method && behind(target, lane.aim.url) === path && message.body === got.body;
    });
    if (at < 0) wrong.push(`an instance got ${got.start} with ${got.body.length} bytes, which nobody sent`);
    else open.splice(at, 1);
    echoes.push(echoOf(got));
    if (fieldOf(got, "host") !== lane.instance.authority) wrong.push("a request with another Host");
    if (fieldOf(got, "x-auth-token") !== undefined) wrong.push("a token reached the instance");
  }
  // 2. The caller's answers are answers, and come in the order of the requests.
  const isHead = (n: number): boolean => methodOf(asked.messages[n] ?? { ...NOTHING }) === "HEAD";
  const answers = readAnswers(sent.text, "strict", { hasEnded: true, isHead });
  if (answers.problem !== null) wrong.push(`an answer that cannot be read: ${answers.problem}`);
  const finals = answers.messages.filter(isFinal);
  if (finals.length > asked.messages.length + 1)
    wrong.push(`${finals.length} answers to ${asked.messages.length} requests`);
  for (const [n, answer] of finals.entries()) {
    if (statusOf(answer) >= 500 && statusOf(answer) !== 505 && statusOf(answer) !== 501)
      wrong.push(`answered ${answer.start}`);
    const echoed = fieldOf(answer, "x-echo");
    if (echoed === undefined) continue;
    const message = asked.messages[n];
    const own = message === undefined ? null : behind(message.start.split(" ")[1] ?? "", lane.aim.url);
    if (message === undefined || echoed !== `${own ?? ""} ${message.body.length}`) {
      wrong.push(`answer ${n} is to another request: ${echoed}`);
    }
  }
  return wrong;
};
const NOTHING: Message = { start: "", fields: [], framing: "none", body: "", trailers: [] };

const compare = (lane: Lane, text: string, statuses: readonly number[], tally: Tally): void => {
  const verdict = judge(text);
  const open = verdict.requests.map(
    (one) => `${behind(one.url, lane.aim.url) ?? one.url} ${one.body.length}`,
  );
  for (const got of lane.got) {
    const at = open.indexOf(echoOf(got));
    if (at >= 0) open.splice(at, 1);
    else count(tally.beyondLlhttp, verdict.error ?? "reads other requests");
  }
  if (verdict.error === null && statuses.includes(400)) tally.strictThanLlhttp += 1;
};

/** One case on one lane. */
export const tryCase = async (
  port: number,
  lane: Lane,
  one: Case,
  from: string,
  tally: Tally,
): Promise<void> => {
  lane.got.length = 0;
  const asked = readRequests(one.text, "strict");
  const wanted = asked.messages.length + (asked.problem === null ? 0 : 1);
  const isHead = (n: number): boolean => methodOf(asked.messages[n] ?? NOTHING) === "HEAD";
  const sent = await send(
    port,
    one.pieces,
    (text) => readAnswers(text, "strict", { isHead }).messages.filter(isFinal).length >= wanted,
  );
  await settle(lane);
  tally.cases += 1;
  tally.requests += Math.max(1, asked.messages.length);
  tally.forwarded += lane.got.length;
  const statuses = readAnswers(sent.text, "strict", { isHead, hasEnded: true }).messages.map(statusOf);
  for (const status of statuses) count(tally.statuses, status);
  if (statuses.length === 0) tally.closedWithoutAnswer += 1;
  compare(lane, one.text, statuses, tally);
  for (const what of examine(lane, one.text, sent)) tally.findings.push({ what, from, text: one.text });
};

/** A plain request is answered as ever. */
export const isAlive = async (port: number, aim: Aim): Promise<boolean> => {
  const text = `POST ${aim.url}/alive HTTP/1.1\r\nHost: a\r\nX-Auth-Token: ${aim.token}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc`;
  const sent = await send(port, [text], () => false, HANG_MS);
  return sent.text.startsWith("HTTP/1.1 200 ") && /\r\nX-Echo: \/alive 3\r\n/i.test(sent.text);
};

/** Runs `work` for 0 … `total` - 1, `lanes` at a time, each lane one after the other. */
export const onLanes = async (
  lanes: readonly Lane[],
  total: number,
  work: (lane: Lane, index: number) => Promise<void>,
): Promise<void> => {
  let next = 0;
  await Promise.all(
    lanes.map(async (lane) => {
      for (let index = next++; index < total; index = next++) await work(lane, index);
    }),
  );
};

/** A mutated answer to a plain request, with two more requests on the same connection: each gets its own answer. */
export const tryAnswer = async (
  port: number,
  lane: Lane,
  one: Case & { readonly ends: boolean },
  from: string,
  tally: Tally,
): Promise<void> => {
  lane.got.length = 0;
  const { url, token } = lane.aim;
  const isHead = one.text.length % 5 === 0;
  const ask = (path: string, method = "GET"): string =>
    `${method} ${url}${path} HTTP/1.1\r\nHost: fuzz\r\nX-Auth-Token: ${token}\r\n\r\n`;
  const isToHead = (n: number): boolean => isHead && n === 0;
  lane.instance.onRequest = (message) => {
    lane.got.push(message);
    if (!message.start.includes(" /odd ")) return { bytes: echo(message) };
    // Bytes behind a whole answer must come with it: later ones could be the answer to the next request, for all anybody
    // can tell, and then are taken for it.
    const [head = ""] = one.pieces;
    const isWhole = readAnswers(head, "strict", { isHead: isToHead }).messages.some(isFinal);
    const [first = "", ...later] = isWhole ? [one.text] : one.pieces;
    return { bytes: first, later: later.join(""), afterwards: one.ends ? "end" : "keep" };
  };
  const sent = await send(
    port,
    [ask("/odd", isHead ? "HEAD" : "GET") + ask("/second"), ask("/third")],
    (text) => readAnswers(text, "strict", { isHead: isToHead }).messages.filter(isFinal).length >= 3,
    5_000,
  );
  await settle(lane);
  tally.cases += 1;
  tally.requests += 3;
  tally.forwarded += lane.got.length;
  const wrong = lane.quarrels.splice(0);
  if (sent.isHanging) wrong.push("neither an answer nor an end");
  const strict = readAnswers(sent.text, "strict", { isHead: isToHead, hasEnded: true });
  const lenient = readAnswers(sent.text, "lenient", { isHead: isToHead, hasEnded: true });
  const quarrel = disagreement(strict, lenient);
  if (quarrel !== null) wrong.push(`the caller's answers: ${quarrel}`);
  const finals = strict.messages.filter(isFinal);
  for (const answer of finals) count(tally.statuses, statusOf(answer));
  if (finals.length === 0) tally.closedWithoutAnswer += 1;
  if (finals.length > 3) wrong.push(`${finals.length} answers to three requests`);
  for (const [n, path] of ["/second", "/third"].entries()) {
    const answer = finals[n + 1];
    // The gateway's own word that time is over is nobody else's answer: on a busy machine half a second may pass.
    const isLate = answer !== undefined && statusOf(answer) === 504 && answer.body.includes('"error_code"');
    if (answer !== undefined && !isLate && fieldOf(answer, "x-echo") !== `${path} 0`) {
      wrong.push(`${path} was answered ${answer.start} ${fieldOf(answer, "x-echo") ?? ""}`);
    }
  }
  for (const what of wrong) tally.findings.push({ what, from, text: one.text });
};

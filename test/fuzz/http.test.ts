/**
 * Mutated requests over raw sockets, and mutated answers of an instance: no crash, no hang, no request at an instance
 * that nobody sent, no answer to another's request, nothing forwarded that two parsers read differently.
 *
 * MODELPORT_FUZZ_CASES and MODELPORT_FUZZ_SEED make a longer or another run; bench/fuzz.ts is the long one, with its
 * results as text. Every input that ever failed is in corpus/http.json and tried first.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { createWorld } from "../../src/gateway/world.fixture.ts";
import type { World } from "../../src/gateway/world.fixture.ts";
import { answerCase, requestCase } from "./http/mutate.ts";
import { closeLanes, isAlive, newTally, onLanes, openLanes, tryAnswer, tryCase } from "./http/run.ts";
import type { Lane } from "./http/run.ts";

const CASES = Number(process.env["MODELPORT_FUZZ_CASES"] ?? 8_000);
const SEED = Number(process.env["MODELPORT_FUZZ_SEED"] ?? 1);
const ANSWERS_PER_CASE = 0.2;
const LANES = 16;
const ALIVE_EVERY = 500;

/** What the gateway takes and llhttp does not, by llhttp's reason; each must be right to take. */
const TAKEN_BEYOND_LLHTTP: Readonly<Record<string, string>> = {
  HPE_INVALID_URL:
    "a target that is refused by itself (400): where the request ends is clear, so the next one is read",
  HPE_INVALID_TRANSFER_ENCODING:
    "a tab behind `chunked` (white space, RFC 9110 §5.5), or a trailer of this name, which is dropped like all trailers",
  HPE_INVALID_CONTENT_LENGTH: "a trailer of this name, which is dropped like all trailers",
  HPE_UNEXPECTED_CONTENT_LENGTH: "a trailer of this name, which is dropped like all trailers",
};

interface Kept {
  readonly name: string;
  readonly kind: "request" | "answer";
  readonly text: string;
}
const corpus = JSON.parse(
  await readFile(join(import.meta.dirname, "corpus", "http.json"), "utf8"),
) as readonly Kept[];

let world: World;
let lanes: Lane[] = [];
afterEach(async () => {
  await closeLanes(lanes);
  await world.close();
});

test(
  "mutated requests: no crash, no hang, nothing at an instance that nobody sent",
  async () => {
    world = await createWorld({ predictTimeoutMs: 5_000 });
    lanes = await openLanes(world, LANES);
    const tally = newTally();
    const kept = corpus.filter((one) => one.kind === "request");
    await onLanes(lanes, kept.length, async (lane, n) => {
      const { text = "", name = "" } = kept[n] ?? {};
      const aimed = text.replaceAll("{url}", lane.aim.url).replaceAll("{token}", lane.aim.token);
      await tryCase(world.port, lane, { text: aimed, pieces: [aimed] }, name, tally);
    });
    await onLanes(lanes, CASES, async (lane, n) => {
      await tryCase(world.port, lane, requestCase(SEED, n, lane.aim), `seed ${SEED} case ${n}`, tally);
      if (n % ALIVE_EVERY === 0 && !(await isAlive(world.port, lane.aim)))
        throw new Error(`no answer after ${n}`);
    });
    expect(tally.findings.slice(0, 5)).toEqual([]);
    expect([...tally.beyondLlhttp.keys()].filter((reason) => !(reason in TAKEN_BEYOND_LLHTTP))).toEqual([]);
    // The mutations are of use only while a good part of what they make still gets through.
    expect(tally.forwarded).toBeGreaterThan(tally.cases / 4);
    expect(tally.requests).toBeGreaterThanOrEqual(CASES);
    expect(await isAlive(world.port, lanes[0]?.aim ?? { url: "", token: "" })).toBe(true);
  },
  10 * 60_000,
);

test(
  "mutated answers: every caller gets its own answer or none",
  async () => {
    world = await createWorld({ predictTimeoutMs: 500 });
    lanes = await openLanes(world, LANES);
    const tally = newTally();
    const kept = corpus.filter((one) => one.kind === "answer");
    await onLanes(lanes, kept.length, async (lane, n) => {
      const { text = "", name = "" } = kept[n] ?? {};
      await tryAnswer(world.port, lane, { text, pieces: [text], ends: false }, name, tally);
    });
    await onLanes(lanes, Math.round(CASES * ANSWERS_PER_CASE), async (lane, n) => {
      await tryAnswer(world.port, lane, answerCase(SEED, n), `seed ${SEED} answer ${n}`, tally);
    });
    expect(tally.findings.slice(0, 5)).toEqual([]);
    expect(tally.forwarded).toBeGreaterThan(tally.cases);
  },
  10 * 60_000,
);

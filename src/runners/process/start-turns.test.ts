import { beforeEach, expect, test } from "vitest";
import { FakeClock } from "../../../test/support/clock.ts";
import type { DrivenInstance, InstanceReport } from "../groups.ts";
import { StartTurns } from "./start-turns.ts";

let clock: FakeClock;
let turns: StartTurns;
/** What was launched, in order, and what reports for it. */
let launched: Map<string, (seen: InstanceReport) => void>;
let heard: string[];

beforeEach(() => {
  clock = new FakeClock();
  turns = new StartTurns(clock, 2);
  launched = new Map();
  heard = [];
});

const launch = (name: string): DrivenInstance =>
  turns.launch(
    (report) => {
      launched.set(name, report);
      return { end: (how) => Promise.resolve(void heard.push(`${name} ${how}`)), detach: () => undefined };
    },
    ({ state }) => heard.push(`${name} ${state}`),
  );
const names = (): readonly string[] => [...launched.keys()];
const READY: InstanceReport = { state: "ready", url: "" };

test("starts as many at once as there are turns, the others in their order as turns come free", async () => {
  for (const name of ["a", "b", "c", "d"]) launch(name);
  expect(names()).toEqual(["a", "b"]);
  launched.get("b")?.(READY);
  await clock.advance(0);
  expect(names()).toEqual(["a", "b", "c"]);
  launched.get("a")?.({ state: "failed", failure: { reason: "load", message: "" } });
  await clock.advance(0);
  expect(names()).toEqual(["a", "b", "c", "d"]);
  expect(heard).toEqual(["b ready", "a failed"]);
});

test("keeps nobody waiting for more than 10 s per turn, and gives a turn back once", async () => {
  for (const name of ["a", "b", "c", "d", "e"]) launch(name);
  await clock.advance(9_999);
  expect(names()).toEqual(["a", "b"]);
  await clock.advance(1);
  expect(names()).toEqual(["a", "b", "c", "d"]);
  launched.get("a")?.(READY);
  launched.get("b")?.(READY);
  await clock.advance(0);
  expect(names()).toEqual(["a", "b", "c", "d"]);
});

test("never starts what is ended or let go of while it waits, and takes the turn of what ends while it loads", async () => {
  const [a, , c, d] = ["a", "b", "c", "d", "e"].map(launch);
  await c?.end("now");
  d?.detach();
  await a?.end("now");
  await clock.advance(20_000);
  expect(names()).toEqual(["a", "b", "e"]);
  expect(heard).toEqual(["a now"]);
  expect(clock.sleepers).toBe(0);
});

/** A service's own variables decide how its requests are joined, a wrong one is named, and what workers decide is told once. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseBatchingDecision, readBatching, untoldDecisions } from "./batching.ts";
import type { Batching, BatchingDecision } from "./batching.ts";
import type { InstanceId } from "./ids.ts";

const PLATFORM: Batching = { mode: "auto", maxSize: 64, maxDelayMs: 0 };

test("without variables the platform's setting counts", () => {
  expect(readBatching({ OTHER: "1" }, PLATFORM)).toEqual({ batching: PLATFORM, problems: [] });
});

test("a service's variables go before it, and a size of one joins nothing", () => {
  const envs = {
    MODELPORT_BATCHING: "on",
    MODELPORT_BATCHING_MAX_SIZE: "8",
    MODELPORT_BATCHING_MAX_DELAY_MS: "5",
  };
  expect(readBatching(envs, PLATFORM).batching).toEqual({ mode: "on", maxSize: 8, maxDelayMs: 5 });
  expect(readBatching({ MODELPORT_BATCHING_MAX_SIZE: "1" }, PLATFORM).batching.mode).toBe("off");
});

test("every wrong variable is named, and the platform's setting counts in its place", () => {
  const envs = {
    MODELPORT_BATCHING: "yes",
    MODELPORT_BATCHING_MAX_SIZE: "0",
    MODELPORT_BATCHING_MAX_DELAY_MS: "1s",
  };
  const { batching, problems } = readBatching(envs, PLATFORM);
  expect(batching).toEqual(PLATFORM);
  expect(problems.map((problem) => problem.path)).toEqual(Object.keys(envs).map((name) => `envs.${name}`));
});

test("a decision is read as it was told, cut where user code made it long, and nothing else is one", () => {
  expect(parseBatchingDecision({ t: "batching", state: "on", text: "they agree" })).toEqual({
    state: "on",
    text: "they agree",
  });
  const long = parseBatchingDecision({ state: "off", text: "x".repeat(10_000) });
  expect(long?.text).toHaveLength(500);
  for (const not of [
    null,
    "on",
    {},
    { state: "on" },
    { state: "maybe", text: "" },
    { state: "off", text: 1 },
  ])
    expect(parseBatchingDecision(not)).toBeNull();
});

test("each decision that is new to a version, and each instance's change of mind, is told once, in whatever order they come", () => {
  const instances = ["g-1", "g-2", "g-3"] as InstanceId[];
  const decisions: BatchingDecision[] = ["on", "on", "off"].flatMap((state, at) =>
    state === "on" || state === "off" ? [{ state, text: `evidence ${at}` }] : [],
  );
  const change = fc.record({
    instance: fc.constantFrom(...instances),
    decision: fc.constantFrom(...decisions),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
      const now = new Map<InstanceId, BatchingDecision>();
      const history: string[] = [];
      for (const { instance, decision } of changes) {
        now.set(instance, decision);
        const told = (): readonly string[] =>
          untoldDecisions(
            "m 1",
            [...now].map(([id, current]) => ({ instance: id, decision: current })),
            history,
          ).map(({ info }) => info);
        const events = told();
        history.unshift(...events.toReversed());
        // Nothing is left to tell, as often as it is looked at and whoever comes after.
        expect(told()).toEqual([]);
        expect(new Set(history).size).toBe(history.length);
        expect(history.some((info) => info.startsWith(`Batching of [m 1] is ${decision.state}.`))).toBe(true);
      }
      for (const instance of instances) {
        const own = history.filter((info) => info.includes(` ${instance}: `));
        const states = own.map((info) => info.slice(0, info.indexOf(".")));
        states.slice(1).forEach((state, at) => expect(state).not.toBe(states[at]));
      }
    }),
  );
});

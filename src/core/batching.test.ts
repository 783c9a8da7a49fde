/** A service's own variables decide how its requests are joined, and a wrong one is named. */
import { expect, test } from "vitest";
import { readBatching } from "./batching.ts";
import type { Batching } from "./batching.ts";

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

/** A control that stands still: its callers are told so in bounded time. The time is the test's own. */
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../telemetry/clock.ts";
import { systemTimer } from "./timer.ts";
import type { Timer } from "./timer.ts";
import { createWorld, until } from "./world.fixture.ts";
import type { World } from "./world.fixture.ts";

const STILL_MS = 120_000;

let world: World;
afterEach(() => world.close());

test("a control that stands still costs a caller two minutes: then 503, and the record blames the platform", async () => {
  const due: (() => void)[] = [];
  let passedMs = 0;
  const timer: Timer = {
    after: (ms, callback) => {
      if (ms !== STILL_MS) return systemTimer.after(ms, callback);
      due.push(callback);
      return { cancel: () => undefined };
    },
  };
  const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + passedMs };
  world = await createWorld({ timer, clock });
  let isHeld = false;
  let isLeft = false;
  world.control.handler = (request, response) => {
    isHeld = true;
    request.resume();
    response.once("close", () => (isLeft = true));
  };
  const call = world.call("/v1/p/services", { body: "{}" });
  await until(() => isHeld);
  expect(due).toHaveLength(1);

  // Bytes moved meanwhile: the watch begins anew.
  due[0]?.();
  expect(due).toHaveLength(2);

  passedMs = STILL_MS;
  due[1]?.();
  const answer = await call;
  expect([answer.status, JSON.parse(answer.body.toString())]).toMatchObject([
    503,
    { error_code: "APIGW.0202" },
  ]);
  expect(answer.headers["retry-after"]).toBe("2");
  await until(() => isLeft && world.records.length > 0);
  expect(world.records).toMatchObject([{ status: 503, owner: "platform", error: "CONTROL_UNAVAILABLE" }]);
});

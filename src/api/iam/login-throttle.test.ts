import fc from "fast-check";
import { expect, test } from "vitest";
import { FakeClock } from "../../../test/support/clock.ts";
import { LIMITS } from "../../core/limits.ts";
import { createLoginThrottle } from "./login-throttle.ts";

const PER_USER = LIMITS.loginFailuresUser.value;

const fill = (throttle: ReturnType<typeof createLoginThrottle>, user: string, address: string): number => {
  for (let n = 0; ; n += 1) if ("retryAfterSeconds" in throttle.begin(user, address)) return n;
};

test("allows a bounded number of wrong passwords, and then says when the next is allowed", async () => {
  const clock = new FakeClock();
  const throttle = createLoginThrottle(clock);
  expect(fill(throttle, "eve", "10.0.0.1")).toBe(PER_USER);
  const refused = throttle.begin("eve", "10.0.0.1");
  if (!("retryAfterSeconds" in refused)) throw new Error("it was allowed");
  await clock.advance(refused.retryAfterSeconds * 1000 - 1000);
  expect(throttle.begin("eve", "10.0.0.1")).toHaveProperty("retryAfterSeconds");
  await clock.advance(1000);
  expect(throttle.begin("eve", "10.0.0.1")).toHaveProperty("succeeded");
  expect(throttle.begin("eve", "10.0.0.1")).toHaveProperty("retryAfterSeconds");
});

test("locks nobody out who comes from elsewhere, nor another user at the same address", () => {
  const throttle = createLoginThrottle(new FakeClock());
  fill(throttle, "eve", "10.0.0.1");
  expect(throttle.begin("eve", "10.0.0.2")).toHaveProperty("succeeded");
  expect(throttle.begin("ann", "10.0.0.1")).toHaveProperty("succeeded");
});

test("bounds what one address may try with many users", () => {
  const throttle = createLoginThrottle(new FakeClock());
  let allowed = 0;
  for (let n = 0; n < 1000; n += 1) if ("succeeded" in throttle.begin(`user-${n}`, "10.0.0.1")) allowed += 1;
  expect(allowed).toBe(LIMITS.loginFailuresAddress.value);
});

test("never limits those who know their password", () => {
  const throttle = createLoginThrottle(new FakeClock());
  for (let n = 0; n < 1000; n += 1) {
    const attempt = throttle.begin("ann", "10.0.0.1");
    if ("retryAfterSeconds" in attempt) throw new Error(`refused after ${n}`);
    attempt.succeeded();
  }
  expect(throttle.size).toBe(0);
});

test("keeps a bounded number of buckets, whoever asks", () => {
  const throttle = createLoginThrottle(new FakeClock());
  for (let n = 0; n < 50_000; n += 1) throttle.begin(`user-${n}`, `address-${n}`);
  expect(throttle.size).toBeLessThanOrEqual(20_000);
});

test("its answers are true: after the time it names, and never before, one more is allowed", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(40_000), { maxLength: 60 }), async (pauses) => {
      const clock = new FakeClock();
      const throttle = createLoginThrottle(clock);
      fill(throttle, "eve", "a");
      for (const ms of pauses) {
        const answer = throttle.begin("eve", "a");
        if ("retryAfterSeconds" in answer) {
          expect(answer.retryAfterSeconds).toBeGreaterThan(0);
          await clock.advance(answer.retryAfterSeconds * 1000);
          expect(throttle.begin("eve", "a")).toHaveProperty("succeeded");
        }
        await clock.advance(ms);
      }
    }),
    { numRuns: 30 },
  );
});

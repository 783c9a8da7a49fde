import fc from "fast-check";
import { expect, test } from "vitest";
import { ALLOWED_FULL, CALM_MS, FAILURES_MAX, FRESH, HOLD_MS_MAX, nextHealth } from "./health-state.ts";
import type { FailureKind, Health, ProbeResult, Signal } from "./health-state.ts";

const failed = (how: FailureKind): Signal => ({ kind: "failed", how });
const probed = (result: ProbeResult, inFlight = 0): Signal => ({ kind: "probed", result, inFlight });
const ANSWERED: Signal = { kind: "answered" };
const after = (health: Health, signals: readonly Signal[], now = 0): Health =>
  signals.reduce((state, signal) => nextHealth(state, signal, now), health);

const signal: fc.Arbitrary<Signal> = fc.oneof(
  fc.constant(ANSWERED),
  fc.constantFrom<FailureKind>("dial", "reset", "timeout", "broken").map(failed),
  fc
    .tuple(fc.constantFrom<ProbeResult>("ok", "ok", "unready", "silent", "refused"), fc.nat(3))
    .map(([result, inFlight]) => probed(result, inFlight)),
);
const history = fc.array(fc.tuple(signal, fc.nat(5_000)), { maxLength: 80 });

test("over any history: bad signs never bring back, good signs never take out, holds and allowances keep their bounds", () => {
  fc.assert(
    fc.property(history, (signals) => {
      let health: Health = FRESH;
      let now = 0;
      for (const [one, ms] of signals) {
        now += ms;
        const before = health;
        health = nextHealth(before, one, now);
        const isGood = one.kind === "answered" || (one.kind === "probed" && one.result === "ok");
        if (isGood) expect(health.is === "out").toBe(before.is === "out" && health === before);
        else if (before.is === "out") expect(health.is).toBe("out");
        if (before.is === "out" && health.is !== "out") expect(health).toMatchObject({ allowed: 1 });
        if (health.is === "recovering") {
          expect(health.allowed).toBeLessThan(ALLOWED_FULL);
          if (before.is === "recovering" && isGood) {
            expect(health.allowed).toBeLessThanOrEqual(Math.max(before.allowed * 2, before.allowed + 1));
          }
        }
        if (health.is === "out" && before.is !== "out") {
          expect(health.until - now).toBeLessThanOrEqual(HOLD_MS_MAX);
          if (before.is === "recovering") expect(health.outs).toBe(before.outs + 1);
        }
        // What a probe says counts at once.
        if (one.kind === "probed" && one.result !== "ok") expect(health).toMatchObject({ why: one.result });
      }
    }),
    { numRuns: 500 },
  );
});

test("from any state, an instance that is well again is up after as many good probes as fit into its hold and a few", () => {
  fc.assert(
    fc.property(history, (signals) => {
      let health: Health = FRESH;
      let now = 0;
      for (const [one, ms] of signals) health = nextHealth(health, one, (now += ms));
      let probes = 0;
      while (health.is !== "up") {
        health = nextHealth(health, probed("ok"), (now += 400));
        probes += 1;
      }
      expect(probes).toBeLessThanOrEqual(HOLD_MS_MAX / 400 + 1 + Math.log2(ALLOWED_FULL));
    }),
  );
});

test("a refused connection takes out at once, other failures only in a row", () => {
  expect(after(FRESH, [failed("dial")])).toMatchObject({ is: "out", why: "refused" });
  for (const how of ["reset", "timeout", "broken"] as const) {
    const few = Array.from({ length: FAILURES_MAX - 1 }, () => failed(how));
    expect(after(FRESH, [...few, ANSWERED, ...few]).is).toBe("up");
    expect(after(FRESH, [...few, failed(how)])).toMatchObject({ is: "out", why: "failing" });
  }
});

test("an answer brings back what was silent, not what is gone or says it is not ready", () => {
  expect(after(FRESH, [probed("silent"), ANSWERED]).is).toBe("recovering");
  expect(after(FRESH, [probed("refused"), ANSWERED]).is).toBe("out");
  expect(after(FRESH, [probed("unready"), ANSWERED]).is).toBe("out");
  expect(after(FRESH, [probed("unready"), probed("ok")]).is).toBe("recovering");
});

test("an instance whose requests fail while its probes succeed is tried less and less", () => {
  let health: Health = FRESH;
  let now = 0;
  const holds: number[] = [];
  for (let round = 0; round < 8; round += 1) {
    while (health.is !== "out") health = nextHealth(health, failed("reset"), now);
    const since = now;
    while (health.is === "out") health = nextHealth(health, probed("ok"), (now += 100));
    holds.push(now - since);
  }
  expect(holds).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
});

test("what comes and goes is held longer every time, until it was up for a while", () => {
  const flap = (from: Health, now: number): Health => after(from, [probed("silent"), probed("ok")], now);
  let health = flap(FRESH, 0);
  expect(health).toMatchObject({ is: "recovering" });
  health = flap(health, 100);
  expect(health).toMatchObject({ is: "out", until: 1_100 });
  health = after(
    health,
    Array.from({ length: 8 }, () => probed("ok")),
    1_100,
  );
  expect(health).toMatchObject({ is: "up", since: 1_100 });
  expect(flap(health, 1_100 + CALM_MS - 1)).toMatchObject({ is: "out" });
  expect(flap(health, 1_100 + CALM_MS)).toMatchObject({ is: "recovering" });
});

test("recovery does not go on while its requests are unanswered", () => {
  const back = after(FRESH, [probed("silent"), probed("ok")]);
  expect(
    after(
      back,
      Array.from({ length: 20 }, () => probed("ok", 1)),
    ),
  ).toEqual(back);
  expect(after(back, [ANSWERED, ANSWERED])).toMatchObject({ allowed: 3 });
  expect(after(back, [failed("reset")])).toMatchObject({ is: "out", why: "failing" });
});

import pino from "pino";
import { expect } from "vitest";
import { FakeClock } from "../../test/support/clock.ts";
import type { GroupId } from "../core/ids.ts";
import type { GroupSpec } from "./runner.ts";
import { createFakeRunner } from "./fake.ts";
import type { Behaviour } from "./runner.suite.ts";
import { SERVICE, runnerSuite } from "./runner.suite.ts";

const script = (group: GroupSpec) => {
  const behaviour = group.instance.envs.BEHAVE as Behaviour;
  const failure = {
    reason: behaviour === "fail" ? "load-failed" : "exited",
    message: "ValueError: no such model",
  };
  if (behaviour === "hang") return { kind: "hang" } as const;
  if (behaviour === "exit" || behaviour === "fail") return { kind: "fail", afterMs: 50, failure } as const;
  return { kind: "ready", afterMs: behaviour === "slow" ? 400 : 10 } as const;
};

runnerSuite("the fake", async () => {
  const clock = new FakeClock();
  const runner = createFakeRunner({ clock, logger: pino({ level: "silent" }), script });
  return Promise.resolve({
    runner,
    group: (id, replicas, behaviour, startTimeoutMs = 60_000) => ({
      id: id as GroupId,
      serviceId: SERVICE,
      replicas,
      instance: {
        engine: "Scikit_Learn",
        modelName: "m",
        modelVersion: "1.0.0",
        packageDir: "/nowhere",
        modelFile: "m",
        python: "/nowhere/python",
        envs: { BEHAVE: behaviour },
        workers: 1,
        cpu: 1,
        memoryMb: 100,
        predictTimeoutMs: 1000,
        startTimeoutMs,
        drainTimeoutMs: 1000,
      },
    }),
    until: (condition) => clock.until(condition),
    crash: (instance) => {
      runner.crash(instance.id, { reason: "exited", message: "fell over" });
      return Promise.resolve();
    },
    close: async () => {
      await runner.close({ stopInstances: true });
      expect(runner.alive()).toEqual([]);
      expect(clock.sleepers).toBe(0);
    },
  });
});

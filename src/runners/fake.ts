/**
 * A runner without processes, for tests: real group keeping (groups.ts), instances that only exist in memory and behave
 * as a script says.
 */
import type { BatchingDecision } from "../core/batching.ts";
import type { Clock } from "../core/clock.ts";
import type { GroupId, InstanceId } from "../core/ids.ts";
import type { Failure } from "../core/service.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { DrivenInstance, InstanceReport } from "./groups.ts";
import { GroupKeeper, instanceIdOf } from "./groups.ts";
import type { GroupSpec, LogLine, Runner } from "./runner.ts";

/** What an instance does. `hang` never becomes ready and fails at its start timeout. */
export type Behaviour =
  | { readonly kind: "ready"; readonly afterMs: number; readonly drainMs?: number }
  | { readonly kind: "fail"; readonly afterMs: number; readonly failure: Failure }
  | { readonly kind: "hang" };

export interface FakeRunner extends Runner {
  /** Lets a running instance fail. */
  crash(instance: InstanceId, failure: Failure): void;
  /** Lets a ready instance say that it takes no requests for now, or again. */
  pause(instance: InstanceId, paused: boolean): void;
  /** Lets a running instance tell what it decided about joining requests. */
  decide(instance: InstanceId, batching: BatchingDecision): void;
  /** Every instance that exists, in start order. */
  alive(): readonly InstanceId[];
  /** Every instance that was ever started, in start order. */
  readonly started: readonly InstanceId[];
}

/** `script` decides what instance `n` of a group does when it starts. */
export const createFakeRunner = (deps: {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly script: (group: GroupSpec, n: number) => Behaviour;
}): FakeRunner => {
  const { clock } = deps;
  const alive = new Map<InstanceId, (seen: InstanceReport) => void>();
  const started: InstanceId[] = [];
  const numbers = new Map<GroupId, number>();
  const urlOf = (id: InstanceId): string => `http://${id}.invalid`;

  const start = (group: GroupSpec, n: number, report: (seen: InstanceReport) => void): DrivenInstance => {
    const id = instanceIdOf(group.id, n);
    const behaviour = deps.script(group, n);
    const over = new AbortController();
    alive.set(id, report);
    started.push(id);
    numbers.set(group.id, n + 1);
    const later = (ms: number, seen: InstanceReport): void => {
      void clock.sleep(ms, over.signal).then(() => {
        if (!over.signal.aborted) report(seen);
      });
    };
    if (behaviour.kind === "ready") later(behaviour.afterMs, { state: "ready", url: urlOf(id) });
    if (behaviour.kind === "fail") later(behaviour.afterMs, { state: "failed", failure: behaviour.failure });
    if (behaviour.kind === "hang") {
      const failure = { reason: "start-timeout", message: "The instance did not become ready in time." };
      later(group.instance.startTimeoutMs, { state: "failed", failure });
    }
    return {
      end: async (how) => {
        over.abort();
        const drainMs = behaviour.kind === "ready" ? (behaviour.drainMs ?? 0) : 0;
        if (how === "drain" && drainMs > 0)
          await clock.sleep(Math.min(drainMs, group.instance.drainTimeoutMs));
        alive.delete(id);
      },
      detach: () => over.abort(),
    };
  };

  const keeper = new GroupKeeper({
    clock,
    logger: deps.logger,
    driver: {
      start,
      save: () => undefined,
      nextNumber: (group) => numbers.get(group) ?? 1,
      forget: () => Promise.resolve(),
    },
  });

  // oxlint-disable-next-line require-yield
  const noLogs = async function* (): AsyncGenerator<LogLine> {
    await Promise.resolve();
  };

  return {
    apply: (group) => keeper.apply(group),
    scale: (group, replicas) => keeper.scale(group, replicas),
    release: (group, instance) => keeper.release(group, instance),
    remove: (group) => keeper.remove(group),
    observe: () => keeper.observe(),
    measure: () => keeper.measure(),
    onChange: (listener) => keeper.onChange(listener),
    close: (options) => keeper.close(options),
    logs: noLogs,
    removeLogs: () => Promise.resolve(),
    loggedGroups: () => Promise.resolve([]),
    crash: (instance, failure) => alive.get(instance)?.({ state: "failed", failure }),
    pause: (instance, paused) =>
      alive.get(instance)?.(paused ? { state: "starting" } : { state: "ready", url: urlOf(instance) }),
    decide: (instance, batching) => alive.get(instance)?.({ state: "decided", batching }),
    alive: () => [...alive.keys()],
    started,
  };
};

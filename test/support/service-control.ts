/** The control role, as far as services go: the reconciler and its loop over a store and a runner that outlive it. */
import { NO_VALIDATION } from "../../src/core/api-rule.ts";
import { NO_BATCHING } from "../../src/core/batching.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { ModelId, ServiceId } from "../../src/core/ids.ts";
import type { Failure } from "../../src/core/service.ts";
import { followChanges } from "../../src/reconcile/follow.ts";
import type { Loop } from "../../src/reconcile/loop.ts";
import { createLoop } from "../../src/reconcile/loop.ts";
import { createServiceReconciler } from "../../src/reconcile/service.ts";
import type { Runner } from "../../src/runners/runner.ts";
import type { Store } from "../../src/store/store.ts";
import type { Logger } from "../../src/telemetry/logger.ts";

export const openServiceControl = async ({
  store,
  runner,
  clock,
  logger,
  python,
  load = () => null,
}: {
  readonly store: Store;
  readonly runner: Runner;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The interpreter of an environment; null: it is gone. */
  readonly python: (key: string) => string | null;
  /** Why a version that loads dynamically cannot be had; null: it can. */
  readonly load?: (model: ModelId) => Failure | null;
}): Promise<{
  /** Passes that threw, and what full passes put right. */
  readonly counted: { readonly corrections: number; readonly failed: number };
  stop(): Promise<void>;
}> => {
  const reconciler = createServiceReconciler({
    store,
    runner,
    clock,
    logger,
    environments: { python: (key) => Promise.resolve(python(key)) },
    load,
    packages: { directory: (digest) => `/packages/${digest}` },
    settings: {
      workersPerInstance: 1,
      batching: NO_BATCHING,
      validation: NO_VALIDATION,
      predictTimeoutMs: 1000,
      startTimeoutMs: 1_200_000,
      drainTimeoutMs: 1000,
      instanceConcurrency: 64,
      queueMax: 256,
      queueAgeMs: 10_000,
    },
  });
  const counted = { corrections: 0, failed: 0 };
  const loop: Loop<ServiceId> = createLoop({
    name: "service",
    keys: () => reconciler.keys(),
    pass: (key, signal, effects) => reconciler.pass(key, signal, effects),
    clock,
    logger,
    random: () => 0.5,
    concurrency: 4,
    metrics: {
      pass: (_loop, outcome) => {
        if (outcome === "failed") counted.failed += 1;
      },
      corrections: (_loop, n) => {
        counted.corrections += n;
      },
      queued: () => undefined,
    },
  });
  const following = await followChanges({
    changes: store.changes,
    clock,
    logger,
    onChange: (change) => change.kind === "service" && loop.enqueue(change.id as ServiceId),
  });
  const unsubscribe = runner.onChange((_group, service) => service !== null && loop.enqueue(service));
  loop.start();
  return {
    counted,
    stop: async () => {
      unsubscribe();
      await following.stop();
      await loop.stop();
    },
  };
};

/** The trial start of an import: one instance, started, watched until it is ready or failed, and removed. */
import type { Clock } from "../core/clock.ts";
import type { GroupId, ModelId } from "../core/ids.ts";
import type { Failure } from "../core/service.ts";
import type { GroupObservation, InstanceSpec, Runner } from "../runners/runner.ts";

/** Change notices may be missed, for example those of an instance that was adopted. */
const LOOK_AGAIN_MS = 1000;
/** The runner ends starts that take too long; this is for a runner that does not. */
const MARGIN_MS = 30_000;

/** The group of a version's trial start. */
export const trialGroupOf = (id: ModelId): GroupId => `import-${id}` as GroupId;

/** Removes what a trial of this version left. */
export const endTrial = async (runner: Runner, id: ModelId): Promise<void> => {
  await runner.remove(trialGroupOf(id));
  await runner.removeLogs(trialGroupOf(id));
};

const verdictOf = (group: GroupObservation | undefined): "waiting" | "ready" | Failure => {
  if (group === undefined) return "waiting";
  if (group.instances.some((instance) => instance.state === "ready")) return "ready";
  const failed = group.instances.find((instance) => instance.state === "failed");
  return failed?.failure ?? group.lastFailure ?? "waiting";
};

/** Null when the instance became ready, else why it did not. Leaves nothing behind, also when aborted. */
export const tryStart = async (
  deps: { readonly runner: Runner; readonly clock: Clock },
  id: ModelId,
  instance: InstanceSpec,
  signal: AbortSignal,
): Promise<Failure | null> => {
  const { runner, clock } = deps;
  const group = trialGroupOf(id);
  // A group of a pass before this one has failures of its own.
  await endTrial(runner, id);
  let wake = new AbortController();
  const stopListening = runner.onChange((changed) => {
    if (changed === group) wake.abort();
  });
  try {
    signal.throwIfAborted();
    await runner.apply({ id: group, serviceId: null, replicas: 1, instance });
    const deadline = clock.monotonicMs() + instance.startTimeoutMs + MARGIN_MS;
    for (;;) {
      // Armed before looking, so that a change during the look is not slept through.
      wake = new AbortController();
      const verdict = verdictOf((await runner.observe()).find((seen) => seen.id === group));
      if (verdict === "ready") return null;
      if (verdict !== "waiting") return verdict;
      if (clock.monotonicMs() > deadline)
        return { reason: "start-timeout", message: "The instance did not become ready in time." };
      await clock.sleep(LOOK_AGAIN_MS, AbortSignal.any([wake.signal, signal]));
      signal.throwIfAborted();
    }
  } finally {
    stopListening();
    await endTrial(runner, id);
  }
};

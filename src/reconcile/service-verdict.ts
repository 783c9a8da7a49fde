/**
 * What a plan's outcome means for the service's rows: the one place that decides statuses, progress, results and the
 * events that go with them (state machine: core/service.ts). Pure; null means that nothing is to be written. Which
 * events a deployment has already got is read from the history, so a pass that comes twice says nothing twice.
 */
import { at, serviceEvents } from "../core/event-texts.ts";
import type { EventText } from "../core/event-texts.ts";
import type { GroupId, Instant } from "../core/ids.ts";
import type { HistoryEvent } from "../core/model.ts";
import type { GroupCounts, RolloutFailure, RolloutPlan } from "../core/rollout.ts";
import type { Revision, RevisionEntry, Service } from "../core/service.ts";
import type { ServiceSettlement } from "../store/store.ts";

export interface VerdictInput {
  readonly service: Service;
  readonly wanted: Revision;
  /** The groups of the revision that serves; they are not announced as starting. */
  readonly unchanged: ReadonlySet<GroupId>;
  readonly plan: RolloutPlan;
  /** Files of a version are being taken, so its instances cannot be started yet. */
  readonly loading: boolean;
  readonly observed: ReadonlyMap<GroupId, GroupCounts>;
  /** What the history has said since the deployment began, or lately. */
  readonly said: readonly HistoryEvent[];
  readonly now: Instant;
}

/** Failures of single instances that the history tells within one deployment, or within `SAID_WINDOW_MS`. */
const INSTANCE_FAILURES_MAX = 5;
/** While a service serves, a text is not repeated within this time, so a crash loop does not fill the history. */
export const SAID_WINDOW_MS = 10 * 60_000;

/** `m 1.0.0`, as the events name a version. */
export const nameOf = (entry: RevisionEntry): string => `${entry.modelName} ${entry.modelVersion}`;

/** See the file header. */
export const judge = (input: VerdictInput): ServiceSettlement | null => {
  const { service, plan } = input;
  switch (plan.outcome.kind) {
    case "progressing":
      return whenDifferent(input, {
        status: "deploying",
        progress: Math.max(service.progress === 100 ? 0 : service.progress, plan.outcome.progress),
        events: unsaid(input, [...phases(input), ...instanceFailures(input)]),
      });
    case "ready":
      return service.servingRevision === input.wanted.number ? recovered(input) : succeeded(input);
    case "degraded":
      return whenDifferent(input, {
        status: "concerning",
        progress: 100,
        events:
          service.status === "concerning"
            ? unsaid(input, instanceFailures(input))
            : unsaid(input, [
                serviceEvents.concerning(plan.outcome.ready, plan.outcome.wanted),
                ...instanceFailures(input),
              ]),
      });
    case "rolled-back": {
      const reason = reasonOf(plan.outcome.failed);
      return {
        status: "running",
        progress: 100,
        errorMessage: reason,
        rollbackTo: plan.outcome.to,
        revisionResult: { number: input.wanted.number, result: "FAIL", reason },
        events: stamp(input, [
          serviceEvents.updateFailedRollingBack(reason),
          serviceEvents.updateRolledBack(reason),
        ]),
      };
    }
    case "failed": {
      const reason = reasonOf(plan.outcome.failed);
      const isTimeout = plan.outcome.failed.failure.reason === "start-timeout";
      return {
        status: "failed",
        progress: 100,
        errorMessage: reason,
        servingRevision: null,
        revisionResult: { number: input.wanted.number, result: "FAIL", reason },
        events: stamp(input, [
          isTimeout ? serviceEvents.deployTimeout(reason) : serviceEvents.deployFailed(reason),
        ]),
      };
    }
    case "draining":
      return service.desired === "stopped" && service.status !== "stopping"
        ? { status: "stopping", events: [] }
        : null;
    case "empty":
      return service.desired === "stopped" && service.status !== "stopped" ? stopped(input) : null;
    default:
      return plan.outcome satisfies never;
  }
};

const succeeded = (input: VerdictInput): ServiceSettlement => ({
  status: "running",
  progress: 100,
  errorMessage: null,
  servingRevision: input.wanted.number,
  revisionResult: { number: input.wanted.number, result: "SUCCESS", reason: null },
  events: [
    ...unsaid(input, phases(input)),
    ...stamp(input, [
      input.service.servingRevision === null
        ? serviceEvents.running(input.service.name)
        : serviceEvents.updated(),
    ]),
  ],
});

const recovered = (input: VerdictInput): ServiceSettlement | null =>
  whenDifferent(input, {
    status: "running",
    progress: 100,
    events: input.service.status === "concerning" ? unsaid(input, [serviceEvents.recovered()]) : [],
  });

const stopped = (input: VerdictInput): ServiceSettlement => ({
  status: "stopped",
  progress: 100,
  // Nothing runs that an update could go back to.
  servingRevision: null,
  ...(input.wanted.result === "RUNNING"
    ? {
        revisionResult: {
          number: input.wanted.number,
          result: "FAIL" as const,
          reason: "The service was stopped before it was ready.",
        },
      }
    : {}),
  events: stamp(input, [serviceEvents.stopped()]),
});

/** The documented phases, as far as the deployment has come. */
const phases = (input: VerdictInput): readonly EventText[] => {
  const started = input.wanted.entries.filter(
    (e) => !input.unchanged.has(e.groupId) && input.observed.has(e.groupId),
  );
  if (started.length === 0) return input.loading ? [serviceEvents.preparingEnvironment()] : [];
  return [
    serviceEvents.preparingEnvironment(),
    ...started.map((e) => serviceEvents.environmentPrepared(nameOf(e))),
    ...started.map((e) => serviceEvents.resourcesScheduled(nameOf(e))),
    ...started.map((e) => serviceEvents.startingModel(nameOf(e))),
    ...started
      .filter((e) => (input.observed.get(e.groupId)?.ready ?? 0) >= e.instanceCount)
      .map((e) => serviceEvents.modelReady(nameOf(e))),
  ];
};

const instanceFailures = (input: VerdictInput): readonly EventText[] => {
  const prefix = (text: EventText): string => text.info.slice(0, text.info.indexOf("]"));
  const told = (text: EventText): number => input.said.filter((e) => e.info.startsWith(prefix(text))).length;
  return input.wanted.entries.flatMap((e) => {
    const group = input.observed.get(e.groupId);
    if (group === undefined || group.ready >= e.instanceCount) return [];
    if (group.lastFailure === null || group.failuresInARow === 0) return [];
    const text = serviceEvents.instanceFailed(nameOf(e), group.lastFailure.message);
    return told(text) < INSTANCE_FAILURES_MAX ? [text] : [];
  });
};

const reasonOf = ({ entry, failure }: RolloutFailure): string => `[${nameOf(entry)}] ${failure.message}`;

const stamp = (input: VerdictInput, texts: readonly EventText[]): readonly HistoryEvent[] =>
  texts.map((text) => at(text, input.now));

const unsaid = (input: VerdictInput, texts: readonly EventText[]): readonly HistoryEvent[] => {
  const said = new Set(input.said.map((e) => e.info));
  return stamp(
    input,
    texts.filter((text) => !said.has(text.info)),
  );
};

const whenDifferent = (
  { service }: VerdictInput,
  settlement: ServiceSettlement & { readonly status: Service["status"]; readonly progress: number },
): ServiceSettlement | null =>
  settlement.status === service.status &&
  settlement.progress === service.progress &&
  settlement.events.length === 0
    ? null
    : settlement;

/**
 * What a user's write does to a service: the rules of contracts/modelarts.md §2.2, §2.5 and §2.6 as pure functions
 * over the current rows. They return the change or throw the AppError the caller gets; the store applies the change in
 * the transaction that read the rows, so two writes at once are decided one after the other.
 *
 * Which write is allowed in which status:
 *
 *                 describe  start  stop  configure  scale  delete
 *   deploying        yes      -     yes      -        -      yes
 *   running          yes      -     yes     yes      yes     yes
 *   concerning       yes      -     yes     yes      yes     yes
 *   failed           yes     yes    yes     yes      yes     yes
 *   stopping         yes      -      -       -        -      yes
 *   stopped          yes     yes     -      yes       -      yes
 *   deleting          -       -      -       -        -    nothing to do
 */
import { fail } from "./errors.ts";
import { serviceEvents, at } from "./event-texts.ts";
import type { EventText } from "./event-texts.ts";
import type { GroupId, Instant, ModelId, ServiceId } from "./ids.ts";
import { instant } from "./ids.ts";
import type { HistoryEvent } from "./model.ts";
import type {
  DesiredState,
  Revision,
  RevisionEntry,
  Service,
  ServiceConfig,
  ServiceStatus,
} from "./service.ts";

/** The name and version an entry of a revision carries along with its model id. */
export type NamedModels = ReadonlyMap<ModelId, { readonly name: string; readonly version: string }>;

export interface UpdateRequest {
  readonly description?: string;
  readonly schedule?: Service["schedule"];
  readonly additionalProperties?: Readonly<Record<string, unknown>>;
  readonly status?: "running" | "stopped";
  readonly config?: readonly ServiceConfig[];
}

/** The same members as the store's ServiceChange, which this file may not import. */
export interface DecidedChange {
  readonly description?: string;
  readonly schedule?: Service["schedule"];
  readonly dueAt?: Instant | null;
  readonly additionalProperties?: Readonly<Record<string, unknown>>;
  readonly desired?: DesiredState;
  readonly status?: ServiceStatus;
  readonly progress?: number;
  readonly errorMessage?: string | null;
  readonly revision?: { readonly entries: readonly RevisionEntry[] };
  readonly events: readonly HistoryEvent[];
}

type Action = "describe" | "start" | "stop" | "configure" | "scale";

const ALLOWED: Record<ServiceStatus, readonly Action[]> = {
  deploying: ["describe", "stop"],
  running: ["describe", "stop", "configure", "scale"],
  concerning: ["describe", "stop", "configure", "scale"],
  failed: ["describe", "start", "stop", "configure", "scale"],
  stopping: ["describe"],
  stopped: ["describe", "start", "configure"],
  deleting: [],
};

const PARTICIPLE: Record<Action, string> = {
  describe: "updated",
  start: "started",
  stop: "stopped",
  configure: "updated",
  scale: "scaled",
};

const demand = (service: Service, action: Action): void => {
  const state = service.desired === "deleted" ? "deleting" : service.status;
  if (!ALLOWED[state].includes(action)) {
    throw fail("SERVICE_STATE", { state, action: PARTICIPLE[action] });
  }
};

const UNIT_MS = { DAYS: 86_400_000, HOURS: 3_600_000, MINUTES: 60_000 } as const;

/** When a schedule that starts to count at `from` stops the service; the earliest of its entries. */
export const dueTime = (schedule: Service["schedule"], from: Instant): Instant | null =>
  schedule.length === 0
    ? null
    : instant(Math.min(...schedule.map((s) => from + s.duration * UNIT_MS[s.time_unit])));

const autoStopEvents = (schedule: Service["schedule"]): readonly EventText[] =>
  schedule.length === 0
    ? [serviceEvents.autoStopDisabled()]
    : schedule.map((s) => serviceEvents.autoStopEnabled(`${s.duration} ${s.time_unit}`));

/**
 * `<start of the service id>-r<generation>-<index>`: lower-case, safe in file names and DNS labels. It counts by
 * generation and not by revision, because after a rollback the next revision's number is not known here, and a group id
 * that came twice would let a new group adopt the instances of a dead one.
 */
const newGroupId = (id: ServiceId, generation: number, index: number): GroupId =>
  `${id.replaceAll("-", "").slice(0, 12)}-r${generation}-${index}` as GroupId;

/** The entries of a service's first revision (generation 1). */
export const firstEntries = (
  id: ServiceId,
  config: readonly ServiceConfig[],
  models: NamedModels,
): readonly RevisionEntry[] => config.map((c, index) => entry(c, newGroupId(id, 1, index), models));

const entry = (config: ServiceConfig, groupId: GroupId, models: NamedModels): RevisionEntry => {
  const model = models.get(config.modelId);
  if (model === undefined) throw fail("SERVICE_MODEL_NOT_FOUND", { id: config.modelId });
  return { ...config, groupId, modelName: model.name, modelVersion: model.version };
};

/** Envs are compared by content, whatever the order of their names. */
const envKey = (envs: ServiceConfig["envs"]): string =>
  JSON.stringify(Object.entries(envs).toSorted(([a], [b]) => (a < b ? -1 : 1)));

/** Whether running instances of `before` are also right for `after`: nothing an instance is started with differs. */
const startsEqually = (before: ServiceConfig, after: ServiceConfig): boolean =>
  before.modelId === after.modelId &&
  before.specification === after.specification &&
  before.customSpec?.cpu === after.customSpec?.cpu &&
  before.customSpec?.memory === after.customSpec?.memory &&
  before.deployTimeout === after.deployTimeout &&
  before.terminationGracePeriodSeconds === after.terminationGracePeriodSeconds &&
  envKey(before.envs) === envKey(after.envs);

const isSame = (before: ServiceConfig, after: ServiceConfig): boolean =>
  startsEqually(before, after) &&
  before.weight === after.weight &&
  before.instanceCount === after.instanceCount &&
  before.maxSurge === after.maxSurge &&
  before.maxUnavailable === after.maxUnavailable;

/**
 * The entries of the next revision. An entry whose start settings are unchanged keeps its group, so scaling and moving
 * weight restart nothing. New groups throughout when nothing differs (a PUT of the same configuration is the way to
 * restart) or when the service has no healthy instances to keep.
 */
const nextEntries = (
  service: Service,
  revision: Revision,
  config: readonly ServiceConfig[],
  models: NamedModels,
): readonly RevisionEntry[] => {
  const before = new Map(revision.entries.map((e) => [e.modelId, e]));
  const isRestart =
    config.length === revision.entries.length &&
    config.every((c) => {
      const old = before.get(c.modelId);
      return old !== undefined && isSame(old, c);
    });
  const isServing = service.status === "running" || service.status === "concerning";
  return config.map((c, index) => {
    const old = before.get(c.modelId);
    const kept = isServing && !isRestart && old !== undefined && startsEqually(old, c);
    return entry(c, kept ? old.groupId : newGroupId(service.id, service.generation + 1, index), models);
  });
};

const DEPLOYING = { desired: "running", status: "deploying", progress: 0, errorMessage: null } as const;

/** Decides a PUT. `status` wins over `config` when both are there (§2.5). */
export const decideUpdate = (
  service: Service,
  revision: Revision,
  request: UpdateRequest,
  models: NamedModels,
  now: Instant,
): DecidedChange => {
  demand(service, "describe");
  const schedule = request.schedule ?? service.schedule;
  const described = {
    ...(request.description === undefined ? {} : { description: request.description }),
    ...(request.additionalProperties === undefined
      ? {}
      : { additionalProperties: request.additionalProperties }),
    ...(request.schedule === undefined ? {} : { schedule: request.schedule }),
  };
  const scheduled = request.schedule === undefined ? [] : autoStopEvents(request.schedule);
  const say = (...texts: readonly EventText[]): readonly HistoryEvent[] => texts.map((t) => at(t, now));

  if (request.status === "stopped") {
    demand(service, "stop");
    return {
      ...described,
      desired: "stopped",
      status: "stopping",
      progress: 100,
      dueAt: null,
      events: say(...scheduled, serviceEvents.stopping()),
    };
  }
  if (request.status === "running") {
    demand(service, "start");
    // A failed revision is tried again in new groups: its old ones are in back-off and may still be going down.
    const again = service.status === "failed" ? { revision: { entries: fresh(service, revision) } } : {};
    return {
      ...described,
      ...DEPLOYING,
      ...again,
      dueAt: dueTime(schedule, now),
      events: say(...scheduled, serviceEvents.starting()),
    };
  }
  if (request.config !== undefined) {
    demand(service, "configure");
    const starts = service.status === "stopped" || request.schedule !== undefined;
    return {
      ...described,
      ...DEPLOYING,
      revision: { entries: nextEntries(service, revision, request.config, models) },
      ...(starts ? { dueAt: dueTime(schedule, now) } : {}),
      events: say(...scheduled, serviceEvents.updating()),
    };
  }
  return {
    ...described,
    ...(request.schedule === undefined
      ? {}
      : { dueAt: service.desired === "running" ? dueTime(request.schedule, now) : null }),
    events: say(...scheduled),
  };
};

const fresh = (service: Service, revision: Revision): readonly RevisionEntry[] =>
  revision.entries.map((e, index) => ({
    ...e,
    groupId: newGroupId(service.id, service.generation + 1, index),
  }));

/** Decides a PUT of the property `instance_count` (§2.6): new counts for some of the versions. */
export const decideScale = (
  service: Service,
  revision: Revision,
  counts: ReadonlyMap<ModelId, number>,
  now: Instant,
): DecidedChange => {
  demand(service, "scale");
  for (const id of counts.keys()) {
    if (!revision.entries.some((e) => e.modelId === id)) {
      throw fail("SERVICE_MODEL_NOT_IN_USE", { id, service: service.id });
    }
  }
  const scaled = revision.entries.map((e) => ({
    ...e,
    instanceCount: counts.get(e.modelId) ?? e.instanceCount,
  }));
  const changed = revision.entries.filter(
    (e) => (counts.get(e.modelId) ?? e.instanceCount) !== e.instanceCount,
  );
  // Unlike a PUT of the configuration, asking for the count there already is changes nothing and restarts nothing.
  if (changed.length === 0 && service.status !== "failed") return { events: [] };
  const entries = service.status === "failed" ? fresh(service, { ...revision, entries: scaled }) : scaled;
  return {
    ...DEPLOYING,
    revision: { entries },
    events: changed.map((e) =>
      at(
        serviceEvents.scaling(
          `${e.modelName} ${e.modelVersion}`,
          e.instanceCount,
          counts.get(e.modelId) ?? e.instanceCount,
        ),
        now,
      ),
    ),
  };
};

/** Decides a DELETE: allowed always; a second one changes nothing. */
export const decideDelete = (service: Service, now: Instant): DecidedChange =>
  service.desired === "deleted"
    ? { events: [] }
    : {
        desired: "deleted",
        status: "deleting",
        dueAt: null,
        events: [at(serviceEvents.deleting(), now)],
      };

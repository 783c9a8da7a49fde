/**
 * The service reconciler: reads what a service shall be and what runs, lets core/rollout plan and service-verdict judge,
 * and does it. A pass keeps nothing in memory that the next one needs, so it may end at any line and be done again.
 *
 * Order inside a pass, which is what keeps predictions from failing:
 *   a decision that turns the direction (rolled back, failed) is written first and the pass begins anew;
 *   then instances are started and surplus ones marked draining; then the route is written, without the draining ones;
 *   only when every living gateway has applied that route are they released.
 */
import type { Clock } from "../core/clock.ts";
import { at } from "../core/event-texts.ts";
import type { GroupId, InstanceId, Instant, ModelId, ServiceId } from "../core/ids.ts";
import { instant } from "../core/ids.ts";
import type { GroupCounts, RolloutPlan } from "../core/rollout.ts";
import { deployTimeoutMs, planRollout } from "../core/rollout.ts";
import { HEALTH_PATH } from "../core/routing-table.ts";
import type { ServiceRoute } from "../core/routing-table.ts";
import type { Failure, Revision, RevisionEntry, Service } from "../core/service.ts";
import { resourcesOf } from "../core/specifications.ts";
import type { Environments } from "../environments/environments.ts";
import type { GroupObservation, GroupSpec, InstanceSpec, Runner } from "../runners/runner.ts";
import type { ServiceSettlement, Store } from "../store/store.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Effects } from "./loop.ts";
import type { Pass } from "./pass.ts";
import { readBatching, untoldDecisions } from "../core/batching.ts";
import type { Batching } from "../core/batching.ts";
import { apiChecks, readValidation } from "../core/api-rule.ts";
import type { Validation } from "../core/api-rule.ts";
import { automaticStop } from "./schedule.ts";
import { steadyTime } from "./steady-time.ts";
import { SAID_WINDOW_MS, judge, nameOf } from "./service-verdict.ts";

export interface ServiceReconcilerDeps {
  readonly store: Store;
  readonly runner: Runner;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly environments: Pick<Environments, "python">;
  /**
   * Has the files of a version taken that a service wants to start and that were left in the objects (dynamic loading). Null
   * while that is under way; a failure, once it failed after `since`.
   */
  readonly load: (id: ModelId, since: Instant) => Failure | null;
  /** The folder that holds a package's content. */
  readonly packages: { directory(digest: string): string };
  readonly settings: {
    readonly workersPerInstance: number;
    readonly batching: Batching;
    readonly validation: Validation;
    readonly predictTimeoutMs: number;
    readonly startTimeoutMs: number;
    readonly drainTimeoutMs: number;
    readonly instanceConcurrency: number;
    readonly queueMax: number;
    readonly queueAgeMs: number;
  };
}

export interface ServiceReconciler {
  pass(id: ServiceId, signal: AbortSignal, effects?: Effects): Promise<Pass>;
  /** Every service, and every service that only the runner still knows. */
  keys(): Promise<readonly ServiceId[]>;
}

/**
 * A gateway asks for the table at least every 20 s and gives up on an answer after 10 more. One that was not heard of
 * for longer is gone and holds nothing up.
 */
const GATEWAY_LOST_MS = 35_000;
/** After a start, how long gateways that went on without us get to be heard of again before anything is released. */
const REACQUAINT_MS = 5_000;
/** How soon a pass looks again whether the gateways have applied a route; longer each time, for one that is away. */
const APPLIED_RETRY_MS = 20;
const APPLIED_RETRY_MAX_MS = 1_000;
/** How often a pass looks whether a version that is being loaded has come. */
const LOADING_LOOK_MS = 250;

/** See the file header. */
export const createServiceReconciler = (deps: ServiceReconcilerDeps): ServiceReconciler => {
  const { store, runner, clock } = deps;
  const time = steadyTime(clock);
  /** How often in a row a service's pass had to wait for gateways; only for the pause until it looks again. */
  const waits = new Map<ServiceId, number>();
  /** Releases under way; only so that none is begun twice. */
  const releasing = new Set<InstanceId>();

  const groupsOf = async (id: ServiceId): Promise<readonly GroupObservation[]> =>
    (await runner.observe()).filter((g) => g.serviceId === id);

  const pass = async (
    id: ServiceId,
    signal: AbortSignal,
    effects: Effects = { did: () => undefined },
  ): Promise<Pass> => {
    const service = await store.services.byId(id);
    const groups = await groupsOf(id);
    if (service === null) return removeStrays(groups, effects);
    const stop = automaticStop(service, clock.now());
    if (stop !== null) return settle(service, stop, "automatic stop", effects);

    const picture = await read(service, groups);
    const plan = planRollout(picture.input);
    const kind = plan.outcome.kind;
    const said = await history(service, picture.input.since);
    const settlement = judge({
      service,
      wanted: picture.wanted,
      unchanged: new Set(
        picture.input.serving?.number === picture.wanted.number
          ? []
          : picture.input.serving?.entries.map((e) => e.groupId),
      ),
      plan,
      loading: picture.input.loading.size > 0,
      observed: picture.input.observed,
      said,
      // Never before the deployment began: what is said in it is looked for from there on, and said again if not found.
      now: instant(Math.max(clock.now(), picture.input.since)),
    });
    if ((kind === "rolled-back" || kind === "failed") && settlement !== null) {
      return settle(service, settlement, kind, effects);
    }
    if (signal.aborted) return again(clock.now());

    await apply(service, picture, plan, groups, effects);
    const after = await groupsOf(id);
    const route = await routeOf(service, picture, plan, after);
    const version =
      service.desired === "deleted" ? await store.routes.delete(id) : await store.routes.put(route);
    const waitMs = await releaseDrained(service.id, after, version, effects);
    // A status is a promise to callers: who reads `running` gets answers, who reads `stopped` gets none. So it is
    // only said once every gateway routes by it (2 of 100 deployments were called before theirs did, without this).
    const promises = settlement?.status === "running" || settlement?.status === "stopped";
    if (promises && !(await isApplied(version))) return againIn(appliedRetryMs(id));
    if (settlement !== null) return settle(service, settlement, settlement.status ?? "note", effects);
    if (service.desired === "deleted" && after.length === 0) return purge(service, effects);
    await tellDecisions(service, picture, after, effects);
    if (waitMs !== null) return againIn(waitMs);
    waits.delete(id);
    if (picture.input.loading.size > 0 && kind === "progressing") return againIn(LOADING_LOOK_MS);
    return next(service, plan, picture.input.now);
  };

  /** What the plan needs to know, and the start configurations that can be built. */
  const read = async (service: Service, groups: readonly GroupObservation[]): Promise<Picture> => {
    const wanted = await store.services.revision(service.id, service.revision);
    if (wanted === null) throw new Error(`service ${service.id} has no revision ${service.revision}`);
    const serving =
      service.servingRevision === null
        ? null
        : service.servingRevision === wanted.number
          ? wanted
          : await store.services.revision(service.id, service.servingRevision);
    const mode = service.desired === "running" && service.status !== "failed" ? "run" : "stop";
    const since = instant(Math.max(wanted.createdAt, service.transitionAt));
    const loading = new Set<GroupId>();
    const specs = new Map<GroupId, InstanceSpec>();
    const blocked = new Map<GroupId, Failure>();
    for (const entry of mode === "run" ? [...wanted.entries, ...(serving?.entries ?? [])] : []) {
      const spec = await instanceSpec(entry, since);
      if (spec === "loading") loading.add(entry.groupId);
      else if ("reason" in spec) blocked.set(entry.groupId, spec);
      else specs.set(entry.groupId, spec);
    }
    return {
      wanted,
      specs,
      input: {
        mode,
        wanted,
        serving,
        observed: new Map(groups.map((g) => [g.id, countsOf(g)])),
        blocked,
        loading,
        since,
        timeoutMs: deps.settings.startTimeoutMs,
        now: time.nowIn(service.id, since),
      },
    };
  };

  const instanceSpec = async (
    entry: RevisionEntry,
    since: Instant,
  ): Promise<InstanceSpec | Failure | "loading"> => {
    const published = (await store.models.byId(entry.modelId))?.published;
    if (published === null || published === undefined) {
      return {
        reason: "model-missing",
        message: `The AI application ${nameOf(entry)} does not exist any more. Deploy a version that does.`,
      };
    }
    const { packageDigest, environmentKey } = published;
    if (packageDigest === null || environmentKey === null)
      return deps.load(entry.modelId, since) ?? "loading";
    const python = await deps.environments.python(environmentKey);
    if (python === null) {
      return {
        reason: "environment",
        message: `The Python environment of ${nameOf(entry)} is gone. Import the version again.`,
      };
    }
    const { settings } = deps;
    return {
      engine: published.engine,
      modelName: entry.modelName,
      modelVersion: entry.modelVersion,
      packageDir: deps.packages.directory(packageDigest),
      modelFile: published.modelFile,
      python,
      envs: entry.envs,
      workers: settings.workersPerInstance,
      batching: readBatching(entry.envs, settings.batching).batching,
      ...apiChecks(published.config, readValidation(entry.envs, settings.validation).validation),
      ...(resourcesOf(entry) ?? { cpu: 1, memoryMb: 4096 }),
      predictTimeoutMs: settings.predictTimeoutMs,
      startTimeoutMs: deployTimeoutMs(entry, deps.settings.startTimeoutMs),
      drainTimeoutMs: Math.min(settings.drainTimeoutMs, entry.terminationGracePeriodSeconds * 1000),
    };
  };

  /** The history that a verdict may not repeat; read only when it may want to say something. */
  const history = async (service: Service, since: Instant) => {
    if (service.desired !== "running" || service.status === "failed") return [];
    const from = service.status === "deploying" ? since : instant(clock.now() - SAID_WINDOW_MS);
    const { rows } = await store.events.ofService(service.id, { from, order: "desc", offset: 0, limit: 500 });
    return rows;
  };

  /** Writes what instances decided about joining requests into the history, which is also the memory of what was told. */
  const tellDecisions = async (
    service: Service,
    picture: Picture,
    groups: readonly GroupObservation[],
    effects: Effects,
  ): Promise<void> => {
    const entries = new Map(entriesOf(picture).map((e) => [e.groupId, e]));
    for (const group of groups) {
      const entry = entries.get(group.id);
      const decided = group.instances.flatMap((i) =>
        i.state === "ready" && i.batching !== null ? [{ instance: i.id, decision: i.batching }] : [],
      );
      if (entry === undefined || decided.length === 0) continue;
      const ofGroup = { info: ` Instance ${group.id}-`, order: "desc", offset: 0, limit: 100 } as const;
      const { rows } = await store.events.ofService(service.id, ofGroup);
      const told = rows.map((row) => row.info);
      const events = untoldDecisions(nameOf(entry), decided, told).map((text) => at(text, clock.now()));
      if (events.length === 0) continue;
      await store.services.note(service.id, events);
      effects.did(`tell what ${group.id} decided`);
    }
  };

  const settle = async (
    service: Service,
    settlement: ServiceSettlement,
    what: string,
    effects: Effects,
  ): Promise<Pass> => {
    const isWritten = await store.services.settle(service.id, service.generation, clock.now(), settlement);
    if (isWritten) effects.did(what);
    return again(clock.now());
  };

  const apply = async (
    service: Service,
    picture: Picture,
    plan: RolloutPlan,
    groups: readonly GroupObservation[],
    effects: Effects,
  ): Promise<void> => {
    const known = new Map(groups.map((g) => [g.id, g]));
    const isInPlay = (id: GroupId): boolean => picture.input.mode === "run" && picture.specs.has(id);
    for (const [id, replicas] of plan.replicas) {
      const group = known.get(id);
      const spec = picture.specs.get(id);
      if (replicas > 0 && spec !== undefined) {
        const wanted: GroupSpec = { id, serviceId: service.id, replicas, instance: spec };
        await runner.apply(wanted);
        if (group === undefined) effects.did(`start ${id}`);
      } else if (group !== undefined) {
        await runner.scale(id, replicas);
        const isEmpty = group.instances.every((i) => i.state === "failed");
        if (replicas === 0 && isEmpty && !isInPlay(id)) {
          await runner.remove(id);
          effects.did(`remove ${id}`);
        }
      }
    }
  };

  const routeOf = async (
    service: Service,
    picture: Picture,
    plan: RolloutPlan,
    groups: readonly GroupObservation[],
  ): Promise<ServiceRoute> => {
    const { weights } = plan;
    const entries = new Map(entriesOf(picture).map((e) => [e.groupId, e]));
    // Rarely: what a skipped revision has ready still carries traffic until it is replaced.
    if ([...weights.keys()].some((id) => !entries.has(id))) {
      for (const old of await store.services.revisions(service.id)) {
        for (const e of old.entries) if (!entries.has(e.groupId)) entries.set(e.groupId, e);
      }
    }
    return {
      id: service.id,
      projectId: service.projectId,
      name: service.name,
      state: picture.input.mode === "run" ? "serving" : "stopped",
      groups: [...weights].map(([id, weight]) => {
        const entry = entries.get(id);
        const ready = (groups.find((g) => g.id === id)?.instances ?? []).filter((i) => i.state === "ready");
        return {
          id,
          modelId: entry?.modelId ?? "",
          modelName: entry?.modelName ?? "",
          modelVersion: entry?.modelVersion ?? "",
          weight,
          concurrency: deps.settings.instanceConcurrency,
          queueMax: deps.settings.queueMax,
          queueAgeMs: deps.settings.queueAgeMs,
          // What every instance of ours serves (core/launch.ts).
          healthPath: HEALTH_PATH,
          instances: ready.map(({ id: instance, url }) => ({ id: instance, url })),
        };
      }),
    };
  };

  const isApplied = (version: number): Promise<boolean> =>
    store.routes.isApplied(version, time.ago(GATEWAY_LOST_MS));

  const againIn = (ms: number): Pass => again(instant(clock.now() + ms));

  const appliedRetryMs = (id: ServiceId): number => {
    const before = waits.get(id) ?? 0;
    waits.set(id, before + 1);
    return Math.min(APPLIED_RETRY_MAX_MS, APPLIED_RETRY_MS * 2 ** Math.max(0, before - 4));
  };

  /** Begins the releases that may begin; says in how many ms to look again while some may not. */
  const releaseDrained = async (
    id: ServiceId,
    groups: readonly GroupObservation[],
    version: number,
    effects: Effects,
  ): Promise<number | null> => {
    const draining = groups.flatMap((g) =>
      g.instances
        .filter((i) => i.state === "draining" && !releasing.has(i.id))
        .map((i) => ({ group: g.id, i })),
    );
    if (draining.length === 0) return null;
    if (time.ageMs() < REACQUAINT_MS) return Math.ceil(REACQUAINT_MS - time.ageMs());
    if (!(await isApplied(version))) return appliedRetryMs(id);
    for (const { group, i } of draining) {
      releasing.add(i.id);
      effects.did(`release ${i.id}`);
      // Not awaited: predictions in flight may take long, and the service must be able to change meanwhile.
      void runner
        .release(group, i.id)
        .catch((error: unknown) => deps.logger.error({ err: error, instance: i.id }, "release failed"))
        .finally(() => releasing.delete(i.id));
    }
    return null;
  };

  const purge = async (service: Service, effects: Effects): Promise<Pass> => {
    const revisions = await store.services.revisions(service.id);
    const groups = new Set(revisions.flatMap((r) => r.entries.map((e) => e.groupId)));
    for (const group of groups) await runner.removeLogs(group);
    await store.services.purge(service.id);
    time.forget(service.id);
    waits.delete(service.id);
    effects.did("purge");
    return { kind: "done" };
  };

  /** Instances of a service that is not there: left by a process that was killed between two lines. */
  const removeStrays = async (groups: readonly GroupObservation[], effects: Effects): Promise<Pass> => {
    for (const group of groups) {
      await runner.remove(group.id);
      await runner.removeLogs(group.id);
      effects.did(`remove ${group.id}`);
    }
    return { kind: "done" };
  };

  const next = (service: Service, plan: RolloutPlan, now: Instant): Pass => {
    const moments: Instant[] = [];
    if (plan.outcome.kind === "progressing") moments.push(instant(clock.now() + plan.outcome.failsAt - now));
    if (service.desired === "running" && service.dueAt !== null) moments.push(service.dueAt);
    return moments.length === 0 ? { kind: "done" } : again(instant(Math.min(...moments)));
  };

  const keys = async (): Promise<readonly ServiceId[]> => {
    const observed = (await runner.observe()).flatMap((g) => (g.serviceId === null ? [] : [g.serviceId]));
    return [...new Set([...(await store.services.all()).map((s) => s.id), ...observed])];
  };

  return { pass, keys };
};

interface Picture {
  readonly wanted: Revision;
  /** Start configurations of the groups in play, where they can be built. */
  readonly specs: ReadonlyMap<GroupId, InstanceSpec>;
  readonly input: Parameters<typeof planRollout>[0];
}

/** Of the revision that is wanted and the one that serves. */
const entriesOf = ({ wanted, input: { serving } }: Picture): readonly RevisionEntry[] => [
  ...wanted.entries,
  ...(serving?.entries ?? []),
];

const again = (moment: Instant): Pass => ({ kind: "again", at: moment });

const countsOf = (group: GroupObservation): GroupCounts => {
  const count = (state: string): number => group.instances.filter((i) => i.state === state).length;
  return {
    ready: count("ready"),
    starting: count("starting"),
    draining: count("draining"),
    failed: count("failed"),
    failuresInARow: group.failuresInARow,
    lastFailure: group.lastFailure,
  };
};

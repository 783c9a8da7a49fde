/**
 * One service between its user, its instances, its gateways and a control role that comes and goes: the real rules, store
 * (SQLite) and reconciler on a fake clock and a fake runner. `play` does one thing that can happen and then looks whether
 * everything that must always be true still is; what must be true of single writes is looked at as they are made.
 */
import { NO_VALIDATION } from "../../src/core/api-rule.ts";
import { NO_BATCHING } from "../../src/core/batching.ts";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { AppError } from "../../src/core/errors.ts";
import { instant } from "../../src/core/ids.ts";
import type { GroupId, ModelId, ServiceId } from "../../src/core/ids.ts";
import type { HistoryEvent } from "../../src/core/model.ts";
import type { ServiceRoute } from "../../src/core/routing-table.ts";
import { decideDelete, decideScale, decideUpdate, firstEntries } from "../../src/core/service-update.ts";
import type { DecidedChange, NamedModels } from "../../src/core/service-update.ts";
import type { Revision, Service, ServiceConfig, ServiceStatus } from "../../src/core/service.ts";
import { followChanges } from "../../src/reconcile/follow.ts";
import { createLoop } from "../../src/reconcile/loop.ts";
import { createServiceReconciler } from "../../src/reconcile/service.ts";
import { createFakeRunner } from "../../src/runners/fake.ts";
import type { FakeRunner } from "../../src/runners/fake.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/store.ts";
import { FakeClock } from "./clock.ts";
import { MOVES, script } from "./service-actions.ts";
import type { Action, Way, Wish } from "./service-actions.ts";
import { PROJECT, sampleModel, sampleService } from "./store-samples.ts";

const logger = pino({ level: "silent" });
/** As in reconcile/service.ts: a gateway that was not heard of for longer holds nothing up. */
const GATEWAY_LOST_MS = 35_000;
const ACKNOWLEDGED_AFTER_MS = 30;
const HEARTBEAT_MS = 10_000;

interface Gateway {
  readonly id: string;
  mode: "follows" | "lags" | "gone";
  applied: number;
  heardAt: number;
  /** The instances it sends predictions to. */
  routed: ReadonlySet<string>;
}

const demand: (claim: boolean, sentence: string) => asserts claim = (claim, sentence) => {
  if (!claim) throw new Error(sentence);
};

const sum = (numbers: Iterable<number>): number => [...numbers].reduce((a, b) => a + b, 0);

export class ServiceMachine {
  readonly clock = new FakeClock();
  #directory = mkdtempSync(join(tmpdir(), "mp-machine-"));
  #store!: Store;
  #runner!: FakeRunner;
  #control: { stop(): Promise<void> } | null = null;
  #models: ModelId[] = [];
  #named: NamedModels = new Map();
  #id: ServiceId | null = null;
  #failedPasses = 0;
  #environment = true;
  readonly #gateways: readonly Gateway[] = ["gw-0", "gw-1"].map((id) => ({
    id,
    mode: "follows",
    applied: 0,
    heardAt: 0,
    routed: new Set<string>(),
  }));
  readonly #over = new AbortController();
  #unsubscribe: () => void = () => undefined;
  // What was seen before, for what may only go one way.
  #status: ServiceStatus | null = null;
  #events: readonly HistoryEvent[] = [];
  #revisions = new Map<number, Revision>();
  #wishes = 0;
  readonly #outcomes = new Map<string, string>();
  readonly #wereReady = new Set<GroupId>();
  /** Something happened that an update need not bridge. */
  #disturbed = true;
  /** The least that must be ready while updates go well; of all revisions since the last calm moment. */
  #floor = 0;
  readonly broken: string[] = [];

  async open(): Promise<this> {
    this.#store = await openStore({
      database: { kind: "sqlite", path: join(this.#directory, "modelport.db") },
      clock: this.clock,
      logger,
    });
    this.#runner = createFakeRunner({ clock: this.clock, logger, script });
    const named = new Map<ModelId, { name: string; version: string }>();
    for (const version of ["1.0.0", "1.0.1", "1.0.2"]) {
      const model = sampleModel({ name: "m", version });
      await this.#store.models.create(model, { type: "normal", info: "made", occurredAt: this.clock.now() });
      const published = {
        engine: "Scikit_Learn" as const,
        packageDigest: "d",
        sizeBytes: 1,
        modelFile: "m",
        hasCustomService: true,
        environmentKey: "e",
        config: {},
      };
      await this.#store.models.finish(model.id, { published }, []);
      this.#models.push(model.id);
      named.set(model.id, { name: "m", version });
    }
    this.#named = named;
    this.#unsubscribe = this.#store.changes.onChange(() => {
      for (const gateway of this.#gateways) void this.#followSoon(gateway);
    });
    for (const gateway of this.#gateways) {
      await this.#hear(gateway);
      void this.#beat(gateway);
    }
    await this.#startControl();
    // Past the time in which gateways that went on without control get to be heard of again.
    await this.clock.advance(6000);
    return this;
  }

  async close(): Promise<void> {
    this.#over.abort();
    this.#unsubscribe();
    await this.#control?.stop();
    const closed = this.#runner.close({ stopInstances: true });
    // Instances that drain do so on the fake clock.
    await this.clock.advance(1_000);
    await closed;
    await this.#store.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async play(action: Action): Promise<void> {
    await this.#act(action);
    await this.clock.advance(ACKNOWLEDGED_AFTER_MS + 70);
    await this.check();
  }

  async #act(action: Action): Promise<void> {
    switch (action.kind) {
      case "deploy":
        return this.#deploy(action.wish);
      case "configure": {
        const config = this.#configOf(action.wish);
        this.#lower(config, action.wish.way);
        return this.#write((s, r) => decideUpdate(s, r, { config }, this.#named, this.clock.now()));
      }
      case "scale": {
        this.#floor = Math.min(this.#floor, action.count - 1);
        return this.#write((s, r) =>
          decideScale(
            s,
            r,
            new Map(r.entries.slice(0, 1).map((e) => [e.modelId, action.count])),
            this.clock.now(),
          ),
        );
      }
      case "restart":
        return this.#write((s, r) =>
          decideUpdate(s, r, { config: r.entries }, this.#named, this.clock.now()),
        );
      case "stop":
      case "start": {
        this.#disturbed = true;
        const status = action.kind === "stop" ? "stopped" : "running";
        return this.#write((s, r) => decideUpdate(s, r, { status }, this.#named, this.clock.now()));
      }
      case "describe":
        return this.#write((s, r) =>
          decideUpdate(s, r, { description: `d${s.generation}` }, this.#named, this.clock.now()),
        );
      case "delete":
        this.#disturbed = true;
        return this.#write((s) => decideDelete(s, this.clock.now()));
      case "crash":
      case "pause":
      case "resume": {
        const alive = this.#runner.alive();
        const instance = alive[action.pick % Math.max(1, alive.length)];
        if (instance === undefined) return;
        this.#disturbed = true;
        if (action.kind === "crash")
          this.#runner.crash(instance, { reason: "exited", message: "It fell over." });
        else if (this.#everReady.has(instance)) this.#runner.pause(instance, action.kind === "pause");
        return;
      }
      case "wait":
        return this.clock.advance(action.ms);
      case "control":
        await this.#control?.stop();
        this.#control = null;
        await this.clock.advance(action.downMs);
        return this.#startControl();
      case "gateway": {
        const gateway = this.#gateways[action.which];
        if (gateway === undefined) return;
        gateway.mode = action.mode;
        if (action.mode === "follows") await this.#hear(gateway);
        return;
      }
      case "environment":
        this.#environment = action.there;
        if (!action.there) this.#disturbed = true;
        return;
      default:
        return action satisfies never;
    }
  }

  /** What must be true at any moment at which nothing is under way. */
  async check(): Promise<void> {
    for (const sentence of this.broken) throw new Error(sentence);
    demand(this.#failedPasses === 0, "a pass of the reconciler threw");
    if (this.#id === null) return;
    const service = await this.#store.services.byId(this.#id);
    const route = await this.#store.routes.get(this.#id);
    const groups = await this.#runner.observe();
    if (service === null) {
      demand(route === null, "a route outlived its service");
      demand(
        (await this.#store.services.revisions(this.#id)).length === 0,
        "revisions outlived their service",
      );
      demand((await this.#history(this.#id)).length === 0, "a history outlived its service");
      demand(groups.length === 0, `instances outlived their service: ${JSON.stringify(groups)}`);
      this.#forget();
      return;
    }
    this.#see(service.status);
    await this.#checkHistory(service);
    this.#checkRoute(route, groups);
    const serving = service.servingRevision;
    demand(serving === null || this.#revisions.has(serving), `the serving revision ${serving} is not there`);
    if (service.status === "running" && service.servingRevision === service.revision) {
      const isWhole = (this.#revisions.get(service.revision)?.entries ?? []).every(
        (e) =>
          groups.find((g) => g.id === e.groupId)?.instances.filter((i) => i.state === "ready").length ===
          e.instanceCount,
      );
      if (
        isWhole &&
        groups.every((g) => g.instances.every((i) => i.state === "ready" || i.state === "draining"))
      ) {
        this.#disturbed = false;
        this.#floor = this.#leastOf(this.#revisions.get(service.revision)?.entries ?? []);
      }
    }
  }

  /** Once nothing disturbs it any more, it must come to what its user wants. */
  async converge(): Promise<void> {
    this.#environment = true;
    for (const gateway of this.#gateways) {
      gateway.mode = "follows";
      await this.#hear(gateway);
    }
    for (const instance of this.#runner.alive())
      if (this.#everReady.has(instance)) this.#runner.pause(instance, false);
    await this.clock.advance(420_000);
    await this.check();
    if (this.#id === null) return;
    const service = await this.#store.services.byId(this.#id);
    if (service === null) return;
    const groups = await this.#runner.observe();
    const instances = groups.flatMap((g) => g.instances.map((i) => [g.id, i.state] as const));
    demand(service.desired !== "deleted", "it was deleted and is still there");
    if (service.desired === "stopped" || service.status === "failed") {
      demand(service.status !== "stopping", "it never stopped");
      demand(instances.length === 0, `it is ${service.status} and has ${JSON.stringify(instances)}`);
      return;
    }
    const wanted = this.#revisions.get(service.revision);
    demand(service.status === "running", `it is ${service.status} long after all was well`);
    const entries = wanted?.entries ?? [];
    const should = entries.flatMap((e) =>
      Array.from({ length: e.instanceCount }, () => `${e.groupId} ready`),
    );
    demand(
      JSON.stringify(instances.map((i) => i.join(" ")).toSorted()) === JSON.stringify(should.toSorted()),
      `it should have ${should.join(", ")} and has ${instances.join("; ")}`,
    );
    const route = await this.#store.routes.get(service.id);
    for (const e of entries)
      demand(
        (route?.groups.find((g) => g.id === e.groupId)?.weight ?? 0) === e.weight,
        `${e.groupId} has a weight of ${JSON.stringify(route?.groups)} instead of ${e.weight}`,
      );
  }

  readonly #everReady = new Set<string>();

  #configOf(wish: Wish): readonly ServiceConfig[] {
    const one = (model: number, weight: number): ServiceConfig => ({
      modelId: this.#models[model % 3] ?? ("" as ModelId),
      weight,
      specification: "modelarts.vm.cpu.2u",
      customSpec: null,
      instanceCount: wish.count,
      envs: { WAY: wish.way },
      deployTimeout: 3,
      maxSurge: wish.surge,
      maxUnavailable: wish.unavailable,
      terminationGracePeriodSeconds: 30,
    });
    return wish.versions === 1
      ? [one(wish.first, 100)]
      : [one(wish.first, wish.weight), one(wish.first + 1, 100 - wish.weight)];
  }

  /** What is without weight serves nobody, however many of it run. */
  #leastOf(config: readonly ServiceConfig[]): number {
    const serving = config.filter((c) => c.weight > 0);
    return sum(serving.map((c) => c.instanceCount - Math.floor(c.maxUnavailable)));
  }

  #lower(config: readonly ServiceConfig[], way: Way): void {
    this.#floor = Math.min(this.#floor, this.#leastOf(config));
    // What the wish takes away, it may take from what the one before had.
    this.#floor -= sum(config.map((c) => c.maxUnavailable));
    if (way !== "ready" && way !== "slow") this.#disturbed = true;
  }

  async #deploy(wish: Wish): Promise<void> {
    if (this.#id !== null) return;
    const id = randomUUID() as ServiceId;
    const now = this.clock.now();
    const times = { publishAt: now, updateAt: now, transitionAt: now, operationAt: now };
    const service: Service = { ...sampleService({ id, name: "svc" }), ...times };
    await this.#store.services.create(service, firstEntries(id, this.#configOf(wish), this.#named), [
      { type: "normal", info: "The service starts to be deployed.", occurredAt: now },
    ]);
    this.#id = id;
    this.#wishes += 1;
    this.#disturbed = true;
    this.#status = "deploying";
  }

  /** A write of the user's. One that is refused leaves everything as it was. */
  async #write(decide: (service: Service, revision: Revision) => DecidedChange): Promise<void> {
    if (this.#id === null) return;
    try {
      const written = await this.#store.services.update(PROJECT, this.#id, this.clock.now(), decide);
      if (written === null) return;
      this.#wishes += 1;
      this.#see(written.service.status);
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== "SERVICE_STATE") throw error;
    }
  }

  #see(status: ServiceStatus): void {
    const before = this.#status;
    if (before === status) return;
    if (before !== null && !MOVES[before].includes(status))
      this.broken.push(`it went from ${before} to ${status}`);
    this.#status = status;
  }

  #forget(): void {
    this.#id = null;
    this.#status = null;
    this.#events = [];
    this.#revisions = new Map();
    this.#outcomes.clear();
    this.#disturbed = true;
  }

  async #history(id: ServiceId): Promise<readonly HistoryEvent[]> {
    return (await this.#store.events.ofService(id, { order: "asc", offset: 0, limit: 1000 })).rows;
  }

  async #checkHistory(service: Service): Promise<void> {
    const events = await this.#history(service.id);
    const kept = events.slice(0, this.#events.length);
    demand(
      JSON.stringify(kept) === JSON.stringify(this.#events),
      "lines of the history changed or went away",
    );
    this.#events = events;
    for (const revision of await this.#store.services.revisions(service.id)) {
      const before = this.#revisions.get(revision.number);
      demand(
        before === undefined || JSON.stringify(before.entries) === JSON.stringify(revision.entries),
        `revision ${revision.number} changed`,
      );
      this.#revisions.set(revision.number, revision);
    }
  }

  #checkRoute(route: ServiceRoute | null, groups: Awaited<ReturnType<FakeRunner["observe"]>>): void {
    if (route === null) return;
    const ready = new Set<string>(
      groups.flatMap((g) => g.instances.filter((i) => i.state === "ready").map((i) => i.id)),
    );
    for (const group of route.groups)
      for (const instance of group.instances)
        demand(ready.has(instance.id), `the route names ${instance.id}, which is not ready`);
  }

  /** What must be true of every single route that is written. */
  #checkWrittenRoute(route: ServiceRoute, service: Service | null): void {
    const weights = route.groups.map((g) => g.weight);
    const claim = (isTrue: boolean, sentence: string): void => {
      if (!isTrue) this.broken.push(sentence);
    };
    claim(
      weights.every((w) => Number.isInteger(w) && w >= 0),
      `weights ${weights.join(", ")}`,
    );
    claim(weights.length === 0 || sum(weights) === 100, `weights ${weights.join(" + ")} are not 100`);
    claim(
      new Set(route.groups.map((g) => g.id)).size === weights.length,
      `a group is in the route twice: ${route.groups.map((g) => g.id).join(", ")}`,
    );
    if (service === null || route.state === "stopped") return;
    const ready = sum(route.groups.map((g) => g.instances.length));
    if (!this.#disturbed)
      claim(
        ready >= Math.max(1, this.#floor),
        `only ${ready} of at least ${this.#floor} instances serve in an update`,
      );
    // A revision of which one version never was ready gets nothing while another can carry the traffic.
    const wanted = this.#revisions.get(service.revision);
    const serving =
      service.servingRevision === null ? undefined : this.#revisions.get(service.servingRevision);
    if (wanted === undefined || serving === undefined || wanted === serving) return;
    const served = new Set(serving.entries.map((e) => e.groupId));
    const isOpen = wanted.entries.every((e) => e.weight === 0 || this.#wereReady.has(e.groupId));
    if (isOpen || this.#disturbed) return;
    for (const e of wanted.entries.filter((entry) => !served.has(entry.groupId)))
      claim(
        (route.groups.find((g) => g.id === e.groupId)?.weight ?? 0) === 0,
        `${e.groupId} gets traffic before every version of its revision was ready`,
      );
  }

  async #startControl(): Promise<void> {
    const store = this.#watched();
    const runner = this.#guarded();
    const reconciler = createServiceReconciler({
      store,
      runner,
      clock: this.clock,
      logger,
      environments: { python: () => Promise.resolve(this.#environment ? "/python" : null) },
      load: () => null,
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
    const loop = createLoop<ServiceId>({
      name: "service",
      keys: () => reconciler.keys(),
      pass: (key, signal, effects) => reconciler.pass(key, signal, effects),
      clock: this.clock,
      logger,
      random: () => 0.5,
      concurrency: 4,
      metrics: {
        pass: (_loop, outcome) => {
          if (outcome === "failed") this.#failedPasses += 1;
        },
        corrections: () => undefined,
        queued: () => undefined,
      },
    });
    const following = await followChanges({
      changes: store.changes,
      clock: this.clock,
      logger,
      onChange: (change) => change.kind === "service" && loop.enqueue(change.id as ServiceId),
    });
    const unsubscribe = runner.onChange((_group, service) => service !== null && loop.enqueue(service));
    loop.start();
    this.#control = {
      stop: async () => {
        unsubscribe();
        await following.stop();
        await loop.stop();
      },
    };
  }

  /** The store, with a look at every write of the reconciler. */
  #watched(): Store {
    const { services, routes } = this.#store;
    return {
      ...this.#store,
      services: {
        ...services,
        settle: async (id, generation, now, settlement) => {
          const isWritten = await services.settle(id, generation, now, settlement);
          if (!isWritten) return false;
          if (settlement.status !== undefined) this.#see(settlement.status);
          const result = settlement.revisionResult;
          if (result === undefined) return true;
          const key = `revision ${result.number} after the user's wish ${this.#wishes}`;
          const before = this.#outcomes.get(key);
          if (before !== undefined && before !== result.result)
            this.broken.push(`${key} is ${before} and then ${result.result}`);
          this.#outcomes.set(key, result.result);
          return true;
        },
      },
      routes: {
        ...routes,
        put: async (route) => {
          const id = route.id as ServiceId;
          const service = await services.byId(id);
          for (const group of await this.#runner.observe())
            for (const i of group.instances)
              if (i.state === "ready") {
                this.#wereReady.add(group.id);
                this.#everReady.add(i.id);
              }
          if (service !== null)
            for (const r of await services.revisions(id)) this.#revisions.set(r.number, r);
          this.#checkWrittenRoute(route, service);
          return routes.put(route);
        },
      },
    };
  }

  /** The runner, with a look at every end of an instance. */
  #guarded(): FakeRunner {
    const runner = this.#runner;
    const mayEnd = (instance: string, how: string): void => {
      for (const gateway of this.#gateways) {
        const isHeard = gateway.heardAt >= this.clock.now() - GATEWAY_LOST_MS;
        if (isHeard && gateway.routed.has(instance))
          this.broken.push(`${instance} was ${how} while ${gateway.id} sends predictions to it`);
      }
    };
    return {
      ...runner,
      release: (group, instance) => {
        mayEnd(instance, "released");
        return runner.release(group, instance);
      },
      remove: async (group) => {
        for (const g of await runner.observe())
          if (g.id === group)
            for (const i of g.instances)
              if (i.state === "ready" || i.state === "draining") mayEnd(i.id, "removed");
        return runner.remove(group);
      },
    };
  }

  /** The gateway applies the table as it is now and says so. */
  async #hear(gateway: Gateway): Promise<void> {
    const table = await this.#store.routes.table();
    gateway.routed = new Set(
      table.services.flatMap((s) => s.groups.flatMap((g) => g.instances.map((i) => String(i.id)))),
    );
    gateway.applied = table.version;
    await this.#say(gateway);
  }

  async #say(gateway: Gateway): Promise<void> {
    gateway.heardAt = this.clock.now();
    await this.#store.routes.acknowledge(gateway.id, gateway.applied, instant(this.clock.now()));
  }

  async #followSoon(gateway: Gateway): Promise<void> {
    await this.clock.sleep(ACKNOWLEDGED_AFTER_MS, this.#over.signal);
    if (!this.#over.signal.aborted && gateway.mode === "follows") await this.#hear(gateway);
  }

  async #beat(gateway: Gateway): Promise<void> {
    for (;;) {
      await this.clock.sleep(HEARTBEAT_MS, this.#over.signal);
      if (this.#over.signal.aborted) return;
      if (gateway.mode === "follows") await this.#hear(gateway);
      if (gateway.mode === "lags") await this.#say(gateway);
    }
  }
}

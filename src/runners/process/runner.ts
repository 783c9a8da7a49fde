/**
 * The process runner: instances as processes of this machine (instance.ts), kept by groups.ts, remembered in files
 * (files.ts). Opening takes over what an earlier process left running and removes what it left dead.
 */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Clock } from "../../core/clock.ts";
import type { GroupId } from "../../core/ids.ts";
import type { Confinement, LaunchSpec } from "../../core/launch.ts";
import type { TracingSettings } from "../../core/tracing.ts";
import type { Logger } from "../../telemetry/logger.ts";
import type { DrivenInstance, InstanceReport } from "../groups.ts";
import { GroupKeeper, instanceIdOf } from "../groups.ts";
import type { GroupSpec, Runner } from "../runner.ts";
import { filesIn, leftGroups, listNames, lock, nextNumber, remove, writeJson } from "./files.ts";
import type { GroupRecord, RunnerFiles } from "./files.ts";
import type { InstanceDeps, WatchedProcess } from "./instance.ts";
import { adoptInstance, launchInstance } from "./instance.ts";
import { readLogs } from "./logs.ts";
import { PASSAGE, openIsolation } from "./isolation.ts";
import type { UserRange } from "./isolation.ts";
import { StartTurns } from "./start-turns.ts";
import { mkdirSync } from "node:fs";

export interface ProcessRunnerOptions {
  readonly dataDir: string;
  /** The Node that runs instance programs, and the program: `<nodePath> <mainPath> modelserver --spec FILE`. */
  readonly nodePath: string;
  readonly mainPath: string;
  /** Address instances listen on. */
  readonly host: string;
  readonly errorInfo: boolean;
  /** Handed to instances; null: they make no traces. */
  readonly tracing?: TracingSettings | null;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The platform's environment; instances get the few variables of it that programs cannot do without. */
  readonly hostEnv: Readonly<Record<string, string | undefined>>;
  /** The accelerators instances may see; null: all. */
  readonly devices: readonly string[] | null;
  /** Users that services' code runs as, one each; null or absent: it runs as the platform's. */
  readonly serviceUsers?: UserRange | null;
}

const PASSED_ON = ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"] as const;

/** What OpenBLAS needs to be told on some processors; user code computes wrong results there without it. */
const NATIVE_LIBRARIES = /^OPENBLAS_(?:CORETYPE|L2_SIZE)$/;

/** Opens the runner on a data directory; throws when a living process already runs one there. */
export const openProcessRunner = async (options: ProcessRunnerOptions): Promise<Runner> => {
  const { clock, logger } = options;
  const files = filesIn(options.dataDir);
  const unlock = lock(files);
  const isolation = openIsolation(options.dataDir, options.serviceUsers ?? null);
  logger.info(isolation.facts, "isolation");
  const deps: InstanceDeps = {
    clock,
    logger,
    nodePath: options.nodePath,
    mainPath: options.mainPath,
    env: Object.fromEntries(
      PASSED_ON.flatMap((name) => {
        const value = options.hostEnv[name];
        return value === undefined ? [] : [[name, value]];
      }),
    ),
  };
  const directoryOf = (group: GroupId): string => join(files.instances, group);
  const logFileOf = (group: GroupId, n: number): string =>
    join(files.logs, group, `${instanceIdOf(group, n)}.log`);

  // Half of the processors stay with those that serve.
  const turns = new StartTurns(clock, Math.max(1, Math.floor(availableParallelism() / 2)));
  const keeper = new GroupKeeper({
    clock,
    logger,
    driver: {
      start: (group, n, report) => {
        const directory = join(directoryOf(group.id), String(n));
        const spec = launchSpec(group, n, directory, options);
        const confine = (): Confinement => isolation.confine(group, spec.instanceId);
        const logFile = logFileOf(group.id, n);
        const launch = (told: typeof report): DrivenInstance =>
          launchInstance(deps, directory, logFile, spec, confine, told);
        // The trial of an import is one instance, and has a deadline of its own that knows of no turns.
        return group.serviceId === null ? launch(report) : turns.launch(launch, report);
      },
      save: (spec, next) => {
        mkdirSync(directoryOf(spec.id), { recursive: true, mode: PASSAGE });
        const record: GroupRecord = { spec, next };
        writeJson(join(directoryOf(spec.id), "group.json"), record);
      },
      nextNumber: (group) => nextNumber(files, group),
      forget: (group) => {
        remove(directoryOf(group));
        return Promise.resolve();
      },
    },
  });
  isolation.sweep(await adoptAll(files, keeper, deps, logFileOf, logger));

  return {
    apply: (group) => keeper.apply(group),
    scale: (group, replicas) => keeper.scale(group, replicas),
    release: (group, instance) => keeper.release(group, instance),
    remove: (group) => keeper.remove(group),
    observe: () => keeper.observe(),
    measure: () => keeper.measure(),
    onChange: (listener) => keeper.onChange(listener),
    logs: (group, read) => readLogs(join(files.logs, group), clock, read),
    removeLogs: (group) => {
      remove(join(files.logs, group));
      return Promise.resolve();
    },
    loggedGroups: () =>
      // The platform's own log lies beside the groups'.
      Promise.resolve(listNames(files.logs).filter((name) => name !== "platform") as GroupId[]),
    close: async (how) => {
      await keeper.close(how);
      isolation.close();
      unlock();
    },
  };
};

/**
 * Takes over what runs, and looks at each once before anybody asks: a control role that came back must not believe for
 * a moment that nothing is ready, and lead traffic away from instances that never stopped serving. Returns what runs.
 */
const adoptAll = async (
  files: RunnerFiles,
  keeper: GroupKeeper,
  deps: InstanceDeps,
  logFileOf: (group: GroupId, n: number) => string,
  logger: Logger,
): Promise<ReadonlySet<string>> => {
  const adopted: WatchedProcess[] = [];
  const names = new Set<string>();
  for (const { id, record, numbers } of leftGroups(files)) {
    const found = numbers.flatMap((n) => {
      const instance = adoptInstance(deps, join(files.instances, id, String(n)), logFileOf(id, n));
      if (instance === null) return [];
      names.add(instanceIdOf(id, n));
      const attach = (report: (seen: InstanceReport) => void): WatchedProcess => {
        const watched = instance.attach(report);
        adopted.push(watched);
        return watched;
      };
      return [{ n, ending: instance.isEnding, attach }];
    });
    if (record === null) {
      // Without its record nobody knows whose the group is; ended, its service starts it anew.
      await Promise.all(found.map((i) => i.attach(() => undefined).end("drain")));
    }
    if (record === null || found.length === 0) {
      remove(join(files.instances, id));
      continue;
    }
    keeper.adopt(record.spec, found);
    logger.info({ group: id, instances: found.length }, "instances adopted");
  }
  await Promise.all(adopted.map((watched) => watched.looked));
  return names;
};

const launchSpec = (
  group: GroupSpec,
  n: number,
  directory: string,
  options: ProcessRunnerOptions,
): LaunchSpec => {
  const { instance } = group;
  return {
    instanceId: instanceIdOf(group.id, n),
    engine: instance.engine,
    modelName: instance.modelName,
    modelVersion: instance.modelVersion,
    packageDir: instance.packageDir,
    modelFile: instance.modelFile,
    python: instance.python,
    envs: instance.envs,
    hostEnv: Object.fromEntries(
      Object.entries(options.hostEnv).flatMap(([name, value]) =>
        value !== undefined && NATIVE_LIBRARIES.test(name) ? [[name, value]] : [],
      ),
    ),
    ...(options.devices === null ? {} : { devices: options.devices }),
    workers: instance.workers,
    ...(instance.batching === undefined ? {} : { batching: instance.batching }),
    ...(instance.requestRule === undefined ? {} : { requestRule: instance.requestRule }),
    ...(instance.answerRule === undefined ? {} : { answerRule: instance.answerRule }),
    predictTimeoutMs: instance.predictTimeoutMs,
    startTimeoutMs: instance.startTimeoutMs,
    drainTimeoutMs: instance.drainTimeoutMs,
    errorInfo: options.errorInfo,
    tracing: options.tracing ?? null,
    serviceId: group.serviceId ?? "",
    host: options.host,
    addressFile: join(directory, "address.json"),
    scratchDir: join(directory, "scratch"),
  };
};

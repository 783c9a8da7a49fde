/**
 * Puts the control role together: store, objects, environments, runner, API and reconcilers, each built once from the
 * settings. The API and the reconcilers meet only in the store.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Registry } from "prom-client";
import { bootstrapIdentity } from "./api/bootstrap.ts";
import type { FirstCredentials } from "./api/bootstrap.ts";
import { loadOrCreateSecrets } from "./api/secrets.ts";
import { createApi } from "./api/server.ts";
import type { Config } from "./config.ts";
import type { ModelId, ServiceId } from "./core/ids.ts";
import type { InstanceLogs } from "./core/instance-logs.ts";
import { VERSION } from "./core/version.ts";
import { openEnvironments } from "./environments/open-environments.ts";
import { openDirectoryObjects } from "./objects/directory.ts";
import { followChanges } from "./reconcile/follow.ts";
import { createImporter } from "./reconcile/import.ts";
import { createLoop } from "./reconcile/loop.ts";
import { createLoopMetrics } from "./reconcile/metrics.ts";
import { openPackages } from "./reconcile/packages.ts";
import { createRetention } from "./reconcile/retention.ts";
import { createServiceReconciler } from "./reconcile/service.ts";
import { renderInstances } from "./runners/instance-metrics.ts";
import { shareUsers } from "./runners/process/isolation.ts";
import { openProcessRunner } from "./runners/process/runner.ts";
import type { ProcessRunnerOptions } from "./runners/process/runner.ts";
import type { Runner } from "./runners/runner.ts";
import { openStore } from "./store/open-store.ts";
import { systemClock } from "./telemetry/clock.ts";
import { createLogger } from "./telemetry/logger.ts";
import { ProcessMetrics } from "./telemetry/process-metrics.ts";
import { Exposition } from "./telemetry/prometheus.ts";

const MAIN = fileURLToPath(new URL("./start.js", import.meta.url));
/** Imports build environments and load models: two at a time leave the machine usable. */
const IMPORTS_AT_ONCE = 2;
const SERVICE_PASSES_AT_ONCE = 8;

/**
 * The CLI's profile of this machine's administrator. Written before the identity is: a kill in between leaves a
 * profile that the next start replaces, never an administrator whose password nobody knows.
 */
const writeProfile = (config: Config, first: FirstCredentials): void => {
  const { domain, project, user, accessKey } = first;
  const profile = {
    endpoint: config.publicUrl,
    certificateFile: config.tls?.certificateFile,
    domain: domain.name,
    user: user.name,
    password: user.password,
    project,
    accessKey,
  };
  writeWhole(join(config.dataDir, "cli.json"), profile);
};

const writeWhole = (file: string, value: unknown): void => {
  writeFileSync(`${file}.new`, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
};

/** The platform may be on another port than last time, or speak TLS now; a profile that was made here follows it. */
const followAddress = (config: Config): void => {
  const file = join(config.dataDir, "cli.json");
  try {
    const profile = JSON.parse(readFileSync(file, "utf8")) as {
      endpoint?: string;
      certificateFile?: string;
      password?: unknown;
    };
    const [endpoint, certificateFile] = [config.publicUrl, config.tls?.certificateFile];
    const isSame = profile.endpoint === endpoint && profile.certificateFile === certificateFile;
    if (profile.password !== undefined && !isSame) {
      writeWhole(file, { ...profile, endpoint, certificateFile, token: undefined, expiresAt: undefined });
    }
  } catch {
    // No profile, or one the CLI will complain about in its own words.
  }
};

const instanceLogsOf = (runner: Runner): InstanceLogs => ({
  async *read(groups, options) {
    if (!options.follow) {
      for (const group of groups) yield* runner.logs(group, options);
      return;
    }
    yield* interleave(groups.map((group) => runner.logs(group, options)[Symbol.asyncIterator]()));
  },
});

/** Items of several endless sources as they come. */
async function* interleave<T>(sources: readonly AsyncIterator<T>[]): AsyncIterable<T> {
  const advance = (source: AsyncIterator<T>) => source.next().then((result) => ({ source, result }));
  const pending = new Map(sources.map((source) => [source, advance(source)]));
  try {
    while (pending.size > 0) {
      const { source, result } = await Promise.race(pending.values());
      if (result.done === true) pending.delete(source);
      else {
        pending.set(source, advance(source));
        yield result.value;
      }
    }
  } finally {
    await Promise.all(sources.map((source) => source.return?.() ?? Promise.resolve()));
  }
}

/** Starts the role. `openRunner` is how instances are run: as processes of this machine unless a caller says otherwise. */
export const startControl = async (
  config: Config,
  openRunner: (deps: ProcessRunnerOptions) => Promise<Runner> = openProcessRunner,
): Promise<{ close(options: { stopInstances: boolean }): Promise<void> }> => {
  const clock = systemClock;
  const logger = createLogger("control", config.logLevel);
  const at = (...names: string[]): string => join(config.dataDir, ...names);
  mkdirSync(at("run"), { recursive: true, mode: 0o700 });

  const store = await openStore({
    database:
      config.databaseUrl === null
        ? { kind: "sqlite", path: at("modelport.db") }
        : { kind: "postgres", url: config.databaseUrl },
    clock,
    logger,
  });
  const objects = await openDirectoryObjects({ root: at("objects"), clock });
  const { masterKey, keys } = await loadOrCreateSecrets(at("secrets"));
  await bootstrapIdentity({
    store,
    clock,
    masterKey,
    keep: async (first) => writeProfile(config, first),
  });
  followAddress(config);

  const users = shareUsers(config.serviceUsers);
  const runner = await openRunner({
    dataDir: config.dataDir,
    nodePath: process.execPath,
    mainPath: MAIN,
    host: "127.0.0.1",
    errorInfo: config.errorInfo,
    tracing: config.tracing,
    clock,
    logger,
    hostEnv: config.hostEnvironment,
    serviceUsers: users.services,
    devices: config.devices,
  });
  const environments = await openEnvironments({
    root: at("environments"),
    tools: at("tools"),
    machinePython: config.python,
    fetchPython: config.fetchPython,
    torchCpuIndex: config.torchCpuIndex,
    devices: config.devices,
    buildTimeoutMs: config.environmentTimeoutMs,
    sourceUsers: users.builds,
    environment: config.toolEnvironment,
    clock,
    logger,
  });
  const packages = await openPackages({ root: at("packages"), clock });

  const registry = new Registry();
  const processMetrics = new ProcessMetrics("modelport_control", clock);
  const metrics = createLoopMetrics(registry);
  const loop = { clock, logger, metrics, random: Math.random };
  const importer = createImporter({
    store,
    objects,
    runner,
    environments,
    packages,
    clock,
    logger,
    settings: config,
  });
  const services = createServiceReconciler({
    store,
    runner,
    clock,
    logger,
    environments,
    packages,
    load: (id, since) => {
      const answer = importer.want(id, since);
      if (answer.kind === "begin") importLoop.enqueue(id);
      return answer.kind === "failed" ? answer.failure : null;
    },
    settings: config,
  });
  const importLoop = createLoop<ModelId>({
    ...loop,
    name: "import",
    keys: () => store.models.unfinished(),
    pass: (id, signal) => importer.pass(id, signal),
    concurrency: IMPORTS_AT_ONCE,
  });
  const serviceLoop = createLoop<ServiceId>({
    ...loop,
    name: "service",
    keys: () => services.keys(),
    pass: (id, signal, effects) => services.pass(id, signal, effects),
    concurrency: SERVICE_PASSES_AT_ONCE,
  });
  const stopWatching = runner.onChange((_group, service) => {
    if (service !== null) serviceLoop.enqueue(service);
  });
  const following = await followChanges({
    changes: store.changes,
    clock,
    logger,
    onChange: (change) => {
      if (change.kind === "model") {
        importLoop.enqueue(change.id as ModelId);
        void importer
          .reconsider(change.id as ModelId)
          .catch((error: unknown) => logger.error({ err: error }, "a change of a version went unnoticed"));
      }
      if (change.kind === "service") serviceLoop.enqueue(change.id as ServiceId);
    },
  });
  // After the cursor is set: what changes from then on is followed, what was before is in the first full pass.
  importLoop.start();
  serviceLoop.start();
  const retention = createRetention({
    store,
    runner,
    environments,
    packages,
    imports: importer,
    clock,
    logger,
  });
  retention.start();

  const api = await createApi({
    store,
    objects,
    clock,
    logger,
    keys,
    instanceLogs: instanceLogsOf(runner),
    runtimes: () => environments.runtimes(),
    metrics: async () => {
      const out = new Exposition();
      processMetrics.render(out);
      renderInstances(out, runner.measure());
      return out.toString() + (await registry.metrics());
    },
    settings: {
      publicUrl: () => config.publicUrl ?? `http://${config.host}:${config.port}`,
      tokenHours: config.tokenHours,
      version: VERSION,
    },
  });
  // A killed control leaves its socket file; the supervisor saw to it that nobody listens on it.
  rmSync(at("run", "control.sock"), { force: true });
  await api.listen({ path: at("run", "control.sock") });

  return {
    close: async ({ stopInstances }) => {
      await api.close();
      await following.stop();
      await Promise.all([importLoop.stop(), serviceLoop.stop(), retention.stop()]);
      stopWatching();
      processMetrics.close();
      await runner.close({ stopInstances });
      await store.close();
      rmSync(at("run", "control.sock"), { force: true });
    },
  };
};

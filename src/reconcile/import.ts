/**
 * Brings a version from `publishing` to `published` or `failed` (design: flows, Import). Everything before the last write
 * can be done again: a copy and an environment are found by their content, a trial start by its marker, and what a
 * killed pass left in scratch folders is removed at the next open. Failures are recorded in words for the user;
 * only what the platform itself is to blame for is thrown, and retried by the loop.
 */
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { AppError, fail, problemText } from "../core/errors.ts";
import type { Problem } from "../core/errors.ts";
import { at, modelEvents, withDetail, withDuration } from "../core/event-texts.ts";
import type { EventText } from "../core/event-texts.ts";
import type { Instant, ModelId } from "../core/ids.ts";
import { isDynamic } from "../core/model.ts";
import type { Model, Published } from "../core/model.ts";
import type { Environments } from "../environments/environments.ts";
import type { Objects } from "../objects/objects.ts";
import type { Runner } from "../runners/runner.ts";
import type { Store } from "../store/store.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Failure } from "../core/service.ts";
import { checkPackage, completePackage, fetchPackage, lookAtPackage } from "./import-fetch.ts";
import type { CheckedPackage } from "./import-fetch.ts";
import { folderSource } from "./package-source.ts";
import type { PackageSource } from "./package-source.ts";
import type { Packages } from "./packages.ts";
import type { Pass } from "./pass.ts";
import { endTrial, tryStart } from "./trial.ts";

export interface ImporterDeps {
  readonly store: Pick<Store, "models" | "events">;
  readonly objects: Objects;
  readonly packages: Packages;
  readonly environments: Environments;
  readonly runner: Runner;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: {
    readonly strictDependencies: boolean;
    readonly startTimeoutMs: number;
    readonly predictTimeoutMs: number;
  };
}

export interface Importer {
  pass(id: ModelId, signal: AbortSignal): Promise<Pass>;
  /**
   * A service wants to start a version whose files were not taken yet: the next pass takes them. `begin`: that pass is to be
   * queued. Once they could not be taken, that is the answer to every deployment that waited, known by when it began (`since`);
   * any other tries again. Kept in memory only: each pass of the service asks anew.
   */
  want(
    id: ModelId,
    since: Instant,
  ): { readonly kind: "begin" | "underway" } | { readonly kind: "failed"; readonly failure: Failure };
  /** Ends the pass that runs for a version which is not there any more; to be called when a version has changed. */
  reconsider(id: ModelId): Promise<void>;
  /** The package copies and environments that running passes rely on, and no version names yet. */
  holding(): { readonly packages: ReadonlySet<string>; readonly environments: ReadonlySet<string> };
}

/** A pass under way: what it relies on, and the way to end it. */
interface Running {
  readonly gone: AbortController;
  packageDigest: string | null;
  environmentKey: string | null;
}

/** A failure of the package, with the events that explain it. */
class ImportFailure extends Error {
  readonly error: AppError;
  readonly explained: readonly EventText[];
  constructor(error: AppError, reason: string, explained: readonly EventText[]) {
    super(reason);
    this.error = error;
    this.explained = explained;
  }
}

/** Lines of the build that tell a waiting user what it is at. */
const PROGRESS =
  /^\s*(?:downloading|resolving|building|built|prepared|installed|bytecode compiled|waiting)\b/i;

const sentence = (problem: Problem): string => problemText(problem, "config.json");

const invalid = (problems: readonly Problem[]): ImportFailure => {
  const error = fail("PACKAGE_INVALID", { count: problems.length }, { problems });
  return new ImportFailure(
    error,
    `${error.message} ${problems.map(sentence).join(". ")}.`,
    problems.map(modelEvents.packageInvalid),
  );
};

/** Notes events of one version in the order they came, without keeping the work waiting. */
const createNotes = (deps: ImporterDeps, id: ModelId) => {
  let last: Promise<void> = Promise.resolve();
  return {
    add: (event: EventText): void => {
      const stored = at(event, deps.clock.now());
      last = last.then(() => deps.store.events.noteModel(id, [stored]));
      // Looked at in `flush`; until then a failure must not count as unhandled.
      last.catch(() => undefined);
    },
    flush: (): Promise<void> => last,
  };
};
type Notes = ReturnType<typeof createNotes>;

const buildEnvironment = async (
  deps: ImporterDeps,
  checked: CheckedPackage,
  dir: string,
  notes: Notes,
  signal: AbortSignal,
): Promise<{ key: string; python: string; reused: boolean }> => {
  notes.add(modelEvents.environmentRequested());
  const outcome = await deps.environments.ensure(
    {
      engine: checked.engine,
      runtime: checked.config.runtime,
      dependencies: checked.config.dependencies.flatMap((group) =>
        group.packages.map((item) => ({
          name: item.package_name,
          version: item.package_version,
          restraint: item.restraint,
        })),
      ),
      wheels: checked.layout.wheels.map((name) => join(dir, name)),
      code: {
        dir,
        files: checked.files
          .filter(({ path, kind }) => kind === "file" && path.endsWith(".py"))
          .map(({ path }) => path),
      },
      strict: deps.settings.strictDependencies,
    },
    (line) => {
      if (!PROGRESS.test(line)) return;
      // What follows is silent and the longest step on a slow machine; the last line shown must be what it is at.
      const next = /^\s*installed\b/i.test(line) ? "; compiling bytecode" : "";
      notes.add(modelEvents.environmentProgress(`${line.trim()}${next}`));
    },
    signal,
  );
  if (outcome.kind === "refused")
    throw new ImportFailure(
      fail("PACKAGE_INVALID", { count: Math.max(1, outcome.problems.length) }),
      outcome.message,
      [modelEvents.imageFailedSeeLog(outcome.logTail)],
    );
  for (const { asked, got, reason } of outcome.substitutions)
    notes.add(modelEvents.dependencyReplaced(asked, got, reason));
  for (const warning of outcome.warnings) notes.add(modelEvents.notice(warning));
  notes.add(
    withDuration(
      outcome.reused ? modelEvents.environmentReused() : modelEvents.environmentCreated(),
      outcome.durationMs,
    ),
  );
  return outcome;
};

/** Starts the version once, unless this copy was seen to start in this environment before. */
const tryOnce = async (
  deps: ImporterDeps,
  model: Model,
  checked: CheckedPackage,
  found: { digest: string; dir: string; key: string; python: string; reused: boolean },
  notes: Notes,
  signal: AbortSignal,
): Promise<void> => {
  // One that was built just now was tried by nobody, whatever an earlier one of the same key was.
  if (found.reused && (await deps.packages.wasTried(found.digest, found.key)))
    return notes.add(modelEvents.trialKnown());
  notes.add(modelEvents.trialStarted());
  const began = deps.clock.monotonicMs();
  const failure = await tryStart(
    deps,
    model.id,
    {
      engine: checked.engine,
      modelName: model.name,
      modelVersion: model.version,
      packageDir: found.dir,
      modelFile: checked.layout.modelFile,
      python: found.python,
      envs: {},
      workers: 1,
      cpu: 1,
      memoryMb: 4096,
      predictTimeoutMs: deps.settings.predictTimeoutMs,
      startTimeoutMs: deps.settings.startTimeoutMs,
      drainTimeoutMs: 0,
    },
    signal,
  );
  if (failure !== null)
    throw new ImportFailure(fail("PACKAGE_INVALID", { count: 1 }), failure.message, [
      withDetail(
        withDuration(modelEvents.trialFailed(failure.message), deps.clock.monotonicMs() - began),
        // As the author knows his files.
        failure.detail?.replaceAll(`${found.dir}/`, "model/"),
      ),
    ]);
  await deps.packages.rememberTrial(found.digest, found.key);
  notes.add(withDuration(modelEvents.trialSucceeded(), deps.clock.monotonicMs() - began));
};

/** Throws what is wrong with a package; its warnings become events. */
const demandGood = async (model: Model, source: PackageSource, notes: Notes): Promise<CheckedPackage> => {
  const verdict = await checkPackage(model, source);
  const warnings = verdict.ok ? verdict.package.warnings : verdict.warnings;
  for (const warning of warnings) notes.add(modelEvents.notice(sentence(warning)));
  if (!verdict.ok) throw invalid(verdict.problems);
  return verdict.package;
};

const publishedOf = (
  { engine, files, layout, config }: CheckedPackage,
  packageDigest: string | null,
  environmentKey: string | null,
): Published => ({
  engine,
  packageDigest,
  sizeBytes: files.reduce((sum, file) => sum + file.size, 0),
  modelFile: layout.modelFile,
  hasCustomService: layout.hasCustomService,
  environmentKey,
  config,
});

/** Takes copy and environment of a version, and starts it once; with dynamic loading the service that waits does that. */
const takePackage = async (
  deps: ImporterDeps,
  model: Model,
  notes: Notes,
  running: Running,
  signal: AbortSignal,
): Promise<Published> => {
  const { packages, clock } = deps;
  const scratch = await packages.scratch();
  try {
    const began = clock.monotonicMs();
    await fetchPackage(deps.objects, model, scratch, signal);
    notes.add(withDuration(modelEvents.fileImported(), clock.monotonicMs() - began));
    const source = folderSource(scratch, await packages.list(scratch));
    const good = await demandGood(model, source, notes);
    const checked = { ...good, files: await completePackage(good, scratch, (dir) => packages.list(dir)) };
    const { digest, dir } = await packages.keep(scratch, checked.files, signal);
    running.packageDigest = digest;
    notes.add(modelEvents.sizeCalculated());
    const environment = await buildEnvironment(deps, checked, dir, notes, signal);
    running.environmentKey = environment.key;
    if (!isDynamic(model.request))
      await tryOnce(deps, model, checked, { digest, dir, ...environment }, notes, signal);
    return publishedOf(checked, digest, environment.key);
  } finally {
    await packages.discard(scratch);
  }
};

/** Dynamic loading: checks the package where it lies and copies nothing. */
const lookOnly = async (deps: ImporterDeps, model: Model, notes: Notes): Promise<Published> => {
  const source = await lookAtPackage(deps.objects, model);
  const checked = await demandGood(model, source, notes);
  notes.add(modelEvents.sizeCalculated());
  notes.add(modelEvents.filesLeft());
  return publishedOf(checked, null, null);
};

/** Says which run of a training job was taken, when the request did not choose one. */
const noteTrainingRun = ({ request, sourceLocation }: Model, notes: Notes): void => {
  const run = /\/(V\d+)$/.exec(sourceLocation)?.[1];
  const asked = JSON.stringify([
    request["source_location"],
    request["source_job_version"],
    request["template"],
  ]);
  if (run !== undefined && !new RegExp(`\\b${run}\\b`).test(asked))
    notes.add(modelEvents.trainingRunTaken(sourceLocation));
};

/** What the user did wrong, whichever way it was found; null for failures of ours. */
const asFailure = (error: unknown): ImportFailure | null => {
  if (error instanceof ImportFailure) return error;
  if (!(error instanceof AppError) || error.owner === "platform") return null;
  const reason = error.hint === undefined ? error.message : `${error.message} ${error.hint}`;
  return new ImportFailure(error, reason, error.problems.map(modelEvents.packageInvalid));
};

export const createImporter = (deps: ImporterDeps): Importer => {
  const passes = new Map<ModelId, Running>();
  /** Which deployments wait for the files of a version, and of those that could not be taken, which waited. */
  const wanted = new Map<ModelId, Set<Instant>>();
  const failures = new Map<ModelId, { readonly failure: Failure; readonly waited: ReadonlySet<Instant> }>();
  const held = (what: "packageDigest" | "environmentKey"): ReadonlySet<string> =>
    new Set([...passes.values()].flatMap((running) => running[what] ?? []));

  return {
    want: (id, since) => {
      const known = failures.get(id);
      // Not by the order of the two: the clock may have been set back in between.
      if (known?.waited.has(since) === true) return { kind: "failed", failure: known.failure };
      failures.delete(id);
      const waiting = wanted.get(id);
      wanted.set(id, new Set(waiting).add(since));
      return { kind: waiting === undefined ? "begin" : "underway" };
    },
    holding: () => ({ packages: held("packageDigest"), environments: held("environmentKey") }),
    reconsider: async (id) => {
      const running = passes.get(id);
      if (running !== undefined && (await deps.store.models.byId(id)) === null) running.gone.abort();
    },
    pass: async (id, stopping) => {
      const { store } = deps;
      const running: Running = { gone: new AbortController(), packageDigest: null, environmentKey: null };
      // Known before the row is read: a version that is deleted from here on is noticed.
      passes.set(id, running);
      const signal = AbortSignal.any([stopping, running.gone.signal]);
      try {
        const model = await store.models.byId(id);
        if (model?.status === "publishing") return await importModel(deps, model, running, signal);
        if (model?.published?.packageDigest === null && wanted.has(id)) {
          const failure = await loadModel(deps, model, running, signal);
          const waited = wanted.get(id) ?? new Set();
          wanted.delete(id);
          if (failure !== null) failures.set(id, { failure, waited });
          return { kind: "done" };
        }
        wanted.delete(id);
        if (model === null) failures.delete(id);
        // Deleted or finished while a process before this one was killed in the trial start.
        await endTrial(deps.runner, id);
        return { kind: "done" };
      } catch (error) {
        stopping.throwIfAborted();
        if (!running.gone.signal.aborted) throw error;
        deps.logger.info({ model: id }, "import ended: its version was deleted");
        return { kind: "done" };
      } finally {
        passes.delete(id);
      }
    },
  };
};

const importModel = async (
  deps: ImporterDeps,
  model: Model,
  running: Running,
  signal: AbortSignal,
): Promise<Pass> => {
  const { store, clock } = deps;
  const began = clock.monotonicMs();
  const notes = createNotes(deps, model.id);
  try {
    noteTrainingRun(model, notes);
    const published = isDynamic(model.request)
      ? await lookOnly(deps, model, notes)
      : await takePackage(deps, model, notes, running, signal);
    await notes.flush();
    const done = withDuration(modelEvents.imported(), clock.monotonicMs() - began);
    await store.models.finish(model.id, { published }, [at(done, clock.now())]);
    return { kind: "done" };
  } catch (error) {
    signal.throwIfAborted();
    const failure = asFailure(error);
    if (failure === null) throw error;
    await notes.flush();
    const now = clock.now();
    const events = [...failure.explained, modelEvents.importFailedBecause(failure.message)];
    await store.models.finish(
      model.id,
      { failure: failure.message },
      events.map((event) => at(event, now)),
    );
    deps.logger.info({ model: model.id, code: failure.error.code }, "import failed");
    return { kind: "terminal", error: failure.error };
  }
};

/** Takes the files of a version for a service that waits; null once they are there, else why they are not. */
const loadModel = async (
  deps: ImporterDeps,
  model: Model,
  running: Running,
  signal: AbortSignal,
): Promise<Failure | null> => {
  const { store, clock } = deps;
  const began = clock.monotonicMs();
  const notes = createNotes(deps, model.id);
  try {
    const published = await takePackage(deps, model, notes, running, signal);
    await notes.flush();
    const done = withDuration(modelEvents.loaded(), clock.monotonicMs() - began);
    await store.models.loaded(model.id, published, [at(done, clock.now())]);
    return null;
  } catch (error) {
    signal.throwIfAborted();
    const failure = asFailure(error);
    if (failure === null) throw error;
    for (const event of [...failure.explained, modelEvents.loadFailedBecause(failure.message)])
      notes.add(event);
    await notes.flush();
    deps.logger.info({ model: model.id, code: failure.error.code }, "loading for a service failed");
    return { reason: "model-load", message: `The model could not be loaded: ${failure.message}` };
  }
};

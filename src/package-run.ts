/**
 * `modelport run`: the inner loop of a package's author, without a platform. Checks the folder as an import does, finds
 * or builds its environment among those the platform of this machine uses, and keeps an instance of what is in the folder
 * now behind one address. A version that does not load never takes the place of one that serves.
 */
import { spawn } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { constants, tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { CliError } from "./cli/failures.ts";
import type { CommandEnd, CommandOptions, PackageRun, RunEvent, ServeOptions } from "./cli/package-run.ts";
import type { Config } from "./config.ts";
import { apiChecks, readValidation } from "./core/api-rule.ts";
import { NO_BATCHING, readBatching } from "./core/batching.ts";
import type { Clock } from "./core/clock.ts";
import { problemText } from "./core/errors.ts";
import type { Problem } from "./core/errors.ts";
import { packageRefused } from "./core/package-check.ts";
import type { Failure } from "./core/service.ts";
import type { SharedEnvironments } from "./environments/environments.ts";
import { openEnvironments } from "./environments/open-environments.ts";
import { shareUsers } from "./runners/process/isolation.ts";
import { createLogger } from "./telemetry/logger.ts";
import { Door } from "./workbench/door.ts";
import { Instance } from "./workbench/instance.ts";
import { Restarts } from "./workbench/restarts.ts";
import { checkFolder, findModelFolder, fingerprint } from "./workbench/package-folder.ts";
import type { FolderPackage } from "./workbench/package-folder.ts";

const MAIN = fileURLToPath(new URL("./start.js", import.meta.url));
const PYTHON_DIR = [1, 2]
  .map((up) => join(import.meta.dirname, ...Array.from({ length: up }, () => ".."), "python"))
  .find((dir) => existsSync(join(dir, "modelport_worker")));

/** Looking is one stat per file: every file system tells the truth then, those of containers and networks included. */
const LOOK_EVERY_MS = 300;
/** And never more than this share of the time, however many files a package has. */
const LOOK_SHARE = 20;
/** Predictions under way when the author presses Ctrl-C. */
const LAST_GRACE_MS = 2_000;
/** A shell's exit code for a program that a signal ended, less the signal's number. */
const SIGNALLED = 128;
const PROGRESS = /^\s*(?:downloading|resolving|building|built|prepared|installed|bytecode|waiting)\b/i;
/** Lines of the instance that say what the author is told in other words. */
const SAID_ANYWAY = /^(?:ending: |ended$|the instance has failed \()/;
const OWN_LINE = /^\d{4}-\d\d-\d\dT[\d:.]+Z modelserver: (.*)$/;

interface Ready {
  readonly package: FolderPackage;
  readonly python: string;
}

interface Served {
  readonly instance: Instance;
  readonly release: () => Promise<void>;
}

/** Why a folder cannot be served as it is. */
class Unusable extends Error {
  readonly problems: readonly Problem[];
  readonly isUsage: boolean;
  /** Its instance was ended from outside while it started: nothing is known to be wrong with it. */
  readonly wasEnded: boolean;
  constructor(
    message: string,
    problems: readonly Problem[],
    { isUsage = false, wasEnded = false }: { readonly isUsage?: boolean; readonly wasEnded?: boolean } = {},
  ) {
    super(message);
    this.problems = problems;
    this.isUsage = isUsage;
    this.wasEnded = wasEnded;
  }
}

/** What has given up its workers would do so again; what was ended from outside would not. */
const wasEnded = ({ reason }: Failure): boolean => reason === "exited";

const asCliError = (error: unknown): unknown =>
  error instanceof Unusable
    ? new CliError(error.isUsage ? "usage" : "failed", error.message, { problems: error.problems })
    : error;

const folderOf = async (named: string): Promise<{ readonly home: string; readonly dir: string }> => {
  const found = await findModelFolder(named);
  if (found !== null) return found;
  if (!existsSync(named))
    throw new CliError("usage", `There is no folder ${named}.`, {
      next: "Name the folder that holds model/.",
    });
  throw new CliError("usage", `${named} does not hold a folder named model.`, {
    next: "Name the folder that holds model/, or write one: `modelport init --engine ENGINE DIR`.",
  });
};

/** Rejects a listen error in the words of whoever chose the port. */
const refusedPort = (error: unknown, { host, port }: ServeOptions): unknown => {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "EADDRINUSE")
    return new CliError("conflict", `Port ${port} of ${host} is taken by another program.`, {
      next: `Choose another: --port ${port + 1}, or --port 0 for any that is free.`,
      cause: error,
    });
  if (code === "EACCES" || code === "EADDRNOTAVAIL")
    return new CliError("usage", `${host}:${port} cannot be listened on (${code}).`, {
      next: "Choose another with --host and --port.",
      cause: error,
    });
  return error;
};

export const createPackageRun = (config: Config, { clock }: { readonly clock: Clock }): PackageRun => {
  const open = (): Promise<SharedEnvironments> =>
    openEnvironments({
      root: join(config.dataDir, "environments"),
      tools: join(config.dataDir, "tools"),
      machinePython: config.python,
      sourceUsers: shareUsers(config.serviceUsers).builds,
      environment: config.toolEnvironment,
      fetchPython: config.fetchPython,
      torchCpuIndex: config.torchCpuIndex,
      devices: config.devices,
      buildTimeoutMs: config.environmentTimeoutMs,
      clock,
      logger: createLogger("run", "silent"),
    });

  /** Checks the folder and finds or builds its environment, which is held until `release`d. */
  const prepare = async (
    environments: SharedEnvironments,
    at: { readonly home: string; readonly dir: string },
    needsModel: boolean,
    onEvent: (event: RunEvent) => void,
    signal: AbortSignal,
  ): Promise<Ready & { readonly release: () => Promise<void> }> => {
    const verdict = await checkFolder(at, { needsModel });
    if (!verdict.ok)
      throw new Unusable(packageRefused(verdict.problems), verdict.problems, { isUsage: true });
    const found = verdict.package;
    for (const warning of found.warnings)
      onEvent({ kind: "warning", text: problemText(warning, "config.json") });
    onEvent({ kind: "step", text: "looking for the environment" });
    for (;;) {
      const outcome = await environments.ensure(
        {
          engine: found.engine,
          runtime: found.config.runtime,
          dependencies: found.config.dependencies.flatMap((group) =>
            group.packages.map((item) => ({
              name: item.package_name,
              version: item.package_version,
              restraint: item.restraint,
            })),
          ),
          wheels: found.layout.wheels.map((name) => join(found.dir, name)),
          code: { dir: found.dir, files: found.code },
          strict: config.strictDependencies,
        },
        (line) => {
          if (PROGRESS.test(line)) onEvent({ kind: "step", text: `environment: ${line.trim()}` });
        },
        signal,
      );
      if (outcome.kind === "refused") throw new Unusable(outcome.message, outcome.problems);
      const release = await environments.hold(outcome.key);
      // A platform beside us may have taken it for unused a moment ago.
      if ((await environments.python(outcome.key)) === null) {
        await release();
        continue;
      }
      for (const { asked, got, reason } of outcome.substitutions)
        onEvent({ kind: "warning", text: `${asked} was replaced by ${got}: ${reason}` });
      for (const text of outcome.warnings) onEvent({ kind: "warning", text });
      return { package: found, python: outcome.python, release };
    }
  };

  /** Resolves once the folder differs from `seen` and has come to rest, or when the signal aborts. */
  const changed = async (dir: string, seen: string, signal: AbortSignal): Promise<void> => {
    let last = seen;
    while (!signal.aborted) {
      const began = clock.monotonicMs();
      const now = await fingerprint(dir);
      if (now !== seen && now === last) return;
      last = now;
      await clock.sleep(Math.max(LOOK_EVERY_MS, (clock.monotonicMs() - began) * LOOK_SHARE), signal);
    }
  };

  const serve = async (options: ServeOptions): Promise<void> => {
    const { onEvent, signal } = options;
    const wrong = [
      ...readValidation(options.envs, config.validation).problems,
      ...readBatching(options.envs, NO_BATCHING).problems,
    ];
    if (wrong.length > 0)
      throw new CliError("usage", "The variables say something that is not understood.", { problems: wrong });
    const at = await folderOf(options.folder);
    const door = new Door({ clock, onRequest: (seen) => onEvent({ kind: "request", ...seen }) });
    const port = await door.open(options.host, options.port).catch((error: unknown) => {
      throw refusedPort(error, options);
    });
    const url = `http://${options.host.includes(":") ? `[${options.host}]` : options.host}:${port}/`;
    const scratch = await mkdtemp(join(tmpdir(), "modelport-run-"));
    // Whoever insists on Ctrl-C waits for nothing.
    const leave = (): void => rmSync(scratch, { recursive: true, force: true });
    process.once("exit", leave);
    const endings = new Set<Promise<void>>();
    const environments = await open();
    const serving: { now: Served | null } = { now: null };
    const over = new AbortController();
    const until = AbortSignal.any([signal, over.signal]);
    let serial = 0;
    let isFirst = true;
    /** How often something was loaded, and whether it is at the moment. */
    let loads = 0;
    let isLoading = false;
    const restarts = new Restarts();
    /** Resolves when what ended by itself shall be started again. */
    let restart = Promise.withResolvers<void>();

    const end = (one: Served, graceMs: number): void => {
      const ending = one.instance.end(graceMs).then(one.release);
      endings.add(ending);
      void ending.finally(() => endings.delete(ending));
    };
    const onOutput = (stream: "stdout" | "stderr", line: string): void => {
      const own = OWN_LINE.exec(line)?.[1];
      if (own === undefined || !SAID_ANYWAY.test(own)) onEvent({ kind: "output", stream, line: own ?? line });
    };
    /** Has what ended started again, unless a change comes first. */
    const startAgain = async (inMs: number): Promise<void> => {
      const before = loads;
      await clock.sleep(inMs, until);
      if (loads === before) restart.resolve();
    };
    /** Watches the instance that serves until it is replaced; what has failed answers nothing more. */
    const watch = async (one: Served): Promise<void> => {
      const began = clock.monotonicMs();
      const failure = await one.instance.failed();
      if (failure === null || serving.now !== one) return;
      serving.now = null;
      door.shut(failure.message);
      const answers = isLoading ? "next" : wasEnded(failure) ? "again" : "change";
      const inMs = answers === "again" ? restarts.pauseAfter(clock.monotonicMs() - began) : 0;
      onEvent({ kind: "failed", message: failure.message, problems: [], answers, inMs });
      end(one, 0);
      if (answers === "again") await startAgain(inMs);
    };
    /** `isSame`: nothing has changed since the last. */
    const load = async (given: AbortSignal, isSame: boolean): Promise<void> => {
      const began = clock.monotonicMs();
      const ready = await prepare(environments, at, true, onEvent, given);
      const { package: found, python, release } = ready;
      onEvent({ kind: "step", text: "loading the model" });
      serial += 1;
      const instance = new Instance(
        { clock, mainPath: MAIN, env: config.hostEnvironment, onOutput },
        join(scratch, String(serial)),
        {
          engine: found.engine,
          modelName: found.name,
          modelVersion: "0.0.0",
          packageDir: found.dir,
          modelFile: found.layout.modelFile,
          python,
          envs: options.envs,
          hostEnv: Object.fromEntries(
            Object.entries(config.hostEnvironment).filter(([name]) => name.startsWith("OPENBLAS_")),
          ),
          ...(config.devices === null ? {} : { devices: config.devices }),
          workers: 1,
          ...apiChecks(found.config, readValidation(options.envs, config.validation).validation),
          predictTimeoutMs: config.predictTimeoutMs,
          startTimeoutMs: config.startTimeoutMs,
          drainTimeoutMs: config.drainTimeoutMs,
          errorInfo: true,
        },
      );
      const next = { instance, release };
      try {
        const failure = await instance.ready(given);
        // The traceback was printed by the instance itself.
        if (failure !== null) throw new Unusable(failure.message, [], { wasEnded: wasEnded(failure) });
      } catch (error) {
        end(next, 0);
        throw error;
      }
      const before = serving.now;
      serving.now = next;
      isLoading = false;
      door.to(instance.port ?? 0);
      onEvent({
        kind: "ready",
        url,
        isFirst,
        isAgain: isSame,
        ms: clock.monotonicMs() - began,
        home: found.home,
        api: found.config.apis[0] ?? null,
      });
      isFirst = false;
      void watch(next);
      if (before !== null) end(before, config.drainTimeoutMs);
    };

    try {
      for (let seen = await fingerprint(at.dir), wasChecked = false, isSame = false; !signal.aborted;) {
        const overtaken = new AbortController();
        const given = AbortSignal.any([signal, overtaken.signal]);
        const failed = Promise.withResolvers<never>();
        restart = Promise.withResolvers();
        loads += 1;
        isLoading = true;
        const loading = load(given, isSame).catch((error: unknown) => {
          if (given.aborted) return;
          // A package that cannot even be started with is refused; one that breaks later is waited for.
          if (!(error instanceof Unusable) || (!wasChecked && serial === 0)) return failed.reject(error);
          const { message, problems } = error;
          isLoading = false;
          if (serving.now === null) door.shut(message);
          const answers = serving.now !== null ? "before" : error.wasEnded ? "again" : "change";
          const inMs = answers === "again" ? restarts.pauseAfter(0) : 0;
          onEvent({ kind: "failed", message, problems, answers, inMs });
          if (answers === "again") void startAgain(inMs);
        });
        const nextChange = changed(at.dir, seen, AbortSignal.any([until, overtaken.signal]));
        await Promise.race([nextChange, restart.promise, failed.promise]);
        wasChecked = true;
        overtaken.abort();
        await loading;
        if (signal.aborted) break;
        const now = await fingerprint(at.dir);
        isSame = now === seen;
        if (!isSame) {
          restarts.forget();
          onEvent({ kind: "changed" });
        }
        seen = now;
      }
    } catch (error) {
      throw asCliError(error);
    } finally {
      door.close();
      over.abort();
      if (serving.now !== null) end(serving.now, LAST_GRACE_MS);
      await Promise.all(endings);
      await rm(scratch, { recursive: true, force: true });
      process.off("exit", leave);
    }
  };

  const command = async (options: CommandOptions): Promise<CommandEnd> => {
    const at = await folderOf(options.folder);
    const [program = "", ...args] = options.command;
    const environments = await open();
    const ready = await prepare(environments, at, false, options.onEvent, options.signal).catch(
      (error: unknown) => {
        throw asCliError(error);
      },
    );
    try {
      const { PATH = "" } = config.hostEnvironment;
      const { HOME } = config.toolEnvironment;
      const theirs = options.envs["PYTHONPATH"];
      options.onEvent({ kind: "step", text: "" });
      const child = spawn(program, args, {
        cwd: at.home,
        stdio: ["inherit", options.stdout === "stderr" ? 2 : "inherit", "inherit"],
        env: {
          ...config.hostEnvironment,
          ...(HOME === undefined ? {} : { HOME }),
          PYTHONDONTWRITEBYTECODE: "1",
          ...options.envs,
          PATH: [dirname(ready.python), PATH].join(delimiter),
          PYTHONPATH: [PYTHON_DIR, theirs].filter((dir) => dir !== undefined && dir !== "").join(delimiter),
        },
      });
      return await new Promise<CommandEnd>((resolve, reject) => {
        // Ctrl-C on the terminal has reached it as well; whoever ends only us wants it ended too.
        options.signal.addEventListener("abort", () => child.kill("SIGTERM"), { once: true });
        child.once("error", (error: NodeJS.ErrnoException) =>
          reject(
            new CliError("usage", `${program} could not be started (${error.code ?? error.message}).`, {
              next: "The programs of the package's environment come first: python, for one.",
              cause: error,
            }),
          ),
        );
        child.once("exit", (code, signal) =>
          resolve({ code: code ?? (signal === null ? 1 : SIGNALLED + constants.signals[signal]), signal }),
        );
      });
    } finally {
      await ready.release();
    }
  };

  return { serve, command };
};

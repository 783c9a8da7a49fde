/**
 * One instance as a process of this machine: started in a process group of its own, so that it survives its starter and
 * nothing of it survives its end; watched through its address file, its health answer and its existence.
 *
 *   watch every 50 ms until ready, every second then: gone → failed; no answer three times in a row → failed;
 *   health `failed` → failed; not ready within startTimeoutMs → failed.
 */
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { BatchingDecision } from "../../core/batching.ts";
import type { Clock } from "../../core/clock.ts";
import type { InstanceCounters } from "../../core/instance-counters.ts";
import type { AddressFile, Confinement, LaunchSpec } from "../../core/launch.ts";
import type { Logger } from "../../telemetry/logger.ts";
import { identify, isAlive, sendSignal } from "../../telemetry/process-identity.ts";
import type { ProcessIdentity } from "../../telemetry/process-identity.ts";
import type { DrivenInstance, InstanceReport } from "../groups.ts";
import type { Ending } from "./failure.ts";
import { exited } from "./failure.ts";
import { readJson, remove, writeJson } from "./files.ts";
import { askHealth } from "./health.ts";
import { removeCgroup, removeNow } from "./cgroups.ts";
import { PASSAGE } from "./isolation.ts";
import { findByArgument, sweepGroup } from "./leftovers.ts";
import { rotate } from "./logs.ts";

export interface InstanceDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nodePath: string;
  readonly mainPath: string;
  readonly env: Readonly<Record<string, string>>;
}

const POLL_STARTING_MS = 50;
const POLL_READY_MS = 1000;
const POLL_EXIT_MS = 20;
const MISSES_MAX = 3;
/** On top of drainTimeoutMs: what the instance needs to say goodbye after its own limit. */
const DRAIN_GRACE_MS = 1000;
const KILL_WAIT_MS = 10_000;

type Report = (seen: InstanceReport) => void;

/** Starts an instance in `directory`. */
export const launchInstance = (
  deps: InstanceDeps,
  directory: string,
  logFile: string,
  unconfined: LaunchSpec,
  confine: () => Confinement,
  report: Report,
): DrivenInstance => {
  const specFile = join(directory, "spec.json");
  let spec = unconfined;
  let child: ReturnType<typeof spawn>;
  try {
    mkdirSync(spec.scratchDir, { recursive: true, mode: PASSAGE });
    mkdirSync(dirname(logFile), { recursive: true, mode: 0o700 });
    spec = { ...unconfined, confinement: confine() };
    writeJson(specFile, spec);
    const log = openSync(logFile, "a", 0o600);
    try {
      child = spawn(deps.nodePath, [deps.mainPath, "modelserver", "--spec", specFile], {
        detached: true,
        cwd: spec.scratchDir,
        env: { ...deps.env, HOME: spec.scratchDir },
        stdio: ["ignore", log, log],
      });
    } finally {
      closeSync(log);
    }
  } catch (error) {
    return failedStart(directory, spec, error, report);
  }
  child.unref();
  const who = child.pid === undefined ? null : identify(child.pid);
  if (who !== null) remember(deps, directory, who);
  const ended = new Promise<Ending>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  if (child.pid === undefined) {
    const error = new Error(`${deps.nodePath} could not be started`);
    return failedStart(directory, spec, error, report, child);
  }
  // Without a start the process was over before we looked; its exit event tells the rest.
  const subject = who ?? { pid: child.pid, startedAt: "over" };
  return new WatchedProcess(deps, { directory, logFile, spec, who: subject, ended, report });
};

/** Not worth a start: a runner that comes after us and finds no record looks for the process itself. */
const remember = (deps: InstanceDeps, directory: string, who: ProcessIdentity): void => {
  try {
    writeJson(join(directory, "process.json"), who);
  } catch (error) {
    deps.logger.warn({ err: error, directory }, "instance not written down");
  }
};

/** Takes over an instance that an earlier process started; null when it is gone. Its leftovers are removed then. */
export const adoptInstance = (
  deps: InstanceDeps,
  directory: string,
  logFile: string,
): { readonly isEnding: boolean; readonly attach: (report: Report) => WatchedProcess } | null => {
  const spec = readJson(join(directory, "spec.json")) as LaunchSpec | null;
  const who =
    (readJson(join(directory, "process.json")) as ProcessIdentity | null) ??
    findByArgument(join(directory, "spec.json"));
  if (spec === null || who === null || !isAlive(who)) {
    if (who !== null && isAlive(who)) sendSignal(who.pid, "SIGKILL", "group");
    else if (who !== null) sweepGroup(who);
    for (const group of spec?.confinement?.cgroups ?? []) removeNow(group);
    remove(directory);
    return null;
  }
  remember(deps, directory, who);
  return {
    isEnding: existsSync(join(directory, "ending")),
    attach: (report) => new WatchedProcess(deps, { directory, logFile, spec, who, ended: null, report }),
  };
};

/** Reported a turn later, because nobody expects a report before the start has returned. */
const failedStart = (
  directory: string,
  spec: LaunchSpec,
  error: unknown,
  report: Report,
  child?: ReturnType<typeof spawn>,
): DrivenInstance => {
  child?.on("error", () => undefined);
  const message = `The instance could not be started: ${error instanceof Error ? error.message : String(error)}`;
  setImmediate(() => report({ state: "failed", failure: { reason: "spawn", message } }));
  return {
    end: () => {
      for (const group of spec.confinement?.cgroups ?? []) removeNow(group);
      remove(directory);
      return Promise.resolve();
    },
    detach: () => undefined,
  };
};

interface Subject {
  readonly directory: string;
  readonly logFile: string;
  readonly spec: LaunchSpec;
  readonly who: ProcessIdentity;
  /** How it ends, when it is our child; null for adopted ones, whose existence is looked at instead. */
  readonly ended: Promise<Ending> | null;
  readonly report: Report;
}

/** A running instance. */
export class WatchedProcess implements DrivenInstance {
  readonly #deps: InstanceDeps;
  readonly #subject: Subject;
  readonly #watching = new AbortController();
  /** Ends the sleep between two looks. */
  readonly #wake = new AbortController();
  readonly #hurry = new AbortController();
  readonly #firstLook = Promise.withResolvers<void>();
  #ending: Ending | null = null;
  #counters: InstanceCounters | null = null;
  #isOver = false;
  #end: Promise<void> | null = null;

  constructor(deps: InstanceDeps, subject: Subject) {
    this.#deps = deps;
    this.#subject = subject;
    void subject.ended?.then((ending) => {
      this.#ending = ending;
      this.#isOver = true;
      this.#wake.abort();
    });
    void this.#watch().catch((error: unknown) => {
      deps.logger.error({ err: error, instance: subject.spec.instanceId }, "watch failed");
      this.#fail({ reason: "platform", message: "The platform could not watch the instance." });
    });
  }

  /** Resolves after the first look at its health, whatever it showed. */
  get looked(): Promise<void> {
    return this.#firstLook.promise;
  }

  counters(): InstanceCounters | null {
    return this.#counters;
  }

  detach(): void {
    this.#watching.abort();
    this.#wake.abort();
    this.#firstLook.resolve();
  }

  end(how: "drain" | "now"): Promise<void> {
    if (how === "now") this.#hurry.abort();
    this.#end ??= this.#finish();
    return this.#end;
  }

  async #watch(): Promise<void> {
    const { clock } = this.#deps;
    const { spec, report, logFile } = this.#subject;
    const { signal } = this.#watching;
    let isReady = false;
    let misses = 0;
    let looks = 0;
    let startingSince = clock.monotonicMs();
    let decision: BatchingDecision | undefined;
    while (!signal.aborted) {
      if (!this.#isAlive()) {
        const failure = await exited(this.#ending, logFile);
        return this.#fail(failure);
      }
      const url = this.#url();
      const health = url === null ? null : await askHealth(url, clock, signal);
      if (signal.aborted) return;
      if (health?.status === "failed") return this.#fail(health.failure);
      this.#counters = health?.counters ?? this.#counters;
      if (health?.status === "OK") {
        if (!isReady) report({ state: "ready", url: url ?? "" });
        isReady = true;
      } else if (health?.status === "starting" && isReady) {
        isReady = false;
        startingSince = clock.monotonicMs();
        report({ state: "starting" });
      }
      if (health?.batching !== undefined && health.batching.text !== decision?.text) {
        decision = health.batching;
        report({ state: "decided", batching: decision });
      }
      if (health !== null) misses = 0;
      else if (isReady) misses += 1;
      if (misses >= MISSES_MAX) {
        const message = "The instance runs but did not answer its health check three times in a row.";
        return this.#fail({ reason: "not-answering", message });
      }
      if (!isReady && clock.monotonicMs() - startingSince >= spec.startTimeoutMs) {
        const seconds = Math.round(spec.startTimeoutMs / 1000);
        const message = `The instance was not ready within ${seconds} s.`;
        return this.#fail({ reason: "start-timeout", message });
      }
      this.#firstLook.resolve();
      looks += 1;
      if (isReady || looks % 20 === 0) rotate(logFile);
      await clock.sleep(isReady ? POLL_READY_MS : POLL_STARTING_MS, this.#wake.signal);
    }
  }

  #fail(failure: Extract<InstanceReport, { state: "failed" }>["failure"]): void {
    if (this.#watching.signal.aborted) return;
    this.#watching.abort();
    this.#firstLook.resolve();
    this.#subject.report({ state: "failed", failure });
  }

  #isAlive(): boolean {
    return this.#subject.ended === null ? isAlive(this.#subject.who) : !this.#isOver;
  }

  #url(): string | null {
    const address = readJson(this.#subject.spec.addressFile) as AddressFile | null;
    return address === null ? null : `http://${this.#subject.spec.host}:${address.port}`;
  }

  async #finish(): Promise<void> {
    const { who, directory, spec } = this.#subject;
    this.detach();
    if (this.#isAlive()) {
      this.#markEnding();
      sendSignal(who.pid, "SIGTERM", "process");
      await this.#gone(spec.drainTimeoutMs + DRAIN_GRACE_MS, this.#hurry.signal);
      if (this.#isAlive()) sendSignal(who.pid, "SIGKILL", "group");
      await this.#gone(KILL_WAIT_MS);
      if (this.#isAlive()) this.#deps.logger.error({ pid: who.pid }, "instance survived SIGKILL");
    }
    sweepGroup(who);
    await removeCgroup(spec.confinement?.cgroups ?? [], this.#deps.clock);
    remove(directory);
  }

  /** A runner that comes after us goes on ending it; without the mark (a full disk) it ends it anew. */
  #markEnding(): void {
    const { directory, spec } = this.#subject;
    try {
      if (existsSync(directory)) writeFileSync(join(directory, "ending"), "", { mode: 0o600 });
    } catch (error) {
      this.#deps.logger.warn({ err: error, instance: spec.instanceId }, "ending not written down");
    }
  }

  /** Waits until the process is gone, at most `ms`, or until `signal` aborts. */
  async #gone(ms: number, signal?: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const until = clock.monotonicMs() + ms;
    while (this.#isAlive() && clock.monotonicMs() < until && signal?.aborted !== true) {
      await clock.sleep(POLL_EXIT_MS, signal);
    }
  }
}

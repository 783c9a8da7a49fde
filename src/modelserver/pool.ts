/**
 * The workers of one instance and the requests that wait for them: first in, first out; a worker that ends is replaced
 * with back-off; health is derived from what the workers are, never remembered.
 *
 *   slot:   waiting(back-off) → starting → idle ⇄ busy → (ended) → waiting …            any → stopped
 *   health: starting ── a slot is ready ──→ ready ⇄ starting (none ready, one is being replaced)
 *           starting ── a load fails before any succeeded, or 3 fail in a row with none ready ──→ failed (for good)
 *
 * Each job is settled exactly once: by its answer, its deadline, its worker's end, its caller's leaving or the end of
 * the pool. `#settle` does so for all that were taken in.
 *
 * Jobs that wait together go to a free worker together, at most `batching.maxSize` of them, and it may join them. When
 * it ends before it has answered all, the rest is asked again one by one: what ended it then ends alone.
 *
 * Where nothing is joined, the only worker of an instance still gets quick jobs ahead, so that it need not wait for this
 * process between two of them. It answers those in their order: the first without a reply is the one it is at.
 */
import { parseBatchingDecision } from "../core/batching.ts";
import type { Batching, BatchingDecision } from "../core/batching.ts";
import type { Clock } from "../core/clock.ts";
import type { InstanceCounters } from "../core/instance-counters.ts";
import type { Failure } from "../core/service.ts";
import { JobQueue } from "./job-queue.ts";
import type { Waiting } from "./job-queue.ts";
import { Measures, readStepTimes } from "./measures.ts";
import type { JobInput, JobOutcome, JobTiming } from "./jobs.ts";
import type { StepTimes } from "./measures.ts";
import type { Timers } from "./timers.ts";
import type { StartWorker, Worker, WorkerExit, WorkerStart } from "./worker.ts";
import { describeExit, exitFailure, loadFailure, startTimeoutFailure, withDetail } from "./load-failures.ts";

type Settle = (outcome: JobOutcome, timing: JobTiming) => void;

export type Health =
  | { readonly state: "starting" }
  | { readonly state: "ready" }
  | { readonly state: "failed"; readonly failure: Failure };

interface Job extends Waiting {
  readonly id: number;
  readonly input: JobInput;
  readonly settle: Settle;
  readonly queuedAt: number;
  startedAt: number;
  /** It was with others in a worker that ended: it is asked by itself from now on. */
  alone: boolean;
  cancelDeadline: () => void;
}

interface Slot {
  readonly index: number;
  state: "waiting" | "starting" | "idle" | "busy" | "ending" | "stopped";
  worker: Worker | null;
  /** What it has in hand, each until its reply. */
  jobs: Job[];
  /** How many it got at once. */
  size: number;
  /** They may be joined; else it answers them one after the other. */
  together: boolean;
  /** When it got them. */
  since: number;
  /** Not begun when the worker was asked to exit: asked again once all replies are here. */
  left: Job[];
  /** It compares joined answers with single ones, and takes nothing meanwhile. */
  proving: boolean;
  /** It takes several jobs at once: batching is on, and it has not found that they must not be joined. */
  joins: boolean;
  /** Ends in a row without a minute of health between; the place in the back-off. */
  failures: number;
  readyAt: number | null;
  restarts: number;
  predictions: number;
  /** Why its load failed, noted before the process's end is. */
  loadFailure: Failure | null;
  cancelTimer: () => void;
}

export interface PoolDeps {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly startWorker: StartWorker;
  /** Writes a line to the instance's log. */
  readonly log: (text: string) => void;
}

export interface PoolOptions {
  readonly workers: number;
  /** How jobs that wait together are joined; its `auto` is the worker's to decide. */
  readonly batching: Batching;
  readonly startTimeoutMs: number;
  /** How slot `index` is started. */
  readonly start: (index: number) => WorkerStart;
}

const BACKOFF_MS = [0, 500, 1000, 2000, 4000, 8000, 16_000, 30_000] as const;
const HEALTHY_AFTER_MS = 60_000;
const LOAD_ATTEMPTS = 3;
/** How much work, by what the last jobs took, the only worker gets ahead, and how many jobs at most. */
const AHEAD_MS = 5;
const AHEAD_MAX = 16;
/** How long a worker may compare joined answers with single ones: so long, and ten times what its answers took. */
const PROOF_MS = 1_000;
const PROOF_FACTOR = 10;
/** The share of an inference's time that a request waits for others to join it. */
const PATIENCE = 0.2;

export class Pool {
  readonly #deps: PoolDeps;
  readonly #options: PoolOptions;
  readonly #slots: Slot[];
  readonly #queue = new JobQueue<Job>();
  #running = 0;
  #nextId = 1;
  #everReady = false;
  #loadFailuresInARow = 0;
  #failure: Failure | null = null;
  #stopping = false;
  /** A dispatch follows once everything that has arrived is read. */
  #dispatchSoon = false;
  /** Jobs handed over at once the last time: while they come one by one, waiting for more would only cost time. */
  #lastSize = 0;
  /** Requests there were around the last inference: those in it, and those that came while it ran. */
  #around = 1;
  /** How long it took, and when it ended. */
  #lastMs = 0;
  #endedAt = 0;
  /** Of jobs answered one after the other: how long each took. */
  #eachMs = Number.POSITIVE_INFINITY;
  /** A dispatch follows when the first job has waited long enough for others. */
  #delayed = false;
  #cancelDelay = (): void => {};
  #onStopped: (() => void)[] = [];
  #decision: BatchingDecision | null = null;
  #mustNotJoin = false;
  readonly #measures = new Measures();

  constructor(deps: PoolDeps, options: PoolOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#slots = Array.from({ length: options.workers }, (_, index) => ({
      index,
      state: "waiting",
      worker: null,
      jobs: [],
      size: 0,
      together: false,
      since: 0,
      left: [],
      proving: false,
      joins: false,
      failures: 0,
      readyAt: null,
      restarts: 0,
      predictions: 0,
      loadFailure: null,
      cancelTimer: () => {},
    }));
  }

  start(): void {
    for (const slot of this.#slots) this.#startSlot(slot);
  }

  health(): Health {
    if (this.#failure !== null) return { state: "failed", failure: this.#failure };
    return this.#slots.some(isReady) ? { state: "ready" } : { state: "starting" };
  }

  /** What a worker decided last about joining requests; null before the first did. */
  decision(): BatchingDecision | null {
    return this.#decision;
  }

  stats(): object {
    return {
      queued: this.#queue.size,
      inFlight: this.#running,
      restarts: this.#slots.reduce((sum, slot) => sum + slot.restarts, 0),
      workers: this.#slots.map((slot) => ({
        state: slot.state,
        pid: slot.worker?.pid ?? null,
        restarts: slot.restarts,
        predictions: slot.predictions,
      })),
    };
  }

  counters(): InstanceCounters {
    return {
      queued: this.#queue.size,
      workers: this.#slots.length,
      busyWorkers: this.#slots.filter((slot) => slot.jobs.length > 0).length,
      workerRestarts: this.#slots.reduce((sum, slot) => sum + slot.restarts, 0),
      ...this.#measures.read(),
    };
  }

  /** Queues a prediction. The returned function says that its caller is gone. */
  submit(input: JobInput, settle: Settle): () => void {
    const now = this.#deps.clock.monotonicMs();
    const job: Job = {
      id: this.#nextId++,
      input,
      settle,
      queuedAt: now,
      startedAt: now,
      alone: input.items !== null,
      bytes: input.bodyBytes,
      state: "queued",
      cancelDeadline: () => {},
    };
    if (this.#failure !== null || this.#stopping) {
      job.state = "settled";
      this.#measures.count("unavailable", null);
      settle({ kind: "unavailable", failure: this.#failure }, { queueMs: 0, workerMs: 0, steps: null });
      return () => {};
    }
    this.#queue.push(job);
    job.cancelDeadline = this.#deps.timers.after(input.deadlineMs, () => this.#deadline(job));
    if (this.#lastSize <= 1) this.#dispatch();
    else if (!this.#dispatchSoon) {
      // Requests that arrived at the same time are read one after the other: those behind this one may join it.
      this.#dispatchSoon = true;
      this.#deps.timers.soon(() => {
        this.#dispatchSoon = false;
        this.#dispatch();
      });
    }
    return () => this.#abandon(job);
  }

  /** Ends all workers, gently if they are free, and answers what is left. Resolves when no process is left. */
  stop(): Promise<void> {
    this.#stopping = true;
    this.#cancelDelay();
    this.#settleQueue(null);
    for (const slot of this.#slots) {
      slot.cancelTimer();
      if (slot.state === "waiting") slot.state = "stopped";
      else if (slot.state === "idle") slot.worker?.stop();
      else if (slot.state !== "stopped") slot.worker?.kill({ dump: false });
    }
    if (this.#slots.every((slot) => slot.state === "stopped")) return Promise.resolve();
    return new Promise((resolve) => this.#onStopped.push(resolve));
  }

  /** Last resort when this process ends unexpectedly: kills every worker's group, without waiting. */
  killAll(): void {
    for (const slot of this.#slots) slot.worker?.kill({ dump: false });
  }

  // --- slots ---------------------------------------------------------------------------------------------------

  #startSlot(slot: Slot): void {
    const { clock, timers, log } = this.#deps;
    const name = `worker ${slot.index + 1}`;
    const startedAt = clock.monotonicMs();
    slot.state = "starting";
    slot.readyAt = null;
    slot.loadFailure = null;
    const joins = this.#options.batching.mode !== "off" && !this.#mustNotJoin;
    slot.joins = joins;
    slot.proving = false;
    slot.cancelTimer = timers.after(this.#options.startTimeoutMs, () => {
      slot.loadFailure = startTimeoutFailure(this.#options.startTimeoutMs);
      slot.worker?.kill({ dump: true });
    });
    const start = this.#options.start(slot.index);
    const load = joins ? start.load : { ...start.load, batching: "off" as const };
    slot.worker = this.#deps.startWorker(
      { ...start, load },
      {
        ready: (frame) => {
          // It may have been given up (start timeout, stop) while this frame was on its way.
          if (slot.state !== "starting" || slot.loadFailure !== null || this.#stopping) return;
          slot.cancelTimer();
          slot.state = "idle";
          slot.readyAt = clock.monotonicMs();
          this.#everReady = true;
          this.#loadFailuresInARow = 0;
          log(
            `${name} is ready: ${frame.service} on Python ${frame.python}, ` +
              `model loaded in ${frame.loadMs} ms, ${Math.round(slot.readyAt - startedAt)} ms after start`,
          );
          this.#dispatch();
        },
        loadFailed: (frame) => {
          slot.loadFailure ??= loadFailure(frame);
          log(`${name} could not load the model\n${frame.traceback.trimEnd()}`);
          // Threads of user code could keep the process from ending by itself.
          slot.worker?.kill({ dump: false });
        },
        item: (frame, body) => {
          const job = slot.jobs.find(({ id }) => id === frame.id);
          const { worker } = slot;
          if (job?.state !== "running" || worker === null) return;
          if (job.input.items?.write(body, () => worker.listen(true)) === false) worker.listen(false);
        },
        answer: (frame, body) => {
          const job = this.#take(slot, frame.id);
          const items = frame.items === undefined ? {} : { items: frame.items };
          if (job !== null)
            this.#settle(job, { kind: "answer", body, ...items }, readStepTimes(frame.stepsUs));
          this.#dispatch();
        },
        failed: (frame) => {
          log(`prediction failed in ${name}\n${frame.traceback.trimEnd()}`);
          const job = this.#take(slot, frame.id);
          if (frame.exits && slot.jobs.length === 0) this.#letEnd(slot);
          else if (frame.exits) slot.state = "ending";
          if (job !== null) this.#settle(job, { kind: "failed", frame }, readStepTimes(frame.stepsUs));
          this.#dispatch();
        },
        unanswered: (frame) => {
          const job = this.#take(slot, frame.id);
          if (job !== null) slot.left.push(job);
          if (slot.jobs.length > 0) return;
          this.#letEnd(slot);
          const left = slot.left.splice(0).filter((one) => one.state !== "settled");
          this.#askAgain(left, slot.together);
          this.#dispatch();
        },
        proving: (on) => {
          slot.proving = on;
          slot.cancelTimer();
          if (!on && slot.state === "busy" && slot.jobs.length === 0) {
            slot.state = "idle";
            this.#dispatch();
          }
        },
        batching: (frame) => {
          slot.joins = frame.state === "on";
          this.#decision = parseBatchingDecision(frame);
          log(`${name}: ${frame.text}`);
        },
        exited: (exit) => this.#slotEnded(slot, exit),
      },
    );
  }

  /** The job that a worker's reply belongs to; the worker is free again. Null for a job nobody waits for. */
  #take(slot: Slot, id: number): Job | null {
    const at = slot.jobs.findIndex((job) => job.id === id);
    const [job] = at < 0 ? [] : slot.jobs.splice(at, 1);
    if (job === undefined) return null;
    slot.predictions++;
    this.#running--;
    if (slot.jobs.length === 0) {
      this.#around = slot.size + this.#queue.size;
      this.#endedAt = this.#deps.clock.monotonicMs();
      this.#lastMs = this.#endedAt - slot.since;
      if (!slot.together) this.#eachMs = this.#lastMs / slot.size;
      if (slot.proving) this.#boundProof(slot);
      else if (slot.state === "busy") slot.state = "idle";
    } else if (!slot.together && at === 0) this.#begins(slot.jobs[0]);
    if (job.state !== "settled") return job;
    job.cancelDeadline();
    return null;
  }

  /** Nobody's deadline counts while a worker compares what it has answered. */
  #boundProof(slot: Slot): void {
    slot.cancelTimer = this.#deps.timers.after(PROOF_MS + this.#lastMs * PROOF_FACTOR, () => {
      this.#deps.log(
        `worker ${slot.index + 1} does not come to an end with joined predictions and is replaced`,
      );
      slot.worker?.kill({ dump: true });
    });
  }

  /** The next of jobs in their order is the one the worker is at now. */
  #begins(job: Job | undefined): void {
    if (job === undefined) return;
    job.startedAt = this.#deps.clock.monotonicMs();
    if (job.state !== "settled") return;
    // Nobody waits for it any more, but it must not take for ever.
    job.cancelDeadline();
    job.cancelDeadline = this.#deps.timers.after(job.input.deadlineMs, () => this.#deadline(job));
  }

  /** User code asked to exit, and everything is answered. */
  #letEnd(slot: Slot): void {
    if (slot.state !== "idle" && slot.state !== "ending") return;
    slot.state = "ending";
    slot.worker?.stop();
  }

  #slotEnded(slot: Slot, exit: WorkerExit): void {
    const { clock, timers, log } = this.#deps;
    const name = `worker ${slot.index + 1}`;
    const wasLoading = slot.state === "starting";
    const { jobs } = slot;
    // Joined, any of them may have ended it; of jobs in their order only the first had begun.
    const isJoined = slot.together && slot.size > 1;
    const again = isJoined ? jobs : jobs.slice(1);
    const left = slot.left.splice(0);
    if (slot.proving && jobs.length === 0 && !this.#stopping) this.#joinsNoMore(name);
    slot.cancelTimer();
    slot.worker = null;
    slot.jobs = [];
    slot.state = "stopped";
    if (exit.fault !== "") log(`Python stack of ${name} at its end\n${exit.fault}`);
    this.#running -= jobs.length;
    for (const job of jobs) {
      if (job.state === "settled") job.cancelDeadline();
      else if (this.#stopping) this.#settle(job, { kind: "unavailable", failure: null });
      else if (!again.includes(job))
        this.#settle(job, { kind: "crashed", message: describeExit(exit), fault: exit.fault });
    }
    const waiting = [...left, ...again].filter((job) => job.state !== "settled");
    if (waiting.length > 0) {
      this.#askAgain(waiting, isJoined);
      if (this.#stopping) this.#settleQueue(null);
      else this.#dispatch();
    }
    if (this.#stopping || this.#failure !== null) {
      if (this.#slots.every((s) => s.state === "stopped"))
        for (const done of this.#onStopped.splice(0)) done();
      return;
    }
    if (slot.readyAt !== null && clock.monotonicMs() - slot.readyAt >= HEALTHY_AFTER_MS) slot.failures = 0;
    if (wasLoading) {
      this.#loadFailuresInARow++;
      const failure = withDetail(slot.loadFailure ?? exitFailure(exit), exit.fault);
      const hopeless = !this.#everReady || this.#loadFailuresInARow >= LOAD_ATTEMPTS;
      if (hopeless && !this.#slots.some(isReady)) return this.#fail(failure);
    }
    const delayMs = BACKOFF_MS[Math.min(slot.failures, BACKOFF_MS.length - 1)] ?? 0;
    slot.failures++;
    slot.restarts++;
    slot.state = "waiting";
    log(
      `${name} ended: ${describeExit(exit)}${jobs.length === 0 ? "" : isJoined ? `, while answering ${jobs.length} predictions, which are asked again one by one` : ", while answering a prediction"}; ` +
        `another starts ${delayMs === 0 ? "now" : `in ${delayMs / 1000} s`}`,
    );
    slot.cancelTimer = timers.after(delayMs, () => this.#startSlot(slot));
  }

  /** A worker ended over joined requests that were answered one by one before: no worker of this instance tries that again. */
  #joinsNoMore(name: string): void {
    this.#mustNotJoin = true;
    const text = `requests are answered one by one: ${name} ended over requests that it had answered one by one and inferred joined`;
    this.#decision = { state: "off", text };
    this.#deps.log(text);
  }

  #fail(failure: Failure): void {
    this.#failure = failure;
    this.#deps.log(`the instance has failed (${failure.reason}): ${failure.message}`);
    for (const slot of this.#slots) {
      slot.cancelTimer();
      if (slot.state === "waiting") slot.state = "stopped";
      slot.worker?.kill({ dump: false });
    }
    this.#settleQueue(failure);
  }

  // --- jobs ----------------------------------------------------------------------------------------------------

  #dispatch(): void {
    while (this.#queue.size > 0) {
      const idle = this.#slots.filter((s) => s.state === "idle");
      const slot = idle[0];
      if (slot?.worker == null || this.#waitsForMore(slot)) return;
      // Free workers share what waits: joining is for what would have to wait.
      const most = slot.joins
        ? Math.min(this.#options.batching.maxSize, Math.ceil(this.#queue.size / idle.length))
        : this.#ahead();
      const jobs = this.#queue.shiftTogether(most);
      if (jobs.length === 0) return;
      const now = this.#deps.clock.monotonicMs();
      for (const job of jobs) {
        job.state = "running";
        job.startedAt = now;
      }
      slot.state = "busy";
      slot.jobs = jobs;
      slot.size = jobs.length;
      slot.since = now;
      slot.together = slot.joins;
      this.#lastSize = jobs.length;
      this.#running += jobs.length;
      slot.worker.predict(
        jobs.map(({ id, input: { contentType, query, parts, body, bodyBytes, items } }) => ({
          request: {
            id,
            contentType,
            query,
            parts,
            ...(items === null ? {} : { stream: true as const }),
          },
          body,
          bodyBytes,
        })),
      );
    }
  }

  /** How many jobs a worker gets that answers them one after the other. With several workers another may be free sooner. */
  #ahead(): number {
    if (this.#slots.length > 1) return 1;
    return Math.min(AHEAD_MAX, Math.max(1, Math.floor(AHEAD_MS / this.#eachMs)));
  }

  /**
   * Whether the first job should wait for more to join it; it is then dispatched when it has waited long enough. Callers
   * that were just answered come back within a moment: as long as there are fewer than the last time, waiting a fifth of what an
   * inference takes, and never past the delay, makes one inference of two. (A forest of 100 trees takes 5 ms for one row as for
   * 64.) Below a millisecond, the least a timer can wait, nobody waits: so quick models never do.
   */
  #waitsForMore(slot: Slot): boolean {
    const { maxSize, maxDelayMs } = this.#options.batching;
    const first = this.#queue.peek();
    const enough = Math.min(maxSize, this.#around);
    const patienceMs = Math.min(maxDelayMs, this.#lastMs * PATIENCE);
    if (patienceMs < 1 || !slot.joins || this.#queue.size >= enough || first === undefined || first.alone)
      return false;
    const leftMs = patienceMs - (this.#deps.clock.monotonicMs() - this.#endedAt);
    if (leftMs <= 0) return false;
    if (!this.#delayed) {
      this.#delayed = true;
      this.#cancelDelay = this.#deps.timers.after(leftMs, () => {
        this.#delayed = false;
        this.#dispatch();
      });
    }
    return true;
  }

  /** Puts jobs whose worker ended back to the head of the queue; `alone`: each to be asked by itself. */
  #askAgain(jobs: readonly Job[], alone: boolean): void {
    for (const job of jobs) {
      job.state = "queued";
      job.alone ||= alone;
    }
    this.#queue.putBack(jobs);
    if (this.#failure !== null) this.#settleQueue(this.#failure);
  }

  #deadline(job: Job): void {
    const slot = this.#slots.find((s) => s.jobs.includes(job));
    if (slot !== undefined && !slot.together && slot.jobs[0] !== job) {
      // It has not begun.
      if (job.state !== "settled") this.#settle(job, { kind: "timeout", executing: false });
      return;
    }
    if (slot !== undefined) {
      slot.state = "ending";
      this.#deps.log(
        `worker ${slot.index + 1} exceeded the deadline of a prediction ` +
          `(${Math.round(job.input.deadlineMs)} ms) and is replaced`,
      );
      slot.worker?.kill({ dump: true });
    }
    if (job.state !== "settled") this.#settle(job, { kind: "timeout", executing: slot !== undefined });
  }

  /** The caller is gone: a waiting job is dropped; one that runs goes on, and its answer and deadline still count. */
  #abandon(job: Job): void {
    if (job.state === "settled") return;
    if (job.state === "queued") {
      this.#queue.left();
      job.cancelDeadline();
    } else if (job.input.items !== null) {
      const worker = this.#slots.find((slot) => slot.jobs.includes(job))?.worker;
      worker?.cancel(job.id);
      worker?.listen(true);
    }
    job.state = "settled";
  }

  #settle(job: Job, outcome: JobOutcome, steps: StepTimes | null = null): void {
    const now = this.#deps.clock.monotonicMs();
    const ran = job.state === "running";
    if (job.state === "queued") this.#queue.left();
    job.state = "settled";
    job.cancelDeadline();
    this.#measures.count(outcome.kind, steps);
    job.settle(outcome, {
      queueMs: (ran ? job.startedAt : now) - job.queuedAt,
      workerMs: ran ? now - job.startedAt : 0,
      steps,
    });
  }

  #settleQueue(failure: Failure | null): void {
    for (let job = this.#queue.peek(); job !== undefined; job = this.#queue.peek()) {
      this.#settle(job, { kind: "unavailable", failure });
    }
  }
}

const isReady = (slot: Slot): boolean => slot.state === "idle" || slot.state === "busy";

/** Pools in time that moves only when a test says so, with workers whose every step the test makes. */
import { expect } from "vitest";
import { NO_BATCHING } from "../../src/core/batching.ts";
import type { Batching, BatchingMode } from "../../src/core/batching.ts";
import type { Clock } from "../../src/core/clock.ts";
import { instant } from "../../src/core/ids.ts";
import { Pool } from "../../src/modelserver/pool.ts";
import type { ItemSink, JobOutcome } from "../../src/modelserver/jobs.ts";
import { PROTOCOL_VERSION } from "../../src/modelserver/protocol.ts";
import type { Timers } from "../../src/modelserver/timers.ts";
import type { Worker, WorkerEvents, WorkerExit, WorkerRequest } from "../../src/modelserver/worker.ts";

/** Time that moves only when a test says so. */
export class FakeTime implements Timers {
  now = 0;
  #due: { at: number; fn: () => void }[] = [];
  after(ms: number, fn: () => void): () => void {
    // In whole milliseconds, as real ones: a rest that rounding leaves of a delay would never pass.
    const entry = { at: this.now + Math.ceil(ms), fn };
    this.#due.push(entry);
    return () => {
      this.#due = this.#due.filter((e) => e !== entry);
    };
  }
  advance(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const next = this.#due.filter((e) => e.at <= until).toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#due = this.#due.filter((e) => e !== next);
      this.now = next.at;
      next.fn();
    }
    this.now = until;
  }
  soon(fn: () => void): void {
    this.after(0, fn);
  }
  get pending(): number {
    return this.#due.length;
  }
}

/** A worker whose every step the test makes. */
export class FakeWorker implements Worker {
  readonly pid = 1;
  readonly events: WorkerEvents;
  /** The requests it has in hand, oldest first. */
  hands: number[] = [];
  /** How many it got at once, each time. */
  readonly sizes: number[] = [];
  /** Of those, what it might join. */
  readonly joined: number[] = [];
  /** What each request it ever got asks, by its id. */
  readonly asked = new Map<number, string>();
  /** What it last got may be joined. */
  joins = false;
  #mayJoin: boolean;
  killed = false;
  ended = false;
  /** As it was told when it was started. */
  readonly batching: BatchingMode;
  constructor(events: WorkerEvents, batching: BatchingMode) {
    this.events = events;
    this.batching = batching;
    this.#mayJoin = batching !== "off";
  }
  get current(): number | null {
    return this.hands[0] ?? null;
  }
  predict(requests: readonly WorkerRequest[]): void {
    expect(this.hands).toEqual([]);
    this.hands = requests.map(({ request }) => request.id);
    this.sizes.push(requests.length);
    this.joins = this.#mayJoin;
    if (this.joins) this.joined.push(requests.length);
    for (const { request } of requests) this.asked.set(request.id, request.query);
  }
  readonly cancelled: number[] = [];
  listens = true;
  cancel(id: number): void {
    this.cancelled.push(id);
  }
  listen(on: boolean): void {
    this.listens = on;
  }
  stop(): void {
    this.end(0);
  }
  kill(): void {
    this.killed = true;
  }
  ready(): void {
    this.events.ready({ t: "ready", protocol: PROTOCOL_VERSION, service: "S", python: "3", loadMs: 1 });
  }
  answer(): void {
    const id = this.hands.shift() ?? -1;
    const body = Buffer.from(this.asked.get(id) ?? "");
    this.events.answer({ id, stepsUs: [1, 2000, 3000, 4000, 5] }, body);
  }
  /** Whether it compares answers from now on. */
  prove(on: boolean): void {
    this.events.proving(on);
  }
  /** Whether requests are joined from now on. */
  decide(state: "on" | "off"): void {
    this.#mayJoin = state === "on";
    this.events.batching({ t: "batching", state, text: state });
  }
  /** Its code raises over the first request it has in hand; with `exits` it asks to end, and leaves the others. */
  fail(exits = false): void {
    const [id = -1, ...rest] = this.hands;
    this.hands = exits ? [] : rest;
    this.events.failed({ t: "failed", id, kind: "code", exception: "E", traceback: "T", exits });
    if (exits) for (const other of rest) this.events.unanswered({ t: "unanswered", id: other });
  }
  end(code: number | null, more: Partial<WorkerExit> = {}): void {
    if (this.ended) return;
    this.ended = true;
    this.events.exited({ code, signal: null, spawnError: null, fault: "", ...more });
  }
}

/** A started pool in its own time; whom it starts is added to `workers`. */
export const startPool = (
  { time, workers }: { readonly time: FakeTime; readonly workers: FakeWorker[] },
  count: number,
  batching: Batching = NO_BATCHING,
): Pool => {
  const clock: Clock = { now: () => instant(time.now), monotonicMs: () => time.now, sleep: async () => {} };
  const pool = new Pool(
    {
      clock,
      timers: time,
      log: () => {},
      startWorker: ({ load }, events) => {
        const made = new FakeWorker(events, load.batching ?? "off");
        workers.push(made);
        return made;
      },
    },
    {
      workers: count,
      batching,
      startTimeoutMs: 10_000,
      start: () => ({
        python: "",
        env: {},
        workDir: "",
        faultFile: "",
        confinement: { user: null, cgroups: [], rlimits: {}, memoryMb: null },
        load: {
          t: "load",
          protocol: PROTOCOL_VERSION,
          engine: "XGBoost",
          packageDir: "",
          modelFile: "",
          modelName: "",
          modelVersion: "",
          batching: batching.mode,
        },
      }),
    },
  );
  pool.start();
  return pool;
};

/** Asks for a prediction: its outcomes, and what the caller does who leaves. */
export const submit = (
  pool: Pool,
  deadlineMs = 1000,
  items: ItemSink | null = null,
  query = "",
): { outcomes: JobOutcome[]; leave: () => void } => {
  const outcomes: JobOutcome[] = [];
  const leave = pool.submit(
    { contentType: "", query, parts: [], body: [], bodyBytes: 0, deadlineMs, items },
    (outcome) => outcomes.push(outcome),
  );
  return { outcomes, leave };
};

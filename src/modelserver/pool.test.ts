import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import type { Clock } from "../core/clock.ts";
import { instant } from "../core/ids.ts";
import { Pool } from "./pool.ts";
import type { JobOutcome } from "./pool.ts";
import type { Timers } from "./timers.ts";
import type { Worker, WorkerEvents, WorkerExit } from "./worker.ts";

/** Time that moves only when a test says so. */
class FakeTime implements Timers {
  now = 0;
  #due: { at: number; fn: () => void }[] = [];
  after(ms: number, fn: () => void): () => void {
    const entry = { at: this.now + ms, fn };
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
  get pending(): number {
    return this.#due.length;
  }
}

/** A worker whose every step the test makes. */
class FakeWorker implements Worker {
  readonly pid = 1;
  readonly events: WorkerEvents;
  current: number | null = null;
  killed = false;
  ended = false;
  constructor(events: WorkerEvents) {
    this.events = events;
  }
  predict(frame: { id: number }): void {
    expect(this.current).toBeNull();
    this.current = frame.id;
  }
  stop(): void {
    this.end(0);
  }
  kill(): void {
    this.killed = true;
  }
  ready(): void {
    this.events.ready({ t: "ready", protocol: 1, service: "S", python: "3", loadMs: 1 });
  }
  answer(): void {
    const id = this.current ?? -1;
    this.current = null;
    this.events.answer({ t: "answer", id, stepsUs: [1, 2000, 3000, 4000, 5] }, Buffer.from("{}"));
  }
  end(code: number | null, more: Partial<WorkerExit> = {}): void {
    if (this.ended) return;
    this.ended = true;
    this.events.exited({ code, signal: null, spawnError: null, fault: "", ...more });
  }
}

let time: FakeTime;
let workers: FakeWorker[];
const live = (): FakeWorker[] => workers.filter((w) => !w.ended);
const worker = (at: number): FakeWorker => {
  const found = workers.at(at);
  if (found === undefined) throw new Error(`no worker ${at}`);
  return found;
};

const makePool = (count: number): Pool => {
  const clock: Clock = { now: () => instant(time.now), monotonicMs: () => time.now, sleep: async () => {} };
  const pool = new Pool(
    {
      clock,
      timers: time,
      log: () => {},
      startWorker: (_, events) => {
        const made = new FakeWorker(events);
        workers.push(made);
        return made;
      },
    },
    {
      workers: count,
      startTimeoutMs: 10_000,
      start: () => ({
        python: "",
        env: {},
        workDir: "",
        faultFile: "",
        confinement: { user: null, cgroups: [], rlimits: {}, memoryMb: null },
        load: {
          t: "load",
          protocol: 1,
          engine: "XGBoost",
          packageDir: "",
          modelFile: "",
          modelName: "",
          modelVersion: "",
        },
      }),
    },
  );
  pool.start();
  return pool;
};

const submit = (pool: Pool, deadlineMs = 1000): { outcomes: JobOutcome[]; leave: () => void } => {
  const outcomes: JobOutcome[] = [];
  const leave = pool.submit(
    { contentType: "", query: "", parts: [], body: [], bodyBytes: 0, deadlineMs },
    (outcome) => outcomes.push(outcome),
  );
  return { outcomes, leave };
};
const kinds = (job: { outcomes: JobOutcome[] }): string[] => job.outcomes.map((o) => o.kind);

beforeEach(() => {
  time = new FakeTime();
  workers = [];
});

describe("pool", () => {
  it("lets predictions that arrive before the model is loaded wait, and answers them in order", () => {
    const pool = makePool(1);
    const first = submit(pool);
    const second = submit(pool);
    expect(pool.health().state).toBe("starting");
    worker(0).ready();
    expect(pool.health().state).toBe("ready");
    worker(0).answer();
    expect([kinds(first), kinds(second)]).toEqual([["answer"], []]);
    worker(0).answer();
    expect(kinds(second)).toEqual(["answer"]);
  });

  it("answers a prediction whose deadline passes while it waits, without touching a worker", () => {
    const pool = makePool(1);
    const job = submit(pool, 500);
    time.advance(500);
    expect(job.outcomes).toEqual([{ kind: "timeout", executing: false }]);
    worker(0).ready();
    expect(worker(0).current).toBeNull();
    expect(worker(0).killed).toBe(false);
  });

  it("kills a worker that exceeds the deadline, answers its caller at once, and replaces it", () => {
    const pool = makePool(1);
    worker(0).ready();
    const slow = submit(pool, 500);
    const next = submit(pool, 5000);
    time.advance(500);
    expect(slow.outcomes).toEqual([{ kind: "timeout", executing: true }]);
    expect(worker(0).killed).toBe(true);
    expect(pool.health().state).toBe("starting");
    worker(0).end(null, { signal: "SIGKILL" });
    time.advance(0);
    worker(1).ready();
    worker(1).answer();
    expect(kinds(next)).toEqual(["answer"]);
  });

  it("answers only the caller whose worker ended", () => {
    const pool = makePool(2);
    worker(0).ready();
    worker(1).ready();
    const a = submit(pool);
    const b = submit(pool);
    worker(0).end(3);
    expect(a.outcomes).toMatchObject([{ kind: "crashed", message: "exited with code 3" }]);
    worker(1).answer();
    expect(kinds(b)).toEqual(["answer"]);
    expect(pool.health().state).toBe("ready");
  });

  it("drops a waiting prediction whose caller is gone, and finishes one that runs", () => {
    const pool = makePool(1);
    worker(0).ready();
    const running = submit(pool);
    const waiting = submit(pool);
    const last = submit(pool);
    running.leave();
    waiting.leave();
    worker(0).answer();
    expect([kinds(running), kinds(waiting)]).toEqual([[], []]);
    worker(0).answer();
    expect(kinds(last)).toEqual(["answer"]);
    expect(worker(0).current).toBeNull();
    expect(pool.stats()).toMatchObject({ queued: 0, inFlight: 0 });
  });

  it("still kills a worker past the deadline when its caller is gone", () => {
    const pool = makePool(1);
    worker(0).ready();
    const job = submit(pool, 500);
    job.leave();
    time.advance(500);
    expect(worker(0).killed).toBe(true);
    expect(kinds(job)).toEqual([]);
  });

  it("fails for good when the first load fails, and answers what waits", () => {
    const pool = makePool(2);
    const job = submit(pool);
    worker(0).events.loadFailed({
      t: "load-failed",
      exception: "ValueError: no",
      traceback: "Trace\nValueError: no",
    });
    worker(0).end(1);
    expect(pool.health()).toEqual({
      state: "failed",
      failure: {
        reason: "load-failed",
        message: "The model could not be loaded: ValueError: no",
        detail: "Trace\nValueError: no",
      },
    });
    expect(kinds(job)).toEqual(["unavailable"]);
    expect(worker(1).killed).toBe(true);
    worker(1).end(null, { signal: "SIGKILL" });
    time.advance(3_600_000);
    expect(workers).toHaveLength(2);
    expect(kinds(submit(pool))).toEqual(["unavailable"]);
  });

  it("names the exit code of a process that died while loading", () => {
    const pool = makePool(1);
    worker(0).end(null, { signal: "SIGSEGV", fault: "Fatal Python error" });
    expect(pool.health()).toMatchObject({
      failure: {
        reason: "load-failed",
        message: "The model could not be loaded: the worker process was ended by SIGSEGV while loading it.",
        detail: "Fatal Python error",
        exitCode: null,
      },
    });
  });

  it("fails a load that takes longer than the start timeout", () => {
    const pool = makePool(1);
    time.advance(10_000);
    expect(worker(0).killed).toBe(true);
    worker(0).ready();
    expect(pool.health().state).toBe("starting");
    worker(0).end(null, { signal: "SIGKILL" });
    expect(pool.health()).toMatchObject({ failure: { reason: "start-timeout" } });
  });

  it("backs off between replacements and starts over after a minute of health", () => {
    makePool(1);
    const delayOfNext = (): number => {
      worker(-1).end(1);
      const before = workers.length;
      const from = time.now;
      while (workers.length === before) time.advance(100);
      return time.now - from;
    };
    const delays = Array.from({ length: 9 }, () => {
      worker(-1).ready();
      return delayOfNext();
    });
    expect(delays).toEqual([100, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    worker(-1).ready();
    time.advance(60_000);
    expect(delayOfNext()).toBe(100);
  });

  it("fails when three loads in a row fail later on, but not while another worker serves", () => {
    const pool = makePool(2);
    worker(0).ready();
    worker(1).ready();
    worker(0).end(1);
    for (let i = 0; i < 4; i++) {
      time.advance(60_000);
      expect(live()).toHaveLength(2);
      worker(-1).end(1);
      expect(pool.health().state).toBe("ready");
    }
    worker(1).end(1);
    time.advance(60_000);
    for (const w of live()) w.end(1);
    expect(pool.health().state).toBe("failed");
  });

  it("resolves stop only when no worker is left, and answers what waits", async () => {
    const pool = makePool(2);
    worker(0).ready();
    const running = submit(pool);
    const waiting = submit(pool);
    let stopped = false;
    const done = pool.stop().then(() => (stopped = true));
    expect(kinds(waiting)).toEqual(["unavailable"]);
    expect(worker(0).killed && worker(1).killed).toBe(true);
    worker(1).end(null, { signal: "SIGKILL" });
    await Promise.resolve();
    expect(stopped).toBe(false);
    worker(0).end(null, { signal: "SIGKILL" });
    await done;
    expect(kinds(running)).toEqual(["unavailable"]);
  });

  it("settles every prediction exactly once and leaves no timer, whatever happens in whatever order", () => {
    const action = fc.oneof(
      fc.record({ do: fc.constant("submit" as const), ms: fc.integer({ min: 0, max: 3000 }) }),
      fc.record({
        do: fc.constantFrom("ready", "answer", "crash", "leave", "fail-load", "exits"),
        at: fc.nat(5),
      }),
      fc.record({ do: fc.constant("advance" as const), ms: fc.integer({ min: 0, max: 4000 }) }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 }), fc.array(action, { maxLength: 60 }), (count, actions) => {
        time = new FakeTime();
        workers = [];
        const pool = makePool(count);
        const jobs: ReturnType<typeof submit>[] = [];
        const gone = new Set<number>();
        const ready = new Set<FakeWorker>();
        const reap = (): void => {
          for (const w of live()) if (w.killed) w.end(null, { signal: "SIGKILL" });
        };
        for (const a of actions) {
          if (a.do === "submit") jobs.push(submit(pool, a.ms));
          else if (a.do === "advance") time.advance(a.ms);
          else if (a.do === "leave") {
            const job = jobs[a.at];
            if (job !== undefined && job.outcomes.length === 0) {
              gone.add(a.at);
              job.leave();
            }
          } else {
            const w = live()[a.at % Math.max(1, live().length)];
            if (w === undefined) continue;
            if (a.do === "ready" && !ready.has(w)) {
              ready.add(w);
              w.ready();
            } else if (a.do === "answer" && w.current !== null) w.answer();
            else if (a.do === "crash") w.end(9);
            else if (a.do === "fail-load" && !ready.has(w)) {
              w.events.loadFailed({ t: "load-failed", exception: "E", traceback: "T" });
            } else if (a.do === "exits" && w.current !== null) {
              const id = w.current;
              w.current = null;
              w.events.failed({ t: "failed", id, kind: "code", exception: "E", traceback: "T", exits: true });
            }
          }
          if (a.do === "advance") reap();
          for (const job of jobs) expect(job.outcomes.length).toBeLessThanOrEqual(1);
        }
        time.advance(10_000);
        void pool.stop();
        reap();
        for (const w of live()) w.end(0);
        jobs.forEach((job, i) => expect(job.outcomes).toHaveLength(gone.has(i) ? 0 : 1));
        expect(pool.stats()).toMatchObject({ queued: 0, inFlight: 0 });
        expect(time.pending).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});

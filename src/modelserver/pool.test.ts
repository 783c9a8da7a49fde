import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { FakeTime, startPool, submit } from "../../test/support/pool.ts";
import type { FakeWorker } from "../../test/support/pool.ts";
import { NO_BATCHING } from "../core/batching.ts";
import type { Batching } from "../core/batching.ts";
import type { ItemSink, JobOutcome } from "./jobs.ts";
import type { Pool } from "./pool.ts";

let time: FakeTime;
let workers: FakeWorker[];
const live = (): FakeWorker[] => workers.filter((w) => !w.ended);
const worker = (at: number): FakeWorker => {
  const found = workers.at(at);
  if (found === undefined) throw new Error(`no worker ${at}`);
  return found;
};
const makePool = (count: number, batching: Batching = NO_BATCHING): Pool =>
  startPool({ time, workers }, count, batching);
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

  it("asks what an exiting worker left again in its order", () => {
    const pool = makePool(1);
    worker(0).ready();
    submit(pool);
    const jobs = Array.from({ length: 4 }, () => submit(pool));
    time.advance(1);
    worker(0).answer();
    const [, ...left] = worker(0).hands;
    worker(0).fail(true);
    time.advance(0);
    worker(1).ready();
    expect(worker(1).hands).toEqual(left);
    for (const _ of left) worker(1).answer();
    expect(jobs.map(kinds)).toEqual([["failed"], ["answer"], ["answer"], ["answer"]]);
  });

  it("hands over together what fits into 16 MB, whatever its number", () => {
    const pool = makePool(1, { mode: "on", maxSize: 64, maxDelayMs: 0 });
    for (let n = 0; n < 5; n++)
      pool.submit(
        { contentType: "", query: "", parts: [], body: [], bodyBytes: 6e6, deadlineMs: 1000, items: null },
        () => {},
      );
    worker(0).ready();
    expect(worker(0).hands).toHaveLength(2);
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

  it.each([
    ["one by one", NO_BATCHING],
    ["joined", { mode: "on", maxSize: 3, maxDelayMs: 0 }],
    ["joined after a delay", { mode: "on", maxSize: 4, maxDelayMs: 50 }],
  ] as const)(
    "settles every prediction exactly once and leaves no timer, whatever happens: %s",
    (_, batching) => {
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
          const pool = makePool(count, batching);
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
              } else if (a.do === "exits" && w.current !== null) w.fail(true);
            }
            if (a.do === "advance") reap();
            for (const job of jobs) expect(job.outcomes.length).toBeLessThanOrEqual(1);
            for (const w of workers) {
              expect(Math.max(0, ...w.joined)).toBeLessThanOrEqual(batching.maxSize);
              expect(Math.max(0, ...w.sizes)).toBeLessThanOrEqual(Math.max(16, batching.maxSize));
            }
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
    },
  );

  describe("joining", () => {
    const ON: Batching = { mode: "on", maxSize: 4, maxDelayMs: 0 };
    const ready = (pool: Pool, count = 1): Pool => {
      for (let at = 0; at < count; at++) worker(at).ready();
      return pool;
    };
    /** Lets everything that has arrived be read. */
    const settle = (): void => time.advance(0);

    it("hands over together what arrived together, never more than the size", () => {
      const pool = makePool(1, ON);
      const jobs = Array.from({ length: 6 }, () => submit(pool));
      ready(pool);
      expect(worker(0).sizes).toEqual([4]);
      for (let at = 0; at < 4; at++) worker(0).answer();
      expect(worker(0).sizes).toEqual([4, 2]);
      for (let at = 0; at < 2; at++) worker(0).answer();
      expect(jobs.map(kinds)).toEqual(jobs.map(() => ["answer"]));
    });

    it("shares what waits among free workers", () => {
      const pool = makePool(2, ON);
      for (let at = 0; at < 2; at++) submit(pool);
      ready(pool, 2);
      for (let at = 0; at < 2; at++) worker(0).answer();
      for (let at = 0; at < 4; at++) submit(pool);
      settle();
      expect([worker(0).sizes, worker(1).sizes]).toEqual([[2, 2], [2]]);
    });

    it("hands over at once what comes by itself, and waits for neighbours only while there are some", () => {
      const pool = ready(makePool(1, ON));
      submit(pool);
      expect(worker(0).sizes).toEqual([1]);
      for (let at = 0; at < 3; at++) submit(pool);
      worker(0).answer();
      expect(worker(0).sizes).toEqual([1, 3]);
      for (let at = 0; at < 3; at++) worker(0).answer();
      for (let at = 0; at < 2; at++) submit(pool);
      expect(worker(0).sizes).toEqual([1, 3]);
      settle();
      expect(worker(0).sizes).toEqual([1, 3, 2]);
    });

    it("waits for callers just answered to come back, a fifth of the inference's time at most", () => {
      const pool = makePool(1, { ...ON, maxDelayMs: 50 });
      for (let at = 0; at < 3; at++) submit(pool);
      ready(pool);
      time.advance(100);
      for (let at = 0; at < 3; at++) worker(0).answer();
      submit(pool);
      time.advance(10);
      submit(pool);
      time.advance(9);
      expect(worker(0).sizes).toEqual([3]);
      time.advance(1);
      expect(worker(0).sizes).toEqual([3, 2]);
    });

    it("waits no longer once as many are there as the last time, and never past the delay", () => {
      const pool = makePool(1, { ...ON, maxDelayMs: 5 });
      for (let at = 0; at < 3; at++) submit(pool);
      ready(pool);
      time.advance(100);
      for (let at = 0; at < 3; at++) worker(0).answer();
      for (let at = 0; at < 3; at++) submit(pool);
      settle();
      expect(worker(0).sizes).toEqual([3, 3]);
      time.advance(100);
      for (let at = 0; at < 3; at++) worker(0).answer();
      submit(pool);
      time.advance(5);
      expect(worker(0).sizes).toEqual([3, 3, 1]);
    });

    it("asks again one by one when the worker ends over them, so that only the culprit fails", () => {
      const pool = makePool(1, ON);
      const jobs = [submit(pool, 9000), submit(pool, 9000), submit(pool, 9000)];
      ready(pool);
      worker(0).end(9);
      time.advance(1000);
      worker(1).ready();
      expect(worker(1).sizes).toEqual([1]);
      worker(1).answer();
      worker(1).end(9);
      time.advance(1000);
      worker(2).ready();
      worker(2).answer();
      expect(jobs.map(kinds)).toEqual([["answer"], ["crashed"], ["answer"]]);
    });

    it("lets only the one time out whose deadline passes, and asks the others again", () => {
      const pool = makePool(1, ON);
      const [hasty, patient] = [submit(pool, 500), submit(pool, 9000)];
      ready(pool);
      time.advance(600);
      expect(kinds(hasty)).toEqual(["timeout"]);
      worker(0).end(null, { signal: "SIGKILL" });
      time.advance(1000);
      worker(1).ready();
      worker(1).answer();
      expect(kinds(patient)).toEqual(["answer"]);
    });

    it("hands over one at a time once the worker says that they must not be joined", () => {
      const pool = ready(makePool(1, { ...ON, mode: "auto" }));
      worker(0).events.batching({ t: "batching", state: "off", text: "they differ" });
      for (let at = 0; at < 3; at++) submit(pool);
      settle();
      expect(worker(0).sizes).toEqual([1]);
    });

    it("drops one whose caller left while it waits, and answers the others whose neighbour left later", () => {
      const pool = makePool(1, ON);
      const [early, late, stays] = [submit(pool), submit(pool), submit(pool)];
      early.leave();
      ready(pool);
      expect(worker(0).sizes).toEqual([2]);
      late.leave();
      worker(0).answer();
      worker(0).answer();
      expect([early, late, stays].map(kinds)).toEqual([[], [], ["answer"]]);
    });
  });

  describe("streaming", () => {
    const sink = (room = true) => {
      const taken: string[] = [];
      const drains: (() => void)[] = [];
      const items: ItemSink = {
        write: (item, onDrain) => {
          taken.push(item.toString());
          if (!room) drains.push(onDrain);
          return room;
        },
      };
      return { items, taken, drain: () => drains.splice(0).forEach((fn) => fn()) };
    };
    const send = (text: string): void =>
      worker(0).events.item({ t: "item", id: worker(0).current ?? -1 }, Buffer.from(text));

    it("gives each item to its caller, alone in its worker, and ends with the answer", () => {
      const pool = makePool(1, { mode: "on", maxSize: 4, maxDelayMs: 0 });
      const { items, taken } = sink();
      const job = submit(pool, 1000, items);
      submit(pool);
      worker(0).ready();
      expect(worker(0).sizes).toEqual([1]);
      send("1");
      send("2");
      worker(0).events.answer({ id: worker(0).hands.shift() ?? -1, items: 2 }, Buffer.alloc(0));
      expect(taken).toEqual(["1", "2"]);
      expect(job.outcomes).toMatchObject([{ kind: "answer", items: 2 }]);
    });

    it("does not listen to the worker as long as the caller has no room", () => {
      const pool = makePool(1);
      worker(0).ready();
      const { items, drain } = sink(false);
      submit(pool, 1000, items);
      send("1");
      expect(worker(0).listens).toBe(false);
      drain();
      expect(worker(0).listens).toBe(true);
    });

    it("tells the worker when the caller is gone, and listens again", () => {
      const pool = makePool(1);
      worker(0).ready();
      const { items, taken } = sink(false);
      const job = submit(pool, 1000, items);
      send("1");
      job.leave();
      expect(worker(0).cancelled).toHaveLength(1);
      expect(worker(0).listens).toBe(true);
      send("2");
      expect(taken).toEqual(["1"]);
    });
  });
});

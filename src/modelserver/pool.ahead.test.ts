/** Predictions handed over ahead of their turn, and workers that compare joined answers with single ones. */
import { beforeEach, describe, expect, it } from "vitest";
import { FakeTime, startPool, submit } from "../../test/support/pool.ts";
import type { FakeWorker } from "../../test/support/pool.ts";
import { NO_BATCHING } from "../core/batching.ts";
import type { Batching } from "../core/batching.ts";
import type { JobOutcome } from "./jobs.ts";
import type { Pool } from "./pool.ts";

let time: FakeTime;
let workers: FakeWorker[];
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

describe("while a worker compares joined answers with single ones", () => {
  const AUTO = { mode: "auto", maxSize: 8, maxDelayMs: 0 } as const;
  /** Two requests answered one by one, which the worker now infers joined. */
  const comparing = (): Pool => {
    workers = [];
    const pool = makePool(1, AUTO);
    const jobs = [submit(pool), submit(pool)];
    worker(0).ready();
    worker(0).prove(true);
    worker(0).answer();
    worker(0).answer();
    expect(jobs.map(kinds)).toEqual([["answer"], ["answer"]]);
    return pool;
  };

  it("gives it nothing, and the next as soon as it is done", () => {
    const next = submit(comparing());
    expect(worker(0).current).toBeNull();
    worker(0).prove(false);
    worker(0).answer();
    expect(kinds(next)).toEqual(["answer"]);
  });

  it("blames nobody when it ends over that, and joins nothing in this instance any more", () => {
    const pool = comparing();
    const next = submit(pool);
    worker(0).end(null, { signal: "SIGSEGV" });
    expect(kinds(next)).toEqual([]);
    expect(pool.decision()?.state).toBe("off");
    time.advance(0);
    expect(worker(1).batching).toBe("off");
    worker(1).ready();
    worker(1).answer();
    expect(kinds(next)).toEqual(["answer"]);
  });

  it("counts its time from the last answer: a slow inference before is no part of it", () => {
    workers = [];
    const pool = makePool(1, AUTO);
    const job = submit(pool, 60_000);
    worker(0).ready();
    worker(0).prove(true);
    time.advance(30_000);
    expect(worker(0).killed).toBe(false);
    worker(0).answer();
    expect(kinds(job)).toEqual(["answer"]);
  });

  it("replaces it when it does not come to an end", () => {
    comparing();
    time.advance(2_000);
    expect(worker(0).killed).toBe(true);
  });
});

describe("with one worker and quick predictions", () => {
  /** A pool whose last prediction took this long, with the next ones handed over. */
  const after = (ms: number, count: number): { pool: Pool; jobs: ReturnType<typeof submit>[] } => {
    workers = [];
    const pool = makePool(1);
    worker(0).ready();
    submit(pool);
    const jobs = Array.from({ length: count }, () => submit(pool, 500));
    time.advance(ms);
    worker(0).answer();
    return { pool, jobs };
  };

  it("hands over those that wait, 5 ms of work ahead at most, and slow ones one by one", () => {
    for (const [ms, ahead] of [
      [1, 5],
      [2, 2],
      [4, 1],
      [100, 1],
      [0, 16],
    ] as const) {
      after(ms, 20);
      expect(worker(-1).hands.length, `${ms} ms`).toBe(ahead);
    }
  });

  it("fails only the one that ended the worker, and asks the others again, not by themselves", () => {
    const { jobs } = after(1, 5);
    worker(0).answer();
    worker(0).end(3);
    expect(jobs.map(kinds)).toEqual([["answer"], ["crashed"], [], [], []]);
    time.advance(0);
    worker(1).ready();
    expect(worker(1).hands).toHaveLength(3);
    for (let n = 0; n < 3; n++) worker(1).answer();
    expect(jobs.slice(2).map(kinds)).toEqual([["answer"], ["answer"], ["answer"]]);
  });

  it("asks again what the worker left when it was asked to exit", () => {
    const { jobs } = after(1, 3);
    const [first, ...left] = worker(0).hands;
    worker(0).hands = [];
    const frame = { kind: "code" as const, exception: "SystemExit", traceback: "", exits: true };
    worker(0).events.failed({ t: "failed", id: first ?? -1, ...frame });
    for (const id of left) worker(0).events.unanswered({ t: "unanswered", id });
    time.advance(0);
    worker(1).ready();
    worker(1).answer();
    worker(1).answer();
    expect(jobs.map(kinds)).toEqual([["failed"], ["answer"], ["answer"]]);
  });

  it("ends the worker for the deadline of the one it is at, not of one behind it", () => {
    const pool = makePool(1);
    worker(0).ready();
    submit(pool);
    const [long, short] = [submit(pool, 5000), submit(pool, 500)];
    time.advance(1);
    worker(0).answer();
    expect(worker(0).hands).toHaveLength(2);
    time.advance(600);
    expect([kinds(long), short.outcomes]).toEqual([[], [{ kind: "timeout", executing: false }]]);
    expect(worker(0).killed).toBe(false);
    worker(0).answer();
    expect(kinds(long)).toEqual(["answer"]);
    // What nobody waits for any more must not keep the worker for ever either, counted from its begin.
    time.advance(499);
    expect(worker(0).killed).toBe(false);
    time.advance(1);
    expect(worker(0).killed).toBe(true);
  });

  it("gives each of several workers one at a time, since another may be free sooner", () => {
    const pool = makePool(2);
    worker(0).ready();
    worker(1).ready();
    for (let n = 0; n < 9; n++) submit(pool);
    worker(0).answer();
    worker(1).answer();
    expect([worker(0).hands.length, worker(1).hands.length]).toEqual([1, 1]);
  });
});

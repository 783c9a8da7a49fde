/**
 * Callers that stay get what their own request deserves, by whatever it was surrounded: callers that leave at any
 * moment, requests that fail, that end their worker, whose deadline passes, that are streams; workers that crash, and
 * that change their mind about joining. Deadlines are far away for those that stay, so that nothing but the pool itself
 * can answer them in the end: one that were forgotten would have no outcome.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { FakeTime, startPool, submit } from "../../test/support/pool.ts";
import type { FakeWorker } from "../../test/support/pool.ts";
import { NO_BATCHING } from "../core/batching.ts";
import type { JobOutcome } from "./jobs.ts";

test.each([
  ["one by one", NO_BATCHING],
  ["joined", { mode: "on", maxSize: 3, maxDelayMs: 0 }],
  ["joined after a delay", { mode: "auto", maxSize: 5, maxDelayMs: 50 }],
] as const)(
  "forgets nobody and confuses nobody, whoever leaves or fails at whatever stage: %s",
  (_, batching) => {
    const NEVER_MS = 1e9;
    const action = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ do: fc.constantFrom("ask", "burst", "burst", "hurry", "stream") }),
      },
      {
        weight: 3,
        arbitrary: fc.record({ do: fc.constantFrom("answer", "answer", "fail"), at: fc.nat(3) }),
      },
      { weight: 2, arbitrary: fc.record({ do: fc.constant("leave"), at: fc.nat(30) }) },
      {
        weight: 2,
        arbitrary: fc.record({ do: fc.constantFrom("crash", "exits", "on", "off", "item"), at: fc.nat(3) }),
      },
      { weight: 2, arbitrary: fc.record({ do: fc.constant("wait"), at: fc.constantFrom(0, 1, 20, 600) }) },
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 }), fc.array(action, { maxLength: 80 }), (count, actions) => {
        const time = new FakeTime();
        const workers: FakeWorker[] = [];
        const live = (): FakeWorker[] => workers.filter((w) => !w.ended);
        const pool = startPool({ time, workers }, count, batching);
        const jobs: {
          outcomes: JobOutcome[];
          leave: () => void;
          stays: boolean;
          atMost: number;
          items: string[];
        }[] = [];
        const ask = (ms: number, isStream: boolean): void => {
          const items: string[] = [];
          const write = (item: Buffer): boolean => items.push(item.toString()) > 0;
          const job = submit(pool, ms, isStream ? { write } : null, String(jobs.length));
          jobs.push({ ...job, stays: ms === NEVER_MS, atMost: 1, items });
        };
        /** Gets every worker on its feet, as often as they fall. */
        const tend = (): void => {
          for (const w of live()) if (w.killed) w.end(null, { signal: "SIGKILL" });
          time.advance(0);
          for (const w of live().filter((one) => !loaded.has(one))) {
            loaded.add(w);
            w.ready();
          }
        };
        const loaded = new Set<FakeWorker>();
        tend();
        for (const a of actions) {
          const [w] = "at" in a && live().length > 0 ? [live()[a.at % live().length]] : [];
          const isBusy = w !== undefined && w.current !== null && !w.killed;
          if (a.do === "ask" || a.do === "stream") ask(NEVER_MS, a.do === "stream");
          else if (a.do === "burst") for (const ms of [NEVER_MS, 500, NEVER_MS, NEVER_MS]) ask(ms, false);
          else if (a.do === "hurry") ask(500, false);
          else if (!("at" in a)) throw new Error(a.do);
          else if (a.do === "wait") time.advance(a.at);
          else if (a.do === "leave") {
            const job = jobs[a.at % Math.max(1, jobs.length)];
            if (job === undefined) continue;
            job.atMost = job.outcomes.length;
            job.stays &&= job.atMost > 0;
            job.leave();
          } else if (a.do === "answer" && isBusy) w.answer();
          else if (a.do === "fail" && isBusy) w.fail();
          else if (a.do === "exits" && isBusy) w.fail(true);
          else if (a.do === "crash" && isBusy) w.end(9);
          else if (a.do === "item" && isBusy) {
            const id = w.current ?? -1;
            w.events.item({ t: "item", id }, Buffer.from(w.asked.get(id) ?? ""));
          } else if ((a.do === "on" || a.do === "off") && w !== undefined && loaded.has(w)) w.decide(a.do);
          tend();
        }
        // From now on nothing goes wrong any more.
        const isQuiet = (): boolean =>
          pool.counters().queued === 0 && live().every((w) => w.current === null);
        for (let calm = 0; calm < 300 && !isQuiet(); calm++) {
          time.advance(1000);
          tend();
          for (const w of live()) if (w.current !== null) w.answer();
        }
        jobs.forEach(({ outcomes, stays, atMost, items }, n) => {
          expect(outcomes.length).toBeLessThanOrEqual(atMost);
          const [outcome] = outcomes;
          if (stays) expect(["answer", "failed", "crashed"]).toContain(outcome?.kind);
          if (outcome?.kind === "answer") expect(outcome.body.toString()).toBe(String(n));
          expect(new Set(items).difference(new Set([String(n)])).size).toBe(0);
        });
        expect(pool.stats()).toMatchObject({ queued: 0, inFlight: 0 });
        // Each end of a worker is the fault of one request at most: the only one it had, or the first where none are joined.
        const crashes = jobs.filter(({ outcomes }) => outcomes[0]?.kind === "crashed").length;
        const cut = workers.filter((w) => w.ended && w.current !== null);
        const blamed = cut.filter((w) => w.sizes.at(-1) === 1 || !w.joins);
        expect(crashes).toBeLessThanOrEqual(blamed.length);
      }),
      { numRuns: 300 },
    );
  },
);

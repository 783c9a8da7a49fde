import fc from "fast-check";
import { expect, test } from "vitest";
import { chooseInstance } from "./choose.ts";
import { GroupState } from "./admit.ts";
import type { InstanceState, Waiter } from "./admit.ts";
import { Shared, unshared } from "./shared.ts";
import { group } from "./world.fixture.ts";

const ignore = (): void => undefined;
const deps = {
  timer: { after: () => ({ cancel: ignore }) },
  monotonicMs: () => 0,
  shared: unshared(),
  watch: () => ({ hurry: ignore, stop: ignore }),
};
const origins = (count: number): string[] =>
  Array.from({ length: count }, (_, n) => `http://10.0.0.1:${8000 + n}`);

type Step =
  | { readonly do: "arrive" }
  | { readonly do: "finish" | "leave"; readonly which: number }
  | { readonly do: "signal"; readonly which: number; readonly signal: (instance: InstanceState) => void }
  | {
      readonly do: "table";
      readonly instances: number;
      readonly concurrency: number;
      readonly queueMax: number;
    };

const signals: readonly ((instance: InstanceState) => void)[] = [
  (instance) => instance.failed("dial"),
  (instance) => instance.failed("reset"),
  (instance) => instance.failed("timeout"),
  (instance) => instance.answered(),
  (instance) => instance.probed("ok"),
  (instance) => instance.probed("ok"),
  (instance) => instance.probed("silent"),
  (instance) => instance.probed("unready"),
];

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("signal" as const),
      which: fc.nat(100),
      signal: fc.constantFrom(...signals),
    }),
  },
  { weight: 6, arbitrary: fc.constant({ do: "arrive" as const }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("finish" as const), which: fc.nat(100) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("leave" as const), which: fc.nat(100) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("table" as const),
      instances: fc.nat(4),
      concurrency: fc.integer({ min: 1, max: 3 }),
      queueMax: fc.nat(4),
    }),
  },
);

test("no slot is lost or given twice, nobody waits while there is room, and the queue keeps its order and bound", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const id = "g";
      const route = group(origins(2), { id, concurrency: 2, queueMax: 2 });
      const state = new GroupState(route, { ...deps, shared: unshared() });
      const running: { id: number; instance: InstanceState }[] = [];
      const waiting: { id: number; waiter: Waiter }[] = [];
      let arrivals = 0;
      let isShrunk = false;
      const take = (): void => {
        const me = (arrivals += 1);
        const waiter: Waiter = {
          admitted: (instance) => {
            expect(waiting.shift()?.id).toBe(me);
            running.push({ id: me, instance });
          },
          rerouted: () => {
            const index = waiting.findIndex((one) => one.id === me);
            expect(index).toBeGreaterThanOrEqual(0);
            waiting.splice(index, 1);
          },
          expired: () => expect.unreachable(),
        };
        const instance = state.take();
        if (instance !== null) return void running.push({ id: me, instance });
        const isFull = waiting.length >= state.route.queueMax;
        expect(state.wait(waiter)).toBe(!isFull);
        if (!isFull) waiting.push({ id: me, waiter });
      };
      for (const one of steps) {
        switch (one.do) {
          case "arrive":
            // Requests come only to groups that are open (table.ts).
            if (state.instances.length > 0) take();
            break;
          case "finish": {
            const [done] = running.splice(one.which % Math.max(1, running.length), 1);
            if (done !== undefined) state.release(done.instance, 1);
            break;
          }
          case "leave": {
            const [gone] = waiting.splice(one.which % Math.max(1, waiting.length), 1);
            if (gone !== undefined) state.leave(gone.waiter);
            break;
          }
          case "signal": {
            const instance = state.instances[one.which % Math.max(1, state.instances.length)];
            if (instance !== undefined) one.signal(instance);
            break;
          }
          case "table":
            state.adopt(group([], { id, ...slots(one) }));
            state.wake();
            break;
        }
        expect(state.waitingCount).toBe(waiting.length);
        for (const instance of state.instances) {
          // One that left and came back still has the requests of before.
          const own = running.filter((request) => request.instance.key === instance.key);
          expect(instance.inFlight).toBe(own.length);
        }
        for (const instance of state.instances) {
          // The exact limit holds whatever is believed of an instance; it shrinks only by a table.
          if (one.do !== "table" && !isShrunk) {
            expect(instance.inFlight).toBeLessThanOrEqual(state.route.concurrency);
          }
        }
        if (one.do === "table") isShrunk = true;
        if (waiting.length > 0) {
          expect(chooseInstance(state.instances, state.route.concurrency, 0)).toBe(-1);
        }
      }
    }),
  );
});

const slots = (table: { instances: number; concurrency: number; queueMax: number }) => ({
  concurrency: table.concurrency,
  queueMax: table.queueMax,
  instances: origins(table.instances).map((url, n) => ({ id: `g-${n}`, url })),
});

/** Rings are kept until the test delivers them: a thread is busy with other things for as long as it likes. */
class HeldRings extends Shared {
  readonly rung = new Set<number>();

  override ring(thread: number): void {
    this.rung.add(thread);
  }
}

const THREADS = 3;
type ThreadStep =
  | { readonly do: "arrive"; readonly thread: number }
  | { readonly do: "deliver"; readonly thread: number }
  | { readonly do: "finish"; readonly which: number }
  | { readonly do: "leave"; readonly which: number };

const threadStep: fc.Arbitrary<ThreadStep> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("arrive" as const), thread: fc.nat(THREADS - 1) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("deliver" as const), thread: fc.nat(THREADS - 1) }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("finish" as const), which: fc.nat(100) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("leave" as const), which: fc.nat(100) }) },
);

test("over threads no limit is passed, who waits longest is let in first, and nobody waits beside a free slot once all rings are heard", () => {
  fc.assert(
    fc.property(
      fc.array(threadStep, { maxLength: 150 }),
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 0, max: 6 }),
      (steps, concurrency, queueMax) => {
        const route = group(origins(2), { id: "g", concurrency, queueMax });
        let memory: Shared["memory"] | undefined;
        const threads = Array.from({ length: THREADS }, (_, thread) => {
          const how = memory === undefined ? {} : { memory };
          const shared = new HeldRings({ threads: THREADS, thread, ...how });
          memory = shared.memory;
          return { shared, state: new GroupState(route, { ...deps, shared }) };
        });
        const running: { thread: number; instance: InstanceState }[] = [];
        const waiting: { thread: number; waiter: Waiter }[] = [];
        const stateOf = (thread: number): GroupState => {
          const found = threads[thread];
          if (found === undefined) throw new Error("no such thread");
          return found.state;
        };
        const arrive = (thread: number): void => {
          const state = stateOf(thread);
          const instance = state.take();
          if (instance !== null) {
            expect(waiting).toHaveLength(0);
            running.push({ thread, instance });
            return;
          }
          const waiter: Waiter = {
            admitted: (given) => {
              expect(waiting.shift()?.waiter).toBe(waiter);
              running.push({ thread, instance: given });
            },
            rerouted: ignore,
            expired: ignore,
          };
          waiting.push({ thread, waiter });
          if (state.wait(waiter)) return;
          waiting.pop();
          expect(waiting).toHaveLength(queueMax);
        };
        const deliver = (to: number): void => {
          let isRung = false;
          for (const { shared } of threads) isRung = shared.rung.delete(to) || isRung;
          if (isRung) stateOf(to).wake();
        };
        const check = (): void => {
          const used = stateOf(0).instances.map(({ inFlight }) => inFlight);
          expect(Math.max(...used)).toBeLessThanOrEqual(concurrency);
          expect(stateOf(1).inFlight).toBe(running.length);
          expect(stateOf(2).waitingCount).toBe(waiting.length);
          if (threads.some(({ shared }) => shared.rung.size > 0)) return;
          if (waiting.length > 0) expect(running).toHaveLength(2 * concurrency);
        };
        for (const step of steps) {
          if (step.do === "arrive") arrive(step.thread);
          else if (step.do === "deliver") deliver(step.thread);
          else if (step.do === "finish") {
            const [done] = running.splice(step.which % Math.max(1, running.length), 1);
            if (done !== undefined) stateOf(done.thread).release(done.instance, 1);
          } else {
            const [left] = waiting.splice(step.which % Math.max(1, waiting.length), 1);
            if (left !== undefined) stateOf(left.thread).leave(left.waiter);
          }
          check();
        }
        for (let round = 0; round < 20; round += 1) for (let t = 0; t < THREADS; t += 1) deliver(t);
        expect(threads.every(({ shared }) => shared.rung.size === 0)).toBe(true);
        check();
        for (const { state } of threads) state.retire();
        for (const { state } of threads) state.wake();
      },
    ),
  );
});

test("Retry-After grows with what waits and shrinks with what serves", () => {
  const state = new GroupState(group(origins(1), { concurrency: 1, queueMax: 100 }), deps);
  const first = state.take();
  expect(first).not.toBeNull();
  if (first === null) return;
  for (let n = 0; n < 10; n += 1) state.wait({ admitted: ignore, rerouted: ignore, expired: ignore });
  expect(state.retryAfterSeconds()).toBe(1);
  state.release(first, 2_000);
  expect(state.retryAfterSeconds()).toBe(20);
});

/** A group whose time the test owns. */
const timed = (route: Parameters<typeof group>[1], count = 1) => {
  let now = 0;
  const due: { at: number; callback: () => void }[] = [];
  const state = new GroupState(group(origins(count), route), {
    ...deps,
    shared: unshared(),
    monotonicMs: () => now,
    timer: {
      after: (ms, callback) => {
        const one = { at: now + ms, callback };
        due.push(one);
        return { cancel: () => void due.splice(due.indexOf(one), 1) };
      },
    },
  });
  const pass = (ms: number): void => {
    const until = now + ms;
    for (;;) {
      const [first] = due.filter((one) => one.at <= until).toSorted((a, b) => a.at - b.at);
      if (first === undefined) break;
      due.splice(due.indexOf(first), 1);
      now = first.at;
      first.callback();
    }
    now = until;
  };
  return { state, pass, now: () => now };
};
const waiter = (heard: string[], name: string): Waiter => ({
  admitted: () => heard.push(`${name} admitted`),
  rerouted: () => heard.push(`${name} rerouted`),
  expired: () => heard.push(`${name} expired`),
});

test("nobody waits longer than the group allows; who came later, left or was admitted is not disturbed", () => {
  const { state, pass } = timed({ concurrency: 1, queueMax: 10, queueAgeMs: 1_000 });
  const heard: string[] = [];
  const running = state.take();
  state.wait(waiter(heard, "a"));
  const left = waiter(heard, "left");
  state.wait(left);
  pass(600);
  state.wait(waiter(heard, "b"));
  state.leave(left);
  pass(399);
  expect(heard).toEqual([]);
  pass(1);
  expect(heard).toEqual(["a expired"]);
  pass(599);
  expect(state.waitingCount).toBe(1);
  pass(1);
  expect(heard).toEqual(["a expired", "b expired"]);
  expect(state.waitingCount).toBe(0);
  state.wait(waiter(heard, "c"));
  if (running !== null) state.release(running, 5);
  pass(5_000);
  expect(heard).toEqual(["a expired", "b expired", "c admitted"]);
});

test("Retry-After follows the rate at which the queue drains, not the hope of before", () => {
  const { state, pass } = timed({ concurrency: 4, queueMax: 400, queueAgeMs: 3_600_000 });
  const heard: string[] = [];
  const running = Array.from({ length: 4 }, () => state.take());
  // Quick while nobody waited: 10 ms each, 400 a second.
  for (const instance of running) if (instance !== null) state.release(instance, 10);
  const slots = Array.from({ length: 4 }, () => state.take());
  for (let n = 0; n < 400; n += 1) state.wait(waiter(heard, String(n)));
  expect(state.retryAfterSeconds()).toBe(2);
  // Under load it is 20 a second; every release admits the next waiter, and one more comes.
  for (let n = 0; n < 200; n += 1) {
    pass(50);
    const instance = slots[0];
    if (instance !== undefined && instance !== null) state.release(instance, 10);
    state.wait(waiter(heard, "more"));
  }
  expect(state.retryAfterSeconds()).toBeGreaterThanOrEqual(18);
  expect(state.retryAfterSeconds()).toBeLessThanOrEqual(22);
  // Nothing moves any more.
  pass(60_000);
  expect(state.retryAfterSeconds()).toBe(60);
});

test("what waits is let in when an instance comes back, and when the last one that was up goes out", () => {
  const { state } = timed({ concurrency: 1, queueMax: 10 }, 2);
  const heard: string[] = [];
  const first = state.take();
  expect(first).toBe(state.instances[0]);
  const [up, other] = state.instances;
  other?.probed("silent");
  state.wait(waiter(heard, "a"));
  expect(heard).toEqual([]);
  other?.probed("ok");
  expect(heard).toEqual(["a admitted"]);
  state.wait(waiter(heard, "b"));
  if (other !== undefined) state.release(other, 1);
  expect(heard).toEqual(["a admitted", "b admitted"]);
  if (other !== undefined) state.release(other, 1);
  other?.probed("refused");
  state.wait(waiter(heard, "c"));
  up?.failed("dial");
  expect(heard).toEqual(["a admitted", "b admitted", "c admitted"]);
});

test("an instance that comes back gets its share back step by step, and none of it while it answers nothing", () => {
  const { state } = timed({ concurrency: 8, queueMax: 10 }, 2);
  const [sick, well] = state.instances;
  sick?.probed("silent");
  sick?.probed("ok");
  for (let n = 0; n < 9; n += 1) expect(state.take()).not.toBeNull();
  expect([sick?.inFlight, well?.inFlight]).toEqual([1, 8]);
  for (let n = 0; n < 20; n += 1) sick?.probed("ok");
  expect(state.take()).toBeNull();
  if (sick === undefined) return;
  sick.answered();
  state.release(sick, 1);
  expect([state.take(), state.take(), state.take()]).toEqual([sick, sick, null]);
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { GroupState } from "./admit.ts";
import type { InstanceState, Waiter } from "./admit.ts";
import { group } from "./world.fixture.ts";

const deps = { timer: { after: () => ({ cancel: () => undefined }) }, monotonicMs: () => 0 };
const origins = (count: number): string[] =>
  Array.from({ length: count }, (_, n) => `http://10.0.0.1:${8000 + n}`);

type Step =
  | { readonly do: "arrive" }
  | { readonly do: "finish" | "leave"; readonly which: number }
  | {
      readonly do: "table";
      readonly instances: number;
      readonly concurrency: number;
      readonly queueMax: number;
    };

const step: fc.Arbitrary<Step> = fc.oneof(
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
      const state = new GroupState(group(origins(2), { id, concurrency: 2, queueMax: 2 }), deps);
      const running: { id: number; instance: InstanceState }[] = [];
      const waiting: { id: number; waiter: Waiter }[] = [];
      let arrivals = 0;
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
          case "table":
            state.adopt(group([], { id, ...slots(one) }));
            state.wake();
            break;
        }
        expect(state.waitingCount).toBe(waiting.length);
        for (const instance of state.instances) {
          expect(instance.inFlight).toBe(running.filter((request) => request.instance === instance).length);
        }
        if (waiting.length > 0) {
          expect(state.instances.every((instance) => instance.inFlight >= state.route.concurrency)).toBe(
            true,
          );
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

test("Retry-After grows with what waits and shrinks with what serves", () => {
  const state = new GroupState(group(origins(1), { concurrency: 1, queueMax: 100 }), deps);
  const first = state.take();
  expect(first).not.toBeNull();
  if (first === null) return;
  for (let n = 0; n < 10; n += 1) state.wait({ admitted: () => undefined, rerouted: () => undefined });
  expect(state.retryAfterSeconds()).toBe(1);
  state.release(first, 2_000);
  expect(state.retryAfterSeconds()).toBe(20);
});

import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { LocalSlots, SlotArray } from "./slots.ts";

test("cells are apart, bounded by their limit, and zero when given out again", () => {
  const slots = new LocalSlots();
  const cells = Array.from({ length: 10_000 }, () => slots.claim());
  expect(new Set(cells).size).toBe(cells.length);
  for (const cell of cells.slice(4_000, 4_200)) {
    expect([slots.tryTake(cell, 2), slots.tryTake(cell, 2), slots.tryTake(cell, 2)]).toEqual([
      true,
      true,
      false,
    ]);
  }
  expect([slots.read(cells[4_000] ?? -1), slots.read(cells[4_200] ?? -1)]).toEqual([2, 0]);
  const first = cells[4_000] ?? -1;
  slots.release(first);
  slots.release(first);
  slots.giveUp(first);
  expect(slots.claim()).toBe(first);
  expect(slots.read(first)).toBe(0);
});

const THREADS = 3;
const ROUNDS = 200_000;
const LIMIT = 2;

test("the limit holds exactly over threads that take and release at once, and no slot is lost", async () => {
  const shared = new SharedArrayBuffer(16);
  // Cell 0 is the count; 1 how many hold a slot as the threads themselves see it, 2 the most there ever were.
  const work = `
    import { workerData } from "node:worker_threads";
    import { SlotArray } from ${JSON.stringify(new URL("./slots.ts", import.meta.url).href)};
    const cells = new Int32Array(workerData);
    const slots = new SlotArray(cells);
    // All at once, or the first is done before the last has begun.
    Atomics.add(cells, 3, 1);
    while (Atomics.load(cells, 3) < ${THREADS});
    for (let n = 0; n < ${ROUNDS}; n += 1) {
      if (!slots.tryTake(0, ${LIMIT})) continue;
      const held = Atomics.add(cells, 1, 1) + 1;
      for (let most = Atomics.load(cells, 2); held > most; most = Atomics.load(cells, 2)) {
        Atomics.compareExchange(cells, 2, most, held);
      }
      Atomics.sub(cells, 1, 1);
      slots.release(0);
    }`;
  const url = new URL(`data:text/javascript,${encodeURIComponent(work)}`);
  await Promise.all(
    Array.from(
      { length: THREADS },
      () =>
        new Promise<void>((resolve, reject) => {
          const worker = new Worker(url, { workerData: shared });
          worker.on("error", reject);
          worker.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`exit ${code}`))));
        }),
    ),
  );
  const cells = new Int32Array(shared);
  expect(new SlotArray(cells).read(0)).toBe(0);
  expect(cells[1]).toBe(0);
  expect(cells[2]).toBeGreaterThan(0);
  expect(cells[2]).toBeLessThanOrEqual(LIMIT);
});

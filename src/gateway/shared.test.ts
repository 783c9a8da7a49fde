import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { Shared, SharedRows } from "./shared.ts";

test("the same key has the same row until it is given up as often as it was claimed, and then it is zero", () => {
  const rows = new SharedRows(2);
  const others = new SharedRows(2, rows.memory);
  const claimed = Array.from({ length: 300 }, (_, n) => rows.claim(`key ${n}`));
  expect(new Set(claimed).size).toBe(300);
  const one = rows.claim("key 7");
  expect([one, others.claim("key 7")]).toEqual([claimed[7], claimed[7]]);
  rows.add(one, 5);
  expect(others.read(one)).toBe(5);
  rows.giveUp(one);
  others.giveUp(one);
  expect([rows.claim("key 7"), rows.read(one)]).toEqual([one, 5]);
  for (let n = 0; n < 2; n += 1) rows.giveUp(one);
  expect([others.claim("another"), rows.read(one)]).toEqual([one, 0]);
});

test("a count is bounded over all that have it", () => {
  const first = new Shared({ threads: 2, thread: 0 });
  const second = new Shared({ threads: 2, thread: 1, memory: first.memory });
  const [one, other] = [first.count("c"), second.count("c")];
  expect([one.tryAdd(2, 3), other.tryAdd(2, 3), other.tryAdd(1, 3), one.tryAdd(1, 3)]).toEqual([
    true,
    false,
    true,
    false,
  ]);
  one.remove(3);
  expect(other.value).toBe(0);
});

test("a ring is heard once by the thread it is for, however often it comes before that, and again after", async () => {
  const first = new Shared({ threads: 2, thread: 0 });
  const second = new Shared({ threads: 2, thread: 1, memory: first.memory });
  const stop = new AbortController();
  let heard = 0;
  let next = Promise.withResolvers<void>();
  void second.listen(() => {
    heard += 1;
    next.resolve();
  }, stop.signal);
  first.ring(1);
  first.ring(1);
  await next.promise;
  expect(heard).toBe(1);
  next = Promise.withResolvers<void>();
  first.ring(1);
  await next.promise;
  expect(heard).toBe(2);
  stop.abort();
  first.ring(1);
});

const THREADS = 3;
const ROUNDS = 200_000;
const LIMIT = 2;

test("the limit holds exactly over threads that take and release at once, and no slot is lost", async () => {
  const rows = new SharedRows(4);
  // The first cell is the count; then how many hold a slot as the threads themselves see it, and the most there were.
  const work = `
    import { workerData } from "node:worker_threads";
    import { SharedRows } from ${JSON.stringify(new URL("./shared.ts", import.meta.url).href)};
    const rows = new SharedRows(4, workerData);
    const row = rows.claim("row");
    // All at once, or the first is done before the last has begun.
    rows.add(row + 3, 1);
    while (rows.read(row + 3) < ${THREADS});
    for (let n = 0; n < ${ROUNDS}; n += 1) {
      if (!rows.tryAdd(row, 1, ${LIMIT})) continue;
      const held = rows.add(row + 1, 1);
      rows.tryAdd(row + 2, 1, held);
      rows.add(row + 1, -1);
      rows.add(row, -1);
    }`;
  const url = new URL(`data:text/javascript,${encodeURIComponent(work)}`);
  await Promise.all(
    Array.from(
      { length: THREADS },
      () =>
        new Promise<void>((resolve, reject) => {
          const worker = new Worker(url, { workerData: rows.memory });
          worker.on("error", reject);
          worker.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`exit ${code}`))));
        }),
    ),
  );
  const row = rows.claim("row");
  expect([rows.read(row), rows.read(row + 1)]).toEqual([0, 0]);
  expect(rows.read(row + 2)).toBeGreaterThan(0);
  expect(rows.read(row + 2)).toBeLessThanOrEqual(LIMIT);
});

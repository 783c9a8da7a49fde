import * as nodeFiles from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AnswerSpool, SpoolBudget, prepareSpoolDir } from "./answer-spool.ts";
import type { SpoolFiles } from "./answer-spool.ts";
import { unshared } from "./shared.ts";
import { until } from "./world.fixture.ts";

const KB = 1024;
let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), "mp-spool-"))));
afterEach(() => rm(dir, { recursive: true, force: true }));

/** A caller that takes as many pieces as it is told. */
const setUp = (files: Partial<SpoolFiles> = {}) => {
  const budget = new SpoolBudget(unshared());
  const caller = { willing: 0, got: [] as Buffer[], isEnded: false, rooms: 0, losses: 0 };
  const spool = new AnswerSpool(
    { dir, budget, files: { ...nodeFiles, ...files } },
    {
      write: (chunk) => {
        caller.got.push(chunk);
        caller.willing -= 1;
        return caller.willing > 0;
      },
      end: (chunk) => {
        if (chunk !== null) caller.got.push(chunk);
        caller.isEnded = true;
      },
    },
    { onRoom: () => (caller.rooms += 1), onLost: () => (caller.losses += 1) },
  );
  const take = (pieces = Infinity): void => {
    caller.willing = pieces;
    spool.onDrain();
  };
  const isGivenBack = (): boolean => budget.memory.value === 0 && budget.disk.value === 0;
  return { spool, caller, budget, take, isGivenBack, got: () => Buffer.concat(caller.got) };
};

let counter = 0;
const piece = (bytes: number): Buffer => {
  const buffer = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 4) buffer.writeUInt32LE((counter += 1) >>> 0, at);
  return buffer;
};
const pieces = (count: number, bytes: number): Buffer[] => Array.from({ length: count }, () => piece(bytes));

const refusal = (code: string): NodeJS.ErrnoException => Object.assign(new Error(code), { code });
/** Refuses every write from the `from`th on. */
const fullAfter = (from: number): Partial<SpoolFiles> => {
  let writes = 0;
  const writev = (
    fd: number,
    chunks: readonly Buffer[],
    at: number,
    done: (e: unknown, n: number) => void,
  ) => {
    writes += 1;
    if (writes > from) setImmediate(() => done(refusal("ENOSPC"), 0));
    else nodeFiles.writev(fd, chunks, at, (error, written) => done(error, written));
  };
  return { writev: writev as unknown as SpoolFiles["writev"] };
};

test("keeps every byte in order, however caller and instance take turns, and gives everything back", async () => {
  const turn = fc.oneof(
    fc.record({ add: fc.integer({ min: 1, max: 200 * KB }) }),
    fc.record({ take: fc.integer({ min: 1, max: 4 }) }),
    fc.constant("settle" as const),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(turn, { maxLength: 25 }),
      fc.integer({ min: 0, max: 6 }),
      fc.boolean(),
      async (turns, writes, isLastApart) => {
        const one = setUp(writes < 6 ? fullAfter(writes) : {});
        const sent: Buffer[] = [];
        for (const what of turns) {
          // The disk gets a turn: one question to it and its answer.
          if (what === "settle") await readdir(dir);
          else if ("take" in what) one.take(what.take);
          else {
            const chunk = piece(what.add);
            sent.push(chunk);
            one.spool.add(chunk);
          }
        }
        const last = isLastApart ? piece(8) : null;
        if (last !== null) sent.push(last);
        one.spool.end(last);
        one.take();
        await until(() => one.caller.isEnded);
        expect(one.got().equals(Buffer.concat(sent))).toBe(true);
        one.spool.destroy();
        await until(one.isGivenBack);
        expect(await readdir(dir)).toEqual([]);
      },
    ),
    { numRuns: 60 },
  );
});

test("an answer that fits in memory touches no disk", () => {
  let opened = 0;
  const one = setUp({ open: (() => (opened += 1)) as unknown as SpoolFiles["open"] });
  const sent = pieces(3, 64 * KB);
  for (const chunk of sent) expect(one.spool.add(chunk)).toBe(true);
  one.take();
  expect(one.got().equals(Buffer.concat(sent))).toBe(true);
  expect([opened, one.budget.memory.value]).toEqual([0, 0]);
});

test("passes on at once what comes while the caller reads", () => {
  const one = setUp();
  one.take();
  const chunk = piece(64);
  expect(one.spool.add(chunk)).toBe(true);
  expect(one.caller.got).toEqual([chunk]);
});

test("the answer's end comes with its last piece, not with all that is left", async () => {
  const one = setUp();
  for (const chunk of pieces(32, 64 * KB)) one.spool.add(chunk);
  one.spool.end(piece(8));
  one.take(1);
  await until(() => one.caller.got.length === 1);
  expect(one.caller.isEnded).toBe(false);
  one.take();
  await until(() => one.caller.isEnded);
  expect(one.caller.got.every((chunk) => chunk.length <= 64 * KB)).toBe(true);
});

test("a file on its way has no name and is readable by nobody else", async () => {
  let opening: unknown[] = [];
  const open = (...args: unknown[]): void => {
    opening = args.slice(1, 3);
    (nodeFiles.open as (...given: unknown[]) => void)(...args);
  };
  const one = setUp({ open: open as unknown as SpoolFiles["open"] });
  for (const chunk of pieces(16, 64 * KB)) one.spool.add(chunk);
  await until(() => one.budget.memory.value <= 300 * KB);
  expect(opening).toEqual(["wx+", 0o600]);
  expect(await readdir(dir)).toEqual([]);
  one.spool.destroy();
  await until(one.isGivenBack);
});

test("a disk that refuses stops the instance, loses nothing, and lets it go on as the caller takes", async () => {
  const one = setUp(fullAfter(1));
  const sent: Buffer[] = [];
  const isTaken = (): boolean => {
    const chunk = piece(64 * KB);
    sent.push(chunk);
    return one.spool.add(chunk);
  };
  while (isTaken());
  await until(() => one.caller.rooms === 1 || !one.spool.isPaused);
  while (isTaken());
  const held = one.budget.memory.value;
  // Nothing moves while nobody takes.
  for (let n = 0; n < 5; n += 1) await new Promise(setImmediate);
  expect([one.spool.isPaused, one.budget.memory.value]).toEqual([true, held]);
  one.take();
  await until(() => !one.spool.isPaused && one.spool.isEmpty);
  expect(one.got().equals(Buffer.concat(sent))).toBe(true);
});

test("a directory that is not there costs the file and nothing else", async () => {
  await rm(dir, { recursive: true });
  const one = setUp();
  const sent = pieces(8, 64 * KB);
  for (const chunk of sent) one.spool.add(chunk);
  expect(one.spool.isPaused).toBe(true);
  one.spool.end(null);
  one.take();
  await until(() => one.caller.isEnded);
  expect(one.got().equals(Buffer.concat(sent))).toBe(true);
});

test("stops the instance where the gateway's share of the disk is used up", () => {
  const one = setUp();
  one.budget.disk.value = 2 ** 19 - 1;
  const taken = pieces(8, 64 * KB).map((chunk) => one.spool.add(chunk));
  expect(taken.at(0)).toBe(true);
  expect(taken.at(-1)).toBe(false);
  one.spool.destroy();
  expect([one.budget.memory.value, one.budget.disk.value]).toEqual([0, 2 ** 19 - 1]);
});

test("goes to the file at once where the gateway's share of memory is used up", async () => {
  const one = setUp();
  one.budget.memory.value = 64 * KB * KB;
  expect(one.spool.add(piece(64 * KB))).toBe(false);
  await until(() => one.caller.rooms === 1);
  expect([one.budget.memory.value, one.budget.disk.value]).toEqual([64 * KB * KB, 16]);
  one.spool.destroy();
  await until(() => one.budget.disk.value === 0);
  expect(one.budget.memory.value).toBe(64 * KB * KB);
});

test("tells that the answer is lost when it cannot be read back", async () => {
  const read = (...args: unknown[]): void =>
    void setImmediate(() => (args.at(-1) as (error: unknown) => void)(refusal("EIO")));
  const one = setUp({ read: read as unknown as SpoolFiles["read"] });
  for (const chunk of pieces(16, 64 * KB)) one.spool.add(chunk);
  one.take();
  await until(() => one.caller.losses === 1);
  expect(one.caller.isEnded).toBe(false);
});

test("closes its file, and gives its room back, only when what is under way has settled", async () => {
  let settle = (): void => undefined;
  const closed: number[] = [];
  const one = setUp({
    writev: ((fd: number, chunks: readonly Buffer[], at: number, done: (e: unknown, n: number) => void) => {
      settle = () => nodeFiles.writev(fd, chunks, at, done);
    }) as unknown as SpoolFiles["writev"],
    close: ((fd: number, done: () => void) => {
      closed.push(fd);
      nodeFiles.close(fd, done);
    }) as SpoolFiles["close"],
  });
  const idle = settle;
  for (const chunk of pieces(16, 64 * KB)) one.spool.add(chunk);
  await until(() => settle !== idle);
  one.spool.destroy();
  expect(closed).toEqual([]);
  expect(one.budget.disk.value).toBeGreaterThan(0);
  settle();
  await until(one.isGivenBack);
  expect(closed.length).toBe(1);
});

test("a gateway that starts removes what a dead one left, and makes the directory where there is none", async () => {
  await writeFile(join(dir, "left"), "x");
  await prepareSpoolDir(dir);
  expect(await readdir(dir)).toEqual([]);
  await prepareSpoolDir(join(dir, "a", "b"));
  expect(await readdir(join(dir, "a"))).toEqual(["b"]);
});

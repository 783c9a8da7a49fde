import {
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  rmdirSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { appendToLog, sayTo } from "./log-file.ts";
import type { LogFileSystem } from "./log-file.ts";

let dir = "";
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), "modelport-log-"))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const write = async (lines: readonly string[]): Promise<void> => {
  const log = appendToLog(join(dir, "access.log"), 100);
  for (const line of lines) log.write(`${line}\n`);
  log.end();
  await finished(log);
};

test("keeps two files of bounded size and the newest lines, across openings", async () => {
  const lines = Array.from({ length: 200 }, (_, n) => `record ${n}`);
  await write(lines.slice(0, 120));
  await write(lines.slice(120));
  expect(readdirSync(dir).toSorted()).toEqual(["access.log", "access.log.1"]);
  const kept = ["access.log.1", "access.log"].map((name) => readFileSync(join(dir, name), "utf8")).join("");
  expect(kept.length).toBeLessThan(250);
  const newest = kept.trim().split("\n");
  expect(newest).toEqual(lines.slice(-newest.length));
});

/** A disk on which `room` bytes are left. */
const disk = { room: 0 };
const filling: LogFileSystem = {
  write: (fd, chunk, from) => {
    if (disk.room === 0) throw Object.assign(new Error("no space left"), { code: "ENOSPC" });
    const written = writeSync(fd, chunk, from, Math.min(disk.room, chunk.length - from));
    disk.room -= written;
    return written;
  },
  truncate: ftruncateSync,
};

test("a full disk costs the lines that come meanwhile, counted; whole lines follow once there is room", async () => {
  disk.room = "first\nsec".length;
  const log = appendToLog(join(dir, "access.log"), 1000, filling);
  let dropped = 0;
  log.on("dropped", (lines: number) => (dropped += lines));
  log.write("first\n");
  log.write("second\nthird\n");
  log.write("fourth\n");
  expect(dropped).toBe(3);
  disk.room = 1000;
  log.write("fifth\n");
  log.end();
  await finished(log);
  expect(readFileSync(join(dir, "access.log"), "utf8")).toBe("first\nfifth\n");
});

test("a log that cannot be opened is opened later", async () => {
  const file = join(dir, "access.log");
  mkdirSync(file);
  const log = appendToLog(file);
  let dropped = 0;
  log.on("dropped", (lines: number) => (dropped += lines));
  log.write("lost\n");
  rmdirSync(file);
  log.write("kept\n");
  log.end();
  await finished(log);
  expect(dropped).toBe(1);
  expect(readFileSync(file, "utf8")).toBe("kept\n");
});

test("what a process says about itself never ends it", () => {
  expect(() => sayTo(2 ** 20, "nobody listens\n")).not.toThrow();
});

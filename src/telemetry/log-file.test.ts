import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { appendToLog } from "./log-file.ts";

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

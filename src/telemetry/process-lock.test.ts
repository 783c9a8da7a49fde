import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { identify, self } from "./process-identity.ts";
import { receiveLock, tryLock } from "./process-lock.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "mp-lock-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const path = (): string => join(dir, "a.lock");

test("names its holder to whoever comes second, and is free again after the release", () => {
  const first = tryLock(path());
  expect(tryLock(path())).toEqual({ isHeld: false, holder: self() });
  if (first.isHeld) first.release();
  expect(tryLock(path()).isHeld).toBe(true);
  expect(readdirSync(dir)).toEqual(["a.lock"]);
});

test("takes over from a process that is gone, and from a file that names none", () => {
  const { pid } = spawnSync(process.execPath, ["-e", ""]);
  for (const left of [JSON.stringify({ pid, startedAt: "another boot:1" }), "", "{}"]) {
    writeFileSync(path(), left);
    const attempt = tryLock(path());
    expect(attempt.isHeld, left).toBe(true);
    if (attempt.isHeld) attempt.release();
    expect(readdirSync(dir), left).toEqual([]);
  }
});

test("a release leaves the lock of a later holder alone", () => {
  const attempt = tryLock(path());
  const other = JSON.stringify({ pid: 1, startedAt: "somebody else" });
  writeFileSync(path(), other);
  if (attempt.isHeld) attempt.release();
  expect(readFileSync(path(), "utf8")).toBe(other);
});

test("passes to another process in one step; the former holder's release leaves it alone", async () => {
  const heir = spawn(process.execPath, ["-e", "process.stdin.resume()"], {
    stdio: ["pipe", "ignore", "ignore"],
  });
  try {
    const identity = identify(heir.pid ?? 0);
    const lock = tryLock(path());
    if (!lock.isHeld || identity === null) throw new Error("no lock to pass, or nobody to pass it to");
    expect(receiveLock(path())).not.toBeNull();
    lock.passTo(identity);
    expect(tryLock(path())).toEqual({ isHeld: false, holder: identity });
    expect(receiveLock(path())).toBeNull();
    lock.release();
    expect(readdirSync(dir)).toEqual(["a.lock"]);
  } finally {
    const ended = new Promise((done) => heir.once("exit", done));
    heir.kill();
    await ended;
  }
});

import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { closedOnTheWay, unreachable } from "./reach.ts";

const SOMEBODY = { uid: 2_000_000_000, gid: 2_000_000_000 };
let dir: string;
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), "reach-")));
  chmodSync(dir, 0o755);
  mkdirSync(join(dir, "home"), { mode: 0o711 });
  writeFileSync(join(dir, "home/python"), "", { mode: 0o755 });
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test("lets pass what is open all the way, though its directory cannot be listed", () => {
  expect(unreachable(SOMEBODY, [join(dir, "home/python")])).toBeNull();
});

test("names the directory that is closed, also behind a link", () => {
  symlinkSync(join(dir, "home/python"), join(dir, "python"));
  chmodSync(join(dir, "home"), 0o700);
  expect(unreachable(SOMEBODY, [join(dir, "home/python")])).toContain(`cannot enter ${join(dir, "home")}`);
  expect(unreachable(SOMEBODY, [join(dir, "python")])).toContain(`cannot enter ${join(dir, "home")}`);
});

test("names what cannot be read itself", () => {
  chmodSync(join(dir, "home/python"), 0o700);
  expect(unreachable(SOMEBODY, [join(dir, "home/python")])).toContain("cannot read");
  expect(unreachable(SOMEBODY, [join(dir, "home")])).toContain("cannot read");
});

test("leaves what is not there to those who need it", () => {
  expect(unreachable(SOMEBODY, [join(dir, "nothing")])).toBeNull();
});

test("finds the closed directory on the way to what is not made yet", () => {
  expect(closedOnTheWay(SOMEBODY, join(dir, "home/data"))).toBeNull();
  chmodSync(join(dir, "home"), 0o700);
  expect(closedOnTheWay(SOMEBODY, join(dir, "home/data"))).toBe(join(dir, "home"));
});

test("counts the rights of the owner and of the group", () => {
  chmodSync(join(dir, "home/python"), 0o700);
  const owner = { uid: process.getuid?.() ?? 0, gid: SOMEBODY.gid };
  expect(unreachable(owner, [join(dir, "home/python")])).toBeNull();
});

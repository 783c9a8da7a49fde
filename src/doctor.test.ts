/** What `modelport doctor` finds of the data directory, and that it only looks. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { DoctorFinding } from "./cli/platform-control.ts";
import { readConfig } from "./config.ts";
import { createProbes } from "./doctor.ts";

let home = "";
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "modelport-doctor-"));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const look = async (dataDir: string): Promise<DoctorFinding> => {
  const read = readConfig({ MODELPORT_DATA: dataDir });
  if (!read.ok) throw new Error("the settings of the test are wrong");
  const probe = createProbes(read.config).find(({ name }) => name === "data directory");
  if (probe === undefined) throw new Error("nothing looks at the data directory");
  return probe.run();
};

test("does not make the data directory", async () => {
  const found = await look(join(home, "a", "b"));
  expect(found.state).not.toBe("failed");
  expect(found.found).toContain(`${join(home, "a", "b")} (made by the first start), `);
  expect(existsSync(join(home, "a"))).toBe(false);
});

test("looks at the data directory that is there", async () => {
  expect((await look(home)).found.startsWith(`${home}, `)).toBe(true);
});

test("says that a file stands where the data directory would be", async () => {
  writeFileSync(join(home, "file"), "");
  expect(await look(join(home, "file", "data"))).toMatchObject({
    state: "failed",
    found: expect.stringContaining(`${join(home, "file")} is not a directory`),
  });
});

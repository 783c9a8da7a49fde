/** The transcripts beside this file, on the real platform with the real example. */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Platform, REPO } from "../support/platform.ts";
import { outputLines, outputMatches, readStories } from "../support/story.ts";

const platform = new Platform();
/** Where the reader sits; the example lies in it. */
let folder = "";

beforeAll(async () => {
  const { code, output } = await platform.cli("up", "--detach");
  expect(code, output).toBe(0);
  folder = await mkdtemp(join(tmpdir(), "modelport-story-"));
  await cp(join(REPO, "examples", "iris"), join(folder, "iris"), { recursive: true });
});
afterAll(async () => {
  await platform.stop();
  await rm(folder, { recursive: true, force: true });
});

for (const story of readStories(import.meta.dirname)) {
  test(story.name, { timeout: 600_000 }, async () => {
    for (const { command, expected, exitCode, line } of story.steps) {
      const { code, output } = await platform.shell(command, folder);
      const lines = outputLines(output);
      const where = `${story.name}:${line}\n${lines.join("\n")}`;
      expect(code, where).toBe(exitCode);
      expect(outputMatches(expected, lines), `${where}\n--- expected\n${expected.join("\n")}`).toBe(true);
    }
  });
}

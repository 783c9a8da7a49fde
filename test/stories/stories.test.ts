/** The transcripts beside this file, on the real platform with the real example. */
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ROOT, RealPlatform } from "../support/real-platform.ts";
import { outputLines, outputMatches, readStories } from "../support/story.ts";

const platform = new RealPlatform();

beforeAll(async () => {
  await platform.open();
  const { code, output } = await platform.modelport("up", "--detach");
  expect(code, output).toBe(0);
  await cp(join(ROOT, "examples", "iris"), join(platform.dir, "iris"), { recursive: true });
});
afterAll(() => platform.close());

for (const story of readStories(import.meta.dirname)) {
  test(story.name, { timeout: 600_000 }, async () => {
    for (const { command, expected, exitCode, line } of story.steps) {
      const { code, output } = await platform.shell(command, platform.dir);
      const lines = outputLines(output);
      const where = `${story.name}:${line}\n${lines.join("\n")}`;
      expect(code, where).toBe(exitCode);
      expect(outputMatches(expected, lines), `${where}\n--- expected\n${expected.join("\n")}`).toBe(true);
    }
  });
}

/** The transcripts of test/stories/ against a contract server: quick, and the same ones run on the real platform. */
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CliHarness } from "./support/cli-harness.ts";
import { outputLines, outputMatches, parseStory, readStories } from "./support/story.ts";

let cli: CliHarness;
beforeEach(async () => {
  cli = await new CliHarness().start();
});
afterEach(() => cli.stop());

/** Words as a shell splits them, as far as the stories need it; `iris…` is the package in the harness's folder. */
const words = (command: string): string[] =>
  [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? "");

describe("stories", () => {
  for (const story of readStories(join(import.meta.dirname, "stories"))) {
    test(story.name, async () => {
      for (const { command, expected, exitCode, line } of story.steps) {
        const [program, ...argv] = words(command);
        expect(program).toBe("modelport");
        const inFolder = argv.map((word, index) =>
          argv[index - 1] === "import" ? join(cli.dir, word) : word,
        );
        const { code, stdout, stderr } = await cli.run(inFolder);
        const lines = outputLines((stderr + stdout).replaceAll(`${cli.dir}/`, ""));
        const where = `${story.name}:${line}\n${lines.join("\n")}`;
        expect(code, where).toBe(exitCode);
        expect(outputMatches(expected, lines), `${where}\n--- expected\n${expected.join("\n")}`).toBe(true);
      }
    });
  }

  test("placeholders match within a line, ... matches lines, and anything else must be equal", () => {
    const expected = parseStory("x", "# told\n$ a b\none {n} two\n...\nend\n[exit 3]\n\n$ c\n").steps;
    expect(expected.map(({ command, exitCode }) => [command, exitCode])).toEqual([
      ["a b", 3],
      ["c", 0],
    ]);
    const lines = expected[0]?.expected ?? [];
    expect(outputMatches(lines, ["one 1 two", "x", "y", "end"])).toBe(true);
    expect(outputMatches(lines, ["one 1 two", "end"])).toBe(true);
    expect(outputMatches(lines, ["one 1 two", "x"])).toBe(false);
    expect(outputMatches(lines, ["one  two", "end", "more"])).toBe(false);
    expect(() => parseStory("x", "output\n")).toThrow("x:1: output without a command");
  });
});

/** Holds the pages users read against what they describe: settings, commands, exit codes, links. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { EXIT_CODES } from "../src/cli/failures.ts";
import { CliHarness } from "./support/cli-harness.ts";

const root = join(import.meta.dirname, "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");

test("operations.md lists exactly the settings there are", () => {
  const there = [...read("src/config.ts").matchAll(/^ {2}(MODELPORT_\w+):/gm)].map(([, name]) => name);
  const listed = [...read("docs/operations.md").matchAll(/^\| `(MODELPORT_\w+)` \|/gm)].map(
    ([, name]) => name,
  );
  expect(there.length).toBeGreaterThan(10);
  expect(new Set(listed)).toEqual(new Set(there));
});

test("cli.md has every exit code with its meaning", () => {
  const listed = [...read("docs/cli.md").matchAll(/^\| (\d+) \| (.+) \|$/gm)].map(([, code, meaning]) => [
    Number(code),
    meaning,
  ]);
  expect(listed).toEqual(Object.values(EXIT_CODES));
});

test("cli.md has every command, and no other", async () => {
  const cli = await new CliHarness().start();
  try {
    const ask = async (...words: string[]): Promise<string[]> =>
      (await cli.run(["__complete", "--", ...words, ""])).stdout.split("\n").filter((word) => word !== "");
    const commands: string[] = [];
    for (const noun of await ask()) {
      const verbs = ["model", "service", "obs"].includes(noun) ? await ask(noun) : [];
      commands.push(...(verbs.length === 0 ? [noun] : verbs.map((verb) => `${noun} ${verb}`)));
    }
    const listed = [...read("docs/cli.md").matchAll(/^\| `([a-z]+(?: [a-z]+)?)[^|]*\|/gm)].map(
      ([, name]) => name,
    );
    expect(new Set(listed)).toEqual(new Set(commands));
  } finally {
    await cli.stop();
  }
});

test("faults.md names tests that there are", () => {
  const tests = read("test/faults/faults.test.ts");
  const named = [...read("docs/faults.md").matchAll(/^\|.*\| "([^"]+)"(?: \([^|]*\))? \|$/gm)].map(
    ([, name]) => name,
  );
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((name = "") => !tests.includes(`"${name}`))).toEqual([]);
});

describe("links between pages", () => {
  const pages = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    ...readdirSync(join(root, "docs"))
      .filter((file) => file.endsWith(".md"))
      .map((file) => `docs/${file}`),
  ];
  test.each(pages)("of %s lead somewhere", (page) => {
    for (const [, target = ""] of read(page).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)) {
      expect(existsSync(join(root, dirname(page), target)), target).toBe(true);
    }
  });
});

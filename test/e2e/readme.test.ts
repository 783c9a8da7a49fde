/** Runs the commands of README.md in their order, as a reader would: what it shows works, or this fails. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { Platform, REPO } from "../support/platform.ts";

const platform = new Platform();
afterAll(() => platform.stop());

const readme = readFileSync(join(REPO, "README.md"), "utf8");

/** The lines of the `sh` blocks, continued lines joined, comments dropped. */
const commands = [...readme.matchAll(/^```sh\n([\s\S]*?)^```/gm)]
  .flatMap(([, block = ""]) => block.replace(/\\\n\s*/g, " ").split("\n"))
  .map((line) => line.replace(/\s+# .*$/, "").trim())
  .filter((line) => line !== "" && !line.startsWith("#"));

test("the README begins with the demo and names the tests", () => {
  expect(commands[0]).toBe("npm run demo");
  expect(commands).toContain("npm test");
  expect(commands.some((line) => line.startsWith("curl "))).toBe(true);
});

test("its commands work, one after the other", { timeout: 900_000 }, async () => {
  const demo = await platform.startUntil("npm", ["run", "demo"], "Serving until you press Ctrl-C.");
  try {
    for (const command of commands) {
      if (command === "npm run demo") continue;
      if (command === "npm test") {
        // Running it here would run this file again; that it is a command is what can be checked.
        expect(packageJson.scripts.test).toBeTruthy();
        continue;
      }
      const { code, output } = await platform.run("bash", ["-c", command]);
      expect(code, `${command}\n${output}`).toBe(0);
      if (command.startsWith("curl ")) expect(output).toContain('"predictresult"');
    }
  } finally {
    demo.pressCtrlC();
  }
  await demo.ended;
  expect(demo.output()).toContain("Stopped. What was imported is kept for the next start.");
});

test("every file it links to exists", () => {
  for (const [, target = ""] of readme.matchAll(/\]\((?!https?:)([^)#]+)/g)) {
    expect(() => readFileSync(join(REPO, target)), target).not.toThrow();
  }
});

/** Enforces the house rules over all of src, and proves on small broken files that each rule catches what it should. */
import { readFileSync, readdirSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { describe, expect, test } from "vitest";
import { IMPORT_TABLE, findOffences } from "./support/architecture.ts";
import type { Exception, Rule } from "./support/architecture.ts";
import { readSource } from "./support/source-text.ts";

/** Files that break a rule for a reason. Keep it short: an entry that is no longer needed fails the test. */
const EXCEPTIONS: readonly Exception[] = [
  { file: "src/gateway/timer.ts", rule: "time", reason: "one timer per request: too hot for Clock.sleep" },
  {
    file: "src/modelserver/timers.ts",
    rule: "time",
    reason: "one timer per prediction: too hot for Clock.sleep",
  },
  {
    file: "src/gateway/tls.fixture.ts",
    rule: "processes",
    reason: "tests only: certificates are made by openssl, which node cannot do",
  },
  {
    file: "src/telemetry/process-identity.ts",
    rule: "processes",
    reason: "asks ps who a process is where there is no /proc",
  },
];

const root = join(import.meta.dirname, "..");

const sources = (): ReadonlyMap<string, string> =>
  new Map(
    readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => join(root, "src", file))
      .map((path) => [relative(root, path).split(sep).join("/"), readFileSync(path, "utf8")] as const),
  );

const offencesOf = (file: string, source: string): readonly { at: string; rule: Rule; message: string }[] =>
  findOffences(new Map([[file, `/** Header. */\n${source}`]]), []).offences;

describe("the house", () => {
  test("every file of src keeps the rules", () => {
    const { offences } = findOffences(sources(), EXCEPTIONS);
    expect(offences.map(({ at, rule, message }) => `${at} [${rule}] ${message}`)).toEqual([]);
  });

  test("keeps no exception that nothing needs", () => {
    expect(findOffences(sources(), EXCEPTIONS).unused).toEqual([]);
  });

  test("finds the files of src", () => {
    expect(sources().size).toBeGreaterThan(20);
    expect([...sources().keys()]).toContain("src/core/errors.ts");
  });
});

describe("each rule catches what breaks it", () => {
  const folders = Object.keys(IMPORT_TABLE);
  for (const from of folders) {
    for (const to of folders) {
      const isAllowed = from === to || (IMPORT_TABLE[from] ?? []).includes(to);
      test(`${from} ${isAllowed ? "may" : "may not"} import ${to}`, () => {
        const found = offencesOf(`src/${from}/a.ts`, `\nimport { x } from "../${to}/b.ts";\n`);
        expect(found.map(({ at, rule }) => [at, rule])).toEqual(
          isAllowed ? [] : [[`src/${from}/a.ts:3`, "imports"]],
        );
      });
    }
  }

  const broken: readonly (readonly [name: string, file: string, source: string, rule: Rule])[] = [
    ["core with node:*", "src/core/a.ts", 'import { join } from "node:path";', "imports"],
    ["core with a package", "src/core/a.ts", 'import semver from "semver";', "imports"],
    ["a type import", "src/gateway/a.ts", 'import type { Store } from "../store/store.ts";', "imports"],
    [
      "an import over several lines",
      "src/cli/a.ts",
      'import {\n  x,\n  y,\n} from "../api/b.ts";',
      "imports",
    ],
    ["an import for its effect", "src/cli/a.ts", 'import "../api/b.ts";', "imports"],
    ["a re-export", "src/cli/a.ts", 'export { x } from "../api/b.ts";', "imports"],
    ["a re-export of everything", "src/cli/a.ts", 'export * from "../api/b.ts";', "imports"],
    ["a lazy import", "src/cli/a.ts", 'const load = () => import("../api/b.ts");', "imports"],
    ["an import from outside src", "src/cli/a.ts", 'import { x } from "../../test/support/x.ts";', "imports"],
    [
      "an import of a composition file",
      "src/api/a.ts",
      'import { run } from "../control.ts";',
      "composition",
    ],
    ["a value of config", "src/api/a.ts", 'import { readConfig } from "../config.ts";', "composition"],
    ["process.env", "src/api/a.ts", "const home = process.env.HOME;", "settings"],
    ["process.env in a template", "src/api/a.ts", "const home = `${process.env.HOME}/x`;", "settings"],
    ["env by its other name", "src/api/a.ts", 'import { env } from "node:process";', "settings"],
    ["a process in the API", "src/api/a.ts", 'import { spawn } from "node:child_process";', "processes"],
    ["a process in the CLI", "src/cli/a.ts", 'const { spawn } = await import("child_process");', "processes"],
    ["kysely outside the store", "src/api/a.ts", 'import { sql } from "kysely";', "sql"],
    ["a database driver outside the store", "src/reconcile/a.ts", 'import pg from "pg";', "sql"],
    ["SQL outside the store", "src/api/a.ts", 'const q = "SELECT id FROM models";', "sql"],
    ["Date.now", "src/reconcile/a.ts", "const at = Date.now();", "time"],
    ["new Date()", "src/reconcile/a.ts", "const at = new Date();", "time"],
    ["performance.now", "src/gateway/a.ts", "const at = performance.now();", "time"],
    ["setTimeout", "src/gateway/a.ts", "setTimeout(() => {}, 1);", "time"],
    ["setInterval", "src/modelserver/a.ts", "const t = setInterval(tick, 1);", "time"],
    ["timers/promises", "src/api/a.ts", 'import { setTimeout as wait } from "node:timers/promises";', "time"],
    ["a default export", "src/api/a.ts", "export default 1;", "default-export"],
    [
      "a default export by renaming",
      "src/api/a.ts",
      "const x = 1;\nexport { x as default };",
      "default-export",
    ],
    ["a file that is too long", "src/api/a.ts", "\n".repeat(600), "length"],
    ["a folder that is not of the house", "src/utils/a.ts", "", "house"],
    ["a file beside the composition files", "src/helper.ts", "", "house"],
    ["a name that is not kebab-case", "src/api/fooBar.ts", "", "house"],
  ];
  for (const [name, file, source, rule] of broken) {
    test(`refuses ${name}`, () => {
      const found = offencesOf(file, source);
      expect(found.map((offence) => offence.rule)).toEqual([rule]);
      expect(found[0]?.at).toMatch(new RegExp(`^${file.replaceAll(".", String.raw`\.`)}:\\d+$`));
    });
  }

  test("refuses a file without a header", () => {
    const { offences } = findOffences(new Map([["src/api/a.ts", "export const x = 1;\n"]]), []);
    expect(offences.map(({ rule }) => rule)).toEqual(["header"]);
  });

  test("names the line of the offender", () => {
    expect(offencesOf("src/api/a.ts", "const a = 1;\n\nconst at = Date.now();\n")[0]?.at).toBe(
      "src/api/a.ts:4",
    );
  });
});

describe("what only looks like an offence is let through", () => {
  const fine: readonly (readonly [name: string, file: string, source: string])[] = [
    [
      "a comment about process.env",
      "src/api/a.ts",
      "// never process.env.HOME, see config\n/* Date.now() */",
    ],
    ["a string with Date.now()", "src/api/a.ts", 'const hint = "not Date.now()";'],
    ["a regular expression with quotes", "src/api/a.ts", "const quote = /[\"'`]/;\nconst two = a / b / c;"],
    ["a date made of a number", "src/api/a.ts", "const d = new Date(at);"],
    ["a socket's own timer", "src/gateway/a.ts", "socket.setTimeout(1000);"],
    ["types of config", "src/api/a.ts", 'import type { Config } from "../config.ts";'],
    ["config itself", "src/config.ts", "const home = process.env.HOME;"],
    ["the clock itself", "src/telemetry/clock.ts", "const at = Date.now();"],
    [
      "SQL in the store",
      "src/store/a.ts",
      'import { sql } from "kysely";\nconst q = "SELECT id FROM models";',
    ],
    ["a process in the runner", "src/runners/a.ts", 'import { spawn } from "node:child_process";'],
    ["composition that imports a role", "src/main.ts", 'const run = () => import("./gateway/main.ts");'],
    ["prose about selecting", "src/api/a.ts", 'const text = "select one from the list, then update it";'],
  ];
  for (const [name, file, source] of fine) {
    test(name, () => expect(offencesOf(file, source)).toEqual([]));
  }
});

describe("source text", () => {
  test("keeps every line and column in place", () => {
    const source =
      'const a = "x`y"; // c\nconst b = `p${f({ a: `q${1}` })}r`;\nconst c = /a\\/[/"]/.test(b);\n';
    const { code, withoutComments } = readSource(source);
    expect(code).toHaveLength(source.length);
    expect(withoutComments).toHaveLength(source.length);
    expect(code.split("\n")).toHaveLength(source.split("\n").length);
    expect(code).toContain("f({ a:");
    expect(code).not.toContain("x`y");
    expect(code).toContain(".test(b);");
  });
});

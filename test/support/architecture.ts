/**
 * The rules of the house (ARCHITECTURE.md): which folder may import which, and where processes, SQL, settings and
 * time may be touched. Works on a map of files so that its own test can hand it files that break each rule.
 */
import { posix } from "node:path";
import { readSource } from "./source-text.ts";

export interface Offence {
  /** `src/api/routes.ts:12`. */
  readonly at: string;
  readonly rule: Rule;
  readonly message: string;
}

export type Rule =
  | "house"
  | "imports"
  | "composition"
  | "settings"
  | "processes"
  | "sql"
  | "time"
  | "default-export"
  | "length"
  | "header";

/** A file that may break a rule, and why. The test fails when an entry is no longer needed. */
export interface Exception {
  readonly file: string;
  readonly rule: Rule;
  readonly reason: string;
}

/** Folder → the folders of ours it may import, besides itself. */
export const IMPORT_TABLE: Readonly<Record<string, readonly string[]>> = {
  core: [],
  contract: ["core"],
  http: ["core"],
  schemas: ["core"],
  telemetry: ["core"],
  store: ["core", "telemetry"],
  objects: ["core", "telemetry"],
  runners: ["core", "telemetry"],
  environments: ["core", "telemetry"],
  api: ["core", "contract", "schemas", "store", "objects", "telemetry"],
  reconcile: ["core", "schemas", "store", "objects", "runners", "environments", "telemetry"],
  gateway: ["core", "contract", "http", "telemetry"],
  modelserver: ["core", "http", "schemas", "telemetry"],
  cli: ["core", "contract"],
  supervisor: ["core", "telemetry"],
  workbench: ["core", "runners", "schemas", "telemetry"],
};

/** Files directly in src/: they put the parts together, so they import anything, and nothing imports them. */
export const COMPOSITION = [
  "main.ts",
  "command-line.ts",
  "config.ts",
  "control.ts",
  "doctor.ts",
  "gateway.ts",
  "package-run.ts",
  "platform-control.ts",
  "role-process.ts",
  "supervise.ts",
  "supervisor-process.ts",
];

/** Packages that only some folders may load. */
const RESERVED: readonly {
  readonly packages: RegExp;
  readonly rule: Rule;
  readonly allowed: (file: string) => boolean;
}[] = [
  {
    packages: /^(?:kysely|pg|node:sqlite|better-sqlite3)(?:\/|$)/,
    rule: "sql",
    allowed: (file) => file.startsWith("src/store/"),
  },
  {
    packages: /^(?:node:)?child_process$/,
    rule: "processes",
    allowed: (file) =>
      /^src\/(?:runners|environments|modelserver|supervisor|workbench)\//.test(file) ||
      /^src\/(?:supervise|platform-control|doctor|package-run)\.ts$/.test(file),
  },
  {
    packages: /^(?:node:)?timers(?:\/promises)?$/,
    rule: "time",
    allowed: (file) => file === "src/telemetry/clock.ts",
  },
  { packages: /^(?:node:)?process$/, rule: "settings", allowed: () => false },
];

/** Patterns over code (no strings, no comments). */
const FORBIDDEN: readonly {
  readonly pattern: RegExp;
  readonly rule: Rule;
  readonly allowed: readonly string[];
  readonly message: string;
}[] = [
  {
    pattern: /\bprocess\s*\.\s*env\b|\bprocess\s*\[|\bimport\.meta\.env\b/g,
    rule: "settings",
    allowed: ["src/config.ts"],
    message: "reads the environment; settings come from src/config.ts",
  },
  {
    pattern:
      /\bDate\s*\.\s*now\b|\bperformance\s*\.\s*now\b|\bprocess\s*\.\s*hrtime\b|\bnew Date\(\s*\)|(?<![.\w])set(?:Timeout|Interval)\s*\(/g,
    rule: "time",
    allowed: ["src/telemetry/clock.ts"],
    message: "asks the machine for the time; take a Clock (core/clock.ts)",
  },
  {
    pattern: /\bexport\s+default\b|\bexport\s*\{[^}]*\bas default\b/g,
    rule: "default-export",
    allowed: [],
    message: "has a default export; export it by its name",
  },
];

/** SQL is written in capitals here, which prose is not. */
const SQL =
  /\b(?:SELECT\s[^;]*?\sFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|(?:CREATE|ALTER|DROP)\s+TABLE)\b/g;

const IMPORT =
  /\b(?:import|export)\s+(type\s+)?(?:[\w*{}\s,$]+?\s+from\s*)?["']([^"']+)["']|\bimport\s*\(\s*["']([^"']+)["']/g;

const LINES_MAX = 600;

const isTest = (file: string): boolean => /\.(?:test|suite)\.ts$/.test(file);

const folderOf = (file: string): string | null => /^src\/([^/]+)\//.exec(file)?.[1] ?? null;

interface Imported {
  readonly line: number;
  readonly specifier: string;
  readonly isType: boolean;
}

const importsOf = (withoutComments: string, code: string): readonly Imported[] =>
  [...withoutComments.matchAll(IMPORT)]
    // The keyword itself must be code: a string that talks of imports is none.
    .filter((match) => /^(?:import|export)/.test(code.slice(match.index)))
    .map((match) => ({
      line: withoutComments.slice(0, match.index).split("\n").length,
      specifier: match[2] ?? match[3] ?? "",
      isType: match[1] !== undefined,
    }));

const checkImport = (file: string, found: Imported): { rule: Rule; message: string } | null => {
  const from = folderOf(file);
  const { specifier } = found;
  if (!specifier.startsWith(".")) {
    if (from === "core" && specifier !== "zod") {
      return { rule: "imports", message: `core may import zod and nothing else, not ${specifier}` };
    }
    const reserved = RESERVED.find(({ packages }) => packages.test(specifier));
    return reserved === undefined || reserved.allowed(file)
      ? null
      : { rule: reserved.rule, message: `may not import ${specifier} here` };
  }
  const target = posix.join(posix.dirname(file), specifier);
  const to = folderOf(target);
  if (from === null) return null;
  if (!target.startsWith("src/"))
    return { rule: "imports", message: `imports ${target}, which is outside src` };
  if (to === null) {
    return target === "src/config.ts" && found.isType
      ? null
      : {
          rule: "composition",
          message: `imports ${target}; only types of src/config.ts may be imported from there`,
        };
  }
  if (to === from || (IMPORT_TABLE[from] ?? []).includes(to)) return null;
  return {
    rule: "imports",
    message: `${from} may not import ${to} (allowed: ${[...(IMPORT_TABLE[from] ?? []), from].join(", ")})`,
  };
};

const inspect = (file: string, source: string): readonly Offence[] => {
  const offences: Offence[] = [];
  const add = (line: number, rule: Rule, message: string): void => {
    offences.push({ at: `${file}:${line}`, rule, message });
  };
  const lines = source.split("\n").length - 1;
  if (lines > LINES_MAX)
    add(LINES_MAX + 1, "length", `has ${lines} lines; split it by concept before ${LINES_MAX}`);
  const folder = folderOf(file);
  const name = posix.basename(file);
  if (folder === null && !COMPOSITION.includes(name) && !isTest(file)) {
    add(1, "house", `is not one of ${COMPOSITION.join(", ")}; a file belongs into a folder of the house`);
  }
  if (folder !== null && IMPORT_TABLE[folder] === undefined) {
    add(1, "house", `${folder} is not a folder of the house (${Object.keys(IMPORT_TABLE).join(", ")})`);
  }
  if (!/^[a-z0-9]+(?:[-.][a-z0-9]+)*\.ts$/.test(name)) add(1, "house", "is not named in kebab-case");
  // Tests stand beside what they test, but may bring together what their subject may not.
  if (isTest(file)) return offences;

  const { code, withoutComments } = readSource(source);
  const lineAt = (index: number): number => code.slice(0, index).split("\n").length;
  if (!/^\s*\/\*\*/.test(source)) add(1, "header", "does not begin with a comment saying what the file owns");
  for (const found of importsOf(withoutComments, code)) {
    const wrong = checkImport(file, found);
    if (wrong !== null) add(found.line, wrong.rule, wrong.message);
  }
  for (const { pattern, rule, allowed, message } of FORBIDDEN) {
    if (allowed.includes(file)) continue;
    for (const match of code.matchAll(pattern)) add(lineAt(match.index), rule, message);
  }
  if (folder !== "store") {
    for (const match of withoutComments.matchAll(SQL))
      add(lineAt(match.index), "sql", "holds SQL; only src/store/ does");
  }
  return offences;
};

/** Everything that breaks a rule, and the exceptions that nothing needs any more. */
export const findOffences = (
  files: ReadonlyMap<string, string>,
  exceptions: readonly Exception[],
): { readonly offences: readonly Offence[]; readonly unused: readonly Exception[] } => {
  const used = new Set<Exception>();
  const offences: Offence[] = [];
  for (const [file, source] of files) {
    for (const offence of inspect(file, source)) {
      const exception = exceptions.find((one) => one.file === file && one.rule === offence.rule);
      if (exception === undefined) offences.push(offence);
      else used.add(exception);
    }
  }
  return { offences, unused: exceptions.filter((one) => !used.has(one)) };
};

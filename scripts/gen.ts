/**
 * Writes what is generated from code: docs/openapi.json from the API's schemas, docs/errors.md from the error catalogue,
 * docs/limits.md from the limits and settings, docs/http.md from the table of odd requests and answers, docs/user-code.md from that of what user code may do wrong. `--check`
 * writes nothing and fails when a file is not what it would write.
 */
import { generateKeyPairSync } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createApi } from "../src/api/server.ts";
import type { ApiDeps } from "../src/api/server.ts";
import { readConfig } from "../src/config.ts";
import { MODELARTS_CODES } from "../src/contract/modelarts/errors.ts";
import { CATALOGUE } from "../src/core/errors.ts";
import type { ErrorCode, ErrorDefinition } from "../src/core/errors.ts";
import { LIMITS } from "../src/core/limits.ts";
import { systemClock } from "../src/telemetry/clock.ts";
import { createLogger } from "../src/telemetry/logger.ts";
import { renderHttpPage } from "../test/http/page.ts";
import { renderUserCodePage } from "../test/user-code/page.ts";

const root = resolve(import.meta.dirname, "..");

const openapi = async (): Promise<string> => {
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };
  // The schemas say everything; no route is called, so what routes depend on may be missing.
  const unused = new Proxy({}, { get: () => ({}) });
  const api = await createApi({
    store: unused as ApiDeps["store"],
    objects: unused as ApiDeps["objects"],
    instanceLogs: unused as ApiDeps["instanceLogs"],
    metrics: async () => "",
    runtimes: async () => [],
    clock: systemClock,
    logger: createLogger("gen", "silent"),
    keys: { kid: "unused", ...generateKeyPairSync("ed25519") },
    settings: { publicUrl: () => "http://127.0.0.1:8080", tokenHours: 24, version },
  });
  await api.ready();
  const document = api.swagger();
  await api.close();
  return `${JSON.stringify(document, null, 2)}\n`;
};

/** Shows parameters by name: `Model ({id}) does not exist.` */
const named: unknown = new Proxy(
  {},
  {
    get: (_, name) =>
      name === "available" ? ["{available}"] : name === "count" ? "{count}" : `{${String(name)}}`,
  },
);

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");

const errors = (): string => {
  const rows = (Object.keys(CATALOGUE) as ErrorCode[]).map((code) => {
    const entry = CATALOGUE[code] as ErrorDefinition<unknown>;
    const dialect = MODELARTS_CODES[code];
    const codes =
      dialect.inference === undefined ? dialect.code : `${dialect.code}, on predictions ${dialect.inference}`;
    const text = (dialect.prefix ?? "") + entry.message(named);
    const hint = entry.hint?.(named) ?? "";
    return `| \`${code}\` | ${entry.status} | ${codes} | ${entry.owner} | ${cell(text)} | ${cell(hint)} |`;
  });
  return [
    "# Errors",
    "",
    "Generated from `src/core/errors.ts` by `npm run gen`; do not edit.",
    "",
    "The owner says who can do something about it: `client` the caller, `route` nothing is there for this caller, `config` the",
    "package or the service is set up wrongly, `capacity` not now, `upstream` the user's own code, `platform` us.",
    "",
    "| Name | HTTP | Code | Owner | Text | What to do |",
    "| --- | --- | --- | --- | --- | --- |",
    ...rows,
    "",
  ].join("\n");
};

const limits = (): string => {
  const config = readConfig({});
  if (!config.ok) throw new Error("the default settings are not valid");
  const {
    bodyBytesMax,
    predictTimeoutMs,
    instanceConcurrency,
    queueMax,
    queueAgeMs,
    tokenHours,
    drainTimeoutMs,
  } = config.config;
  const settings: readonly (readonly [string, number, string])[] = [
    ["MODELPORT_BODY_BYTES_MAX", bodyBytesMax, "bytes of a prediction's body"],
    ["MODELPORT_PREDICT_TIMEOUT_MS", predictTimeoutMs, "ms a prediction may take"],
    ["MODELPORT_INSTANCE_CONCURRENCY", instanceConcurrency, "predictions one instance has in flight"],
    ["MODELPORT_QUEUE_MAX", queueMax, "predictions that wait for an instance of one version"],
    ["MODELPORT_QUEUE_AGE_MS", queueAgeMs, "ms one of them waits before it is refused"],
    ["MODELPORT_TOKEN_HOURS", tokenHours, "hours a token is good for"],
    [
      "MODELPORT_DRAIN_TIMEOUT_MS",
      drainTimeoutMs,
      "ms predictions in flight may go on when an instance is ended",
    ],
  ];
  return [
    "# Limits",
    "",
    "Generated from `src/core/limits.ts` and `src/config.ts` by `npm run gen`; do not edit.",
    "",
    "## Fixed",
    "",
    "| Limit | Value | Unit |",
    "| --- | --- | --- |",
    ...Object.values(LIMITS).map((l) => `| ${cell(l.what)} | ${l.value} | ${l.unit} |`),
    "",
    "## Settings",
    "",
    "| Setting | Default | What it limits |",
    "| --- | --- | --- |",
    ...settings.map(([name, value, what]) => `| \`${name}\` | ${value} | ${what} |`),
    "",
  ].join("\n");
};

const files: Readonly<Record<string, string>> = {
  "docs/openapi.json": await openapi(),
  "docs/errors.md": errors(),
  "docs/limits.md": limits(),
  "docs/http.md": renderHttpPage(),
  "docs/user-code.md": renderUserCodePage(),
};
const isCheck = process.argv.includes("--check");
for (const [path, wanted] of Object.entries(files)) {
  if (!isCheck) {
    await writeFile(join(root, path), wanted);
    continue;
  }
  const found = await readFile(join(root, path), "utf8").catch(() => "");
  if (found === wanted) continue;
  console.error(`${path} is not what the code says; run: npm run gen`);
  process.exitCode = 1;
}

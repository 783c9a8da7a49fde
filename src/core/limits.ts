/**
 * The limits of the API, in one table: schemas and handlers take their numbers from here and docs/limits.md is
 * generated from it. Limits an operator can change are settings (config.ts), not entries here.
 */
interface Limit {
  readonly value: number;
  readonly unit: "characters" | "bytes" | "count" | "percent" | "minutes" | "seconds" | "levels";
  readonly what: string;
}

const limit = (value: number, unit: Limit["unit"], what: string): Limit => ({ value, unit, what });

export const LIMITS = {
  nameLength: limit(
    64,
    "characters",
    "name of an AI application or a service: letters, digits, Chinese, `-`, `_`",
  ),
  descriptionLength: limit(
    100,
    "characters",
    "description of an AI application or a service, without `&!'\"<>=`",
  ),
  algorithmLength: limit(36, "characters", "`model_algorithm`, starting with a letter"),
  modelDocs: limit(3, "count", "`model_docs` of an AI application"),
  modelDocNameLength: limit(48, "characters", "`doc_name`, starting with a letter or Chinese character"),
  initialConfigBytes: limit(256 * 1024, "bytes", "`initial_config`"),
  cascadeDelete: limit(20, "count", "versions deleted by one call with `cascade=true`"),
  modelBytes: limit(20 * 1024 ** 3, "bytes", "files of an AI application imported from OBS, together"),
  modelFileBytes: limit(
    5 * 1024 ** 3,
    "bytes",
    "one file of an AI application imported from OBS without dynamic loading",
  ),
  modelFiles: limit(100_000, "count", "files of an AI application imported from OBS"),
  objectBytes: limit(20 * 1024 ** 3, "bytes", "one object of a bucket"),
  servicesPerProject: limit(20, "count", "real-time services of a project"),
  configEntries: limit(20, "count", "versions served by one service at a time"),
  instanceCount: limit(128, "count", "`instance_count` of one version"),
  deployTimeoutMin: limit(3, "minutes", "least `deploy_timeout_in_seconds` (counted in minutes)"),
  deployTimeoutMax: limit(120, "minutes", "greatest `deploy_timeout_in_seconds` (counted in minutes)"),
  terminationGraceMin: limit(30, "seconds", "least `termination_grace_period_seconds`"),
  terminationGraceMax: limit(300, "seconds", "greatest `termination_grace_period_seconds`"),
  envCount: limit(100, "count", "environment variables of one version"),
  envValueLength: limit(8192, "characters", "value of an environment variable"),
  loginFailuresUser: limit(
    20,
    "count",
    "wrong passwords of one user from one address at once; one more every 30 s",
  ),
  loginFailuresAddress: limit(100, "count", "wrong passwords from one address at once; one more every 6 s"),
  pageSize: limit(1000, "count", "rows of one page of a list (`limit`)"),
  deleteMany: limit(50, "count", "services deleted by one call"),
  jsonBodyBytes: limit(1024 * 1024, "bytes", "JSON body of an API call"),
  jsonDepth: limit(64, "levels", "nesting of a JSON body"),
  eventsKept: limit(1000, "count", "events kept of one AI application version or service, the newest"),
  logTail: limit(10_000, "count", "lines of an instance log in one answer (`tail`)"),
} as const satisfies Record<string, Limit>;

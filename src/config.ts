/**
 * The only reader of process.env: every setting with its default, checked at once. A wrong setting stops the start
 * with all violations listed; nothing is silently replaced by a default.
 */
import { homedir } from "node:os";
import { resolve } from "node:path";
import { z } from "zod";
import { BATCHING_MODES, BATCH_DELAY_MS_MAX, BATCH_SIZE_MAX } from "./core/batching.ts";
import type { Batching } from "./core/batching.ts";
import { ANSWER_VALIDATIONS, REQUEST_VALIDATIONS } from "./core/api-rule.ts";
import type { Validation } from "./core/api-rule.ts";
import type { Problem } from "./core/errors.ts";
import { readTracingSettings } from "./core/tracing.ts";
import type { TracingSettings } from "./core/tracing.ts";

const integer = (min: number, max: number, fallback: number) =>
  z
    .string()
    .regex(/^\d+$/, "must be a whole number")
    .transform(Number)
    .pipe(z.number().min(min).max(max))
    .default(fallback);

const flag = (fallback: boolean) =>
  z
    .enum(["true", "false", "1", "0"], "must be true or false")
    .transform((v) => v === "true" || v === "1")
    .default(fallback);

const text = (fallback: string) => z.string().min(1).default(fallback);

/** Settings by environment variable. Sizes in bytes, times in the unit the name ends with. */
const schema = z.object({
  /** Where everything the platform keeps lives. */
  MODELPORT_DATA: text(resolve(homedir(), ".modelport")),
  MODELPORT_HOST: text("127.0.0.1"),
  MODELPORT_PORT: integer(0, 65535, 8080),
  /** PEM files, both or none: the gateway then speaks TLS, HTTP/1.1 and HTTP/2, and nothing else on its port. */
  MODELPORT_TLS_CERT_FILE: z.string().min(1).optional(),
  MODELPORT_TLS_KEY_FILE: z.string().min(1).optional(),
  /** The address callers use, when it is not http://host:port (a proxy or TLS in front). */
  MODELPORT_PUBLIC_URL: z
    .string()
    .regex(/^https?:\/\/[^/]+$/, "must be http(s)://host[:port] without a path")
    .optional(),
  /** Empty: embedded SQLite in the data directory. */
  MODELPORT_DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, "must start with postgres://")
    .optional(),
  MODELPORT_LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error"]).default("info"),
  /** The only interpreter environments are made with. Empty: every Python of the machine, by what runtimes name. */
  MODELPORT_PYTHON: z.string().min(1).optional(),
  /** Whether a Python that a runtime names and the machine has not is fetched, where the network lets it. */
  MODELPORT_FETCH_PYTHON: flag(true),
  /** Whether torch comes from its vendor's index of CPU builds where there is no accelerator. */
  MODELPORT_TORCH_CPU_INDEX: flag(true),
  /** How long building one Python environment may take, downloads included. */
  MODELPORT_ENVIRONMENT_TIMEOUT_MS: integer(1_000, 86_400_000, 3_600_000),
  /** True: a runtime that is not here, or a pin without a build for the interpreter, refuses the import instead of the nearest release standing in. */
  MODELPORT_STRICT_DEPENDENCIES: flag(false),
  /** Users that the code of services runs as, one per service; where the platform runs as root. */
  MODELPORT_SERVICE_USERS: z
    .string()
    .regex(/^(off|\d{1,10}-\d{1,10})$/, "must be FIRST-LAST, two user numbers, or off")
    .transform((text) => {
      const [first, last] = text.split("-").map(Number);
      return first === undefined || last === undefined ? null : { first, last };
    })
    .refine(
      (range) =>
        range === null || (range.first >= 1000 && range.first <= range.last && range.last < 2 ** 32 - 1),
      "must lie between 1000 and 4294967294, the smaller number first",
    )
    .default({ first: 2_000_000_000, last: 2_000_065_535 }),
  /** The accelerators instances may see, by the ids their driver knows them by. */
  MODELPORT_DEVICES: z
    .string()
    .regex(
      /^(?:all|none|(?:\d{1,3}|(?:GPU|MIG)-[\w/-]+)(?:,(?:\d{1,3}|(?:GPU|MIG)-[\w/-]+))*)$/,
      "must be all, none, or numbers and ids (GPU-…, MIG-…) with commas between, such as 0,1",
    )
    .default("all")
    .transform((text) => (text === "all" ? null : text === "none" ? [] : text.split(","))),
  MODELPORT_WORKERS_PER_INSTANCE: integer(1, 64, 1),
  /** How requests that wait together are joined; a service's `envs` of the same names go before these. */
  MODELPORT_BATCHING: z.enum(BATCHING_MODES).default("auto"),
  MODELPORT_BATCHING_MAX_SIZE: integer(1, BATCH_SIZE_MAX, 64),
  MODELPORT_BATCHING_MAX_DELAY_MS: integer(0, BATCH_DELAY_MS_MAX, 20),
  /** Whether requests and answers are held to the JSON Schema of `apis` in config.json; a service's `envs` go before these. */
  MODELPORT_VALIDATE_REQUESTS: z.enum(REQUEST_VALIDATIONS).default("off"),
  MODELPORT_VALIDATE_ANSWERS: z.enum(ANSWER_VALIDATIONS).default("off"),
  /** Threads of the gateway that share its port: more than one where one processor cannot carry the traffic. */
  MODELPORT_GATEWAY_THREADS: integer(1, 64, 1),
  MODELPORT_BODY_BYTES_MAX: integer(1, 2 ** 31, 12 * 1024 * 1024),
  MODELPORT_PREDICT_TIMEOUT_MS: integer(100, 3_600_000, 40_000),
  MODELPORT_INSTANCE_CONCURRENCY: integer(1, 10_000, 64),
  MODELPORT_QUEUE_MAX: integer(0, 100_000, 256),
  MODELPORT_QUEUE_AGE_MS: integer(100, 3_600_000, 10_000),
  MODELPORT_TOKEN_HOURS: integer(1, 24 * 365, 24),
  /** How long a deployment that names no timeout may take to become ready. The guide's default: 20 minutes. */
  MODELPORT_START_TIMEOUT_MS: integer(100, 7_200_000, 1_200_000),
  MODELPORT_DRAIN_TIMEOUT_MS: integer(0, 3_600_000, 45_000),
  /** Whether callers see the traceback of failing user code (`error_info`). */
  MODELPORT_ERROR_INFO: flag(true),
  /** Who scrapes /metrics from elsewhere sends this as a bearer token. Unset: /metrics answers this machine only. */
  MODELPORT_METRICS_TOKEN: z
    .string()
    .regex(/^[\x21-\x7e]{16,256}$/, "must be 16 to 256 printable characters without spaces")
    .optional(),
});

export interface Config {
  readonly dataDir: string;
  readonly host: string;
  readonly port: number;
  /** Null: plain HTTP. */
  readonly tls: { readonly certificateFile: string; readonly keyFile: string } | null;
  readonly gatewayThreads: number;
  readonly publicUrl: string | null;
  readonly databaseUrl: string | null;
  readonly logLevel: "trace" | "debug" | "info" | "warn" | "error";
  readonly python: string | null;
  readonly fetchPython: boolean;
  readonly torchCpuIndex: boolean;
  readonly environmentTimeoutMs: number;
  readonly strictDependencies: boolean;
  /** Null: user code runs as the platform's own user. */
  readonly serviceUsers: { readonly first: number; readonly last: number } | null;
  /** The accelerators instances may see; null: all that the machine has. */
  readonly devices: readonly string[] | null;
  readonly workersPerInstance: number;
  readonly batching: Batching;
  readonly validation: Validation;
  readonly bodyBytesMax: number;
  readonly predictTimeoutMs: number;
  readonly instanceConcurrency: number;
  readonly queueMax: number;
  readonly queueAgeMs: number;
  readonly tokenHours: number;
  readonly startTimeoutMs: number;
  readonly drainTimeoutMs: number;
  readonly errorInfo: boolean;
  readonly metricsToken: string | null;
  /** Null: tracing is off. */
  readonly tracing: TracingSettings | null;
  /** What programs that build environments (pip, uv) get to see of the platform's environment; see toolEnvironment. */
  readonly toolEnvironment: Readonly<Record<string, string>>;
  /** What programs on this machine cannot do without, the platform's own settings and secrets left out. */
  readonly hostEnvironment: Readonly<Record<string, string>>;
  /** The user wants no colour (https://no-color.org). */
  readonly noColour: boolean;
}

/** Certificates, indexes, proxies and where to find programs: what builds need, and nothing that is a secret of ours. */
const TOOL_VARIABLES =
  /^(?:PATH|HOME|TMPDIR|TEMP|TMP|LANG|LC_ALL|SYSTEMROOT|USERPROFILE|LOCALAPPDATA|SSL_CERT_FILE|SSL_CERT_DIR|NETRC|XDG_DATA_HOME|(?:UV|PIP|PYENV)_\w+|(?:HTTPS?|ALL|NO)_PROXY)$/i;

/** For instances: where programs are, the language, and what native libraries need on this processor. */
const HOST_VARIABLES = /^(?:PATH|LANG|LC_ALL|LC_CTYPE|TZ|TMPDIR|OPENBLAS_CORETYPE|OPENBLAS_L2_SIZE)$/;

const pick = (env: Readonly<Record<string, string | undefined>>, names: RegExp): Record<string, string> =>
  Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) =>
      value !== undefined && names.test(name) ? [[name, value]] : [],
    ),
  );

/** uv does not read pip's variables: those that name packages' sources are handed to it under its own names. */
const toolEnvironment = (env: Readonly<Record<string, string | undefined>>): Record<string, string> => {
  const result = pick(env, TOOL_VARIABLES);
  const hand = (pip: string, uv: string, separator: string): void => {
    const value = result[pip]?.trim();
    if (value !== undefined && value !== "" && result[uv] === undefined)
      result[uv] = value.split(/\s+/).join(separator);
  };
  if (result["UV_INDEX_URL"] === undefined) hand("PIP_INDEX_URL", "UV_DEFAULT_INDEX", " ");
  if (result["UV_INDEX"] === undefined) hand("PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL", " ");
  hand("PIP_FIND_LINKS", "UV_FIND_LINKS", ",");
  hand("PIP_CERT", "SSL_CERT_FILE", " ");
  return result;
};

/** A setting that is empty is one that is not set: files of variables and `docker -e NAME=` have no other way to say so. */
const withoutEmptySettings = (given: Readonly<Record<string, string | undefined>>) =>
  Object.fromEntries(
    Object.entries(given).filter(([name, value]) => value !== "" || !name.startsWith("MODELPORT_")),
  );

/** The bounds of numbers in our words; what the schema says itself is already one of them. */
const wording = (issue: z.core.$ZodIssue): string => {
  if (issue.code === "too_big") return `must be at most ${issue.maximum}`;
  if (issue.code === "too_small") return `must be at least ${issue.minimum}`;
  if (issue.code === "invalid_value" && issue.message.startsWith("Invalid"))
    return `must be one of ${issue.values.join(", ")}`;
  return issue.message;
};

/** Reads the settings. On failure every violation comes back, named by its variable. */
export const readConfig = (
  given: Readonly<Record<string, string | undefined>> = process.env,
): { ok: true; config: Config } | { ok: false; problems: readonly Problem[] } => {
  const env = withoutEmptySettings(given);
  // Every name present, if only as undefined: zod calls a missing key wrong before it asks for its default.
  const parsed = schema.safeParse(
    Object.fromEntries(Object.keys(schema.shape).map((name) => [name, env[name]])),
  );
  const unknown = Object.keys(env).filter((name) => name.startsWith("MODELPORT_") && !(name in schema.shape));
  const problems: Problem[] = unknown.map((name) => ({
    path: name,
    message: "is not a setting of this version",
    fix: "remove it; docs/operations.md lists the settings",
  }));
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const name = String(issue.path[0]);
      problems.push({
        path: name,
        // A secret is not repeated where logs may keep it.
        message: `is ${name === "MODELPORT_METRICS_TOKEN" ? "not usable" : JSON.stringify(env[name])}: ${wording(issue)}`,
        fix: "see docs/operations.md",
      });
    }
  }
  const [certificateFile, keyFile] = [env["MODELPORT_TLS_CERT_FILE"], env["MODELPORT_TLS_KEY_FILE"]];
  if ((certificateFile === undefined) !== (keyFile === undefined)) {
    const missing = certificateFile === undefined ? "MODELPORT_TLS_CERT_FILE" : "MODELPORT_TLS_KEY_FILE";
    problems.push({
      path: missing,
      message: "is not set, though the other file of TLS is",
      fix: "set both MODELPORT_TLS_CERT_FILE and MODELPORT_TLS_KEY_FILE, or none",
    });
  }
  const tracing = readTracingSettings(env);
  problems.push(...tracing.problems);
  if (!parsed.success || problems.length > 0) return { ok: false, problems };
  const e = parsed.data;
  return {
    ok: true,
    config: {
      dataDir: resolve(e.MODELPORT_DATA),
      host: e.MODELPORT_HOST,
      port: e.MODELPORT_PORT,
      tls:
        certificateFile === undefined || keyFile === undefined
          ? null
          : { certificateFile: resolve(certificateFile), keyFile: resolve(keyFile) },
      gatewayThreads: e.MODELPORT_GATEWAY_THREADS,
      publicUrl: e.MODELPORT_PUBLIC_URL ?? null,
      databaseUrl: e.MODELPORT_DATABASE_URL ?? null,
      logLevel: e.MODELPORT_LOG_LEVEL,
      python: e.MODELPORT_PYTHON ?? null,
      fetchPython: e.MODELPORT_FETCH_PYTHON,
      torchCpuIndex: e.MODELPORT_TORCH_CPU_INDEX,
      environmentTimeoutMs: e.MODELPORT_ENVIRONMENT_TIMEOUT_MS,
      strictDependencies: e.MODELPORT_STRICT_DEPENDENCIES,
      serviceUsers: e.MODELPORT_SERVICE_USERS,
      devices: e.MODELPORT_DEVICES,
      workersPerInstance: e.MODELPORT_WORKERS_PER_INSTANCE,
      batching: {
        mode: e.MODELPORT_BATCHING,
        maxSize: e.MODELPORT_BATCHING_MAX_SIZE,
        maxDelayMs: e.MODELPORT_BATCHING_MAX_DELAY_MS,
      },
      validation: { requests: e.MODELPORT_VALIDATE_REQUESTS, answers: e.MODELPORT_VALIDATE_ANSWERS },
      bodyBytesMax: e.MODELPORT_BODY_BYTES_MAX,
      predictTimeoutMs: e.MODELPORT_PREDICT_TIMEOUT_MS,
      instanceConcurrency: e.MODELPORT_INSTANCE_CONCURRENCY,
      queueMax: e.MODELPORT_QUEUE_MAX,
      queueAgeMs: e.MODELPORT_QUEUE_AGE_MS,
      tokenHours: e.MODELPORT_TOKEN_HOURS,
      startTimeoutMs: e.MODELPORT_START_TIMEOUT_MS,
      drainTimeoutMs: e.MODELPORT_DRAIN_TIMEOUT_MS,
      errorInfo: e.MODELPORT_ERROR_INFO,
      metricsToken: e.MODELPORT_METRICS_TOKEN ?? null,
      tracing: tracing.settings,
      toolEnvironment: toolEnvironment(env),
      hostEnvironment: pick(env, HOST_VARIABLES),
      noColour: (env["NO_COLOR"] ?? "") !== "",
    },
  };
};

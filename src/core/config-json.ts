/**
 * Checks a package's config.json (guide tables 4-1 to 4-8): every problem at once with its JSON path, what was found
 * and what would be right. Wrong shapes are problems; what has no effect here (unknown fields, runtimes nobody knows,
 * misspelt response types, as the guide's own samples have them) is a warning, because such packages do run elsewhere.
 */
import type { Problem } from "./errors.ts";
import { AVAILABLE_ENGINES, KNOWN_MODEL_TYPES, isAvailable } from "./engines.ts";
import { runtimesOf } from "./runtimes.ts";
import { childPath, readJson } from "./json-text.ts";
import { nearest } from "./nearest.ts";
import { show } from "./show.ts";

export type Restraint = "EXACT" | "ATLEAST" | "ATMOST";

export interface ConfigPackage {
  readonly package_name: string;
  readonly package_version: string | null;
  readonly restraint: Restraint | null;
}

export interface ConfigApi {
  readonly url: string;
  /** Upper case. */
  readonly method: string;
  readonly request: Readonly<Record<string, unknown>>;
  readonly response: Readonly<Record<string, unknown>>;
  readonly [other: string]: unknown;
}

/** The effective configuration with defaults filled in. Fields that nobody knows are kept as they came. */
export interface ModelConfig {
  readonly model_algorithm: string;
  readonly model_type: string;
  readonly runtime: string | null;
  readonly metrics: Readonly<Record<string, number>>;
  readonly apis: readonly ConfigApi[];
  readonly dependencies: readonly {
    readonly installer: "pip";
    readonly packages: readonly ConfigPackage[];
  }[];
  readonly health: Readonly<Record<string, string>> | null;
  readonly [other: string]: unknown;
}

/** Fields of the create request that take the place of the file's. */
export interface ConfigOverrides {
  readonly model_type?: unknown;
  readonly model_algorithm?: unknown;
  readonly runtime?: unknown;
  readonly apis?: unknown;
  readonly dependencies?: unknown;
}

export interface ConfigContext {
  /** The AI engine the application was created with; the file must not name another. */
  readonly modelType?: string;
  /** Fields that count where the text has none (config.json beside an `initial_config`). */
  readonly defaults?: Readonly<Record<string, unknown>>;
  readonly overrides?: ConfigOverrides;
}

export interface ConfigCheck {
  /** Null when there is any problem. */
  readonly config: ModelConfig | null;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

export const CONFIG_BYTES_MAX = 1024 * 1024;
const PROBLEMS_MAX = 100;
const LIST_MAX = 1000;
const INT_MAX = 2147483647;

const TOP_FIELDS = [
  "model_algorithm",
  "model_type",
  "runtime",
  "metrics",
  "apis",
  "dependencies",
  "health",
  "swr_location",
  "protocol",
  "port",
  "readiness_health",
  "startup_health",
  "model_source",
  "tunable",
] as const;
const API_FIELDS = ["url", "method", "request", "response", "protocol", "input_params", "output_params"];
const METRICS = ["f1", "recall", "precision", "accuracy"];
const METHODS = ["POST", "GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];
const CONTENT_TYPES = ["application/json", "multipart/form-data"];
const RESTRAINTS = ["EXACT", "ATLEAST", "ATMOST"] as const;
const HEALTH_FIELDS = [
  "check_method",
  "command",
  "url",
  "protocol",
  "initial_delay_seconds",
  "timeout_seconds",
  "period_seconds",
  "failure_threshold",
];
/** How people call the engines elsewhere. */
export const NICKNAMES: Readonly<Record<string, (typeof KNOWN_MODEL_TYPES)[number]>> = {
  sklearn: "Scikit_Learn",
  xgb: "XGBoost",
  tf: "TensorFlow",
  torch: "PyTorch",
  spark: "Spark_MLlib",
};
/** Engines of classical machine learning take and give JSON only (tables 4-4 and 4-5). */
const MACHINE_LEARNING = ["Scikit_Learn", "XGBoost", "Spark_MLlib"];

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const own = (object: Record<string, unknown>, key: string): unknown =>
  Object.hasOwn(object, key) ? object[key] : undefined;

/** A blank string means "not given": the console writes empty strings for fields that were left out. */
const given = (value: unknown): boolean => value !== undefined && value !== null && value !== "";

class Checker {
  readonly problems: Problem[] = [];
  readonly warnings: Problem[] = [];

  problem(path: string, message: string, fix: string): void {
    if (this.problems.length < PROBLEMS_MAX) this.problems.push({ path, message, fix });
  }

  warn(path: string, message: string, fix: string): void {
    if (this.warnings.length < PROBLEMS_MAX) this.warnings.push({ path, message, fix });
  }

  unknownFields(object: Record<string, unknown>, known: readonly string[], path: string): void {
    for (const key of Object.keys(object).filter((name) => !known.includes(name))) {
      const meant = nearest(key, known);
      this.warn(
        childPath(path, key),
        `${show(key)} is not a field of ${path === "" ? "config.json" : path} and has no effect`,
        meant === null ? `known fields: ${known.join(", ")}` : `did you mean ${meant}?`,
      );
    }
  }

  /** A non-blank string, or null after noting what is wrong. */
  text(value: unknown, path: string, fix: string): string | null {
    if (typeof value === "string" && value !== "") return value;
    this.problem(path, given(value) ? `is ${show(value)}, not text` : "is required", fix);
    return null;
  }

  choice<T extends string>(value: unknown, path: string, choices: readonly T[]): T | null {
    const found = choices.find((choice) => choice === value);
    if (found !== undefined) return found;
    const meant = typeof value === "string" ? nearest(value, choices) : null;
    this.problem(
      path,
      given(value) ? `is ${show(value)}` : "is required",
      meant === null
        ? `use one of ${choices.join(", ")}`
        : `did you mean ${meant}? Possible: ${choices.join(", ")}`,
    );
    return null;
  }

  /** The elements of a list, each with its path; an empty list after noting that it is none. */
  list(value: unknown, path: string, element: string): { value: unknown; path: string }[] {
    if (!given(value)) return [];
    if (!Array.isArray(value)) {
      this.problem(path, `is ${show(value)}, not a list`, `write [ ] around the ${element}`);
      return [];
    }
    if (value.length > LIST_MAX)
      this.problem(path, `has ${value.length} elements`, `use at most ${LIST_MAX}`);
    return value
      .slice(0, LIST_MAX)
      .map((item: unknown, index) => ({ value: item, path: childPath(path, index) }));
  }

  object(value: unknown, path: string, fix: string): Record<string, unknown> | null {
    if (isObject(value)) return value;
    this.problem(path, `is ${show(value)}, not an object`, fix);
    return null;
  }
}

const HAN = /\p{Script=Han}/u;

const checkAlgorithm = (check: Checker, value: unknown): string => {
  const path = "model_algorithm";
  const fix = "name the algorithm, for example predict_analysis";
  const text = check.text(value, path, fix);
  if (text === null) return "";
  if (!/^[A-Za-z]/.test(text)) check.problem(path, `is ${show(text)}`, "begin with a letter");
  if (text.length > 36) check.problem(path, `has ${text.length} characters`, "use at most 36 characters");
  if (/[&!'"^<>=]/.test(text) || HAN.test(text))
    check.problem(path, `is ${show(text)}`, `do not use Chinese characters or any of & ! ' " ^ < > =`);
  return text;
};

const checkModelType = (check: Checker, value: unknown, context: ConfigContext): string => {
  const path = "model_type";
  const available = AVAILABLE_ENGINES.join(", ");
  const text = check.text(value, path, `name the AI engine; available here: ${available}`);
  if (text === null) return context.modelType ?? "";
  if (isAvailable(text)) {
    if (context.modelType !== undefined && isAvailable(context.modelType) && context.modelType !== text)
      check.problem(
        path,
        `is ${show(text)}, but the AI application is created with ${context.modelType}`,
        "use the same AI engine in both places",
      );
    return text;
  }
  if ((KNOWN_MODEL_TYPES as readonly string[]).includes(text)) {
    check.problem(
      path,
      `is ${show(text)}, an AI engine that is not available here`,
      `available: ${available}`,
    );
    return text;
  }
  const nickname = text.toLowerCase();
  const meant =
    (Object.hasOwn(NICKNAMES, nickname) ? NICKNAMES[nickname] : null) ?? nearest(text, KNOWN_MODEL_TYPES);
  check.problem(
    path,
    `is ${show(text)}, which is no AI engine`,
    meant === null ? `use one of ${available}` : `did you mean ${meant}? Available: ${available}`,
  );
  // Further checks depend on the engine: go on with the one that was meant.
  return meant ?? text;
};

const checkRuntime = (check: Checker, value: unknown, modelType: string): string | null => {
  if (!given(value)) return null;
  if (typeof value !== "string") {
    check.problem("runtime", `is ${show(value)}, not text`, 'write for example "python3.6"');
    return null;
  }
  const names = runtimesOf(modelType);
  if (names.length > 0 && !names.includes(value)) {
    const meant = nearest(value, names);
    check.warn(
      "runtime",
      `is ${show(value)}, which is no runtime of ${modelType}`,
      meant === null ? `known: ${names.join(", ")}` : `did you mean ${meant}? Known: ${names.join(", ")}`,
    );
  }
  return value.slice(0, 200);
};

const checkMetrics = (check: Checker, value: unknown): Record<string, number> => {
  if (!given(value)) return {};
  const metrics = check.object(value, "metrics", 'write for example {"accuracy": 0.98}');
  if (metrics === null) return {};
  check.unknownFields(metrics, METRICS, "metrics");
  const result: Record<string, number> = {};
  for (const name of METRICS) {
    const metric = own(metrics, name);
    if (!given(metric)) continue;
    const path = childPath("metrics", name);
    if (typeof metric !== "number" || !Number.isFinite(metric)) {
      const number = typeof metric === "string" && metric.trim() !== "" ? Number(metric) : Number.NaN;
      check.problem(
        path,
        `is ${show(metric)}, not a number`,
        Number.isFinite(number) ? `write ${number} without quotes` : "write a number such as 0.98",
      );
      continue;
    }
    if (metric < 0 || metric > 1) check.warn(path, `is ${metric}`, "a score lies between 0 and 1");
    // toFixed writes exponents from 1e21 on; such values have no decimals to round
    result[name] = Math.abs(metric) < 1e21 ? Number(metric.toFixed(17)) : metric;
  }
  return result;
};

const checkBody = (
  check: Checker,
  value: unknown,
  path: string,
  modelType: string,
  side: "request" | "response",
): Record<string, unknown> => {
  const json = { "Content-type": "application/json" };
  if (!given(value)) return json;
  const body = check.object(
    value,
    path,
    'write for example {"Content-type": "application/json", "data": {…}}',
  );
  if (body === null) return json;
  const typeKey = Object.keys(body).find((key) => key.toLowerCase() === "content-type");
  check.unknownFields(body, [...(typeKey === undefined ? ["Content-type"] : [typeKey]), "data"], path);
  const result: Record<string, unknown> = { ...body };
  if (typeKey !== undefined) delete result[typeKey];
  result["Content-type"] = "application/json";
  const type = typeKey === undefined ? undefined : own(body, typeKey);
  if (given(type)) {
    const typePath = childPath(path, typeKey ?? "Content-type");
    const name = typeof type === "string" ? (type.split(";")[0] ?? "").trim().toLowerCase() : "";
    if (!CONTENT_TYPES.includes(name)) {
      // Answers carry what the code makes; the guide's own samples misspell this field in responses.
      const meant = nearest(name, CONTENT_TYPES);
      const message = `is ${show(type)}, not a supported content type`;
      const fix = meant === null ? `use ${CONTENT_TYPES.join(" or ")}` : `did you mean ${meant}?`;
      if (side === "response" && typeof type === "string") check.warn(typePath, message, fix);
      else check.problem(typePath, message, fix);
    } else if (MACHINE_LEARNING.includes(modelType) && name !== "application/json") {
      check.problem(typePath, `is ${show(type)}`, `use application/json: ${modelType} takes nothing else`);
    } else result["Content-type"] = name;
  }
  const data = own(body, "data");
  if (given(data) && typeof data !== "string" && !isObject(data))
    check.problem(
      childPath(path, "data"),
      `is ${show(data)}`,
      'describe the body as a JSON Schema object, for example {"type": "object"}',
    );
  return result;
};

const checkApi = (check: Checker, value: unknown, path: string, modelType: string): ConfigApi | null => {
  const api = check.object(value, path, 'write for example {"url": "/", "method": "post"}');
  if (api === null) return null;
  check.unknownFields(api, API_FIELDS, path);
  const url = own(api, "url");
  let effectiveUrl = "/";
  if (given(url)) {
    if (typeof url !== "string" || !url.startsWith("/"))
      check.problem(childPath(path, "url"), `is ${show(url)}`, 'write a path that begins with "/"');
    else if (modelType !== "Image" && url !== "/")
      check.problem(
        childPath(path, "url"),
        `is ${show(url)}`,
        'write "/": only custom images may have other paths',
      );
    else effectiveUrl = url;
  }
  const method = own(api, "method");
  const upper = typeof method === "string" ? method.toUpperCase() : method;
  const effectiveMethod = given(method) ? check.choice(upper, childPath(path, "method"), METHODS) : "POST";
  for (const legacy of ["input_params", "output_params"]) {
    const params = own(api, legacy);
    if (given(params) && !isObject(params) && !Array.isArray(params))
      check.problem(
        childPath(path, legacy),
        `is ${show(params)}`,
        'write a JSON Schema object: {"type": "object"}',
      );
  }
  return {
    ...api,
    url: effectiveUrl,
    method: effectiveMethod ?? "POST",
    request: checkBody(check, own(api, "request"), childPath(path, "request"), modelType, "request"),
    response: checkBody(check, own(api, "response"), childPath(path, "response"), modelType, "response"),
  };
};

const checkApis = (check: Checker, value: unknown, modelType: string): ConfigApi[] => {
  const apis = check
    .list(value, "apis", "API")
    .map((item) => checkApi(check, item.value, item.path, modelType))
    .filter((api) => api !== null);
  if (modelType !== "Image" && apis.length > 1)
    check.problem(
      "apis",
      `has ${apis.length} APIs`,
      'keep one, with the url "/": only custom images may have more',
    );
  return apis;
};

/** PEP 508 names with optional extras, or the file name of a wheel of the package. */
const PACKAGE_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\[[A-Za-z0-9._, -]*\])?$/;
const WHEEL_NAME = /^[A-Za-z0-9][A-Za-z0-9._+-]*\.whl$/;
const VERSION = /^[vV]?[0-9][A-Za-z0-9.+_-]*(?:\.\*)?$/;

const checkPackageName = (check: Checker, value: unknown, path: string): string => {
  const name = check.text(value, path, 'name the package, for example "numpy"')?.trim() ?? null;
  if (name === null) return "";
  const pinned = /^([A-Za-z0-9._-]+)\s*(==|>=|<=|=)\s*([0-9][\w.]*)$/.exec(name);
  if (pinned !== null) {
    const restraint = pinned[2] === ">=" ? "ATLEAST" : pinned[2] === "<=" ? "ATMOST" : "EXACT";
    check.problem(
      path,
      `is ${show(name)}: the version has a field of its own`,
      `write "package_name": "${pinned[1]}", "package_version": "${pinned[3]}", "restraint": "${restraint}"`,
    );
  } else if (name.length > 200 || !(PACKAGE_NAME.test(name) || WHEEL_NAME.test(name)))
    check.problem(
      path,
      `is ${show(name)}`,
      "use letters, digits, . _ and - only: the name on the package index, or a wheel beside the model file",
    );
  return name;
};

const checkPackage = (check: Checker, value: unknown, path: string): ConfigPackage | null => {
  const item = check.object(value, path, 'write for example {"package_name": "numpy"}');
  if (item === null) return null;
  check.unknownFields(item, ["package_name", "package_version", "restraint"], path);
  const name = checkPackageName(check, own(item, "package_name"), childPath(path, "package_name"));
  const rawVersion = own(item, "package_version");
  const rawRestraint = own(item, "restraint");
  const versionPath = childPath(path, "package_version");
  const restraintPath = childPath(path, "restraint");
  let version: string | null = null;
  if (given(rawVersion)) {
    if (typeof rawVersion !== "string")
      check.problem(
        versionPath,
        `is ${show(rawVersion)}, not text`,
        `write it in quotes: "${show(rawVersion)}"`,
      );
    else if (rawVersion.length > 64 || !VERSION.test(rawVersion.trim()))
      check.problem(
        versionPath,
        `is ${show(rawVersion)}`,
        'write a version number only, for example "1.23.5"',
      );
    else version = rawVersion.trim();
  }
  let restraint: Restraint | null = null;
  if (given(rawRestraint)) restraint = check.choice(rawRestraint, restraintPath, RESTRAINTS);
  else if (given(rawVersion))
    check.problem(restraintPath, "is required beside package_version", `use one of ${RESTRAINTS.join(", ")}`);
  if (given(rawRestraint) && !given(rawVersion))
    check.problem(versionPath, "is required beside restraint", "give a version, or leave both out");
  if (version?.endsWith(".*") === true && restraint !== null && restraint !== "EXACT")
    check.problem(versionPath, `is ${show(version)}`, `a "*" goes with EXACT only`);
  return { package_name: name, package_version: version, restraint };
};

const checkDependencies = (check: Checker, value: unknown): ModelConfig["dependencies"] =>
  check.list(value, "dependencies", "dependency").flatMap((entry) => {
    const group = check.object(entry.value, entry.path, 'write {"installer": "pip", "packages": […]}');
    if (group === null) return [];
    check.unknownFields(group, ["installer", "packages"], entry.path);
    check.choice(own(group, "installer"), childPath(entry.path, "installer"), ["pip"]);
    const packagesPath = childPath(entry.path, "packages");
    if (!given(own(group, "packages")))
      check.problem(packagesPath, "is required", 'list the packages: [{"package_name": "numpy"}]');
    const packages = check
      .list(own(group, "packages"), packagesPath, "package")
      .map((item) => checkPackage(check, item.value, item.path))
      .filter((item) => item !== null);
    return [{ installer: "pip" as const, packages }];
  });

const checkSeconds = (check: Checker, value: unknown, path: string, least: number): string | null => {
  const text = typeof value === "number" ? String(value) : value;
  if (
    typeof text !== "string" ||
    !/^\d{1,10}$/.test(text.trim()) ||
    Number(text) < least ||
    Number(text) > INT_MAX
  ) {
    check.problem(path, `is ${show(value)}`, `write a whole number from ${least} to ${INT_MAX} in quotes`);
    return null;
  }
  if (typeof value === "number") check.warn(path, `is the number ${value}`, `write it in quotes: "${value}"`);
  return text.trim();
};

const checkHealth = (check: Checker, value: unknown, field: string): Record<string, string> | null => {
  if (!given(value)) return null;
  const health = check.object(
    value,
    field,
    'write for example {"check_method": "HTTP", "url": "/health", …}',
  );
  if (health === null) return null;
  check.unknownFields(health, HEALTH_FIELDS, field);
  const result: Record<string, string> = {};
  const at = (name: string): string => childPath(field, name);
  const method = check.choice(own(health, "check_method"), at("check_method"), ["HTTP", "EXEC"]);
  if (method !== null) result["check_method"] = method;
  const url = own(health, "url");
  if (method === "HTTP" || given(url)) {
    const text = check.text(url, at("url"), 'write the path of the health check, for example "/health"');
    if (text !== null && !text.startsWith("/"))
      check.problem(at("url"), `is ${show(text)}`, 'begin with "/"');
    if (text !== null) result["url"] = text;
  }
  const command = own(health, "command");
  if (method === "EXEC" || given(command)) {
    const text = check.text(command, at("command"), "write the command that checks the health");
    if (text !== null) result["command"] = text;
  }
  const protocol = own(health, "protocol");
  if (given(protocol))
    result["protocol"] = check.choice(protocol, at("protocol"), ["http", "https"]) ?? "http";
  else if (method === "HTTP") result["protocol"] = "http";
  for (const [name, least, required] of [
    ["initial_delay_seconds", 0, false],
    ["timeout_seconds", 1, false],
    ["period_seconds", 1, true],
    ["failure_threshold", 1, true],
  ] as const) {
    const seconds = own(health, name);
    if (!given(seconds)) {
      if (required)
        check.problem(at(name), "is required", `write a whole number from 1 to ${INT_MAX} in quotes`);
      continue;
    }
    const text = checkSeconds(check, seconds, at(name), least);
    if (text !== null) result[name] = text;
  }
  return result;
};

/** Reads the text; on a mistake the one problem names line and column. */
const read = (check: Checker, text: string): Record<string, unknown> | null => {
  if (text.length > CONFIG_BYTES_MAX) {
    check.problem("", `config.json has ${text.length} characters`, `use at most ${CONFIG_BYTES_MAX}`);
    return null;
  }
  if (text.includes("\u0000") || text.startsWith("\ufffd")) {
    check.problem("", "is not text in UTF-8", "save config.json as UTF-8");
    return null;
  }
  const reading = readJson(text);
  if (!reading.ok) {
    const { line, column, message, fix } = reading.mistake;
    check.problem(`line ${line}, column ${column}`, `config.json is not valid JSON: ${message}`, fix);
    return null;
  }
  for (const path of reading.duplicates)
    check.warn(path, "is given more than once; the last one counts", "keep one of them");
  return check.object(reading.value, "", 'begin config.json with "{" and end it with "}"');
};

/** Checks the text of config.json (or of `initial_config`). Never throws, whatever the text. */
export const checkConfig = (text: string, context: ConfigContext = {}): ConfigCheck => {
  const check = new Checker();
  const parsed = read(check, text);
  if (parsed === null) return { config: null, problems: check.problems, warnings: check.warnings };
  const overrides = Object.entries(context.overrides ?? {}).filter(([, value]) => given(value));
  const raw: Record<string, unknown> = {
    model_type: context.modelType,
    ...context.defaults,
    ...parsed,
    ...Object.fromEntries(overrides),
  };
  check.unknownFields(parsed, TOP_FIELDS, "");
  const modelType = checkModelType(check, own(raw, "model_type"), context);
  if (given(own(raw, "swr_location")) && modelType !== "Image")
    check.problem("swr_location", "is only supported by custom images", "remove the field");
  const config: ModelConfig = {
    ...raw,
    model_type: modelType,
    model_algorithm: checkAlgorithm(check, own(raw, "model_algorithm")),
    runtime: checkRuntime(check, own(raw, "runtime"), modelType),
    metrics: checkMetrics(check, own(raw, "metrics")),
    apis: checkApis(check, own(raw, "apis"), modelType),
    dependencies: checkDependencies(check, own(raw, "dependencies")),
    health: checkHealth(check, own(raw, "health"), "health"),
  };
  if (modelType === "Image" && config.dependencies.length > 0)
    check.problem("dependencies", "are not supported by custom images", "install them in the image");
  return {
    config: check.problems.length === 0 ? config : null,
    problems: check.problems,
    warnings: check.warnings,
  };
};

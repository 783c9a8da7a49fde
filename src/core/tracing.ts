/**
 * Traces across processes: W3C's `traceparent` field (https://www.w3.org/TR/trace-context/) and the settings that turn
 * tracing on, by the names every OpenTelemetry program has for them. Pure; the spans are made in telemetry/tracing.ts.
 */
import type { Problem } from "./errors.ts";

/** A span somewhere else, as `traceparent` names it. */
export interface RemoteSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly isSampled: boolean;
  /** The flags as they came; bit 2 (the trace id is random) is handed on. */
  readonly flags: number;
}

/** Of version 00, and the least of any later one. */
const LENGTH = 55;
const LENGTH_MAX = 512;
const NO_TRACE = "0".repeat(32);
const NO_SPAN = "0".repeat(16);
const SAMPLED = 1;
const RANDOM_ID = 2;

/** Lower case only. By hand: every request comes here while tracing is on, and a pattern costs five times as much. */
const isHex = (text: string, from: number, to: number): boolean => {
  for (let i = from; i < to; i += 1) {
    const code = text.charCodeAt(i);
    if (!((code >= 48 && code <= 57) || (code >= 97 && code <= 102))) return false;
  }
  return true;
};

/** Null for anything that is not a valid `traceparent`: the request then counts as one without. */
export const parseTraceparent = (text: string | undefined): RemoteSpan | null => {
  if (text === undefined || text.length < LENGTH || text.length > LENGTH_MAX) return null;
  if (!isHex(text, 0, 2) || !isHex(text, 3, 35) || !isHex(text, 36, 52) || !isHex(text, 53, 55)) return null;
  if (text[2] !== "-" || text[35] !== "-" || text[52] !== "-" || text.startsWith("ff")) return null;
  if (text.length > LENGTH && text[LENGTH] !== "-") return null;
  // Later versions may append fields; this one may not.
  if (text.startsWith("00") && text.length > LENGTH) return null;
  const traceId = text.slice(3, 35);
  const spanId = text.slice(36, 52);
  if (traceId === NO_TRACE || spanId === NO_SPAN) return null;
  const flags = Number.parseInt(text.slice(53, 55), 16);
  return { traceId, spanId, isSampled: (flags & SAMPLED) !== 0, flags };
};

/** The field that names a span of ours as the parent of what comes next. */
export const formatTraceparent = (span: RemoteSpan): string =>
  `00-${span.traceId}-${span.spanId}-0${(span.flags & RANDOM_ID) | (span.isSampled ? SAMPLED : 0)}`;

export const SAMPLERS = [
  "always_on",
  "always_off",
  "traceidratio",
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio",
] as const;
export type SamplerName = (typeof SAMPLERS)[number];

export interface TracingSettings {
  /** Where spans are posted to, whole: `http://collector:4318/v1/traces`. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly sampler: SamplerName;
  /** 0 to 1, for the samplers by ratio. */
  readonly ratio: number;
  /** `service.name` of the spans, completed by the role: `modelport-gateway`. */
  readonly serviceName: string;
  readonly resource: Readonly<Record<string, string>>;
  readonly exportDelayMs: number;
  readonly exportTimeoutMs: number;
}

type Env = Readonly<Record<string, string | undefined>>;

/** `a=1,b=two%20words`, as OTEL_EXPORTER_OTLP_HEADERS and OTEL_RESOURCE_ATTRIBUTES are written; null when it is not. */
const parsePairs = (text: string): Record<string, string> | null => {
  const pairs: [string, string][] = [];
  for (const part of text.split(",")) {
    if (part.trim() === "") continue;
    const at = part.indexOf("=");
    const name = part.slice(0, at).trim();
    if (at < 1 || name === "") return null;
    try {
      pairs.push([decodeURIComponent(name), decodeURIComponent(part.slice(at + 1).trim())]);
    } catch {
      return null;
    }
  }
  return Object.fromEntries(pairs);
};

/**
 * Reads the settings. Null without problems: tracing is off, which it is unless an endpoint is named. The other
 * variables are looked at only then, because they may stand in the environment for the sake of other programs.
 */
export const readTracingSettings = (
  env: Env,
): { readonly settings: TracingSettings | null; readonly problems: readonly Problem[] } => {
  const of = (name: string): string | undefined => {
    const value = env[name]?.trim();
    return value === "" ? undefined : value;
  };
  const base = of("OTEL_EXPORTER_OTLP_ENDPOINT");
  const url =
    of("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") ??
    (base === undefined ? undefined : `${base.replace(/\/+$/, "")}/v1/traces`);
  const sampler = of("OTEL_TRACES_SAMPLER") ?? "parentbased_always_on";
  const isOff =
    of("OTEL_SDK_DISABLED")?.toLowerCase() === "true" ||
    of("OTEL_TRACES_EXPORTER") === "none" ||
    sampler === "always_off";
  if (url === undefined || isOff) return { settings: null, problems: [] };

  const problems: Problem[] = [];
  const problem = (name: string, message: string, fix: string): void => {
    problems.push({ path: name, message: `is ${JSON.stringify(env[name])}: ${message}`, fix });
  };
  const pairs = (name: string): Record<string, string> => {
    const parsed = parsePairs(of(name) ?? "");
    // The value is not repeated: headers carry keys.
    if (parsed === null)
      problems.push({ path: name, message: "is not a list of name=value", fix: "a=1,b=2" });
    return parsed ?? {};
  };
  const integer = (name: string, fallback: number): number => {
    const text = of(name);
    if (text === undefined) return fallback;
    if (/^\d{1,7}$/.test(text) && Number(text) > 0) return Number(text);
    problem(name, "must be a whole number of milliseconds", "see docs/observability.md");
    return fallback;
  };
  if (!/^https?:\/\/[^/\s]+/.test(url) || !URL.canParse(url)) {
    const name =
      of("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") === undefined
        ? "OTEL_EXPORTER_OTLP_ENDPOINT"
        : "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    problem(name, "must be an http(s) URL", "http://collector:4318");
  }
  for (const name of ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"]) {
    if ((of(name) ?? "http/json") !== "http/json") {
      problem(
        name,
        "spans are sent as http/json only",
        "http/json; a collector takes it on its HTTP port, usually 4318",
      );
    }
  }
  if (!SAMPLERS.some((known) => known === sampler)) {
    problem("OTEL_TRACES_SAMPLER", "is not a sampler of this version", `one of ${SAMPLERS.join(", ")}`);
  }
  const ratioText = of("OTEL_TRACES_SAMPLER_ARG") ?? "1";
  const ratio = Number(ratioText);
  if (sampler.endsWith("traceidratio") && !(ratio >= 0 && ratio <= 1)) {
    problem("OTEL_TRACES_SAMPLER_ARG", "must be a number from 0 to 1", "0.01 keeps one trace in a hundred");
  }
  const settings: TracingSettings = {
    url,
    headers: { ...pairs("OTEL_EXPORTER_OTLP_HEADERS"), ...pairs("OTEL_EXPORTER_OTLP_TRACES_HEADERS") },
    sampler: sampler as SamplerName,
    ratio,
    serviceName: of("OTEL_SERVICE_NAME") ?? "modelport",
    resource: pairs("OTEL_RESOURCE_ATTRIBUTES"),
    exportDelayMs: integer("OTEL_BSP_SCHEDULE_DELAY", 5_000),
    exportTimeoutMs: integer("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000),
  };
  return problems.length > 0 ? { settings: null, problems } : { settings, problems: [] };
};

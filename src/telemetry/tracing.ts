/**
 * Spans of the platform's own processes, exported over OTLP. The OpenTelemetry SDK (17 MB, 0.2 s) is loaded only where
 * tracing is configured; without it, and for a request that is not sampled, `start` returns null and costs nothing.
 *
 * The gateway decides what is sampled; an instance follows the flag that the gateway sends on. Times are given on the
 * monotonic clock and are never compared across processes. What the collector does not take is lost, never waited for:
 * the queue is bounded, and losses are counted.
 */
import type { Context, Tracer as SdkTracer } from "@opentelemetry/api";
import type { SpanExporter } from "@opentelemetry/sdk-trace";
import type { Clock } from "../core/clock.ts";
import { formatTraceparent, parseTraceparent } from "../core/tracing.ts";
import type { RemoteSpan, TracingSettings } from "../core/tracing.ts";
import { VERSION } from "../core/version.ts";

export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

export interface Span {
  /** To be sent on in place of what came. */
  readonly traceparent: string;
  readonly traceId: string;
  /** Nobody's child: a `tracestate` that came along belongs to no trace and is not sent on. */
  readonly isRoot: boolean;
  /** A phase that is over, by its monotonic times. */
  child(name: string, startMs: number, endMs: number, attributes?: SpanAttributes): void;
  /** Once; later calls do nothing. `error`: what failed, null when nothing did. */
  end(result: {
    readonly error: string | null;
    readonly attributes?: SpanAttributes;
    readonly endMs?: number;
  }): void;
}

export interface Tracer {
  readonly isOn: boolean;
  /** Spans that reached the collector, and those that did not. */
  readonly counts: { exported: number; failed: number };
  /** Null when the request is not traced. `traceparent`: the field as it came, valid or not. */
  start(
    name: string,
    traceparent: string | undefined,
    startMs: number,
    attributes?: SpanAttributes,
  ): Span | null;
  /** Sends what is left, within the export timeout. Never rejects. */
  close(): Promise<void>;
}

export interface TracerDeps {
  readonly clock: Clock;
  /** 0 to 1, below 1. */
  readonly random: () => number;
  /** Told once when the collector begins to refuse, and once when it takes spans again. */
  readonly onExport?: (state: "failing" | "working", error: string) => void;
}

const QUEUE_SPANS_MAX = 2_048;
const BATCH_SPANS_MAX = 512;

export const NO_TRACER: Tracer = {
  isOn: false,
  counts: { exported: 0, failed: 0 },
  start: () => null,
  close: () => Promise.resolve(),
};

/** `role` completes the service's name. Null settings: tracing is off. */
export const openTracer = async (
  settings: TracingSettings | null,
  role: "gateway" | "instance",
  deps: TracerDeps,
  attributes: SpanAttributes = {},
): Promise<Tracer> => {
  if (settings === null) return NO_TRACER;
  const [api, sdk, { OTLPTraceExporter }, { resourceFromAttributes }] = await Promise.all([
    import("@opentelemetry/api"),
    import("@opentelemetry/sdk-trace"),
    import("@opentelemetry/exporter-trace-otlp-http"),
    import("@opentelemetry/resources"),
  ]);
  const { url, headers, exportTimeoutMs } = settings;
  const exporter = new OTLPTraceExporter({ url, headers: { ...headers }, timeoutMillis: exportTimeoutMs });
  const counts = { exported: 0, failed: 0 };
  let isFailing = false;
  const counting: SpanExporter = {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        const hasFailed = result.error !== undefined;
        counts[hasFailed ? "failed" : "exported"] += spans.length;
        if (hasFailed !== isFailing) {
          deps.onExport?.(hasFailed ? "failing" : "working", result.error?.message ?? "");
        }
        isFailing = hasFailed;
        done(result);
      }),
    forceFlush: () => exporter.forceFlush(),
    shutdown: () => exporter.shutdown(),
  };
  const provider = new sdk.TracerProvider({
    // Decided before a span is made.
    sampler: new sdk.AlwaysOnSampler(),
    resource: resourceFromAttributes({
      ...settings.resource,
      "service.name": `${settings.serviceName}-${role}`,
      "service.version": VERSION,
      ...attributes,
    }),
    spanProcessors: [
      new sdk.BatchSpanProcessor({
        exporter: counting,
        maxQueueSize: QUEUE_SPANS_MAX,
        maxExportBatchSize: BATCH_SPANS_MAX,
        scheduledDelayMillis: settings.exportDelayMs,
        exportTimeoutMillis: exportTimeoutMs,
      }),
    ],
  });
  const byTraceId = new sdk.TraceIdRatioBasedSampler(settings.ratio);
  const { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace } = api;
  const inTrace = (traceId: string): boolean =>
    byTraceId.shouldSample(ROOT_CONTEXT, traceId).decision !== sdk.SamplingDecision.NOT_RECORD;

  /** Whether a request is recorded, by where it comes from. */
  const isSampled = (parent: RemoteSpan | null): boolean => {
    if (role === "instance") return parent?.isSampled === true;
    const { sampler } = settings;
    if (parent !== null && sampler.startsWith("parentbased_")) return parent.isSampled;
    if (sampler.endsWith("always_on")) return true;
    if (sampler.endsWith("always_off")) return false;
    // A trace that begins here has no id yet to decide by, and an unsampled one needs none.
    return parent === null ? deps.random() < settings.ratio : inTrace(parent.traceId);
  };

  const tracer: SdkTracer = provider.getTracer("modelport", VERSION);
  const epoch = epochOf(deps.clock);
  return {
    isOn: true,
    counts,
    start: (name, traceparent, startMs, given = {}) => {
      const parent = parseTraceparent(traceparent);
      if (!isSampled(parent)) return parent?.isSampled === true ? unrecorded(parent) : null;
      const around: Context =
        parent === null
          ? ROOT_CONTEXT
          : trace.setSpanContext(ROOT_CONTEXT, {
              traceId: parent.traceId,
              spanId: parent.spanId,
              traceFlags: TraceFlags.SAMPLED,
              isRemote: true,
            });
      // One offset for the whole span: a step of the wall clock meanwhile does not tear it apart.
      const offset = epoch();
      const span = tracer.startSpan(
        name,
        { kind: SpanKind.SERVER, startTime: offset + startMs, attributes: given },
        around,
      );
      const { traceId, spanId } = span.spanContext();
      const within = trace.setSpan(around, span);
      return {
        traceId,
        isRoot: parent === null,
        traceparent: formatTraceparent({ traceId, spanId, isSampled: true, flags: parent?.flags ?? 0 }),
        child: (childName, childStartMs, childEndMs, childAttributes = {}) => {
          const options = { startTime: offset + childStartMs, attributes: childAttributes };
          tracer.startSpan(childName, options, within).end(offset + childEndMs);
        },
        end: ({ error, attributes: more, endMs }) => {
          if (!span.isRecording()) return;
          if (more !== undefined) span.setAttributes(more);
          if (error !== null) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
          span.end(offset + (endMs ?? deps.clock.monotonicMs()));
        },
      };
    },
    close: () => provider.shutdown().catch(() => undefined),
  };
};

/** The caller asked for a trace and the sampler said no: what comes behind must not follow the caller's flag. */
const unrecorded = (parent: RemoteSpan): Span => ({
  traceId: parent.traceId,
  isRoot: false,
  traceparent: formatTraceparent({ ...parent, isSampled: false }),
  child: () => undefined,
  end: () => undefined,
});

/**
 * What to add to a monotonic time for milliseconds of the epoch. The wall clock is read in whole milliseconds; over many
 * looks the offset comes to lie much closer, so that spans of two processes are in order, and it follows a clock set anew.
 */
const epochOf = (clock: Clock): (() => number) => {
  let offset = clock.now() - clock.monotonicMs();
  return () => {
    // The true offset lies within the millisecond above this look.
    const least = clock.now() - clock.monotonicMs();
    if (offset < least) offset = least;
    else if (offset > least + 1) offset = least + 1;
    return offset;
  };
};

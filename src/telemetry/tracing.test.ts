import { afterEach, beforeEach, expect, test } from "vitest";
import { readTracingSettings } from "../core/tracing.ts";
import type { TracingSettings } from "../core/tracing.ts";
import { startCollector } from "../../test/support/collector.ts";
import type { Collector } from "../../test/support/collector.ts";
import { systemClock } from "./clock.ts";
import { openTracer } from "./tracing.ts";
import type { Tracer, TracerDeps } from "./tracing.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";
const SAMPLED = `00-${TRACE}-${SPAN}-01`;
const UNSAMPLED = `00-${TRACE}-${SPAN}-00`;

let collector: Collector;
let tracers: Tracer[] = [];
beforeEach(async () => {
  collector = await startCollector();
  tracers = [];
});
afterEach(async () => {
  await Promise.all(tracers.map((tracer) => tracer.close()));
  await collector.close();
});

const open = async (
  role: "gateway" | "instance",
  env: Record<string, string> = {},
  deps: Partial<TracerDeps> = {},
): Promise<Tracer> => {
  const { settings } = readTracingSettings({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint, ...env });
  if (settings === null) throw new Error("tracing is off");
  const tracer = await openTracer(settings satisfies TracingSettings, role, {
    clock: systemClock,
    random: () => 0.5,
    ...deps,
  });
  tracers.push(tracer);
  return tracer;
};

const now = (): number => systemClock.monotonicMs();

test("a span and its phases reach the collector as children of the caller's span", async () => {
  const tracer = await open("gateway", { OTEL_EXPORTER_OTLP_HEADERS: "x-key=1" });
  const startMs = now();
  const span = tracer.start("prediction", SAMPLED, startMs, { "modelport.service": "s" });
  span?.child("auth", startMs, startMs + 2);
  span?.end({
    error: "UPSTREAM_BROKEN",
    attributes: { "http.response.status_code": 502 },
    endMs: startMs + 5,
  });
  span?.end({ error: null });
  await tracer.close();
  const [auth, whole, ...more] = collector.spans;
  expect(more).toEqual([]);
  expect(whole).toMatchObject({
    service: "modelport-gateway",
    traceId: TRACE,
    parentSpanId: SPAN,
    name: "prediction",
    kind: 2,
    error: "UPSTREAM_BROKEN",
    attributes: { "modelport.service": "s", "http.response.status_code": 502 },
  });
  expect(auth).toMatchObject({ traceId: TRACE, parentSpanId: whole?.spanId, name: "auth", error: null });
  expect(span?.traceparent).toBe(`00-${TRACE}-${whole?.spanId ?? ""}-01`);
  expect(auth?.startNs).toBe(whole?.startNs);
  expect(Number((auth?.endNs ?? 0n) - (auth?.startNs ?? 0n))).toBeCloseTo(2e6, -4);
  expect(Number((whole?.endNs ?? 0n) - (whole?.startNs ?? 0n))).toBeCloseTo(5e6, -4);
  expect(Math.abs(Number((whole?.endNs ?? 0n) / 1_000_000n) - systemClock.now())).toBeLessThan(60_000);
  expect(collector.requests[0]?.["x-key"]).toBe("1");
  expect(tracer.counts).toEqual({ exported: 2, failed: 0 });
});

test("a malformed traceparent counts as absent: the request begins a trace of its own", async () => {
  const tracer = await open("gateway");
  const span = tracer.start("prediction", `${SAMPLED}-more`, now());
  span?.end({ error: null });
  await tracer.close();
  expect(span?.isRoot).toBe(true);
  expect(collector.spans).toMatchObject([{ parentSpanId: "" }]);
  expect(collector.spans[0]?.traceId).not.toBe(TRACE);
});

test.each([
  // sampler, argument, what came → recorded, flag that goes on (null: what came is left as it is)
  ["parentbased_always_on", "", undefined, true, "01"],
  ["parentbased_always_on", "", UNSAMPLED, false, null],
  ["parentbased_always_off", "", undefined, false, null],
  ["parentbased_always_off", "", SAMPLED, true, "01"],
  ["parentbased_traceidratio", "0.4", undefined, false, null],
  ["parentbased_traceidratio", "0.6", undefined, true, "01"],
  ["parentbased_traceidratio", "0", SAMPLED, true, "01"],
  ["always_on", "", UNSAMPLED, true, "01"],
  ["traceidratio", "1", UNSAMPLED, true, "01"],
  ["traceidratio", "0", SAMPLED, false, "00"],
  ["traceidratio", "0", UNSAMPLED, false, null],
] as const)("%s(%s) decides on %s as it should", async (sampler, ratio, came, isRecorded, flag) => {
  const tracer = await open("gateway", {
    OTEL_TRACES_SAMPLER: sampler,
    ...(ratio === "" ? {} : { OTEL_TRACES_SAMPLER_ARG: ratio }),
  });
  const span = tracer.start("prediction", came, now());
  expect(span?.traceparent.slice(-2) ?? null).toBe(flag);
  span?.end({ error: null });
  await tracer.close();
  expect(collector.spans.length).toBe(isRecorded ? 1 : 0);
});

test("an instance follows the gateway: it begins no trace, whatever the sampler", async () => {
  const tracer = await open("instance", { OTEL_TRACES_SAMPLER: "always_on" });
  expect(tracer.start("predict", undefined, now())).toBeNull();
  expect(tracer.start("predict", UNSAMPLED, now())).toBeNull();
  expect(tracer.start("predict", SAMPLED, now())?.traceId).toBe(TRACE);
});

test("without settings nothing is loaded, started or sent", async () => {
  const tracer = await openTracer(null, "gateway", { clock: systemClock, random: Math.random });
  expect(tracer.isOn).toBe(false);
  expect(tracer.start("prediction", SAMPLED, 0)).toBeNull();
});

test("a collector that refuses costs spans, which are counted and told of once, and nothing else", async () => {
  const told: string[] = [];
  const tracer = await open("gateway", {}, { onExport: (state) => told.push(state) });
  collector.status = 400;
  for (let n = 0; n < 700; n += 1) tracer.start("prediction", undefined, now())?.end({ error: null });
  await tracer.close();
  expect(tracer.counts).toEqual({ exported: 0, failed: 700 });
  expect(told).toEqual(["failing"]);
});

test("what a collector that hangs would have to keep is bounded", async () => {
  const tracer = await open("gateway", { OTEL_BSP_SCHEDULE_DELAY: "60000" });
  for (let n = 0; n < 10_000; n += 1) tracer.start("prediction", undefined, now())?.end({ error: null });
  await tracer.close();
  // One batch may have left before the queue was full.
  expect(collector.spans.length).toBeGreaterThanOrEqual(2_048);
  expect(collector.spans.length).toBeLessThanOrEqual(2_048 + 512);
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatTraceparent, parseTraceparent, readTracingSettings } from "./tracing.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";

const hex = (length: number): fc.Arbitrary<string> =>
  fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`)).filter((text) => /[^0]/.test(text));

describe("traceparent", () => {
  test("is read with its flags, from this version and from later ones", () => {
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-01`)).toEqual({
      traceId: TRACE,
      spanId: SPAN,
      isSampled: true,
      flags: 1,
    });
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-00`)?.isSampled).toBe(false);
    expect(parseTraceparent(`cc-${TRACE}-${SPAN}-03-what-comes-later`)?.isSampled).toBe(true);
  });

  test.each([
    undefined,
    "",
    `00-${TRACE}-${SPAN}`,
    `00-${TRACE}-${SPAN}-01-more`,
    `00-${TRACE}-${SPAN}-01.`,
    `cc-${TRACE}-${SPAN}-01.more`,
    `ff-${TRACE}-${SPAN}-01`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${"0".repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${"0".repeat(16)}-01`,
    `00-${TRACE}-${SPAN}-0x`,
    ` 00-${TRACE}-${SPAN}-01`,
    `00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`,
    `cc-${TRACE}-${SPAN}-01-${"x".repeat(500)}`,
  ])("counts as absent when it is %j", (text) => {
    expect(parseTraceparent(text)).toBeNull();
  });

  test("survives a round trip", () => {
    fc.assert(
      fc.property(hex(32), hex(16), fc.boolean(), (traceId, spanId, isSampled) => {
        const span = { traceId, spanId, isSampled, flags: isSampled ? 1 : 0 };
        expect(parseTraceparent(formatTraceparent(span))).toEqual(span);
      }),
    );
  });

  test("never throws, whatever comes", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 600, unit: "binary" }), (text) => void parseTraceparent(text)),
    );
  });
});

describe("the settings of tracing", () => {
  test("are off without an endpoint, and when told so", () => {
    const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:4318" };
    for (const env of [
      {},
      { OTEL_TRACES_SAMPLER: "nonsense", OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" },
      { ...endpoint, OTEL_SDK_DISABLED: "true" },
      { ...endpoint, OTEL_TRACES_EXPORTER: "none" },
      { ...endpoint, OTEL_TRACES_SAMPLER: "always_off" },
    ]) {
      expect(readTracingSettings(env)).toEqual({ settings: null, problems: [] });
    }
  });

  test("follow OpenTelemetry's names and defaults", () => {
    const { settings } = readTracingSettings({
      OTEL_EXPORTER_OTLP_ENDPOINT: "https://collector:4318/",
      OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20x, tenant=a",
      OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test",
    });
    expect(settings).toEqual({
      url: "https://collector:4318/v1/traces",
      headers: { authorization: "Bearer x", tenant: "a" },
      sampler: "parentbased_always_on",
      ratio: 1,
      serviceName: "modelport",
      resource: { "deployment.environment.name": "test" },
      exportDelayMs: 5_000,
      exportTimeoutMs: 10_000,
    });
    const own = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://c/traces" };
    expect(readTracingSettings(own).settings?.url).toBe("http://c/traces");
  });

  test("name every violation at once, and no header's value", () => {
    const { settings, problems } = readTracingSettings({
      OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4318",
      OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
      OTEL_EXPORTER_OTLP_HEADERS: "secret",
      OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
      OTEL_TRACES_SAMPLER_ARG: "2",
      OTEL_BSP_SCHEDULE_DELAY: "soon",
    });
    expect(settings).toBeNull();
    expect(problems.map((p) => p.path).toSorted()).toEqual([
      "OTEL_BSP_SCHEDULE_DELAY",
      "OTEL_EXPORTER_OTLP_ENDPOINT",
      "OTEL_EXPORTER_OTLP_HEADERS",
      "OTEL_EXPORTER_OTLP_PROTOCOL",
      "OTEL_TRACES_SAMPLER_ARG",
    ]);
    expect(JSON.stringify(problems)).not.toContain("secret");
  });
});

/** A traced request through the gateway: what the instance is told, and what the collector gets. */
import { afterEach, beforeEach, expect, test } from "vitest";
import type { IncomingHttpHeaders } from "node:http";
import { readTracingSettings } from "../core/tracing.ts";
import { startCollector } from "../../test/support/collector.ts";
import type { Collector } from "../../test/support/collector.ts";
import { createWorld, group, service, until } from "./world.fixture.ts";
import type { World } from "./world.fixture.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = `00-${TRACE}-b7ad6b7169203331-01`;

let collector: Collector;
let world: World;
let seen: IncomingHttpHeaders[];
let id: string;

const open = async (env: Record<string, string> | null): Promise<void> => {
  const settings =
    env === null
      ? null
      : readTracingSettings({
          OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
          OTEL_BSP_SCHEDULE_DELAY: "20",
          ...env,
        }).settings;
  world = await createWorld({ tracing: settings });
  const origin = await world.instance((request, response) => {
    seen.push(request.headers);
    response.end("{}");
  });
  const route = service([group([origin])]);
  id = route.id;
  await world.control.acknowledged(world.control.publish({ services: [route] }));
};

beforeEach(async () => {
  collector = await startCollector();
  seen = [];
});
afterEach(async () => {
  await world.close();
  await collector.close();
});

test("the gateway's span is the child of the caller's and the parent of what comes behind", async () => {
  await open({});
  await world.call(`/v1/infers/${id}`, {
    headers: { traceparent: PARENT, tracestate: "vendor=1" },
    body: "{}",
  });
  await until(() => collector.spans.length === 4 && world.records.length === 1);
  const whole = collector.spans.find((span) => span.name === "prediction");
  expect(whole).toMatchObject({
    service: "modelport-gateway",
    traceId: TRACE,
    parentSpanId: "b7ad6b7169203331",
    error: null,
    attributes: { "modelport.service": id, "modelport.version": "1.0.0", "modelport.outcome": "2xx" },
  });
  const phases = collector.spans.filter((span) => span.parentSpanId === whole?.spanId);
  expect(phases.map((span) => span.name).toSorted()).toEqual(["auth", "queue", "upstream"]);
  for (const phase of phases) {
    expect(phase.startNs >= (whole?.startNs ?? 0n) && phase.endNs <= (whole?.endNs ?? 0n), phase.name).toBe(
      true,
    );
  }
  expect(seen[0]?.["traceparent"]).toBe(`00-${TRACE}-${whole?.spanId ?? ""}-01`);
  expect(seen[0]?.["tracestate"]).toBe("vendor=1");
  expect(world.records[0]?.trace_id).toBe(TRACE);
});

test("a malformed traceparent and its tracestate go no further; a trace begins here", async () => {
  await open({});
  await world.call(`/v1/infers/${id}`, {
    headers: { traceparent: `${PARENT}-more`, tracestate: "vendor=1" },
    body: "{}",
  });
  await until(() => collector.spans.length === 4);
  const whole = collector.spans.find((span) => span.name === "prediction");
  expect(whole?.parentSpanId).toBe("");
  expect(seen[0]?.["traceparent"]).toBe(`00-${whole?.traceId ?? ""}-${whole?.spanId ?? ""}-01`);
  expect(seen[0]?.["tracestate"]).toBeUndefined();
});

test("a refused request has a span that says which part of it failed", async () => {
  await open({});
  await world.call("/v1/infers/nothing-here", { body: "{}" });
  await until(() => collector.spans.length === 2);
  const whole = collector.spans.find((span) => span.name === "prediction");
  expect(whole).toMatchObject({ error: null, attributes: { "modelport.owner": "route" } });
});

test("a caller's wish not to be traced is kept, and handed on as it came", async () => {
  await open({});
  const unsampled = PARENT.replace(/01$/, "00");
  await world.call(`/v1/infers/${id}`, { headers: { traceparent: unsampled }, body: "{}" });
  await until(() => world.records.length === 1);
  expect(seen[0]?.["traceparent"]).toBe(unsampled);
  expect(world.records[0]).not.toHaveProperty("trace_id");
});

test("without settings the caller's fields pass through untouched", async () => {
  await open(null);
  const headers = { traceparent: PARENT, tracestate: "vendor=1" };
  await world.call(`/v1/infers/${id}`, { headers, body: "{}" });
  expect(seen[0]).toMatchObject(headers);
});

/** What the loops count, in Prometheus form. */
import type { Registry } from "prom-client";
import { Counter, Gauge, Histogram } from "prom-client";
import type { LoopMetrics } from "./loop.ts";

export const createLoopMetrics = (registry: Registry): LoopMetrics => {
  const passes = new Histogram({
    name: "modelport_reconcile_pass_seconds",
    help: "Passes by loop and outcome, with their duration.",
    labelNames: ["loop", "outcome"],
    buckets: [0.005, 0.025, 0.1, 0.5, 2, 10, 60],
    registers: [registry],
  });
  const corrections = new Counter({
    name: "modelport_reconcile_corrections_total",
    help: "What full passes had to do because no change had announced it.",
    labelNames: ["loop"],
    registers: [registry],
  });
  const queued = new Gauge({
    name: "modelport_reconcile_queued",
    help: "Keys that wait for a pass.",
    labelNames: ["loop"],
    registers: [registry],
  });
  return {
    pass: (loop, outcome, durationMs) => passes.observe({ loop, outcome }, durationMs / 1000),
    corrections: (loop, count) => corrections.inc({ loop }, count),
    queued: (loop, count) => queued.set({ loop }, count),
  };
};

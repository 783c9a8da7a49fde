/**
 * What instances last told of themselves (core/instance-counters.ts), in Prometheus' form. Labels are ids and versions of
 * what is deployed and names of fixed lists; an instance's series end with it.
 */
import { PREDICTION_OUTCOMES, STEPS, STEP_BUCKETS_MS } from "../core/instance-counters.ts";
import type { InstanceCounters } from "../core/instance-counters.ts";
import type { Exposition, Labels } from "../telemetry/prometheus.ts";
import type { InstanceMeasure } from "./runner.ts";

type Told = { readonly labels: Labels; readonly counters: InstanceCounters };

const GAUGES = [
  ["modelport_instance_queue_length", "Predictions that wait for a worker inside the instance.", "queued"],
  ["modelport_instance_workers", "Workers of the instance.", "workers"],
  ["modelport_instance_workers_busy", "Workers that run user code.", "busyWorkers"],
] as const;

export const renderInstances = (out: Exposition, measures: readonly InstanceMeasure[]): void => {
  out.family("modelport_instance_up", "gauge", "1 while the instance is ready for requests.");
  const all: Told[] = [];
  for (const { id, serviceId, modelVersion, state, counters } of measures) {
    // Trial starts belong to no service and last seconds.
    if (serviceId === null) continue;
    const labels = { service: serviceId, version: modelVersion, instance_id: id };
    out.sample(state === "ready" ? 1 : 0, labels);
    if (counters !== null) all.push({ labels, counters });
  }
  for (const [name, help, field] of GAUGES) {
    out.family(name, "gauge", help);
    for (const { labels, counters } of all) out.sample(counters[field], labels);
  }
  out.family("modelport_instance_worker_restarts_total", "counter", "Workers that ended and were replaced.");
  for (const { labels, counters } of all) out.sample(counters.workerRestarts, labels);
  out.family("modelport_instance_predictions_total", "counter", "Predictions by what became of them.");
  for (const { labels, counters } of all) {
    for (const [index, outcome] of PREDICTION_OUTCOMES.entries()) {
      out.sample(counters.predictions[index] ?? 0, { ...labels, outcome });
    }
  }
  out.family("modelport_instance_step_duration_seconds", "histogram", "Steps of user code in the worker.");
  for (const { labels, counters } of all) {
    for (const [index, step] of STEPS.entries()) {
      const { buckets, sumMs } = counters.steps[index] ?? { buckets: [], sumMs: 0 };
      out.histogram({ limitsMs: STEP_BUCKETS_MS, counts: buckets, sumMs }, { ...labels, step });
    }
  }
};

/**
 * What /metrics says. Counted as plain integers on the hot path and turned into text when asked. Every label value comes
 * from the routing table or from a fixed list, never from a request: whatever callers send, the number of series is
 * bounded by what is deployed.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { ErrorOwner } from "../core/errors.ts";
import type { Table } from "./table.ts";

export type Outcome = "2xx" | "3xx" | "4xx" | "5xx" | "aborted";
export type Owner = ErrorOwner | "none";

const OUTCOMES: readonly Outcome[] = ["2xx", "3xx", "4xx", "5xx", "aborted"];
const OWNERS: readonly Owner[] = ["none", "client", "route", "config", "capacity", "upstream", "platform"];
const BUCKETS_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 40_000];

/** Counts of one service and version. */
class Series {
  readonly counts = new Float64Array(OUTCOMES.length * OWNERS.length);
  readonly buckets = new Float64Array(BUCKETS_MS.length + 1);
  sumMs = 0;

  add(outcome: Outcome, owner: Owner, ms: number): void {
    const cell = OUTCOMES.indexOf(outcome) * OWNERS.length + OWNERS.indexOf(owner);
    this.counts[cell] = (this.counts[cell] ?? 0) + 1;
    let bucket = 0;
    while (bucket < BUCKETS_MS.length && ms > (BUCKETS_MS[bucket] ?? 0)) bucket += 1;
    this.buckets[bucket] = (this.buckets[bucket] ?? 0) + 1;
    this.sumMs += ms;
  }

  mergeInto(other: Series): void {
    for (const [i, count] of this.counts.entries()) other.counts[i] = (other.counts[i] ?? 0) + count;
    for (const [i, count] of this.buckets.entries()) other.buckets[i] = (other.buckets[i] ?? 0) + count;
    other.sumMs += this.sumMs;
  }
}

interface ServiceSeries {
  /** By model version; "" where no version was chosen. */
  readonly versions: Map<string, Series>;
}

const escape = (value: string): string =>
  value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");

export class Metrics {
  readonly #table: Table;
  readonly #services = new Map<string, ServiceSeries>();
  /** Requests to ids that are not in the table, and the past of services that left it: keeps sums from falling. */
  readonly #other = new Series();
  readonly #eventLoop = monitorEventLoopDelay({ resolution: 20 });
  recordsDropped = 0;
  tableAppliedAt = 0;
  isControlReachable = false;

  constructor(table: Table) {
    this.#table = table;
    this.#eventLoop.enable();
  }

  count(service: string | null, version: string, outcome: Outcome, owner: Owner, ms: number): void {
    this.#series(service, version).add(outcome, owner, ms);
  }

  /** Forgets services and versions that left the table. */
  prune(): void {
    for (const [id, service] of this.#services) {
      const known = this.#table.service(id);
      for (const [version, series] of service.versions) {
        const stays =
          known !== undefined &&
          (version === "" || known.route.groups.some((group) => group.modelVersion === version));
        if (stays) continue;
        series.mergeInto(this.#other);
        service.versions.delete(version);
      }
      if (service.versions.size === 0) this.#services.delete(id);
    }
  }

  close(): void {
    this.#eventLoop.disable();
  }

  render(): string {
    const lines: string[] = [];
    const family = (name: string, type: string, help: string): void => {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    };
    const all: [service: string, version: string, series: Series][] = [["other", "", this.#other]];
    for (const [id, service] of this.#services) {
      for (const [version, series] of service.versions) all.push([id, version, series]);
    }
    family("modelport_gateway_requests_total", "counter", "Predictions by outcome and owner of the failure.");
    for (const [service, version, series] of all) {
      for (const [o, outcome] of OUTCOMES.entries()) {
        for (const [w, owner] of OWNERS.entries()) {
          const count = series.counts[o * OWNERS.length + w] ?? 0;
          if (count === 0) continue;
          lines.push(
            `modelport_gateway_requests_total{service="${escape(service)}",version="${escape(version)}",outcome="${outcome}",owner="${owner}"} ${count}`,
          );
        }
      }
    }
    const name = "modelport_gateway_request_duration_seconds";
    family(name, "histogram", "From the request's head to the end of the answer.");
    for (const [service, version, series] of all) {
      const labels = `service="${escape(service)}",version="${escape(version)}"`;
      let sum = 0;
      for (const [i, count] of series.buckets.entries()) {
        sum += count;
        const limit = BUCKETS_MS[i];
        lines.push(`${name}_bucket{${labels},le="${limit === undefined ? "+Inf" : limit / 1000}"} ${sum}`);
      }
      lines.push(`${name}_sum{${labels}} ${series.sumMs / 1000}`, `${name}_count{${labels}} ${sum}`);
    }
    this.#renderGroups(lines, family);
    family("modelport_gateway_event_loop_delay_seconds", "gauge", "Delay of the event loop since the start.");
    for (const [quantile, percent] of [
      ["0.5", 50],
      ["0.99", 99],
      ["1", 100],
    ] as const) {
      const seconds = this.#eventLoop.percentile(percent) / 1e9;
      lines.push(`modelport_gateway_event_loop_delay_seconds{quantile="${quantile}"} ${seconds}`);
    }
    family("modelport_gateway_table_version", "gauge", "Version of the routing table in use.");
    lines.push(`modelport_gateway_table_version ${this.#table.version ?? -1}`);
    family("modelport_gateway_control_reachable", "gauge", "1 while the control service answers.");
    lines.push(`modelport_gateway_control_reachable ${this.isControlReachable ? 1 : 0}`);
    family("modelport_gateway_access_records_dropped_total", "counter", "Access records lost to a slow log.");
    lines.push(`modelport_gateway_access_records_dropped_total ${this.recordsDropped}`);
    return `${lines.join("\n")}\n`;
  }

  #renderGroups(lines: string[], family: (name: string, type: string, help: string) => void): void {
    const gauges = [
      ["modelport_gateway_queue_length", "Requests that wait for an instance."],
      ["modelport_gateway_in_flight", "Requests at an instance."],
      ["modelport_gateway_instances", "Ready instances."],
    ] as const;
    for (const [index, [name, help]] of gauges.entries()) {
      family(name, "gauge", help);
      for (const service of this.#table.services.values()) {
        for (const group of service.groups) {
          const labels = `service="${escape(service.route.id)}",version="${escape(group.route.modelVersion)}",group="${escape(group.id)}"`;
          const value = [group.waitingCount, group.inFlight, group.instances.length][index] ?? 0;
          lines.push(`${name}{${labels}} ${value}`);
        }
      }
    }
  }

  #series(service: string | null, version: string): Series {
    // A request may end after its service left the table: its series must not come back.
    if (service === null || this.#table.service(service) === undefined) return this.#other;
    let entry = this.#services.get(service);
    if (entry === undefined) {
      entry = { versions: new Map() };
      this.#services.set(service, entry);
    }
    let series = entry.versions.get(version);
    if (series === undefined) {
      series = new Series();
      entry.versions.set(version, series);
    }
    return series;
  }
}

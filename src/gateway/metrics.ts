/**
 * What /metrics says. Counted as plain integers on the hot path and turned into text when asked. Every label value comes
 * from the routing table or from a fixed list, never from a request: whatever callers send, the number of series is
 * bounded by what is deployed.
 */
import type { Clock } from "../core/clock.ts";
import type { ErrorOwner } from "../core/errors.ts";
import { VERSION } from "../core/version.ts";
import { ProcessMetrics } from "../telemetry/process-metrics.ts";
import type { LoopDelay } from "../telemetry/process-metrics.ts";
import { Exposition } from "../telemetry/prometheus.ts";
import type { Tracer } from "../telemetry/tracing.ts";
import type { GroupState } from "./admit.ts";
import { unshared } from "./shared.ts";
import type { Shared, SharedCount } from "./shared.ts";
import type { Table } from "./table.ts";

export type Outcome = "2xx" | "3xx" | "4xx" | "5xx" | "aborted";
export type Owner = ErrorOwner | "none";

const OUTCOMES: readonly Outcome[] = ["2xx", "3xx", "4xx", "5xx", "aborted"];
const OWNERS: readonly Owner[] = ["none", "client", "route", "config", "capacity", "upstream", "platform"];
const BUCKETS_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 40_000];

/** What was counted of one service and version. */
interface Counts {
  readonly counts: Float64Array;
  readonly buckets: Float64Array;
  readonly sumMs: number;
}

class Series implements Counts {
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

  merge(other: Counts): void {
    for (const [i, count] of other.counts.entries()) this.counts[i] = (this.counts[i] ?? 0) + count;
    for (const [i, count] of other.buckets.entries()) this.buckets[i] = (this.buckets[i] ?? 0) + count;
    this.sumMs += other.sumMs;
  }
}

/** What one thread has counted, as another may be sent it. */
export interface MetricsSnapshot {
  readonly series: readonly {
    readonly service: string;
    readonly version: string;
    readonly counted: Counts;
  }[];
  readonly spans: Tracer["counts"];
  readonly delay: LoopDelay;
}

interface ServiceSeries {
  /** By model version; "" where no version was chosen. */
  readonly versions: Map<string, Series>;
}

export class Metrics {
  readonly #table: Table;
  readonly #services = new Map<string, ServiceSeries>();
  /** Requests to ids that are not in the table, and the past of services that left it: keeps sums from falling. */
  readonly #other = new Series();
  readonly #process: ProcessMetrics;
  readonly #controlReachable: SharedCount;
  /** Of all threads: the first one writes for the others. */
  recordsDropped = 0;

  /** Connections of all threads; set by the composition once there is a listener. */
  connections: () => number = () => 0;
  /** Null: no traces. */
  spans: Tracer["counts"] | null = null;

  constructor(deps: { readonly table: Table; readonly clock: Clock; readonly shared?: Shared }) {
    this.#table = deps.table;
    this.#controlReachable = (deps.shared ?? unshared()).count("control reachable");
    this.#process = new ProcessMetrics("modelport_gateway", deps.clock);
  }

  /** The same in all threads: the one that follows control knows. */
  get isControlReachable(): boolean {
    return this.#controlReachable.value === 1;
  }

  set isControlReachable(is: boolean) {
    this.#controlReachable.value = is ? 1 : 0;
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
        this.#other.merge(series);
        service.versions.delete(version);
      }
      if (service.versions.size === 0) this.#services.delete(id);
    }
  }

  close(): void {
    this.#process.close();
  }

  snapshot(): MetricsSnapshot {
    const series = this.#all.map(([service, version, { counts, buckets, sumMs }]) => ({
      service,
      version,
      counted: { counts, buckets, sumMs },
    }));
    return {
      series,
      spans: this.spans ?? { exported: 0, failed: 0 },
      delay: this.#process.delay(),
    };
  }

  /** The whole gateway's: what this thread and `others` have counted, as sums. */
  render(others: readonly MetricsSnapshot[] = []): string {
    const out = new Exposition();
    out.family("modelport_build_info", "gauge", "The release that runs, as labels; always 1.");
    out.sample(1, { version: VERSION, node: process.versions.node });
    this.#renderRequests(out, others);
    this.#renderTable(out);
    out.family("modelport_gateway_connections_open", "gauge", "Connections of callers that are open.");
    out.sample(this.connections());
    out.family("modelport_gateway_table_version", "gauge", "Version of the routing table in use.");
    out.sample(this.#table.version ?? -1);
    out.family("modelport_gateway_control_reachable", "gauge", "1 while the control service answers.");
    out.sample(this.isControlReachable ? 1 : 0);
    out.family(
      "modelport_gateway_access_records_dropped_total",
      "counter",
      "Access records lost to a slow log.",
    );
    out.sample(this.recordsDropped);
    const { spans } = this;
    if (spans !== null) {
      out.family(
        "modelport_gateway_trace_spans_total",
        "counter",
        "Spans by whether the collector took them.",
      );
      for (const outcome of ["exported", "failed"] as const) {
        out.sample(
          others.reduce((sum, one) => sum + one.spans[outcome], spans[outcome]),
          { outcome },
        );
      }
    }
    this.#process.render(
      out,
      others.map(({ delay }) => delay),
    );
    return out.toString();
  }

  get #all(): [service: string, version: string, series: Series][] {
    const all: [service: string, version: string, series: Series][] = [["other", "", this.#other]];
    for (const [id, service] of this.#services) {
      for (const [version, series] of service.versions) all.push([id, version, series]);
    }
    return all;
  }

  /** With what other threads have counted. A service that has left the table here may not have left it there yet. */
  #sums(others: readonly MetricsSnapshot[]): [service: string, version: string, series: Series][] {
    const sums = new Map<string, [service: string, version: string, series: Series]>();
    const add = (service: string, version: string, counted: Counts): void => {
      const key = `${service} ${version}`;
      let sum = sums.get(key);
      if (sum === undefined) sums.set(key, (sum = [service, version, new Series()]));
      sum[2].merge(counted);
    };
    for (const [service, version, series] of this.#all) add(service, version, series);
    for (const { series } of others) {
      for (const { service, version, counted } of series) add(service, version, counted);
    }
    return [...sums.values()];
  }

  #renderRequests(out: Exposition, others: readonly MetricsSnapshot[]): void {
    const all = others.length === 0 ? this.#all : this.#sums(others);
    out.family(
      "modelport_gateway_requests_total",
      "counter",
      "Predictions by outcome and owner of the failure.",
    );
    for (const [service, version, series] of all) {
      for (const [o, outcome] of OUTCOMES.entries()) {
        for (const [w, owner] of OWNERS.entries()) {
          const count = series.counts[o * OWNERS.length + w] ?? 0;
          if (count > 0) out.sample(count, { service, version, outcome, owner });
        }
      }
    }
    out.family(
      "modelport_gateway_request_duration_seconds",
      "histogram",
      "From the request's head to the end of the answer.",
    );
    for (const [service, version, { buckets, sumMs }] of all) {
      out.histogram({ limitsMs: BUCKETS_MS, counts: buckets, sumMs }, { service, version });
    }
  }

  #renderTable(out: Exposition): void {
    out.family("modelport_gateway_service_info", "gauge", "Name and project of a service's id; always 1.");
    for (const { route } of this.#table.services.values()) {
      out.sample(1, { service: route.id, name: route.name, project: route.projectId });
    }
    const gauges: readonly [name: string, help: string, value: (group: GroupState) => number][] = [
      [
        "modelport_gateway_queue_length",
        "Requests that wait for an instance.",
        (group) => group.waitingCount,
      ],
      ["modelport_gateway_in_flight", "Requests at an instance.", (group) => group.inFlight],
      ["modelport_gateway_instances", "Ready instances.", (group) => group.instances.length],
    ];
    for (const [name, help, value] of gauges) {
      out.family(name, "gauge", help);
      for (const service of this.#table.services.values()) {
        for (const group of service.groups) {
          const { id, modelVersion: version } = group.route;
          out.sample(value(group), { service: service.route.id, version, group: id });
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

/**
 * What a process of the platform tells of itself: time, memory, and how late its event loop is. Read when asked; nothing
 * wakes up for it but the loop's own monitor.
 *
 * The delay is told over a recent window, because quantiles since the start stop moving: a window lasts until somebody
 * asks, at least WINDOW_MS, and the worse of the last full one and the current one is told, so that two scrapers do not
 * take each other's peaks.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Clock } from "../core/clock.ts";
import type { Exposition } from "./prometheus.ts";

const WINDOW_MS = 30_000;
/** How often the monitor looks; what it measures contains this pause. */
const RESOLUTION_MS = 20;
const QUANTILES = [
  ["0.5", 50],
  ["0.9", 90],
  ["0.99", 99],
  ["1", 100],
] as const;

/** Of one thread; seconds. */
export interface LoopDelay {
  /** In the order of QUANTILES. */
  readonly quantiles: readonly number[];
  readonly count: number;
  readonly sumSeconds: number;
}

export class ProcessMetrics {
  readonly #clock: Clock;
  /** `modelport_gateway`. */
  readonly #prefix: string;
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  #windowBegan: number;
  #last = QUANTILES.map(() => 0);
  #count = 0;
  #sumSeconds = 0;

  constructor(prefix: string, clock: Clock) {
    this.#prefix = prefix;
    this.#clock = clock;
    this.#windowBegan = clock.monotonicMs();
    this.#delay.enable();
  }

  /** How late this thread's event loop was. */
  delay(): LoopDelay {
    const now = QUANTILES.map(([, percent]) => seconds(this.#delay.percentile(percent)));
    const { count, sum } = this.#sum();
    const told = {
      quantiles: now.map((value, index) => Math.max(value, this.#last[index] ?? 0)),
      count: this.#count + count,
      sumSeconds: this.#sumSeconds + sum,
    };
    if (this.#clock.monotonicMs() - this.#windowBegan >= WINDOW_MS) this.#turn(now);
    return told;
  }

  /** `others`: the delays of further threads of this process, which are then told apart. */
  render(out: Exposition, others: readonly LoopDelay[] = []): void {
    const prefix = this.#prefix;
    const cpu = process.cpuUsage();
    out.family(`${prefix}_process_cpu_seconds_total`, "counter", "Processor time used.");
    out.sample(cpu.user / 1e6, { mode: "user" }).sample(cpu.system / 1e6, { mode: "system" });
    out.family(`${prefix}_process_resident_memory_bytes`, "gauge", "Memory of the process (RSS).");
    out.sample(process.memoryUsage.rss());
    out.family(`${prefix}_process_start_time_seconds`, "gauge", "When the process started, since the epoch.");
    out.sample(Math.round(this.#clock.now() / 1000 - process.uptime()));
    out.family(
      `${prefix}_event_loop_delay_seconds`,
      "summary",
      "How late the event loop is; quantiles over a recent window of at least 30 s.",
    );
    for (const [thread, delay] of [this.delay(), ...others].entries()) {
      const labels = others.length === 0 ? {} : { thread: String(thread) };
      for (const [index, [quantile]] of QUANTILES.entries()) {
        out.sample(delay.quantiles[index] ?? 0, { ...labels, quantile });
      }
      out.sample(delay.sumSeconds, labels, "_sum").sample(delay.count, labels, "_count");
    }
  }

  close(): void {
    this.#delay.disable();
  }

  #sum(): { readonly count: number; readonly sum: number } {
    const { count } = this.#delay;
    return { count, sum: count === 0 ? 0 : count * seconds(this.#delay.mean) };
  }

  #turn(finished: number[]): void {
    const { count, sum } = this.#sum();
    this.#count += count;
    this.#sumSeconds += sum;
    this.#last = finished;
    this.#windowBegan = this.#clock.monotonicMs();
    this.#delay.reset();
  }
}

const seconds = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e9 - RESOLUTION_MS / 1000);

/**
 * Invocations per service, on their way to control. A report that was sent keeps its number and content until control
 * has taken it, so a lost answer cannot count it twice; meanwhile new counts gather for the next one. Numbers count from
 * one under the id of this process: no clock is in them, so one that goes back costs no report.
 */
import type { Clock } from "../core/clock.ts";
import type { UsageReport } from "../core/routing-table.ts";
import type { ControlClient } from "./control-client.ts";

const INTERVAL_MS = 2_000;
const TIMEOUT_MS = 5_000;
/** Invocations of services, by id; another thread may be sent it. */
export type Invocations = ReadonlyMap<string, { readonly invocations: number; readonly failures: number }>;

/** Counts until it is emptied. */
export class Tally {
  #counts = new Map<string, { invocations: number; failures: number }>();

  /** One request that reached a service of the table. */
  count(service: string, failed: boolean): void {
    this.#add(service, 1, failed ? 1 : 0);
  }

  merge(counted: Invocations): void {
    for (const [service, { invocations, failures }] of counted) this.#add(service, invocations, failures);
  }

  /** What was counted since it was emptied last. */
  empty(): Invocations {
    const counts = this.#counts;
    this.#counts = new Map();
    return counts;
  }

  #add(service: string, invocations: number, failures: number): void {
    const count = this.#counts.get(service);
    if (count === undefined) return void this.#counts.set(service, { invocations, failures });
    count.invocations += invocations;
    count.failures += failures;
  }
}

export class Usage {
  readonly #deps: { control: ControlClient; clock: Clock; gatewayId: string };
  /** Where requests are counted. */
  readonly tally = new Tally();
  #report: UsageReport | null = null;
  #sequence = 0;
  #sending: Promise<boolean> | null = null;

  constructor(deps: { control: ControlClient; clock: Clock; gatewayId: string }) {
    this.#deps = deps;
  }

  /** Reports at intervals until `signal` aborts. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#deps.clock.sleep(INTERVAL_MS, signal);
      await this.flush();
    }
  }

  /** Sends what there is. False when control did not take it; it is kept. */
  flush(): Promise<boolean> {
    this.#sending ??= this.#send().finally(() => {
      this.#sending = null;
    });
    return this.#sending;
  }

  async #send(): Promise<boolean> {
    for (;;) {
      const report = this.#next();
      if (report === null) return true;
      try {
        const answer = await this.#deps.control.send({
          method: "POST",
          path: "/internal/usage",
          json: report,
          timeoutMs: TIMEOUT_MS,
        });
        if (answer.status !== 204) return false;
      } catch {
        return false;
      }
      this.#report = null;
    }
  }

  #next(): UsageReport | null {
    if (this.#report !== null) return this.#report;
    const services = [...this.tally.empty()].map(([id, count]) => ({ id, ...count }));
    if (services.length === 0) return null;
    this.#sequence += 1;
    this.#report = { gateway: this.#deps.gatewayId, sequence: this.#sequence, services };
    return this.#report;
  }
}

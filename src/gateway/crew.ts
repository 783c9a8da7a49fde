/**
 * The further threads of a gateway, as its first one sees them: started, told what it knows (the table, what probes
 * found, the certificate), asked for what they counted, ended. Also the messages between them.
 *
 * A thread that ends by itself ends the gateway: what it had counted and held is lost with it, and the supervisor starts
 * a whole one again.
 */
import { Worker } from "node:worker_threads";
import type { RoutingTable } from "../core/routing-table.ts";
import { thisMoment } from "../telemetry/clock.ts";
import type { Moment } from "../telemetry/clock.ts";
import type { Certificate } from "./certificate.ts";
import type { FrontSettings, Where } from "./front.ts";
import type { Health, Signal } from "./health-state.ts";
import type { MetricsSnapshot } from "./metrics.ts";
import type { LineSink } from "./record.ts";
import type { SharedMemory } from "./shared.ts";
import type { Timer } from "./timer.ts";
import type { Invocations } from "./usage.ts";

/** What a thread starts with. */
export interface Seat {
  readonly thread: number;
  readonly memory: SharedMemory;
  readonly settings: FrontSettings;
  readonly certificate: Certificate | null;
  readonly logLevel: string;
  readonly moment: Moment;
}

/** Answered with {done}, in any order. */
export type Order =
  | { readonly order: "apply"; readonly table: RoutingTable }
  | { readonly order: "listen"; readonly where: Where }
  | { readonly order: "snapshot" }
  | { readonly order: "close"; readonly idleGraceMs: number };

export type ToWorker =
  | (Order & { readonly id: number })
  | { readonly news: "health"; readonly key: string; readonly health: Health }
  | { readonly news: "certificate"; readonly certificate: Certificate }
  | { readonly news: "scraped"; readonly id: number; readonly text: string };

export type FromWorker =
  /** `failure`: why the order could not be carried out. */
  | {
      readonly done: number;
      readonly snapshot?: MetricsSnapshot;
      readonly failure?: string;
    }
  /** A request showed something of an instance. */
  | { readonly told: "signal"; readonly key: string; readonly signal: Signal }
  | { readonly told: "records"; readonly lines: string; readonly count: number }
  | { readonly told: "invocations"; readonly counted: Invocations }
  /** A caller wants the whole gateway's metrics. */
  | { readonly told: "scrape"; readonly id: number };

export interface CrewDeps {
  readonly threads: number;
  readonly seat: Omit<Seat, "thread" | "moment">;
  readonly timer: Timer;
  readonly sink: LineSink;
  readonly onInvocations: (counted: Invocations) => void;
  /** What the first thread believes of the instance after the signal. */
  readonly onSignal: (key: string, signal: Signal) => Health;
  readonly scrape: () => Promise<string>;
}

/** A thread that does not tell its counts in time is told of by its last ones. */
const SNAPSHOT_MS = 1_000;
const PROGRAM = new URL("./worker.ts", import.meta.url);

class Member {
  readonly #worker: Worker;
  readonly #deps: CrewDeps;
  readonly #asked = new Map<number, PromiseWithResolvers<MetricsSnapshot | null>>();
  #last = 0;
  #snapshot: MetricsSnapshot | null = null;
  #isEnding = false;

  constructor(thread: number, deps: CrewDeps) {
    this.#deps = deps;
    const seat: Seat = { ...deps.seat, thread, moment: thisMoment() };
    this.#worker = new Worker(PROGRAM, { workerData: seat });
    this.#worker.on("message", (message: FromWorker) => this.#hear(message));
    // Not handled on purpose: see the head of this file. An error of the thread comes as "error" and ends us, too.
    this.#worker.on("exit", (code) => {
      if (!this.#isEnding) throw new Error(`thread ${thread} of the gateway ended (${code})`);
    });
  }

  tell(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  ask(order: Order): Promise<MetricsSnapshot | null> {
    const answer = Promise.withResolvers<MetricsSnapshot | null>();
    this.#last += 1;
    this.#asked.set(this.#last, answer);
    this.tell({ ...order, id: this.#last });
    return answer.promise;
  }

  /** Null: it has told nothing yet. */
  async snapshot(): Promise<MetricsSnapshot | null> {
    const late = Promise.withResolvers<null>();
    const limit = this.#deps.timer.after(SNAPSHOT_MS, () => late.resolve(null));
    this.#snapshot = (await Promise.race([this.ask({ order: "snapshot" }), late.promise])) ?? this.#snapshot;
    limit.cancel();
    return this.#snapshot;
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#worker.terminate();
  }

  #hear(message: FromWorker): void {
    if ("done" in message) {
      const asked = this.#asked.get(message.done);
      this.#asked.delete(message.done);
      if (message.failure === undefined) asked?.resolve(message.snapshot ?? null);
      else asked?.reject(new Error(message.failure));
      return;
    }
    switch (message.told) {
      case "records":
        return this.#deps.sink(message.lines, message.count);
      case "invocations":
        return this.#deps.onInvocations(message.counted);
      case "signal": {
        // Answered always: what the thread made of the signal by itself may not be what was made of it here.
        const health = this.#deps.onSignal(message.key, message.signal);
        this.tell({ news: "health", key: message.key, health });
        return;
      }
      case "scrape":
        void this.#deps.scrape().then((text) => this.tell({ news: "scraped", id: message.id, text }));
        return;
    }
  }
}

/** All threads but the first; none in a gateway of one. */
export class Crew {
  readonly #members: readonly Member[];

  constructor(deps: CrewDeps) {
    this.#members = Array.from({ length: deps.threads - 1 }, (_, n) => new Member(n + 1, deps));
  }

  /** Resolves when every thread routes by it. */
  async apply(table: RoutingTable): Promise<void> {
    await Promise.all(this.#members.map((member) => member.ask({ order: "apply", table })));
  }

  /** `where` of the second thread first. */
  async listen(where: readonly Where[]): Promise<void> {
    const orders = this.#members.flatMap((member, index) => {
      const own = where[index];
      return own === undefined ? [] : [member.ask({ order: "listen", where: own })];
    });
    await Promise.all(orders);
  }

  believe(key: string, health: Health): void {
    for (const member of this.#members) member.tell({ news: "health", key, health });
  }

  useCertificate(certificate: Certificate): void {
    for (const member of this.#members) member.tell({ news: "certificate", certificate });
  }

  async snapshots(): Promise<readonly MetricsSnapshot[]> {
    const told = await Promise.all(this.#members.map((member) => member.snapshot()));
    return told.filter((snapshot) => snapshot !== null);
  }

  /** Resolves when all have finished what they had and told all they counted. */
  async close(idleGraceMs: number): Promise<void> {
    await Promise.all(this.#members.map((member) => member.ask({ order: "close", idleGraceMs })));
  }

  async end(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.end()));
  }
}

/**
 * Active probes: asks every instance of the table for its health, over and over, and tells it what was found. What
 * follows from that is decided elsewhere (health-state.ts).
 *
 * A probe takes no slot, so an instance that is full is still asked, and no connection from the requests' pool. It has
 * one of its own, kept from probe to probe because a new one costs four to five times as much; every tenth probe gives
 * it up, so that a listener that takes no more connections is noticed too.
 */
import type { ProbeResult } from "./health-state.ts";
import type { TimerHandle } from "./timer.ts";
import { UpstreamPool } from "./upstream.ts";
import type { AnswerHead } from "./answer-parser.ts";
import type { UpstreamConnection, UpstreamDeps, UpstreamFailure, UpstreamListener } from "./upstream.ts";

export interface Probed {
  /** An http origin. */
  readonly url: string;
  readonly healthPath: string;
  probed(result: ProbeResult): void;
}

export interface Watch {
  /** Something has happened: probe now. */
  hurry(): void;
  stop(): void;
}

/** With the timeout: from the moment an instance goes silent to the verdict it is 0.9 s at the most. */
export const PROBE_INTERVAL_MS = 500;
export const PROBE_TIMEOUT_MS = 400;
/** All instances together are probed at most so often; above 50 of them each one's turn comes later. */
const PROBES_PER_SECOND_MAX = 100;
/** Failing requests make probes hurry, but however many fail, not more often than this. */
const HURRY_MS = 50;
/** The timeout passes in steps, so that time in which the gateway itself stood still does not count against anybody. */
const TIMEOUT_STEPS = 4;
const PROBES_PER_CONNECTION = 10;
/** Want of our own, which says nothing about the instance. */
const OUR_FAULT = new Set(["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL"]);
const GOLDEN_RATIO = 0.618033988749895;

export class Prober {
  readonly #deps: UpstreamDeps;
  #watched = 0;
  #begun = 0;

  constructor(deps: UpstreamDeps) {
    this.#deps = deps;
  }

  /** Probes until stopped, the first time within one interval. */
  watch(instance: Probed): Watch {
    const { timer, monotonicMs } = this.#deps;
    const pool = new UpstreamPool(instance.url, this.#deps);
    let pending: TimerHandle | null = null;
    let running: Probe | null = null;
    let count = 0;
    let askedAt = Number.NEGATIVE_INFINITY;
    let isHurried = false;
    let isStopped = false;
    const next = (ms: number): void => {
      pending?.cancel();
      pending = timer.after(Math.max(0, ms), ask);
    };
    const ask = (): void => {
      isHurried = false;
      askedAt = monotonicMs();
      count += 1;
      const head = `GET ${instance.healthPath} HTTP/1.1\r\nHost: ${pool.authority}\r\nUser-Agent: modelport-probe\r\n${
        count % PROBES_PER_CONNECTION === 0 ? "Connection: close\r\n" : ""
      }\r\n`;
      running = new Probe(pool, head, this.#deps, (result) => {
        running = null;
        next(askedAt + (isHurried ? HURRY_MS : this.#intervalMs) - monotonicMs());
        if (result !== null) instance.probed(result);
      });
      running.start();
    };
    this.#watched += 1;
    this.#begun += 1;
    // Spread over the interval: a table of fifty instances is not fifty connections at once.
    next(((this.#begun * GOLDEN_RATIO) % 1) * this.#intervalMs);
    return {
      hurry: () => {
        if (isStopped || isHurried) return;
        isHurried = true;
        if (running === null) next(askedAt + HURRY_MS - monotonicMs());
      },
      stop: () => {
        if (isStopped) return;
        isStopped = true;
        this.#watched -= 1;
        pending?.cancel();
        running?.callOff();
        pool.close();
      },
    };
  }

  get #intervalMs(): number {
    return Math.max(PROBE_INTERVAL_MS, (this.#watched * 1000) / PROBES_PER_SECOND_MAX);
  }
}

/** One question. `done` hears once what was found, null when nothing can be said. */
class Probe implements UpstreamListener {
  readonly #pool: UpstreamPool;
  readonly #head: string;
  readonly #deps: UpstreamDeps;
  readonly #done: (result: ProbeResult | null) => void;
  #connection: UpstreamConnection | null = null;
  #waiting: TimerHandle | null = null;
  #steps = 0;
  /** Until a head comes. What follows it does not matter, not even that it ends. */
  #result: ProbeResult = "silent";

  constructor(
    pool: UpstreamPool,
    head: string,
    deps: UpstreamDeps,
    done: (result: ProbeResult | null) => void,
  ) {
    this.#pool = pool;
    this.#head = head;
    this.#deps = deps;
    this.#done = done;
  }

  start(): void {
    this.#wait();
    this.#dial();
  }

  /** Ends it without a word. */
  callOff(): void {
    this.#waiting?.cancel();
    this.#connection?.destroy();
    this.#connection = null;
  }

  onReady(): void {
    this.#connection?.send(this.#head, [], false);
    this.#connection?.endRequest();
  }

  onHead(head: AnswerHead): void {
    this.#result = head.status < 500 ? "ok" : "unready";
  }

  onAnswer(): void {
    // The status says it all.
  }

  onRead(): void {
    // Nothing is passed on.
  }

  onComplete(): void {
    // Back in the pool, or gone, by now.
    this.#connection = null;
    this.#end(this.#result);
  }

  onFailure(failure: UpstreamFailure): void {
    this.#connection = null;
    switch (failure.kind) {
      case "dial":
        return this.#end(OUR_FAULT.has(failure.cause) ? null : "refused");
      case "lost":
        // Closed between two probes: only a connection of this moment tells something.
        if (failure.reused) return this.#dial();
        return this.#end("refused");
      case "broken":
        return this.#end("unready");
    }
  }

  onWritable(): void {
    // One line was written; nothing waits for room.
  }

  #dial(): void {
    this.#connection = this.#pool.take();
    this.#connection.begin(this, "GET");
  }

  #wait(): void {
    this.#waiting = this.#deps.timer.after(PROBE_TIMEOUT_MS / TIMEOUT_STEPS, () => {
      this.#steps += 1;
      if (this.#steps < TIMEOUT_STEPS) this.#wait();
      else this.#end(this.#result);
    });
  }

  #end(result: ProbeResult | null): void {
    this.callOff();
    this.#done(result);
  }
}

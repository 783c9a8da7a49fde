/**
 * Whose turn it is to start. Loading Python packages takes whole processors, and those that serve need them: so only
 * some instances of a machine load at a time, the others wait. A turn lasts until its instance is ready, failed or
 * ended, and at most KEEP_MS, so that one that loads for minutes holds the others up only that long.
 */
import type { Clock } from "../../core/clock.ts";
import type { DrivenInstance, InstanceReport } from "../groups.ts";

const KEEP_MS = 10_000;

type Report = (seen: InstanceReport) => void;

export class StartTurns {
  readonly #clock: Clock;
  readonly #atOnce: number;
  #taken = 0;
  /** In the order they came. */
  readonly #waiting = new Set<() => void>();

  constructor(clock: Clock, atOnce: number) {
    this.#clock = clock;
    this.#atOnce = atOnce;
  }

  /** Launches at once or when its turn comes; one that is ended or let go of before that never is. */
  launch(launch: (report: Report) => DrivenInstance, report: Report): DrivenInstance {
    let driven: DrivenInstance | null = null;
    const turn = new AbortController();
    const begin = (): void => {
      this.#waiting.delete(begin);
      this.#taken += 1;
      driven = launch((seen) => {
        turn.abort();
        report(seen);
      });
      void this.#clock.sleep(KEEP_MS, turn.signal).then(() => {
        this.#taken -= 1;
        this.#next();
      });
    };
    const leave = (): void => {
      this.#waiting.delete(begin);
      turn.abort();
    };
    this.#waiting.add(begin);
    this.#next();
    return {
      end: (how) => {
        leave();
        return driven?.end(how) ?? Promise.resolve();
      },
      counters: () => driven?.counters?.() ?? null,
      detach: () => {
        leave();
        driven?.detach();
      },
    };
  }

  #next(): void {
    for (const begin of this.#waiting) {
      if (this.#taken >= this.#atOnce) return;
      begin();
    }
  }
}

/**
 * Waiting for the platform to finish something: polls the resource and its events, shows each event once, and stops
 * on Ctrl-C without disturbing the work itself.
 */
import type { Api } from "./api.ts";
import type { EventItem } from "./api-shapes.ts";
import { CliError } from "./failures.ts";
import type { Paint } from "./format.ts";
import { timestamp } from "./format.ts";
import type { Live } from "./live.ts";
import type { Session } from "./session.ts";

const POLL_MS = 500;
/** Answers in a row that may fail while following: control restarts within seconds, predictions go on meanwhile. */
const MISSES_MAX = 40;

export interface Followed<T> {
  /** The API path of the events; null: only the state is followed. */
  readonly events: string | null;
  /** Events that were there before the work began are not shown. */
  readonly skip: number;
  read(): Promise<T>;
  /** What to say on the moving line. */
  describe(state: T, lastEvent: string | null): string;
  /** True once the work is over, well or badly. */
  isDone(state: T): boolean;
  readonly timeoutMs: number | null;
  /** The command that shows how it goes on, for those who stop watching. */
  readonly later: string;
}

export const eventLine = (event: EventItem, tint: Paint): string => {
  const time = tint("dim", timestamp(event.occur_time).slice(11));
  const mark =
    event.event_type === "abnormal"
      ? tint("red", "✗")
      : event.event_type === "warning"
        ? tint("yellow", "!")
        : "·";
  const [first = "", ...more] = event.event_info.split("\n");
  return [`  ${time} ${mark} ${first}`, ...more.map((line) => tint("dim", `             ${line}`))].join(
    "\n",
  );
};

/** How many events there are by now. */
export const countEvents = async (api: Api, path: string): Promise<number> =>
  (await api.get<{ total_count: number }>(path, { limit: 1 })).total_count;

const isPassing = (error: unknown): boolean =>
  error instanceof CliError && (error.outcome === "unreachable" || error.outcome === "busy");

/** Follows to the end. Throws `interrupted` on Ctrl-C and `timeout` when it takes too long. */
export const follow = async <T>(session: Session, api: Api, live: Live, what: Followed<T>): Promise<T> => {
  const { clock, interrupt } = session.io;
  const startedAt = clock.monotonicMs();
  let seen = what.skip;
  let last: string | null = null;
  let misses = 0;
  const showNew = async (): Promise<void> => {
    if (what.events === null) return;
    const page = await api.get<{ events: readonly EventItem[] }>(what.events, {
      offset: seen,
      limit: 1000,
      sort_by: "occur_time",
      order: "asc",
    });
    for (const event of page.events) {
      live.note(eventLine(event, session.paint));
      last = event.event_info;
    }
    seen += page.events.length;
  };
  for (;;) {
    try {
      // The state first: an end that is read is then followed by all the events that led to it.
      const state = await what.read();
      await showNew();
      misses = 0;
      live.now(what.describe(state, last));
      if (what.isDone(state)) return state;
    } catch (error) {
      misses += 1;
      if (!isPassing(error) || misses > MISSES_MAX) throw error;
      live.now("waiting for the platform to answer again");
    }
    if (what.timeoutMs !== null && clock.monotonicMs() - startedAt > what.timeoutMs) {
      throw new CliError("timeout", "It is not done yet; it goes on without this command.", {
        next: what.later,
      });
    }
    await clock.sleep(POLL_MS, interrupt);
    if (interrupt.aborted) {
      throw new CliError("interrupted", "Stopped watching; the work goes on.", { next: what.later });
    }
  }
};

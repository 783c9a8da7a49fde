/**
 * Long work as it is seen: finished lines stay, and on a terminal one line below them tells what is going on, with
 * the time it has taken. Without a terminal only the finished lines are written, so logs stay readable.
 */
import type { Clock } from "../core/clock.ts";
import { duration, fit } from "./format.ts";
import type { Paint } from "./format.ts";
import type { Sink } from "./io.ts";

const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const REDRAW_MS = 120;

export interface Live {
  /** A line that stays. */
  note(line: string): void;
  /** What is going on now; replaces what was said before. */
  now(text: string): void;
  /** Removes the moving line. Must be called once the work is over, however it ended. */
  end(): void;
}

export const silent: Live = { note: () => {}, now: () => {}, end: () => {} };

export interface LiveDeps {
  readonly sink: Sink;
  readonly clock: Clock;
  readonly paint: Paint;
  readonly columns: number;
  readonly isTty: boolean;
}

export const openLive = (deps: LiveDeps): Live => {
  if (!deps.isTty) {
    return { note: (line) => deps.sink.write(`${line}\n`), now: () => {}, end: () => {} };
  }
  const startedAt = deps.clock.monotonicMs();
  const stopped = new AbortController();
  let text = "";
  let frame = 0;
  let drawn = false;
  const clear = (): void => {
    if (drawn) deps.sink.write("\r\u001b[2K");
    drawn = false;
  };
  const draw = (): void => {
    if (text === "" || stopped.signal.aborted) return;
    clear();
    const spent = duration(deps.clock.monotonicMs() - startedAt);
    const spinner = FRAMES[frame % FRAMES.length] ?? "";
    deps.sink.write(
      `${deps.paint("cyan", spinner)} ${fit(text, Math.max(10, deps.columns - spent.length - 5))} ${deps.paint("dim", spent)}`,
    );
    drawn = true;
  };
  const turn = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      draw();
      frame += 1;
      await deps.clock.sleep(REDRAW_MS, stopped.signal);
    }
  };
  void turn();
  return {
    note: (line) => {
      clear();
      deps.sink.write(`${line}\n`);
      draw();
    },
    now: (next) => {
      text = next.split("\n")[0] ?? "";
      draw();
    },
    end: () => {
      stopped.abort();
      clear();
    },
  };
};

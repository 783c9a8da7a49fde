/**
 * A supervisor that is no command on a terminal: started in the background by `modelport up --detach`, or by the
 * supervisor before it as its successor. Writes what happens into logs/platform/supervisor.log (its standard output).
 */
import { readConfig } from "./config.ts";
import type { Config } from "./config.ts";
import { problemText } from "./core/errors.ts";
import { startSupervisor, succeedSupervisor } from "./supervise.ts";
import type { Supervisor } from "./supervise.ts";
import { describeEvent, StartRefused } from "./supervisor/state.ts";
import { systemClock } from "./telemetry/clock.ts";

const settings = (): Config => {
  const read = readConfig();
  if (read.ok) return read.config;
  const wrong = read.problems.map((problem) => problemText(problem));
  throw new StartRefused(
    `Some settings are wrong: ${wrong.join(". ")}.`,
    "docs/operations.md lists the settings.",
  );
};

/** Runs until the platform is stopped, or in other hands; resolves to the exit code. */
export const runSupervisor = async (kind: "supervisor" | "successor"): Promise<number> => {
  const asked = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => asked.abort());
  // A full disk costs log lines, not the platform.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
  const deps = {
    clock: systemClock,
    onEvent: (event: Parameters<typeof describeEvent>[0]) =>
      void process.stdout.write(`${new Date(systemClock.now()).toISOString()} ${describeEvent(event)}\n`),
  };
  let supervisor: Supervisor;
  try {
    supervisor =
      kind === "supervisor"
        ? await startSupervisor(settings(), deps)
        : await succeedSupervisor(settings, deps);
  } catch (error) {
    if (!(error instanceof StartRefused)) throw error;
    process.stdout.write(`${error.message}\n${error.hint}\n`);
    if (process.connected) process.disconnect?.();
    return 1;
  }
  if (asked.signal.aborted) await supervisor.stop();
  asked.signal.addEventListener("abort", () => void supervisor.stop(), { once: true });
  await supervisor.ended;
  if (process.connected) process.disconnect?.();
  return 0;
};

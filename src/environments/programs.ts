/**
 * The programs of one build: run one at a time, noted while they run, asked again where the package index failed them,
 * and ended when the build's time is over.
 */
import { access } from "node:fs/promises";
import type { Clock } from "../core/clock.ts";
import { runCommand } from "./command.ts";
import type { Finished } from "./command.ts";
import type { Failure } from "./explain.ts";
import type { Run } from "./uv.ts";

/** Between two attempts: uv has by then tried four times within some ten seconds by itself. */
const AGAIN_AFTER_MS = 10_000;
const ATTEMPTS = 2;

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** pip passes over folders of wheels that are not there, uv stops at them. */
const withFindLinks = async (env: Readonly<Record<string, string>>): Promise<Record<string, string>> => {
  const { UV_FIND_LINKS: links, ...others } = env;
  if (links === undefined) return others;
  const kept: string[] = [];
  for (const link of links.split(","))
    if (/^[a-z]+:\/\//i.test(link) || (await exists(link))) kept.push(link);
  return kept.length === 0 ? others : { ...others, UV_FIND_LINKS: kept.join(",") };
};

export const createRun =
  (deps: {
    readonly env: Readonly<Record<string, string>>;
    /** Absent: the platform's own. */
    readonly user?: { readonly uid: number; readonly gid: number };
    readonly signal: AbortSignal;
    /** Hears of each program as it starts. */
    readonly note: (pid: number) => Promise<void>;
  }): Run =>
  async (program, args, more = {}) => {
    let noted: Promise<void> = Promise.resolve();
    // Not in the build's own folder: uv would look for a project's settings in it and above.
    const finished = await runCommand(program, args, {
      cwd: "/",
      env: await withFindLinks(deps.env),
      signal: deps.signal,
      ...(deps.user === undefined ? {} : { user: deps.user }),
      ...more,
      onStart: (pid) => {
        noted = deps.note(pid).catch(() => undefined);
      },
    });
    await noted;
    return finished;
  };

/** The same program, run once more a little later where its failure may pass. */
export const persistent =
  (
    run: Run,
    deps: {
      readonly explain: (log: string) => Failure | null;
      readonly mayPass: (failure: Failure) => boolean;
      readonly onLog: (line: string) => void;
      readonly clock: Clock;
      readonly signal: AbortSignal;
    },
  ): Run =>
  async (program, args, more) => {
    for (let attempt = 1; ; attempt += 1) {
      const finished: Finished = await run(program, args, more);
      if (finished.code === 0 || attempt === ATTEMPTS) return finished;
      const failure = deps.explain(finished.stderr);
      if (failure === null || !deps.mayPass(failure)) return finished;
      deps.onLog(
        `waiting ${AGAIN_AFTER_MS / 1000} s before asking again (${attempt + 1} of ${ATTEMPTS}): ${failure.sentence}`,
      );
      await deps.clock.sleep(AGAIN_AFTER_MS, deps.signal);
    }
  };

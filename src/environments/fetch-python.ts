/**
 * Fetches an interpreter that a runtime names and the machine has not, with uv, where the network lets it. What failed is
 * not tried again for an hour: an import must not wait for a closed network each time.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import type { Finished } from "./command.ts";

/** uv lists no builds of older ones. */
const OLDEST_FETCHABLE_MINOR = 8;
const NEWEST_FETCHABLE_MINOR = 13;
const FETCH_MS = 120_000;
const AGAIN_AFTER_MS = 3_600_000;

export interface FetchPythonDeps {
  /** Where fetched interpreters are kept. */
  readonly dir: string;
  /** False: the machine's interpreters are all there is. */
  readonly isAllowed: boolean;
  readonly clock: Clock;
  /** Runs uv with these arguments; null when uv itself cannot be had. */
  readonly uv: (
    args: readonly string[],
    env: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ) => Promise<Finished | null>;
}

export class PythonFetcher {
  readonly #deps: FetchPythonDeps;
  readonly #failedAt = new Map<number, number>();
  readonly #flights = new Map<number, Promise<boolean>>();

  constructor(deps: FetchPythonDeps) {
    this.#deps = deps;
  }

  /** The minors worth asking for now. */
  fetchable(): readonly number[] {
    if (!this.#deps.isAllowed) return [];
    const minors: number[] = [];
    for (let minor = OLDEST_FETCHABLE_MINOR; minor <= NEWEST_FETCHABLE_MINOR; minor += 1) {
      const failedAt = this.#failedAt.get(minor);
      if (failedAt === undefined || this.#deps.clock.monotonicMs() - failedAt > AGAIN_AFTER_MS)
        minors.push(minor);
    }
    return minors;
  }

  /** True when CPython 3.`minor` is there now. Callers at the same time fetch once. */
  fetch(minor: number): Promise<boolean> {
    if (!this.fetchable().includes(minor)) return Promise.resolve(false);
    const flight =
      this.#flights.get(minor) ?? this.#attempt(minor).finally(() => this.#flights.delete(minor));
    this.#flights.set(minor, flight);
    return flight;
  }

  async #attempt(minor: number): Promise<boolean> {
    const { clock, dir, uv } = this.#deps;
    const over = new AbortController();
    const answered = new AbortController();
    void clock.sleep(FETCH_MS, answered.signal).then(
      () => over.abort(new Error("too slow")),
      () => undefined,
    );
    try {
      const finished = await uv(
        ["python", "install", `cpython-3.${minor}`, "--install-dir", dir, "--no-bin", "--color", "never"],
        { UV_PYTHON_DOWNLOADS: "manual", UV_HTTP_RETRIES: "1" },
        over.signal,
      );
      if (finished?.code === 0) return true;
    } catch (error) {
      if (!over.signal.aborted) throw error;
      // uv unpacks beside the place and renames; what it was stopped at is of no use.
      await rm(join(dir, ".temp"), { recursive: true, force: true });
    } finally {
      answered.abort();
    }
    this.#failedAt.set(minor, clock.monotonicMs());
    return false;
  }
}

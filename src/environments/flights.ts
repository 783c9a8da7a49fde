/** Work that several callers wait for is done once; it ends early when the last of them leaves. */

interface Flight<T> {
  readonly result: Promise<T>;
  readonly listeners: Set<(line: string) => void>;
  readonly abort: AbortController;
}

export class Flights<T> {
  readonly #inTheAir = new Map<string, Flight<T>>();

  has(key: string): boolean {
    return this.#inTheAir.has(key);
  }

  /**
   * The result of the work under this key, begun by this call or `joined`. Rejects with the signal's reason when it
   * aborts: this caller has left then, and the others go on.
   */
  async wait(
    key: string,
    work: (say: (line: string) => void, signal: AbortSignal) => Promise<T>,
    onLog: (line: string) => void,
    signal: AbortSignal,
  ): Promise<{ readonly result: T; readonly joined: boolean }> {
    const before = this.#inTheAir.get(key);
    const flight = before ?? this.#takeOff(key, work);
    const listener = (line: string): void => onLog(line);
    flight.listeners.add(listener);
    let leave: () => void = () => undefined;
    const left = new Promise<never>((_, reject) => {
      leave = () => reject(signal.reason as Error);
      signal.addEventListener("abort", leave, { once: true });
      if (signal.aborted) leave();
    });
    try {
      return { result: await Promise.race([flight.result, left]), joined: before !== undefined };
    } finally {
      signal.removeEventListener("abort", leave);
      flight.listeners.delete(listener);
      if (flight.listeners.size === 0) {
        // Forgotten at once: whoever asks from now on gets a flight of their own, not the end of this one.
        this.#forget(key, flight);
        flight.abort.abort(new Error("nobody waits for this environment any more"));
      }
    }
  }

  #takeOff(key: string, work: (say: (line: string) => void, signal: AbortSignal) => Promise<T>): Flight<T> {
    const abort = new AbortController();
    const listeners = new Set<(line: string) => void>();
    const say = (line: string): void => {
      for (const listener of listeners) listener(line);
    };
    const result = work(say, abort.signal).finally(() => this.#forget(key, flight));
    // The waiters handle the failure; without any left it must not count as unhandled.
    result.catch(() => undefined);
    const flight: Flight<T> = { result, listeners, abort };
    this.#inTheAir.set(key, flight);
    return flight;
  }

  #forget(key: string, flight: Flight<T>): void {
    if (this.#inTheAir.get(key) === flight) this.#inTheAir.delete(key);
  }
}

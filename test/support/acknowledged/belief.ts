/**
 * What a caller may believe about a thing of its own: one state after an answered call, two after an unanswered one
 * (done or not done, nothing in between). `settle` compares with what is there and goes on from that.
 */
export class Belief<S> {
  readonly #name: string;
  readonly #same: (believed: S, seen: S) => boolean;
  #possible: readonly S[];
  readonly #journal: string[] = [];

  constructor(name: string, first: S, same: (believed: S, seen: S) => boolean) {
    this.#name = name;
    this.#same = same;
    this.#possible = [first];
  }

  /** The state as of the last answered call. */
  get state(): S {
    const [state] = this.#possible;
    if (state === undefined) throw new Error("no state is possible");
    return state;
  }

  note(line: string): void {
    this.#journal.push(line);
    if (this.#journal.length > 15) this.#journal.shift();
  }

  /** The call was answered: this is so. */
  know(state: S): void {
    this.#possible = [state];
  }

  /** The call was not answered: this may be so, or what was so before. */
  maybe(state: S): void {
    this.#possible = [...this.#possible, state];
  }

  settle(seen: S): void {
    const found = this.#possible.find((state) => this.#same(state, seen));
    if (found === undefined) {
      throw new Error(
        `${this.#name} is ${JSON.stringify(seen)}, but can only be ${this.#possible.map((s) => JSON.stringify(s)).join(" or ")}. ` +
          `What was done to it last:\n  ${this.#journal.join("\n  ")}`,
      );
    }
    this.note("— control was killed —");
    this.#possible = [seen];
  }
}

/** One caller with things of its own. `step` makes one call; `check` runs after a restart, while nobody calls. */
export interface Actor {
  step(): Promise<void>;
  check(): Promise<void>;
}

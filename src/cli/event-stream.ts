/** Reads server-sent events as they pass, only as far as to know whether the last one is an error. Pure. */
export class EventStream {
  #rest = "";
  #type: string | null = null;
  #last: string | null = null;

  /** The next piece, as bytes in Latin-1 or decoded: event types of the platform are ASCII. */
  push(text: string): void {
    // A carriage return at the end may be the first half of a line's end.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#take(line);
  }

  /** Whether the stream, which is over, ends in `event: error`; its last blank line may be missing. */
  endsInError(): boolean {
    this.#take(this.#rest.replace(/\r$/, ""));
    this.#take("");
    return this.#last === "error";
  }

  #take(line: string): void {
    if (line === "") {
      this.#last = this.#type ?? this.#last;
      this.#type = null;
      return;
    }
    const [, field = "", value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (field === "event") this.#type = value;
    // An event without a type is a message; a comment is no event at all.
    else if (field !== "") this.#type ??= "message";
  }
}

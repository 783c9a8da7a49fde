/**
 * A strict JSON reader for files that people write by hand. Unlike JSON.parse it says line and column of every mistake
 * with what would be right, notices duplicate keys (JSON.parse silently keeps the last) and bounds nesting. It accepts
 * exactly what JSON.parse accepts, apart from that bound and a byte order mark at the start.
 */
export interface JsonMistake {
  readonly line: number;
  readonly column: number;
  readonly message: string;
  readonly fix: string;
}

export type JsonReading =
  | {
      readonly ok: true;
      readonly value: unknown;
      /** JSON paths of keys that were given more than once; the last one counts. */
      readonly duplicates: readonly string[];
    }
  | { readonly ok: false; readonly mistake: JsonMistake };

/** `apis[0].request`; keys that are no plain words are quoted. The root is "". */
export const childPath = (path: string, key: string | number): string => {
  if (typeof key === "number") return `${path}[${key}]`;
  const name = /^[A-Za-z_][\w-]*$/.test(key) ? key : JSON.stringify(key.slice(0, 64));
  return path === "" ? name : `${path}.${name}`;
};

class Mistake extends Error {
  readonly at: number;
  readonly fix: string;
  constructor(at: number, message: string, fix: string) {
    super(message);
    this.at = at;
    this.fix = fix;
  }
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// oxlint-disable-next-line no-control-regex -- JSON forbids exactly these inside strings
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};
const WORDS: Readonly<Record<string, { value: unknown }>> = {
  true: { value: true },
  false: { value: false },
  null: { value: null },
};

class Reader {
  private readonly text: string;
  private readonly depthMax: number;
  private at = 0;
  readonly duplicates: string[] = [];

  constructor(text: string, depthMax: number) {
    this.text = text;
    this.depthMax = depthMax;
  }

  document(): unknown {
    if (this.text.startsWith("\uFEFF")) this.at = 1;
    const value = this.value("", 0);
    this.space();
    if (this.at < this.text.length)
      throw new Mistake(
        this.at,
        `${this.here()} follows after the end of the JSON value`,
        "keep one value only",
      );
    return value;
  }

  private space(): void {
    for (;;) {
      const char = this.text.charCodeAt(this.at);
      if (char !== 0x20 && char !== 0x0a && char !== 0x0d && char !== 0x09) return;
      this.at += 1;
    }
  }

  private here(): string {
    const point = this.text.codePointAt(this.at);
    return point === undefined ? "the end of the file" : JSON.stringify(String.fromCodePoint(point));
  }

  private value(path: string, depth: number): unknown {
    this.space();
    if (depth > this.depthMax)
      throw new Mistake(
        this.at,
        `values are nested deeper than ${this.depthMax} levels`,
        "flatten the structure",
      );
    const char = this.text[this.at];
    if (char === "{") return this.object(path, depth);
    if (char === "[") return this.array(path, depth);
    if (char === '"') return this.string();
    NUMBER.lastIndex = this.at;
    const number = NUMBER.exec(this.text)?.[0];
    if (number !== undefined) {
      this.at += number.length;
      return Number(number);
    }
    return this.word();
  }

  private word(): unknown {
    const word = /^[A-Za-z_$][\w$]*/.exec(this.text.slice(this.at, this.at + 40))?.[0];
    if (word !== undefined && Object.hasOwn(WORDS, word)) {
      this.at += word.length;
      return WORDS[word]?.value;
    }
    if (word !== undefined) {
      const lower = word.toLowerCase();
      const meant = lower === "none" || lower === "undefined" ? "null" : lower;
      throw new Mistake(
        this.at,
        `${word} is not a JSON value`,
        Object.hasOwn(WORDS, meant) ? `write ${meant}` : `write "${word}" if it is text`,
      );
    }
    throw new Mistake(this.at, `a value is expected, but ${this.here()} was found`, this.advice());
  }

  private advice(): string {
    const char = this.text[this.at];
    if (char === undefined) return "complete the file; the end seems to be cut off";
    if (char === "'") return "use double quotes";
    if (char === "/" || char === "#") return "remove the comment; JSON has none";
    if (char === "}" || char === "]") return "remove the comma before it";
    if (char === "“" || char === "”") return 'use plain double quotes (")';
    return "write a string, number, object, array, true, false or null";
  }

  private object(path: string, depth: number): Record<string, unknown> {
    const result: Record<string, unknown> = {};
    this.at += 1;
    this.space();
    if (this.text[this.at] === "}") {
      this.at += 1;
      return result;
    }
    for (;;) {
      this.space();
      if (this.text[this.at] !== '"')
        throw new Mistake(
          this.at,
          `a field name in double quotes is expected, but ${this.here()} was found`,
          /[A-Za-z_]/.test(this.text[this.at] ?? "") ? "put the field name in double quotes" : this.advice(),
        );
      const key = this.string();
      const keyPath = childPath(path, key);
      this.space();
      if (this.text[this.at] !== ":")
        throw new Mistake(
          this.at,
          `":" is expected after the field name ${keyPath}, but ${this.here()} was found`,
          'put ":" between name and value',
        );
      this.at += 1;
      if (Object.hasOwn(result, key)) this.duplicates.push(keyPath);
      // defineProperty: a plain assignment of "__proto__" would change the prototype instead of adding a field
      Object.defineProperty(result, key, {
        value: this.value(keyPath, depth + 1),
        enumerable: true,
        configurable: true,
        writable: true,
      });
      if (this.next("}", path)) return result;
    }
  }

  private array(path: string, depth: number): unknown[] {
    const result: unknown[] = [];
    this.at += 1;
    this.space();
    if (this.text[this.at] === "]") {
      this.at += 1;
      return result;
    }
    for (;;) {
      result.push(this.value(childPath(path, result.length), depth + 1));
      if (this.next("]", path)) return result;
    }
  }

  /** After an element: true at the closing bracket, false after a comma. */
  private next(close: "}" | "]", path: string): boolean {
    this.space();
    const char = this.text[this.at];
    if (char !== close && char !== ",")
      throw new Mistake(
        this.at,
        `"," or "${close}" is expected${path === "" ? "" : ` in ${path}`}, but ${this.here()} was found`,
        char === undefined
          ? `add the missing "${close}"`
          : char === '"' || char === "{" || char === "["
            ? 'add the missing ","'
            : this.advice(),
      );
    this.at += 1;
    return char === close;
  }

  private string(): string {
    const start = this.at;
    this.at += 1;
    let result = "";
    for (;;) {
      PLAIN.lastIndex = this.at;
      const plain = PLAIN.exec(this.text)?.[0] ?? "";
      result += plain;
      this.at += plain.length;
      const char = this.text[this.at];
      if (char === '"') {
        this.at += 1;
        return result;
      }
      if (char === undefined)
        throw new Mistake(start, "the string that begins here has no end", "add the closing double quote");
      if (char !== "\\")
        throw new Mistake(
          this.at,
          "a line break or control character stands inside a string",
          "close the string on its line, or write \\n",
        );
      result += this.escape();
    }
  }

  private escape(): string {
    const kind = this.text[this.at + 1] ?? "";
    if (kind === "u") {
      const hex = this.text.slice(this.at + 2, this.at + 6);
      if (!/^[0-9A-Fa-f]{4}$/.test(hex))
        throw new Mistake(
          this.at,
          "\\u must be followed by four hexadecimal digits",
          "write \\\\ for one \\",
        );
      this.at += 6;
      return String.fromCharCode(Number.parseInt(hex, 16));
    }
    const char = Object.hasOwn(ESCAPES, kind) ? ESCAPES[kind] : undefined;
    if (char === undefined)
      throw new Mistake(this.at, `\\${kind} is not known in JSON`, "write \\\\ for one \\");
    this.at += 2;
    return char;
  }
}

/** Reads a JSON text. Never throws. */
export const readJson = (text: string, limits: { depthMax: number } = { depthMax: 64 }): JsonReading => {
  const reader = new Reader(text, limits.depthMax);
  try {
    return { ok: true, value: reader.document(), duplicates: reader.duplicates };
  } catch (error) {
    if (!(error instanceof Mistake)) throw error;
    const before = text.slice(0, error.at);
    const line = before.split("\n").length;
    return {
      ok: false,
      mistake: {
        line,
        column: error.at - (before.lastIndexOf("\n") + 1) + 1,
        message: error.message,
        fix: error.fix,
      },
    };
  }
};

/**
 * TypeScript source with what is not code blanked out, line by line as long as before, so that a match's position is
 * its place in the file. Knows strings, templates with their expressions, comments and regular expressions; that is
 * all the architecture test needs, and it needs no compiler.
 */
export interface SourceText {
  /** Comments, strings and regular expressions blanked. */
  readonly code: string;
  /** Comments blanked only. */
  readonly withoutComments: string;
}

/** After these a slash begins a regular expression; after a name, a number or a closing bracket it divides. */
const BEFORE_REGEX =
  /(?:^|[([{,;=:?!&|+\-*%<>~^]|\b(?:return|typeof|case|in|of|delete|void|throw|await|yield))\s*$/;

const blank = (text: string): string => text.replace(/[^\n]/g, " ");

const endOfString = (source: string, from: number, quote: string): number => {
  let at = from + 1;
  while (at < source.length && source[at] !== quote && source[at] !== "\n") at += source[at] === "\\" ? 2 : 1;
  return Math.min(at + 1, source.length);
};

const endOfRegex = (source: string, from: number): number => {
  let at = from + 1;
  let inClass = false;
  while (at < source.length && (inClass || source[at] !== "/") && source[at] !== "\n") {
    if (source[at] === "\\") at += 1;
    else if (source[at] === "[") inClass = true;
    else if (source[at] === "]") inClass = false;
    at += 1;
  }
  return Math.min(at + 1, source.length);
};

export const readSource = (source: string): SourceText => {
  let code = "";
  let withoutComments = "";
  let at = 0;
  /** One entry per open template expression: how many braces are open inside it. */
  const templates: number[] = [];
  const take = (end: number, kind: "code" | "text" | "comment"): void => {
    const part = source.slice(at, end);
    code += kind === "code" ? part : blank(part);
    withoutComments += kind === "comment" ? blank(part) : part;
    at = end;
  };
  const takeTemplate = (): void => {
    let end = at + 1;
    while (end < source.length && source[end] !== "`") {
      if (source.startsWith("${", end)) {
        take(end + 2, "text");
        templates.push(0);
        return;
      }
      end += source[end] === "\\" ? 2 : 1;
    }
    take(Math.min(end + 1, source.length), "text");
  };
  while (at < source.length) {
    const character = source[at] ?? "";
    const open = templates.at(-1);
    if (source.startsWith("//", at)) {
      const end = source.indexOf("\n", at);
      take(end < 0 ? source.length : end, "comment");
    } else if (source.startsWith("/*", at)) {
      const end = source.indexOf("*/", at + 2);
      take(end < 0 ? source.length : end + 2, "comment");
    } else if (character === '"' || character === "'") {
      take(endOfString(source, at, character), "text");
    } else if (character === "`") {
      takeTemplate();
    } else if (character === "}" && open === 0) {
      templates.pop();
      takeTemplate();
    } else if (character === "/" && BEFORE_REGEX.test(code.slice(-60))) {
      take(endOfRegex(source, at), "text");
    } else {
      if (open !== undefined && character === "{") templates.push((templates.pop() ?? 0) + 1);
      if (open !== undefined && character === "}") templates.push((templates.pop() ?? 0) - 1);
      take(at + 1, "code");
    }
  }
  return { code, withoutComments };
};

/** Pure text: times, sizes, widths, tables, error blocks. Nothing here writes or asks for the time. */
import { styleText } from "node:util";
import type { CliError } from "./failures.ts";

export type Tint = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";
/** Colours text, or leaves it as it is where colours are off. */
export type Paint = (tint: Tint, text: string) => string;

export const paint =
  (colour: boolean): Paint =>
  (tint, text) =>
    colour ? styleText(tint, text, { validateStream: false }) : text;

const WIDE =
  /\p{Ideographic}|\p{Script=Hangul}|\p{Script=Hiragana}|\p{Script=Katakana}|[\u3000-\u303f\uff01-\uff60]/u;

const escapes = new RegExp(String.raw`\u001b\[[0-9;]*m`, "g");

/** Columns a text takes on a terminal. Names may be Chinese, whose characters take two. */
export const widthOf = (text: string): number => {
  let width = 0;
  for (const character of text.replace(escapes, "")) width += WIDE.test(character) ? 2 : 1;
  return width;
};

/** Shortens plain text (no colours) to a width, marking the cut. */
export const fit = (text: string, width: number): string => {
  if (widthOf(text) <= width) return text;
  let out = "";
  let used = 0;
  for (const character of text) {
    const next = WIDE.test(character) ? 2 : 1;
    if (used + next > width - 1) break;
    out += character;
    used += next;
  }
  return `${out}…`;
};

const pad = (text: string, width: number): string => text + " ".repeat(Math.max(0, width - widthOf(text)));

const SHRUNK_MIN = 8;

/**
 * A table without lines, its columns two spaces apart. Where it is wider than `columns`, the widest column gives way
 * first; `columns` Infinity (no terminal) cuts nothing, so that scripts see whole ids.
 */
export const table = (
  head: readonly string[],
  rows: readonly (readonly string[])[],
  columns: number,
  tint: Paint,
  cell: (text: string, column: number) => string = (text) => text,
): string => {
  const widths = head.map((title, column) =>
    Math.max(widthOf(title), ...rows.map((row) => widthOf(row[column] ?? ""))),
  );
  const total = (): number => widths.reduce((sum, width) => sum + width, 0) + 2 * (widths.length - 1);
  while (total() > columns) {
    const widest = widths.indexOf(Math.max(...widths));
    const width = widths[widest] ?? 0;
    if (width <= SHRUNK_MIN) break;
    widths[widest] = width - 1;
  }
  const line = (cells: readonly string[], style: (text: string, column: number) => string): string =>
    cells
      .map((text, column) => {
        const fitted = fit(text, widths[column] ?? 0);
        const styled = style(fitted, column);
        return column === cells.length - 1
          ? styled
          : styled + pad("", (widths[column] ?? 0) - widthOf(fitted));
      })
      .join("  ")
      .trimEnd();
  return [line(head, (text) => tint("dim", text)), ...rows.map((row) => line(row, cell))]
    .map((text) => `${text}\n`)
    .join("");
};

/** `name: value` lines with the values in one column. */
export const facts = (pairs: readonly (readonly [string, string])[], tint: Paint): string => {
  const width = Math.max(...pairs.map(([name]) => widthOf(name)));
  return pairs.map(([name, value]) => `${tint("dim", pad(name, width))}  ${value}\n`).join("");
};

const UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

export const size = (bytes: number): string => {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit] ?? ""}`;
};

export const duration = (ms: number): string => {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return seconds < 3600
    ? `${Math.floor(seconds / 60)} min ${seconds % 60} s`
    : `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
};

const two = (value: number): string => String(value).padStart(2, "0");

/** Local wall-clock time, `2026-11-23 18:33:05`. */
export const timestamp = (at: number): string => {
  const date = new Date(at);
  return (
    `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  );
};

/** "3 min ago", "in 2 h". */
export const relative = (at: number, now: number): string => {
  const away = Math.abs(now - at);
  const [amount, unit] =
    away < 1000
      ? [0, ""]
      : away < 60_000
        ? [Math.round(away / 1000), "s"]
        : away < 3_600_000
          ? [Math.round(away / 60_000), "min"]
          : away < 48 * 3_600_000
            ? [Math.round(away / 3_600_000), "h"]
            : [Math.round(away / 86_400_000), "days"];
  if (unit === "") return "now";
  return at <= now ? `${amount} ${unit} ago` : `in ${amount} ${unit}`;
};

export const when = (at: number, now: number): string => `${timestamp(at)} (${relative(at, now)})`;

/** The clouds' status words, coloured by what they mean to the reader. */
export const status = (word: string, tint: Paint): string => {
  switch (word) {
    case "running":
    case "published":
    case "ok":
    case "ready":
      return tint("green", word);
    case "failed":
    case "abnormal":
      return tint("red", word);
    case "concerning":
    case "warning":
    case "restarting":
      return tint("yellow", word);
    case "stopped":
    case "normal":
      return tint("dim", word);
    default:
      return tint("cyan", word);
  }
};

/** A failure for people: cause, every problem with its path and fix, then the next step. */
export const errorBlock = (error: CliError, tint: Paint): string => {
  const { next, code, problems, requestId, detail } = error.details;
  const lines = [`${tint("red", "error:")} ${error.message}`];
  for (const problem of problems ?? []) {
    lines.push("");
    if (problem.path !== "") lines.push(`  ${tint("bold", problem.path)}`);
    lines.push(`    ${problem.message}`);
    if (problem.fix) lines.push(`    ${tint("green", "fix:")} ${problem.fix}`);
  }
  if ((problems ?? []).length > 0) lines.push("");
  if (detail !== undefined)
    lines.push(
      ...detail
        .trimEnd()
        .split("\n")
        .map((line) => `  ${tint("dim", line)}`),
    );
  if (next !== undefined) lines.push(`  ${tint("cyan", "next:")} ${next}`);
  const trace = [code, requestId === undefined ? undefined : `request ${requestId}`].filter(
    (part) => part !== undefined,
  );
  if (trace.length > 0) lines.push(`  ${tint("dim", `(${trace.join(", ")})`)}`);
  return `${lines.join("\n")}\n`;
};

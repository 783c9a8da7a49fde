/** docs/http.md, made of the table: what the gateway does with each odd request and each odd answer. */
import { ANSWERS } from "./answers.ts";
import { FIELDS } from "./fields.ts";
import { FRAMING } from "./framing.ts";
import { REQUESTS } from "./requests.ts";
import type { AnswerRow, Got, RequestRow } from "./row.ts";

const SHOWN_MAX = 90;

/** Bytes as text: escapes for what a page cannot show. */
const shown = (text: string): string => {
  const escaped = text
    .replaceAll("\t", "\\t")
    .replace(/[\x80-\xff]/g, (char) => `\\x${char.charCodeAt(0).toString(16)}`)
    .replaceAll("\r\n", "\\r\\n");
  const short = escaped.length > SHOWN_MAX ? `${escaped.slice(0, SHOWN_MAX)}…` : escaped;
  return `\`${short.includes("`") ? short.replaceAll("`", "'") : short}\``;
};

const cell = (text: string): string => text.replaceAll("|", "\\|");

const gotten = (got: Got): string => {
  const parts = [shown(got.line), ...(got.fields ?? []).map(shown)];
  if (got.chunks !== undefined) parts.push(got.chunks === "" ? "no chunks" : `chunks ${shown(got.chunks)}`);
  if (got.body !== undefined) parts.push(got.body === "" ? "`Content-Length: 0`" : `body ${shown(got.body)}`);
  return parts.join(", ");
};

const instanceGets = (row: RequestRow): string => {
  if (row.shown !== undefined) return row.shown;
  if (typeof row.gets === "string") return row.gets;
  return row.gets.map(gotten).join("; ");
};

const statuses = (answers: readonly number[]): string => {
  if (answers.length === 0) return "none";
  const [first] = answers;
  return answers.length > 3 && answers.every((one) => one === first)
    ? `${answers.length} × ${first ?? ""}`
    : answers.join(", ");
};

const requestLine = (row: RequestRow): string =>
  `| ${cell(row.what)} | ${statuses(row.answers)} | ${row.connection} | ${cell(instanceGets(row))} |`;

const answerLine = (row: AnswerRow): string => {
  const gets =
    row.fields === undefined
      ? row.connection === "closed"
        ? "the beginning; then the connection ends"
        : "the gateway's own error"
      : [...row.fields.map(shown), row.body === "" ? "no body" : `body ${shown(row.body ?? "")}`].join(", ");
  const reused = row.reused === undefined ? "either" : row.reused ? "kept" : "closed";
  return `| ${cell(row.what)} | ${statuses(row.answers)} | ${cell(gets)} | ${row.connection} | ${reused} |`;
};

const chapter = (title: string, head: readonly string[], lines: readonly string[]): string[] => [
  `### ${title}`,
  "",
  `| ${head.join(" | ")} |`,
  `|${" --- |".repeat(head.length)}`,
  ...lines,
  "",
];

/** The whole page. */
export const renderHttpPage = (): string =>
  [
    "# HTTP at the gateway",
    "",
    "Generated from the tables in `test/http/` by `npm run gen`; do not edit. `test/http.test.ts` tries every row through a raw",
    "socket against an instance that keeps the bytes it got, so each line below is what happens.",
    "",
    "The gateway reads HTTP/1.1 (RFC 9110, 9112) strictly, and writes every request anew: an instance gets one form of each",
    "request, whatever the caller's looked like. What two parsers could read differently is refused, never repaired. Behind a",
    "refusal with a closed connection nothing more of that connection is read as a request.",
    "",
    "Every request an instance gets has `Host` (its own), `X-Request-Id`, `X-Request-Deadline-Ms` and `X-Forwarded-For`, set by",
    "the gateway; they are left out below. `X-Auth-Token` never crosses. A body is gathered and goes on with its length, whether",
    "it came in chunks or not; one over 256 KB is passed on as it came. Chunk extensions and trailers end at the gateway.",
    "Pipelined requests are run one after the other. A caller that closes its half of the connection counts as gone: what it",
    "asked for is cut off. A request that is answered before its end is read on for 5 s and 16 MB at most. Errors have the body",
    "described in [errors.md](errors.md).",
    "",
    "## What callers send",
    "",
    ...Object.entries({ ...REQUESTS, ...FIELDS, ...FRAMING }).flatMap(([title, rows]) =>
      chapter(title, ["Request", "Answer", "Connection", "The instance gets"], rows.map(requestLine)),
    ),
    "## What instances answer",
    "",
    "The fields the gateway adds (`X-Request-Id`, `Server-Timing`) are left out.",
    "",
    ...Object.entries(ANSWERS).flatMap(([title, rows]) =>
      chapter(
        title,
        [
          "Answer of the instance",
          "Status",
          "The caller gets",
          "Caller's connection",
          "Instance's connection",
        ],
        rows.map(answerLine),
      ),
    ),
  ].join("\n");

/**
 * Answers the gateway gives itself, and what every answer needs: a request id, a Date.
 */
import { randomFillSync } from "node:crypto";
import { renderGateway, renderIam } from "../contract/modelarts/errors.ts";
import type { Plane } from "../contract/modelarts/errors.ts";
import type { AppError } from "../core/errors.ts";
import type { Exchange } from "./exchange.ts";

const SANE_ID = /^[A-Za-z0-9_-]{1,128}$/;

const ID_BYTES = 16;
/** Random bytes for 256 ids at a time: one call for each id costs more than the rest of the id. */
const pool = Buffer.alloc(256 * ID_BYTES);
let poolAt = pool.length;

const newRequestId = (): string => {
  if (poolAt === pool.length) {
    randomFillSync(pool);
    poolAt = 0;
  }
  poolAt += ID_BYTES;
  return pool.toString("hex", poolAt - ID_BYTES, poolAt);
};

/** The caller's X-Request-Id when it is harmless in logs and headers, else a new one (32 hex, §7.1). */
export const requestIdOf = (given: string | undefined): string =>
  given !== undefined && SANE_ID.test(given) ? given : newRequestId();

let dateSecond = -1;
let dateText = "";
/** The Date field of this second, as a line (RFC 9110 §6.6.1). `now`: epoch ms. */
export const dateLine = (now: number): string => {
  const second = Math.floor(now / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = `Date: ${new Date(now).toUTCString()}\r\n`;
  }
  return dateText;
};

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  413: "Content Too Large",
  414: "URI Too Long",
  417: "Expectation Failed",
  429: "Too Many Requests",
  494: "Request Header Fields Too Large",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};
export const reasonOf = (status: number): string => REASONS[status] ?? "Refused";

/** Bodies by plane; the identity API (`/v3`) has an envelope of its own. */
export const renderError = (error: AppError, requestId: string, plane: Plane, target: string): string =>
  JSON.stringify(
    plane === "control" && /^\/v3(?:\.0)?\//.test(target)
      ? renderIam(error)
      : renderGateway(error, requestId, plane),
  );

export interface AnswerContext {
  readonly requestId: string;
  readonly plane: Plane;
  /** Epoch ms. */
  readonly now: number;
  /** Further header lines, each ended by CRLF. */
  readonly lines?: string;
}

/** Answers with a text; nothing may have been sent before. */
export const sendText = (
  exchange: Exchange,
  answer: { readonly status: number; readonly type: string; readonly text: string },
  context: Pick<AnswerContext, "requestId" | "now" | "lines">,
): void => {
  const body = Buffer.from(answer.text);
  exchange.sendHead(
    answer.status,
    reasonOf(answer.status),
    `${dateLine(context.now)}Content-Type: ${answer.type}\r\nX-Request-Id: ${context.requestId}\r\n${context.lines ?? ""}`,
    body.length,
  );
  exchange.end(body);
};

export const sendError = (exchange: Exchange, error: AppError, context: AnswerContext): void =>
  sendText(
    exchange,
    {
      status: error.status,
      type: "application/json",
      text: renderError(error, context.requestId, context.plane, exchange.target),
    },
    context,
  );

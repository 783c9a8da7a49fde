/**
 * Answers the gateway gives itself, and what every answer needs: a request id.
 */
import { randomFillSync } from "node:crypto";
import { renderGateway, renderIam } from "../contract/modelarts/errors.ts";
import type { Plane } from "../contract/modelarts/errors.ts";
import type { AppError } from "../core/errors.ts";
import { dateLine, reasonOf } from "../http/answer-head.ts";
import type { Exchange } from "../http/exchange.ts";

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

/**
 * Answers the gateway gives itself, and the two things every exchange needs around them: a request id and an orderly end
 * for a request body nobody wants.
 */
import { randomFillSync } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { renderGateway, renderIam } from "../contract/modelarts/errors.ts";
import type { Plane } from "../contract/modelarts/errors.ts";
import type { AppError } from "../core/errors.ts";
import type { Timer } from "./timer.ts";

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
export const requestIdOf = (request: Pick<IncomingMessage, "headers">): string => {
  const given = request.headers["x-request-id"];
  return typeof given === "string" && SANE_ID.test(given) ? given : newRequestId();
};

/** How long the rest of a refused request is read and thrown away before the connection is cut. */
const DISCARD_MS = 5_000;

/**
 * Reads on after an answer that came before the end of the request. Closing at once would reset the connection and
 * could take the answer from a client that is still writing.
 */
export const discardRest = (request: IncomingMessage, timer: Timer): void => {
  if (request.complete || request.destroyed) return;
  request.resume();
  const limit = timer.after(DISCARD_MS, () => request.socket.destroy());
  request.once("close", () => limit.cancel());
};

/** Bodies by plane; the identity API (`/v3`) has an envelope of its own. */
export const renderError = (error: AppError, requestId: string, plane: Plane, url: string): string =>
  JSON.stringify(
    plane === "control" && /^\/v3(?:\.0)?\//.test(url)
      ? renderIam(error)
      : renderGateway(error, requestId, plane),
  );

/** Sends an error; `fields` are additional header names and values. Nothing may have been sent before. */
export const sendError = (
  response: ServerResponse,
  error: AppError,
  context: { requestId: string; plane: Plane; url: string; fields?: readonly string[] },
): void => {
  const body = renderError(error, context.requestId, context.plane, context.url);
  response.writeHead(error.status, [
    "Content-Type",
    "application/json",
    "Content-Length",
    String(Buffer.byteLength(body)),
    "X-Request-Id",
    context.requestId,
    ...(context.fields ?? []),
  ]);
  response.end(body);
};

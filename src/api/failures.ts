/**
 * Turns whatever went wrong into the documented body of the API that was called, with the request id, and logs it. Only
 * AppErrors have texts callers may see; everything else is INTERNAL, and its details stay in the log.
 */
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { renderGateway, renderIam, renderModelArts } from "../contract/modelarts/errors.ts";
import { AppError, fail } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";

const SHOWN_LENGTH_MAX = 200;
const shown = (text: string): string =>
  text.length > SHOWN_LENGTH_MAX ? `${text.slice(0, SHOWN_LENGTH_MAX)}…` : text;

/** Fastify's own failures in our words. */
export const toAppError = (error: unknown, contentType: string | undefined): AppError => {
  if (error instanceof AppError) return error;
  const { code, statusCode, message } = error as Partial<FastifyError>;
  if (code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") {
    return fail("MEDIA_TYPE_UNSUPPORTED", { got: shown(contentType ?? "(none)") });
  }
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE") {
    return fail("BODY_TOO_LARGE", { limitBytes: LIMITS.jsonBodyBytes.value });
  }
  if (code?.startsWith("FST_ERR_") === true && statusCode !== undefined && statusCode < 500) {
    return fail("REQUEST_MALFORMED", { reason: shown(message ?? "The request cannot be read.") });
  }
  return fail(isDiskFull(error) ? "STORAGE_FULL" : "INTERNAL", {}, { cause: error });
};

/** How the file system (a quota too), SQLite and PostgreSQL say that there is no room. */
const FULL = new Set<unknown>(["ENOSPC", "EDQUOT", "53100"]);
/** SQLITE_FULL, and the variant of SQLITE_IOERR for an index that has no room to grow. */
const SQLITE_FULL = new Set<unknown>([13, 4874]);

const isDiskFull = (error: unknown): boolean =>
  error instanceof Error &&
  (("code" in error && FULL.has(error.code)) ||
    ("errcode" in error && SQLITE_FULL.has(error.errcode)) ||
    isDiskFull(error.cause));

/** The body for the API the path belongs to. */
const render = (error: AppError, url: string, requestId: string): object => {
  if (url.startsWith("/v3")) return renderIam(error);
  return url.startsWith("/v1/")
    ? renderModelArts(error, requestId)
    : renderGateway(error, requestId, "control");
};

export const sendError = (error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
  const known = toAppError(error, request.headers["content-type"]);
  if (known.status >= 500)
    request.log.error({ err: known.cause ?? known, code: known.code }, "request failed");
  else request.log.info({ code: known.code, status: known.status, reason: known.message }, "request refused");
  return reply
    .code(known.status)
    .header("X-Request-Id", request.id)
    .type("application/json; charset=utf-8")
    .send(render(known, request.url, request.id));
};

/** Answers paths that no route has. */
export const sendNotFound = (request: FastifyRequest, reply: FastifyReply): FastifyReply =>
  sendError(fail("API_NOT_FOUND", { path: shown(request.url.split("?")[0] ?? "/") }), request, reply);

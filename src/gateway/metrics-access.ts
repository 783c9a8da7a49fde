/**
 * Who may read /metrics. It tells names, versions and traffic of every tenant's services, so by default only a caller on
 * this machine gets it; a forwarding field means that somebody else asks through a proxy here. With a token set, whoever
 * sends it gets it, from anywhere, and nobody else.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { fail } from "../core/errors.ts";
import type { AppError } from "../core/errors.ts";
import type { Exchange } from "../http/exchange.ts";

const LOOPBACK = /^(?:127\.\d{1,3}\.\d{1,3}\.\d{1,3}|::1|::ffff:127\.\d{1,3}\.\d{1,3}\.\d{1,3})$/;
const FORWARDED = /^(?:forwarded|x-forwarded-for|x-real-ip|via)$/i;

/** Null: it may. */
export const refuseScrape = (
  request: Pick<Exchange, "fields" | "peer">,
  token: string | null,
): AppError | null => {
  const { fields, peer } = request;
  if (token === null) {
    const isForwarded = fields.some((name, index) => index % 2 === 0 && FORWARDED.test(name));
    return LOOPBACK.test(peer) && !isForwarded ? null : fail("METRICS_NOT_HERE", {});
  }
  const at = fields.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === "authorization");
  const [, given = ""] = /^Bearer +(\S+)$/i.exec(at < 0 ? "" : (fields[at + 1] ?? "")) ?? [];
  return timingSafeEqual(digest(given), digest(token)) ? null : fail("METRICS_TOKEN_WRONG", {});
};

/** Of equal length, whatever was sent. */
const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

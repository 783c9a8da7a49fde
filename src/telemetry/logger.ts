/** The logger every role gets: JSON lines (pino), constant messages with fields; never bodies, tokens or keys. */
import pino from "pino";
import type { DestinationStream, Logger } from "pino";

export type { Logger } from "pino";

export const createLogger = (
  role: string,
  level: "trace" | "debug" | "info" | "warn" | "error" | "silent",
  destination?: DestinationStream,
): Logger =>
  destination === undefined
    ? pino({ level, base: { role, pid: process.pid } })
    : pino({ level, base: { role, pid: process.pid } }, destination);

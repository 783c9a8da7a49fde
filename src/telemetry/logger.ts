/**
 * The logger every role gets: JSON lines (pino), constant messages with fields; never bodies, tokens or keys. Lines go to
 * standard output at once. pino's own destination ends the process when a line cannot be written; ours loses the line:
 * a role must not die, and die again after its restart, because the disk its log is on is full.
 */
import pino from "pino";
import type { DestinationStream, Logger } from "pino";
import { sayTo } from "./log-file.ts";

export type { Logger } from "pino";

const STDOUT: DestinationStream = { write: (line) => sayTo(1, line) };

export const createLogger = (
  role: string,
  level: "trace" | "debug" | "info" | "warn" | "error" | "silent",
  destination: DestinationStream = STDOUT,
): Logger => pino({ level, base: { role, pid: process.pid } }, destination);

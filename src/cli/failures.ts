/**
 * How a command fails: one error class, the exit codes and what they mean, and the reading of the API's error bodies.
 * Every failure names its cause and, where there is one, the next step.
 */
import type { Problem } from "../core/errors.ts";

/** Exit codes of every command; `modelport --help` and docs/cli.md print this table. */
export const EXIT_CODES = {
  ok: [0, "it worked"],
  failed: [1, "it failed: the work ended badly, or the platform or your model's code did"],
  usage: [2, "the command or the input is not valid"],
  notFound: [3, "no such thing in your project"],
  auth: [4, "not logged in, or not allowed"],
  conflict: [5, "it exists already, is in use, or is in a state that does not allow this"],
  timeout: [6, "it took longer than allowed"],
  unreachable: [7, "the platform cannot be reached"],
  busy: [8, "no capacity at the moment; trying again later may work"],
  interrupted: [130, "stopped by Ctrl-C before it was done"],
} as const satisfies Record<string, readonly [number, string]>;

export type Outcome = keyof typeof EXIT_CODES;

export interface CliErrorDetails {
  readonly next?: string | undefined;
  readonly code?: string | undefined;
  readonly problems?: readonly Problem[] | undefined;
  readonly requestId?: string | undefined;
  /** Further lines, such as the end of a log. */
  readonly detail?: string | undefined;
  readonly cause?: unknown;
  /** The command has printed its JSON document already; only the exit code is left to tell. */
  readonly isAnswered?: boolean;
  /** In place of the outcome's own: that of a program which was run. */
  readonly exitCode?: number;
}

/** A failure with everything the user is shown about it. */
export class CliError extends Error {
  readonly outcome: Exclude<Outcome, "ok">;
  readonly details: CliErrorDetails;

  constructor(outcome: Exclude<Outcome, "ok">, message: string, details: CliErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "CliError";
    this.outcome = outcome;
    this.details = details;
  }
}

export const exitCodeOf = ({ outcome, details }: CliError): number =>
  details.exitCode ?? EXIT_CODES[outcome][0];

/** Builds the error for a wrong command line. */
export const usage = (message: string, next?: string): CliError => new CliError("usage", message, { next });

/** Codes whose status says less than they mean: the state of a service is answered as 400 by the contract. */
const OUTCOME_OF_CODE: Readonly<Record<string, Exclude<Outcome, "ok">>> = {
  "ModelArts.3009": "conflict",
  "ModelArts.3515": "conflict",
  "ModelArts.3519": "conflict",
  "ModelArts.4203": "conflict",
};

const outcomeOf = (status: number, code: string | undefined): Exclude<Outcome, "ok"> => {
  const byCode = code === undefined || status === 401 ? undefined : OUTCOME_OF_CODE[code];
  if (byCode !== undefined) return byCode;
  if (status === 401 || status === 403) return "auth";
  if (status === 404) return "notFound";
  if (status === 409) return "conflict";
  if (status === 408 || status === 504) return "timeout";
  if (status === 429 || status === 503) return "busy";
  return status >= 400 && status < 500 ? "usage" : "failed";
};

const text = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? value : undefined;

const isProblem = (value: unknown): value is Problem =>
  typeof value === "object" && value !== null && "path" in value && "message" in value;

/** Reads an error answer of any of the platform's dialects: `{error_code,error_msg}` or IAM's `{error:{…}}`. */
export const apiFailure = (status: number, body: string, requestId: string | undefined): CliError => {
  let parsed: Record<string, unknown> = {};
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value === "object" && value !== null) parsed = value as Record<string, unknown>;
  } catch {
    // Not ours: a proxy in between or the user's own code; its first line is the best there is.
  }
  const iam =
    typeof parsed["error"] === "object" && parsed["error"] !== null
      ? (parsed["error"] as Record<string, unknown>)
      : {};
  const code = text(parsed["error_code"]) ?? text(iam["error_code"]) ?? text(parsed["erno"]);
  const message =
    text(parsed["error_msg"]) ??
    text(iam["message"]) ??
    text(parsed["erro_msg"]) ??
    // What a model's code answers when it fails: {erno, msg, error_info}.
    text(parsed["msg"]) ??
    (body.trim().split("\n")[0]?.slice(0, 300) || "The answer has no body.");
  const problems = Array.isArray(parsed["problems"]) ? parsed["problems"].filter(isProblem) : [];
  return new CliError(outcomeOf(status, code), message, {
    next: text(parsed["hint"]) ?? text(iam["hint"]),
    code: code ?? `HTTP ${status}`,
    problems,
    requestId: text(parsed["request_id"]) ?? requestId,
    detail: text(parsed["error_info"]),
  });
};

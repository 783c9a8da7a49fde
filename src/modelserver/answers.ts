/**
 * What callers of machine-learning engines get on the wire (contracts/model-service-runtime.md §3): status and body
 * for each outcome of a prediction. Pure.
 */
import type { JobOutcome } from "./pool.ts";

export interface WireAnswer {
  readonly status: number;
  readonly body: Buffer | string;
}

const failure = (status: number, erno: string, msg: string, errorInfo: string): WireAnswer => ({
  status,
  body: JSON.stringify({ erno, msg, error_info: errorInfo }),
});

/** `errorInfo`: whether callers see tracebacks; without it they see the exception's class and message. */
export const wireAnswer = (outcome: JobOutcome, errorInfo: boolean): WireAnswer => {
  switch (outcome.kind) {
    case "answer":
      return { status: 200, body: outcome.body };
    case "failed": {
      const info = errorInfo ? outcome.frame.traceback : outcome.frame.exception;
      switch (outcome.frame.kind) {
        case "input":
          return failure(500, "PY.0101", "Input data is invalid", info);
        case "lookup":
          return failure(400, "PY.0105", "Inference failed", info);
        case "code":
          return failure(500, "PY.0105", "Inference failed", info);
      }
      break;
    }
    case "timeout":
      return failure(
        504,
        "PY.0105",
        "Inference timed out",
        outcome.executing
          ? "The prediction did not end before its deadline; its worker is replaced."
          : "No worker was free before the deadline of the prediction.",
      );
    case "crashed": {
      const sentence = `The worker process ${outcome.message} while answering this prediction.`;
      return failure(
        500,
        "PY.0105",
        "Inference failed",
        errorInfo && outcome.fault !== "" ? `${sentence}\n${outcome.fault}` : sentence,
      );
    }
    case "unavailable":
      return failure(
        503,
        "PY.0105",
        "Inference failed",
        outcome.failure?.message ?? "The instance is being stopped.",
      );
  }
  throw new TypeError("unknown outcome");
};

/** Answers that are not predictions: wrong path, wrong method, too large. */
export const plainError = (msg: string, errorInfo: string): string =>
  JSON.stringify({ msg, error_info: errorInfo });

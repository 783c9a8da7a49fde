/**
 * What callers get on the wire (contracts/model-service-runtime.md §3): status and body for each outcome of a
 * prediction, by the kind of engine. Pure.
 */
import { requestForm } from "../core/engines.ts";
import type { EngineName } from "../core/engines.ts";
import type { Problem } from "../core/errors.ts";
import type { JobOutcome } from "./jobs.ts";

export interface WireAnswer {
  readonly status: number;
  readonly body: Buffer | string;
}

type Failed = "input" | "inference" | "timeout";

/** The two dialects of errors. Callers of deep-learning engines never see what user code raised; the log does. */
interface Dialect {
  readonly inputStatus: number;
  readonly texts: Readonly<Record<Failed, { readonly erno: string; readonly msg: string }>>;
  readonly body: (info: string | null) => Readonly<Record<string, unknown>>;
}

const MACHINE: Dialect = {
  inputStatus: 500,
  texts: {
    input: { erno: "PY.0101", msg: "Input data is invalid" },
    inference: { erno: "PY.0105", msg: "Inference failed" },
    timeout: { erno: "PY.0105", msg: "Inference timed out" },
  },
  body: (info) => ({ error_info: info ?? "" }),
};
const DEEP: Dialect = {
  inputStatus: 400,
  texts: {
    input: { erno: "MR.0101", msg: "The input parameter is invalid" },
    inference: { erno: "MR.0105", msg: "Recognition failed" },
    timeout: { erno: "MR.0105", msg: "Recognition timed out" },
  },
  body: (info) => ({ words_result: {}, ...(info === null ? {} : { error_info: info }) }),
};

/** `errorInfo`: whether callers see tracebacks; without it they see the exception's class and message. */
export const wireAnswer = (outcome: JobOutcome, errorInfo: boolean, engine: EngineName): WireAnswer => {
  const dialect = requestForm(engine) === "raw" ? MACHINE : DEEP;
  // What user code raised goes to callers of machine-learning engines only; what the platform has to say, to all.
  const raised = (status: number, kind: Failed, info: string): WireAnswer =>
    failure(status, kind, dialect === MACHINE ? info : null);
  const failure = (status: number, kind: Failed, info: string | null): WireAnswer => ({
    status,
    body: JSON.stringify({ ...dialect.texts[kind], ...dialect.body(info) }),
  });
  switch (outcome.kind) {
    case "answer":
      return { status: 200, body: outcome.body };
    case "failed": {
      const info = errorInfo ? outcome.frame.traceback : outcome.frame.exception;
      switch (outcome.frame.kind) {
        case "input":
          return raised(dialect.inputStatus, "input", info);
        case "lookup":
          return raised(400, "inference", info);
        case "code":
          return raised(500, "inference", info);
      }
      break;
    }
    case "timeout":
      return failure(
        504,
        "timeout",
        outcome.executing
          ? "The prediction did not end before its deadline; its worker is replaced."
          : "No worker was free before the deadline of the prediction.",
      );
    case "crashed": {
      const sentence = `The worker process ${outcome.message} while answering this prediction.`;
      return failure(
        500,
        "inference",
        errorInfo && outcome.fault !== "" ? `${sentence}\n${outcome.fault}` : sentence,
      );
    }
    case "unavailable":
      return failure(503, "inference", outcome.failure?.message ?? "The instance is being stopped.");
  }
  throw new TypeError("unknown outcome");
};

/** The answer to a form that breaks the rules; only deep-learning engines take forms. */
export const malformedInput = (): { readonly status: number; readonly body: string } => ({
  status: DEEP.inputStatus,
  body: JSON.stringify({ ...DEEP.texts.input, ...DEEP.body(null) }),
});

/** The answers to requests and by answers that break the JSON Schema of the version's `apis`; every violation under `problems`. */
const broken = (
  engine: EngineName,
  status: number,
  kind: Failed,
  sentence: string,
  problems: readonly Problem[],
): { readonly status: number; readonly body: string } => {
  const dialect = requestForm(engine) === "raw" ? MACHINE : DEEP;
  return {
    status,
    body: JSON.stringify({ ...dialect.texts[kind], ...dialect.body(sentence), problems }),
  };
};

const firstOf = (problems: readonly Problem[]): string => {
  const [first] = problems;
  if (first === undefined) return "";
  const rest = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
  return `${first.path} ${first.message}; ${first.fix}${rest}.`.trim();
};

/** The engine's own words for unusable input, always 400. */
export const refusedInput = (engine: EngineName, problems: readonly Problem[]) =>
  broken(engine, 400, "input", firstOf(problems), problems);

/** User code answered, and not as it promised. */
export const refusedAnswer = (engine: EngineName, problems: readonly Problem[]) =>
  broken(
    engine,
    500,
    "inference",
    `The answer is not as apis of config.json says: ${firstOf(problems)}`,
    problems,
  );

/** Answers that are not predictions: wrong path, wrong method, too large. */
export const plainError = (msg: string, errorInfo: string): string =>
  JSON.stringify({ msg, error_info: errorInfo });

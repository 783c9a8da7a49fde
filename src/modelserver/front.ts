/**
 * The instance's HTTP side: POST / predicts, GET /health and GET /stats tell the state, everything else is refused.
 * It owns requests and bodies; connections are the door's, and what becomes of a prediction is the pool's business.
 */
import type { Clock } from "../core/clock.ts";
import { requestForm } from "../core/engines.ts";
import type { EngineName, RequestForm } from "../core/engines.ts";
import type { HealthAnswer } from "../core/launch.ts";
import { dateLine, reasonOf } from "../http/answer-head.ts";
import type { Exchange, ExchangeListener } from "../http/exchange.ts";
import type { Span, SpanAttributes, Tracer } from "../telemetry/tracing.ts";
import { EventStream, takesEvents } from "./event-stream.ts";
import { malformedInput, plainError, refusedAnswer, refusedInput, wireAnswer } from "./answers.ts";
import type { AnswerCheck } from "./answer-check.ts";
import type { StepTimes } from "./measures.ts";
import { readMultipart } from "./multipart.ts";
import type { Multipart } from "./multipart.ts";
import type { JobOutcome, JobTiming } from "./jobs.ts";
import type { Pool } from "./pool.ts";
import type { RequestCheck } from "./request-check.ts";

export interface FrontDeps {
  readonly pool: Pick<Pool, "submit" | "health" | "stats" | "counters" | "decision">;
  readonly tracer: Tracer;
  readonly clock: Clock;
  /** Null: requests are handed on whatever they hold. */
  readonly checkRequest: RequestCheck | null;
  /** Null: so are answers. */
  readonly checkAnswer: AnswerCheck | null;
  /** Writes a line to the instance's log. */
  readonly log: (text: string) => void;
}

export interface FrontOptions {
  readonly predictTimeoutMs: number;
  readonly errorInfo: boolean;
  /** How its services take requests, and whose dialect errors are told in. */
  readonly engine: EngineName;
  readonly instanceId: string;
  readonly modelVersion: string;
  readonly serviceId?: string;
}

/** The gateway's limit is 12 MB; this one only protects the instance when something else calls it. */
const BODY_BYTES_MAX = 16 * 1024 * 1024;

export class Front {
  readonly #deps: FrontDeps;
  readonly #options: FrontOptions;
  readonly #spanAttributes: SpanAttributes;
  readonly #form: RequestForm;

  constructor(deps: FrontDeps, options: FrontOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#form = requestForm(options.engine);
    this.#spanAttributes = {
      "modelport.service": options.serviceId ?? "",
      "modelport.version": options.modelVersion,
      "modelport.instance": options.instanceId,
    };
  }

  handle(exchange: Exchange): void {
    const { target, method } = exchange;
    const mark = target.indexOf("?");
    const path = mark < 0 ? target : target.slice(0, mark);
    if (path === "/" && method === "POST")
      return this.#predict(exchange, mark < 0 ? "" : target.slice(mark + 1));
    if (path === "/health" && method === "GET") return this.#health(exchange);
    if (path === "/stats" && method === "GET")
      return this.#send(exchange, 200, JSON.stringify(this.#deps.pool.stats()));
    if (path === "/")
      return this.#send(
        exchange,
        405,
        plainError("Method Not Allowed", "Predictions are sent with POST to /."),
        "Allow: POST\r\n",
      );
    this.#send(
      exchange,
      404,
      plainError("Not Found", `This engine serves one API, at /; ${path} does not exist.`),
    );
  }

  #health(exchange: Exchange): void {
    const health = this.#deps.pool.health();
    const decision = this.#deps.pool.decision();
    const told = {
      counters: this.#deps.pool.counters(),
      ...(decision === null ? {} : { batching: decision }),
    };
    const answer: HealthAnswer =
      health.state === "ready"
        ? { status: "OK", ...told }
        : health.state === "starting"
          ? { status: "starting", ...told }
          : { status: "failed", failure: health.failure };
    this.#send(exchange, health.state === "ready" ? 200 : 503, JSON.stringify(answer));
  }

  #predict(exchange: Exchange, query: string): void {
    const arrivedAt = this.#deps.clock.monotonicMs();
    const { tracer } = this.#deps;
    const { known } = exchange;
    const span =
      tracer.isOn && known.traceparent !== undefined
        ? tracer.start("predict", known.traceparent, arrivedAt, this.#spanAttributes)
        : null;
    const limitMs = deadlineMs(known.deadlineMs, this.#options.predictTimeoutMs);
    if (Number(exchange.bodyLength ?? 0) > BODY_BYTES_MAX) return this.#tooLarge(exchange);
    if (exchange.expectsContinue) exchange.sendContinue();
    const events = takesEvents(known.accept) ? new EventStream(exchange) : null;
    exchange.listener = new Incoming(
      events,
      () => this.#tooLarge(exchange),
      (body, bodyBytes) => {
        const contentType = known.contentType ?? "";
        const form = this.#form === "fields" ? readForm(contentType, body) : null;
        if (form?.ok === false) {
          this.#deps.log(`a request was refused: its multipart body cannot be read: ${form.reason}`);
          const { status, body: text } = malformedInput();
          this.#send(exchange, status, text);
          return null;
        }
        const problems = this.#deps.checkRequest?.({ contentType, query, body, form }) ?? [];
        if (problems.length > 0) {
          const { status, body: text } = refusedInput(this.#options.engine, problems);
          this.#send(exchange, status, text);
          return null;
        }
        return this.#deps.pool.submit(
          {
            // The boundary has done its work.
            contentType: form === null ? contentType : "multipart/form-data",
            query,
            parts: form?.parts ?? [{ name: "", size: bodyBytes }],
            body: form?.contents ?? body,
            bodyBytes: form === null ? bodyBytes : form.parts.reduce((sum, part) => sum + part.size, 0),
            deadlineMs: Math.max(0, limitMs - (this.#deps.clock.monotonicMs() - arrivedAt)),
            items: events,
          },
          (outcome, timing) => {
            if (span !== null) this.#trace(span, outcome, timing);
            this.#answer(exchange, outcome, timing, events);
          },
        );
      },
    );
  }

  /** The worker's times are durations by its own clock; its share of the way there and back is halved around them. */
  #trace(span: Span, outcome: JobOutcome, timing: JobTiming): void {
    const endMs = this.#deps.clock.monotonicMs();
    const startedAt = endMs - timing.workerMs;
    span.child("queue", startedAt - timing.queueMs, startedAt);
    if (timing.steps !== null) {
      const receivedAt = startedAt + Math.max(0, timing.workerMs - timing.steps.totalMs) / 2;
      for (const step of timing.steps.steps) {
        span.child(step.name, receivedAt + step.startMs, Math.min(endMs, receivedAt + step.endMs));
      }
    }
    span.end({
      error: outcome.kind === "answer" ? null : outcome.kind,
      attributes: { "modelport.outcome": outcome.kind },
      endMs,
    });
  }

  #answer(exchange: Exchange, outcome: JobOutcome, timing: JobTiming, events: EventStream | null): void {
    if (events !== null && outcome.kind === "answer" && outcome.items !== undefined) return events.end();
    const problems = outcome.kind === "answer" ? (this.#deps.checkAnswer?.(outcome.body) ?? []) : [];
    const { status, body } =
      problems.length > 0
        ? refusedAnswer(this.#options.engine, problems)
        : wireAnswer(outcome, this.#options.errorInfo, this.#options.engine);
    if (events?.hasBegun === true) return events.fail(body);
    const steps = timing.steps === null ? "" : serverTiming(timing.steps);
    this.#send(
      exchange,
      status,
      body,
      `X-Modelserver-Timing: queue=${timing.queueMs.toFixed(2)},worker=${timing.workerMs.toFixed(2)}\r\n${steps}`,
    );
  }

  /** `lines`: further header lines, each ended by CRLF. What has not come of the request's body is thrown away. */
  #send(exchange: Exchange, status: number, body: Buffer | string, lines = ""): void {
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    const date = dateLine(this.#deps.clock.now());
    exchange.sendHead(
      status,
      reasonOf(status),
      `${date}Content-Type: application/json\r\n${lines}`,
      bytes.length,
    );
    exchange.end(bytes);
  }

  #tooLarge(exchange: Exchange): void {
    this.#send(
      exchange,
      413,
      plainError("Payload Too Large", `The request body exceeds ${BODY_BYTES_MAX} bytes.`),
    );
  }
}

/** What to call when the caller is gone; null when there is nobody to wait any more. */
type CallerGone = (() => void) | null;

/** The body of a prediction as it comes in, then its caller. */
class Incoming implements ExchangeListener {
  readonly #events: EventStream | null;
  readonly #tooLarge: () => void;
  readonly #received: (body: readonly Buffer[], bodyBytes: number) => CallerGone;
  readonly #body: Buffer[] = [];
  #bytes = 0;
  #callerGone: CallerGone = null;

  constructor(
    events: EventStream | null,
    tooLarge: () => void,
    received: (body: readonly Buffer[], bodyBytes: number) => CallerGone,
  ) {
    this.#events = events;
    this.#tooLarge = tooLarge;
    this.#received = received;
  }

  onBody(chunk: Buffer): void {
    if (this.#bytes > BODY_BYTES_MAX) return;
    this.#bytes += chunk.length;
    if (this.#bytes > BODY_BYTES_MAX) this.#tooLarge();
    else this.#body.push(chunk);
  }

  onBodyEnd(): void {
    if (this.#bytes <= BODY_BYTES_MAX) this.#callerGone = this.#received(this.#body, this.#bytes);
  }

  onDrain(): void {
    this.#events?.onDrain();
  }

  onClose(isWhole: boolean): void {
    if (!isWhole) this.#callerGone?.();
  }
}

const serverTiming = (times: StepTimes): string => {
  const steps = times.steps.map((step) => `${step.name};dur=${(step.endMs - step.startMs).toFixed(2)}`);
  return `Server-Timing: ${steps.join(", ")}\r\n`;
};

/**
 * Who names a deadline answers its caller at that moment by itself. Ending the worker a little later leaves that answer
 * to it, so a caller of the gateway always reads the same one instead of whichever of two timers was first.
 */
const CALLER_FIRST_MS = 250;

/** Remaining time as the gateway gives it; never more than the instance's own limit. */
const deadlineMs = (header: string | undefined, limitMs: number): number => {
  if (header === undefined || !/^\d{1,9}$/.test(header)) return limitMs;
  return Math.min(Number(header), limitMs) + CALLER_FIRST_MS;
};

/** The parts of a form; null for anything else, which is then not copied into one piece. */
const readForm = (contentType: string, body: readonly Buffer[]): Multipart | null =>
  /^\s*multipart\/form-data\b/i.test(contentType)
    ? readMultipart(contentType, body.length === 1 && body[0] !== undefined ? body[0] : Buffer.concat(body))
    : null;

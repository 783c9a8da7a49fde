/**
 * The instance's HTTP side: POST / predicts, GET /health and GET /stats tell the state, everything else is refused.
 * It owns connections and bodies; what becomes of a prediction is the pool's business.
 */
import { Server as NetServer } from "node:net";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Clock } from "../core/clock.ts";
import { requestForm } from "../core/engines.ts";
import type { EngineName, RequestForm } from "../core/engines.ts";
import type { HealthAnswer } from "../core/launch.ts";
import type { Span, SpanAttributes, Tracer } from "../telemetry/tracing.ts";
import { EventStream, takesEvents } from "./event-stream.ts";
import { malformedInput, plainError, refusedAnswer, refusedInput, wireAnswer } from "./answers.ts";
import type { AnswerCheck } from "./answer-check.ts";
import type { StepTimes } from "./measures.ts";
import { readMultipart } from "./multipart.ts";
import type { Multipart } from "./multipart.ts";
import type { JobOutcome, JobTiming, Pool } from "./pool.ts";
import type { RequestCheck } from "./request-check.ts";
import type { Timers } from "./timers.ts";

export interface FrontDeps {
  readonly pool: Pick<Pool, "submit" | "health" | "stats" | "counters">;
  readonly tracer: Tracer;
  readonly clock: Clock;
  readonly timers: Timers;
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

// An `import` of node:http makes node run all its lazy exports, WebSocket among them: twice the start-up time and 15 MB
// more memory for something no instance uses. Asked for this way it comes without them.
const { createServer } = process.getBuiltinModule("node:http");

/** The gateway's limit is 12 MB; this one only protects the instance when something else calls it. */
const BODY_BYTES_MAX = 16 * 1024 * 1024;
/** How long idle connections stay open after the listener closed, for requests that were already on their way. */
const LINGER_MS = 250;

export class Front {
  readonly server: Server;
  readonly #deps: FrontDeps;
  readonly #options: FrontOptions;
  readonly #spanAttributes: SpanAttributes;
  readonly #form: RequestForm;
  #draining = false;
  #open = 0;
  #whenClosed: (() => void) | null = null;

  constructor(deps: FrontDeps, options: FrontOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#form = requestForm(options.engine);
    this.#spanAttributes = {
      "modelport.service": options.serviceId ?? "",
      "modelport.version": options.modelVersion,
      "modelport.instance": options.instanceId,
    };
    this.server = createServer({ keepAliveTimeout: 0, noDelay: true }, (req, res) => this.#handle(req, res));
  }

  /** Stops listening and closes connections once their requests are answered; resolves when none is open. */
  drain(): Promise<void> {
    this.#draining = true;
    return new Promise((resolve) => {
      // Not http.Server.close: that one also destroys idle connections, with whatever request is already in the pipe.
      NetServer.prototype.close.call(this.server);
      this.#deps.timers.after(LINGER_MS, () => {
        this.#whenClosed = resolve;
        this.#closeIfDone();
      });
    });
  }

  #closeIfDone(): void {
    if (this.#whenClosed === null || this.#open > 0) return;
    this.server.closeAllConnections();
    this.#whenClosed();
  }

  #handle(req: IncomingMessage, res: ServerResponse): void {
    this.#open++;
    res.on("close", () => {
      this.#open--;
      this.#closeIfDone();
    });
    if (this.#draining) res.setHeader("Connection", "close");
    const url = req.url ?? "/";
    const mark = url.indexOf("?");
    const path = mark < 0 ? url : url.slice(0, mark);
    if (path === "/") {
      if (req.method === "POST") return this.#predict(req, res, mark < 0 ? "" : url.slice(mark + 1));
      res.setHeader("Allow", "POST");
      return refuse(req, res, 405, plainError("Method Not Allowed", "Predictions are sent with POST to /."));
    }
    if (path === "/health" && req.method === "GET") return this.#health(req, res);
    if (path === "/stats" && req.method === "GET") {
      return refuse(req, res, 200, JSON.stringify(this.#deps.pool.stats()));
    }
    refuse(
      req,
      res,
      404,
      plainError("Not Found", `This engine serves one API, at /; ${path} does not exist.`),
    );
  }

  #health(req: IncomingMessage, res: ServerResponse): void {
    const health = this.#deps.pool.health();
    const counters = this.#deps.pool.counters();
    const answer: HealthAnswer =
      health.state === "ready"
        ? { status: "OK", counters }
        : health.state === "starting"
          ? { status: "starting", counters }
          : { status: "failed", failure: health.failure };
    refuse(req, res, health.state === "ready" ? 200 : 503, JSON.stringify(answer));
  }

  #predict(req: IncomingMessage, res: ServerResponse, query: string): void {
    const arrivedAt = this.#deps.clock.monotonicMs();
    const { tracer } = this.#deps;
    const parent = tracer.isOn ? req.headers["traceparent"] : undefined;
    const span =
      typeof parent === "string" ? tracer.start("predict", parent, arrivedAt, this.#spanAttributes) : null;
    const limitMs = deadlineMs(req.headers["x-request-deadline-ms"], this.#options.predictTimeoutMs);
    if (Number(req.headers["content-length"] ?? 0) > BODY_BYTES_MAX) return tooLarge(req, res);
    const body: Buffer[] = [];
    let bodyBytes = 0;
    let callerGone = (): void => {};
    // A request that fails half-way (caller gone) ends in `close` of the response; nothing more to do here.
    req.on("error", () => {});
    req.on("data", (chunk: Buffer) => {
      bodyBytes += chunk.length;
      if (bodyBytes > BODY_BYTES_MAX) {
        req.removeAllListeners("data").removeAllListeners("end");
        return tooLarge(req, res);
      }
      body.push(chunk);
    });
    const events = takesEvents(req.headers.accept) ? new EventStream(res) : null;
    req.on("end", () => {
      const contentType = req.headers["content-type"] ?? "";
      const form = this.#form === "fields" ? readForm(contentType, body) : null;
      if (form?.ok === false) {
        this.#deps.log(`a request was refused: its multipart body cannot be read: ${form.reason}`);
        const { status, body: text } = malformedInput();
        return refuse(req, res, status, text);
      }
      const problems = this.#deps.checkRequest?.({ contentType, query, body, form }) ?? [];
      if (problems.length > 0) {
        const { status, body: text } = refusedInput(this.#options.engine, problems);
        return refuse(req, res, status, text);
      }
      callerGone = this.#deps.pool.submit(
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
          this.#answer(res, outcome, timing, events);
        },
      );
    });
    res.on("close", () => {
      if (!res.writableFinished) callerGone();
    });
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

  #answer(res: ServerResponse, outcome: JobOutcome, timing: JobTiming, events: EventStream | null): void {
    if (res.destroyed) return;
    if (events !== null && outcome.kind === "answer" && outcome.items !== undefined) return events.end();
    const problems = outcome.kind === "answer" ? (this.#deps.checkAnswer?.(outcome.body) ?? []) : [];
    const { status, body } =
      problems.length > 0
        ? refusedAnswer(this.#options.engine, problems)
        : wireAnswer(outcome, this.#options.errorInfo, this.#options.engine);
    if (events?.hasBegun === true) return events.fail(body);
    if (this.#draining) res.setHeader("Connection", "close");
    res.writeHead(status, {
      "Content-Type": "application/json",
      "Content-Length": Buffer.byteLength(body),
      "X-Modelserver-Timing": `queue=${timing.queueMs.toFixed(2)},worker=${timing.workerMs.toFixed(2)}`,
      ...(timing.steps === null ? {} : { "Server-Timing": serverTiming(timing.steps) }),
    });
    res.end(body);
  }
}

const serverTiming = (times: StepTimes): string =>
  times.steps.map((step) => `${step.name};dur=${(step.endMs - step.startMs).toFixed(2)}`).join(", ");

/**
 * Who names a deadline answers its caller at that moment by itself. Ending the worker a little later leaves that answer
 * to it, so a caller of the gateway always reads the same one instead of whichever of two timers was first.
 */
const CALLER_FIRST_MS = 250;

/** Remaining time as the gateway gives it; never more than the instance's own limit. */
const deadlineMs = (header: string | string[] | undefined, limitMs: number): number => {
  if (typeof header !== "string" || !/^\d{1,9}$/.test(header)) return limitMs;
  return Math.min(Number(header), limitMs) + CALLER_FIRST_MS;
};

/** The parts of a form; null for anything else, which is then not copied into one piece. */
const readForm = (contentType: string, body: readonly Buffer[]): Multipart | null =>
  /^\s*multipart\/form-data\b/i.test(contentType)
    ? readMultipart(contentType, body.length === 1 && body[0] !== undefined ? body[0] : Buffer.concat(body))
    : null;

/** Answers without reading the body any further than node must. */
const refuse = (req: IncomingMessage, res: ServerResponse, status: number, body: string): void => {
  req.resume();
  res.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
  res.end(body);
};

const tooLarge = (req: IncomingMessage, res: ServerResponse): void => {
  // The rest of the body is not read, so the connection cannot be used again.
  res.setHeader("Connection", "close");
  const text = `The request body exceeds ${BODY_BYTES_MAX} bytes.`;
  refuse(req, res, 413, plainError("Payload Too Large", text));
};

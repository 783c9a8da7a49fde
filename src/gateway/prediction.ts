/**
 * One prediction from head to record:
 *
 *   arrived → authenticated → routed → gathering the body → (waiting ⇄) admitted → sent → answering → over
 *
 * Every exit goes through #abandon (what is held is given back, once) and ends in onClose (the record). A body is
 * gathered before a slot is taken, so a caller that sends slowly costs no instance anything; of a body larger than
 * HELD_PER_REQUEST_MAX that much, the rest is streamed and has to keep coming. What a caller does not take of its answer
 * is put aside (answer-spool.ts), so a caller that reads slowly costs no instance anything either: the slot is free when
 * the instance is done, and the rest leaves without it. Where there is no room, each direction pauses its source while
 * its sink is full.
 *
 * Sent again, to any instance: when no connection came about, and, once, when a *reused* connection was lost before the
 * answer's first byte, right after the request was written: that is the server closing an idle connection in this very
 * moment, not a model at work (upstream.ts). What was streamed cannot be sent again and uses a fresh connection.
 * Never otherwise: a model may have run.
 */
import { fail } from "../core/errors.ts";
import type { AppError } from "../core/errors.ts";
import type { Clock } from "../core/clock.ts";
import type { Span, Tracer } from "../telemetry/tracing.ts";
import type { GroupState, InstanceState, Waiter } from "./admit.ts";
import { AnswerSpool } from "./answer-spool.ts";
import type { SpoolDeps } from "./answer-spool.ts";
import { dateLine } from "../http/answer-head.ts";
import { requestIdOf, sendError } from "./answer.ts";
import type { AnswerHead } from "./answer-parser.ts";
import type { Authenticator, Caller } from "./authenticate.ts";
import type { Exchange, ExchangeListener } from "../http/exchange.ts";
import { forwardedFor, requestLines } from "./headers.ts";
import { GatheredBody, HELD_PER_REQUEST_MAX } from "./held-bytes.ts";
import type { HeldBytes } from "./held-bytes.ts";
import type { Metrics, Outcome, Owner } from "./metrics.ts";
import { outcomeOf } from "./record.ts";
import type { AccessLog } from "./record.ts";
import type { ServiceState, Table } from "./table.ts";
import type { Timer, TimerHandle } from "./timer.ts";
import type { UpstreamConnection, UpstreamFailure, UpstreamListener } from "./upstream.ts";
import type { Tally } from "./usage.ts";

export interface PredictionDeps {
  readonly table: Table;
  readonly authenticator: Authenticator;
  readonly metrics: Metrics;
  readonly accessLog: AccessLog;
  readonly usage: Tally;
  readonly held: HeldBytes;
  readonly spool: SpoolDeps;
  readonly tracer: Tracer;
  readonly clock: Clock;
  readonly timer: Timer;
  readonly bodyBytesMax: number;
  readonly predictTimeoutMs: number;
}

/** What a caller is told when no instance is ready; the next table may come any moment. */
const NO_INSTANCE_RETRY_SECONDS = 2;
const REPEATABLE = new Set(["GET", "HEAD", "OPTIONS"]);
const WITH_EMPTY_BODY = new Set(["POST", "PUT", "PATCH"]);
/** A reused connection lost later than this after the request was written was not lost to the keep-alive race. */
const RACE_MS = 1_000;
/**
 * How fast a body has to come, and an answer to be read, while it costs others something: while it holds a slot and none
 * is left, and while memory for bodies is tight. Looked at this often.
 */
const PACE_MS = 5_000;
const PACE_BYTES = 5 * 16 * 1024;
/** A caller that takes nothing of an answer for so long, when its instance is done, does not want the rest. */
const TAKE_MS = 30_000;

const ownerOfAnswer = (status: number): Owner =>
  status >= 500 ? "upstream" : status >= 400 ? "client" : "none";
const tenths = (ms: number): number => Math.round(ms * 10) / 10;

export class Prediction implements Waiter, UpstreamListener, ExchangeListener {
  readonly #deps: PredictionDeps;
  readonly #exchange: Exchange;
  readonly #target: { readonly serviceId: string; readonly path: string };
  readonly #requestId: string;
  readonly #startedAt: number;
  /** Null: not traced. */
  readonly #span: Span | null;
  #deadline: TimerHandle | null = null;

  #caller: Caller | null = null;
  #service: ServiceState | null = null;
  #group: GroupState | null = null;
  #isWaiting = false;
  #instance: InstanceState | null = null;
  #instanceId: string | null = null;
  #connection: UpstreamConnection | null = null;
  #attempts = 0;
  #dials = 0;
  #hasRaced = false;

  /** The body as far as it is kept, to be sent (again). */
  readonly #body = new GatheredBody();
  #phase: "gathering" | "gathered" | "streaming" | "over" = "gathering";
  #pace: TimerHandle | null = null;
  #bytesIn = 0;
  #bytesOut = 0;
  #isReaderWatched = false;
  /** From when the caller first did not take its answer. */
  #spool: AnswerSpool | null = null;
  /** The instance is done, and the rest of its answer leaves as the caller takes it. */
  #isLeaving = false;
  /** The end of the answer, between onBody and the onComplete that follows at once. */
  #lastChunk: Buffer | null = null;

  #authenticatedAt = 0;
  #admittedAt = 0;
  #sentAt = 0;
  #headAt = 0;
  #error: AppError | null = null;
  /** Set when the answer is cut off after its head. */
  #cutBy: Owner | null = null;

  constructor(
    deps: PredictionDeps,
    exchange: Exchange,
    target: { readonly serviceId: string; readonly path: string },
  ) {
    this.#deps = deps;
    this.#exchange = exchange;
    this.#target = target;
    this.#requestId = requestIdOf(exchange.known.requestId);
    this.#startedAt = deps.clock.monotonicMs();
    this.#span = deps.tracer.start("prediction", exchange.known.traceparent, this.#startedAt);
  }

  start(): void {
    const { deps, exchange } = { deps: this.#deps, exchange: this.#exchange };
    exchange.listener = this;
    this.#deadline = deps.timer.after(deps.predictTimeoutMs, () => this.#onDeadline());
    if (deps.table.version === null) return this.#fail(fail("NOT_READY", {}), 1);
    const verdict = deps.authenticator.authenticate(exchange.known.token, deps.table.trust);
    this.#authenticatedAt = deps.clock.monotonicMs();
    if (!verdict.ok) return this.#fail(verdict.error);
    this.#caller = verdict.caller;
    const service = deps.table.service(this.#target.serviceId);
    // Another project's service does not exist for this caller: the same bytes as for an id nobody has.
    if (service === undefined || service.route.projectId !== verdict.caller.project) {
      return this.#fail(fail("ROUTE_NOT_FOUND", {}));
    }
    this.#service = service;
    const { bodyLength } = exchange;
    if (bodyLength === 0) {
      this.#phase = "gathered";
      return this.#seek();
    }
    if (bodyLength !== null && bodyLength > deps.bodyBytesMax) return this.#fail(this.#tooLarge());
    // What would be refused anyway is refused before its body is read.
    const refusal = this.#refusal();
    if (refusal !== null) return refusal();
    if (exchange.expectsContinue) exchange.sendContinue();
  }

  #tooLarge(): AppError {
    return fail("BODY_TOO_LARGE", { limitBytes: this.#deps.bodyBytesMax });
  }

  // --- the request's body -----------------------------------------------------------------------------------------

  onBody(chunk: Buffer): void {
    this.#bytesIn += chunk.length;
    if (this.#phase === "over" || this.#phase === "gathered") return;
    if (this.#bytesIn > this.#deps.bodyBytesMax) return this.#fail(this.#tooLarge());
    if (this.#phase === "streaming" && this.#connection !== null && this.#sentAt > 0) {
      if (!this.#connection.writeBody(chunk)) this.#exchange.pauseBody();
      return;
    }
    if (!this.#deps.held.tryAdd(chunk.length)) {
      const id = this.#service?.route.id ?? "";
      return this.#fail(fail("QUEUE_FULL", { id, retryAfterSeconds: 1 }), 1);
    }
    this.#body.add(chunk);
    if (this.#pace === null && this.#bytesIn !== this.#exchange.bodyLength) this.#watchPace(0);
    if (this.#phase !== "gathering" || this.#body.bytes < HELD_PER_REQUEST_MAX) return;
    if (this.#bytesIn === this.#exchange.bodyLength) return;
    this.#phase = "streaming";
    this.#exchange.pauseBody();
    this.#seek();
  }

  onBodyEnd(): void {
    if (this.#phase === "gathering") {
      this.#phase = "gathered";
      this.#seek();
    } else if (this.#phase === "streaming") {
      this.#pace?.cancel();
      if (this.#connection !== null && this.#sentAt > 0) this.#connection.endRequest();
    }
  }

  #letGo(): void {
    this.#deps.held.remove(this.#body.bytes);
    this.#body.clear();
  }

  // --- admission --------------------------------------------------------------------------------------------------

  /** How the table of this moment would refuse the request, or null when a group takes requests. */
  #refusal(): (() => void) | null {
    const service = this.#deps.table.service(this.#target.serviceId);
    if (service === undefined) return () => this.#fail(fail("ROUTE_NOT_FOUND", {}));
    this.#service = service;
    const { id, state } = service.route;
    if (state === "stopped") return () => this.#fail(fail("SERVICE_STOPPED", { id }));
    return null;
  }

  /** Asks the table of this moment for a group and the group for a slot. */
  #seek(): void {
    const refusal = this.#refusal();
    if (refusal !== null) return refusal();
    const service = this.#service;
    const id = service?.route.id ?? "";
    const group = service?.choose() ?? null;
    if (group === null) return this.#fail(fail("NO_INSTANCE", { id }), NO_INSTANCE_RETRY_SECONDS);
    this.#group = group;
    const instance = group.take();
    if (instance !== null) return this.admitted(instance);
    // Set before: a slot may have been freed by another thread in this moment.
    this.#isWaiting = true;
    if (group.wait(this)) return;
    this.#isWaiting = false;
    this.#refuse(group, id);
  }

  #refuse(group: GroupState, id: string): void {
    const retryAfterSeconds = group.turnAway();
    this.#fail(fail("QUEUE_FULL", { id, retryAfterSeconds }), retryAfterSeconds);
  }

  expired(): void {
    this.#isWaiting = false;
    if (this.#group !== null) this.#refuse(this.#group, this.#target.serviceId);
  }

  rerouted(): void {
    this.#isWaiting = false;
    this.#seek();
  }

  admitted(instance: InstanceState): void {
    this.#isWaiting = false;
    this.#instance = instance;
    this.#instanceId = instance.id;
    this.#admittedAt = this.#deps.clock.monotonicMs();
    this.#attempts += 1;
    const { pool } = instance;
    this.#connection = this.#hasRaced || this.#phase === "streaming" ? pool.fresh() : pool.take();
    this.#connection.begin(this, this.#exchange.method);
  }

  #release(wasUsed: boolean): void {
    const { instance, group } = { instance: this.#instance, group: this.#group };
    this.#instance = null;
    if (instance === null || group === null) return;
    group.release(instance, wasUsed ? this.#deps.clock.monotonicMs() - this.#admittedAt : null);
  }

  // --- request, towards the instance ------------------------------------------------------------------------------

  onReady(): void {
    const { connection, instance } = { connection: this.#connection, instance: this.#instance };
    if (connection === null || instance === null) return;
    this.#sentAt = this.#deps.clock.monotonicMs();
    const length = this.#phase === "gathered" ? this.#body.bytes : this.#exchange.bodyLength;
    connection.send(this.#head(instance.pool.authority, length), this.#body.chunks, length === null);
    if (this.#phase === "gathered" || this.#exchange.isReceived) return connection.endRequest();
    // From here on the body passes through; what was kept is on its way.
    this.#letGo();
    this.#watchPace(this.#bytesIn);
    this.#exchange.resumeBody();
  }

  /** Looks after a body that has not come whole: slow is fine as long as it costs nobody anything. */
  #watchPace(bytesBefore: number): void {
    this.#pace?.cancel();
    this.#pace = this.#deps.timer.after(PACE_MS, () => {
      if (this.#exchange.isReceived || this.#phase === "over" || this.#isWaiting) return;
      const costsOthers = this.#phase === "streaming" ? this.#holdsLastSlot : this.#deps.held.isTight;
      const isSlow = this.#bytesIn - bytesBefore < PACE_BYTES && this.#connection?.isBlocked !== true;
      if (costsOthers && isSlow) return this.#fail(fail("REQUEST_INCOMPLETE", { limitMs: PACE_MS }));
      this.#watchPace(this.#bytesIn);
    });
  }

  /** The same for a caller that does not read, when no more of its answer can be put aside. */
  #watchReader(bytesBefore: number): void {
    this.#pace?.cancel();
    this.#pace = this.#deps.timer.after(PACE_MS, () => {
      if (this.#phase === "over" || this.#connection === null) return;
      const isSlow = this.#spool?.isPaused === true && this.#bytesOut - bytesBefore < PACE_BYTES;
      if (this.#holdsLastSlot && isSlow) return this.#cut("client");
      this.#watchReader(this.#bytesOut);
    });
  }

  /** A rest that nobody takes is not kept. */
  #watchLeaving(spool: AnswerSpool, takenBefore: number): void {
    this.#pace?.cancel();
    this.#pace = this.#deps.timer.after(TAKE_MS, () => {
      // The last piece of all has the door's own time.
      if (this.#exchange.isEnded) return;
      if (spool.taken === takenBefore) return this.#cut("client");
      this.#watchLeaving(spool, spool.taken);
    });
  }

  /** The group has no slot left, so others wait for the one held here. */
  get #holdsLastSlot(): boolean {
    return this.#instance !== null && this.#group?.isFull === true;
  }

  #head(authority: string, length: number | null): string {
    const { method, fields, known, peer } = this.#exchange;
    const remaining = Math.max(1, Math.round(this.#deps.predictTimeoutMs - (this.#sentAt - this.#startedAt)));
    const framing =
      length === null
        ? "Transfer-Encoding: chunked\r\n"
        : length > 0 || WITH_EMPTY_BODY.has(method)
          ? `Content-Length: ${length}\r\n`
          : "";
    return `${method} ${this.#target.path} HTTP/1.1\r\nHost: ${authority}\r\n${requestLines(fields, known, this.#span)}X-Request-Id: ${this.#requestId}\r\nX-Request-Deadline-Ms: ${remaining}\r\nX-Forwarded-For: ${forwardedFor(known, peer)}\r\n${framing}\r\n`;
  }

  /** The instance takes bytes again. */
  onWritable(): void {
    if (this.#phase === "streaming") this.#exchange.resumeBody();
  }

  // --- answer, towards the caller ---------------------------------------------------------------------------------

  onHead(head: AnswerHead): void {
    this.#headAt = this.#deps.clock.monotonicMs();
    this.#letGo();
    const date = head.hasDate ? "" : dateLine(this.#deps.clock.now());
    const lines = `${head.lines}${date}X-Request-Id: ${this.#requestId}\r\nServer-Timing: ${this.#serverTiming(this.#headAt)}\r\n`;
    this.#exchange.sendHead(head.status, head.reason, lines, head.length);
  }

  onAnswer(chunk: Buffer, isLast: boolean): void {
    this.#bytesOut += chunk.length;
    if (isLast) this.#lastChunk = chunk;
    else if (this.#spool === null) {
      if (!this.#exchange.write(chunk)) this.#spool = this.#openSpool();
    } else if (!this.#spool.add(chunk)) {
      this.#connection?.pause();
      if (!this.#isReaderWatched) this.#watchReader(this.#bytesOut);
      this.#isReaderWatched = true;
    }
  }

  #openSpool(): AnswerSpool {
    return new AnswerSpool(this.#deps.spool, this.#exchange, {
      onRoom: () => this.#connection?.resume(),
      onLost: () => this.#cut("platform"),
    });
  }

  onRead(): void {
    this.#exchange.flush();
  }

  /** The caller takes bytes again. */
  onDrain(): void {
    this.#spool?.onDrain();
  }

  onComplete(): void {
    this.#connection = null;
    this.#phase = "over";
    this.#instance?.answered();
    this.#release(true);
    const spool = this.#spool;
    if (spool === null) return this.#exchange.end(this.#lastChunk);
    this.#pace?.cancel();
    this.#isLeaving = true;
    if (!spool.isEmpty) this.#watchLeaving(spool, spool.taken);
    spool.end(this.#lastChunk);
  }

  onFailure(failure: UpstreamFailure): void {
    this.#connection = null;
    const isSent = this.#sentAt > 0;
    const isRepeatable = !isSent || this.#phase === "gathered";
    this.#sentAt = isRepeatable ? 0 : this.#sentAt;
    switch (failure.kind) {
      case "dial":
        this.#instance?.failed("dial");
        this.#release(false);
        this.#dials += 1;
        if (this.#dials <= Math.max(1, this.#group?.instances.length ?? 1)) return this.#seek();
        return failure.isTls
          ? this.#fail(fail("UPSTREAM_NOT_TLS", {}, { cause: failure.cause }))
          : this.#fail(fail("UPSTREAM_REFUSED", {}, { cause: failure.cause }), 1);
      case "lost":
        this.#instance?.failed("reset");
        this.#release(false);
        if (failure.reused && isRepeatable && this.#isRace()) {
          this.#hasRaced = true;
          return this.#seek();
        }
        return this.#fail(fail("UPSTREAM_BROKEN", {}, { cause: failure.cause }));
      case "broken":
        this.#instance?.failed("broken");
        return this.#fail(fail("UPSTREAM_BROKEN", {}, { cause: failure.cause }));
    }
  }

  #isRace(): boolean {
    if (this.#hasRaced) return false;
    return (
      REPEATABLE.has(this.#exchange.method) || this.#deps.clock.monotonicMs() - this.#admittedAt < RACE_MS
    );
  }

  #serverTiming(now: number): string {
    const t = this.#durations(now);
    return `auth;dur=${t.auth}, queue;dur=${t.queue}, upstream;dur=${t.upstream}, total;dur=${t.total}`;
  }

  /** Phases that were not reached count as 0. */
  #durations(now: number): { auth: number; queue: number; upstream: number; total: number } {
    const authenticated = this.#authenticatedAt || now;
    const admitted = this.#admittedAt || (this.#group === null ? authenticated : now);
    return {
      auth: tenths(authenticated - this.#startedAt),
      queue: tenths(admitted - authenticated),
      upstream: this.#admittedAt === 0 ? 0 : tenths((this.#headAt || now) - this.#admittedAt),
      total: tenths(now - this.#startedAt),
    };
  }

  // --- ends -------------------------------------------------------------------------------------------------------

  /** Gives back whatever is held: the connection, the slot, the place in the queue, the body. */
  #abandon(): void {
    this.#phase = "over";
    this.#pace?.cancel();
    this.#spool?.destroy();
    const connection = this.#connection;
    this.#connection = null;
    connection?.destroy();
    this.#letGo();
    this.#release(false);
    if (this.#isWaiting) {
      this.#isWaiting = false;
      this.#group?.leave(this);
    }
  }

  #fail(error: AppError, retryAfterSeconds: number | null = null): void {
    this.#abandon();
    this.#error = error;
    if (this.#exchange.isHeadSent) {
      // The head has promised another answer; only a cut connection tells the caller that it did not come.
      return this.#cut(error.owner);
    }
    const { clock } = this.#deps;
    const retryAfter = retryAfterSeconds === null ? "" : `Retry-After: ${retryAfterSeconds}\r\n`;
    sendError(this.#exchange, error, {
      requestId: this.#requestId,
      plane: "inference",
      now: clock.now(),
      lines: `Server-Timing: ${this.#serverTiming(clock.monotonicMs())}\r\n${retryAfter}`,
    });
    this.#exchange.resumeBody();
  }

  /** Ends an answer whose head is sent. */
  #cut(by: Owner): void {
    this.#cutBy = by;
    this.#exchange.destroy();
  }

  #onDeadline(): void {
    // The answer is complete and the caller does not read it.
    if (this.#exchange.isEnded || this.#isLeaving) return this.#cut("client");
    const limitMs = this.#deps.predictTimeoutMs;
    if (this.#instance !== null && this.#phase === "gathered" && this.#sentAt > 0 && this.#headAt === 0) {
      this.#instance.failed("timeout");
    }
    const isUploading = !this.#exchange.isReceived && !this.#isWaiting;
    this.#fail(isUploading ? fail("REQUEST_INCOMPLETE", { limitMs }) : fail("UPSTREAM_TIMEOUT", { limitMs }));
  }

  onClose(isWhole: boolean): void {
    this.#deadline?.cancel();
    this.#abandon();
    const { metrics, accessLog, usage, clock } = this.#deps;
    const exchange = this.#exchange;
    const status = exchange.isHeadSent ? exchange.status : 499;
    const outcome: Outcome = isWhole ? outcomeOf(status) : "aborted";
    const owner: Owner = isWhole ? (this.#error?.owner ?? ownerOfAnswer(status)) : (this.#cutBy ?? "client");
    const service = this.#service?.route.id ?? null;
    const version = this.#group?.route.modelVersion ?? null;
    const now = clock.monotonicMs();
    const t = this.#durations(now);
    if (this.#span !== null) this.#endSpan(this.#span, now, status, outcome, owner);
    metrics.count(service, version ?? "", outcome, owner, t.total);
    if (service !== null) usage.count(service, isWhole ? status >= 400 : owner !== "client");
    accessLog.write({
      time: clock.now(),
      request_id: this.#requestId,
      client: exchange.peer,
      method: exchange.method,
      target: exchange.target,
      status,
      outcome,
      owner,
      error: this.#error?.code ?? null,
      project: this.#caller?.project ?? null,
      user: this.#caller?.user ?? null,
      service,
      version,
      instance: this.#instanceId,
      trace_id: this.#span?.traceId,
      attempts: this.#attempts,
      bytes_in: this.#bytesIn,
      bytes_out: this.#bytesOut,
      auth_ms: t.auth,
      queue_ms: t.queue,
      upstream_ms: t.upstream,
      total_ms: t.total,
    });
  }

  #endSpan(span: Span, now: number, status: number, outcome: Outcome, owner: Owner): void {
    const authenticated = this.#authenticatedAt || now;
    span.child("auth", this.#startedAt, authenticated);
    if (this.#group !== null) span.child("queue", authenticated, this.#admittedAt || now);
    if (this.#admittedAt > 0) span.child("upstream", this.#admittedAt, this.#headAt || now);
    const isOurs = status >= 500 || (outcome === "aborted" && owner !== "client");
    span.end({
      // Callers' mistakes are no errors of the server's span (OpenTelemetry's conventions for HTTP).
      error: isOurs ? (this.#error?.code ?? `status ${status}`) : null,
      attributes: {
        "http.request.method": this.#exchange.method,
        "http.response.status_code": status,
        "modelport.service": this.#service?.route.id ?? "",
        "modelport.version": this.#group?.route.modelVersion ?? "",
        "modelport.instance": this.#instanceId ?? "",
        "modelport.outcome": outcome,
        "modelport.owner": owner,
        "modelport.request_id": this.#requestId,
        "modelport.attempts": this.#attempts,
      },
      endMs: now,
    });
  }
}

/**
 * One prediction from head to record:
 *
 *   arrived → authenticated → routed → (waiting ⇄) admitted → sent → answering → over
 *
 * Every exit goes through #abandon (what is held is given back, once) and ends in #onClose (the record). Nothing is
 * held in memory but what is between two sockets: each direction pauses its source while its sink is full.
 *
 * Sent again to another instance: when no connection came about, and when a reused connection was lost before the
 * answer's first byte to a GET, HEAD or OPTIONS without body (RFC 9112 §9.3.1). Never otherwise: a model may have run.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { fail } from "../core/errors.ts";
import type { AppError } from "../core/errors.ts";
import type { Clock } from "../core/clock.ts";
import type { GroupState, InstanceState, Waiter } from "./admit.ts";
import { discardRest, requestIdOf, sendError } from "./answer.ts";
import type { Authenticator } from "./authenticate.ts";
import { answerHeaders, forwardedFor, requestHeaderLines } from "./headers.ts";
import type { Metrics, Outcome, Owner } from "./metrics.ts";
import type { AccessLog } from "./record.ts";
import type { ServiceState, Table } from "./table.ts";
import type { Timer, TimerHandle } from "./timer.ts";
import type { UpstreamConnection, UpstreamFailure, UpstreamListener } from "./upstream.ts";
import type { Usage } from "./usage.ts";

export interface PredictionDeps {
  readonly table: Table;
  readonly authenticator: Authenticator;
  readonly metrics: Metrics;
  readonly accessLog: AccessLog;
  readonly usage: Usage;
  readonly clock: Clock;
  readonly timer: Timer;
  readonly bodyBytesMax: number;
  readonly predictTimeoutMs: number;
  /** True while the gateway is closing: answers then end their connection. */
  readonly isClosing: () => boolean;
}

/** What a caller is told when no instance is ready; the next table may come any moment. */
const NO_INSTANCE_RETRY_SECONDS = 2;
const REPEATABLE = new Set(["GET", "HEAD", "OPTIONS"]);
const WITH_EMPTY_BODY = new Set(["POST", "PUT", "PATCH"]);
const ownerOfAnswer = (status: number): Owner =>
  status >= 500 ? "upstream" : status >= 400 ? "client" : "none";
const outcomeOf = (status: number): Outcome =>
  status < 300 ? "2xx" : status < 400 ? "3xx" : status < 500 ? "4xx" : "5xx";
const ignore = (): void => undefined;
const tenths = (ms: number): number => Math.round(ms * 10) / 10;

export class Prediction implements Waiter, UpstreamListener {
  readonly #deps: PredictionDeps;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #target: { readonly serviceId: string; readonly path: string };
  readonly #requestId: string;
  readonly #expectsContinue: boolean;
  readonly #startedAt: number;
  #deadline: TimerHandle | null = null;

  #caller: { readonly user: string; readonly project: string } | null = null;
  #service: ServiceState | null = null;
  #group: GroupState | null = null;
  #isWaiting = false;
  #instance: InstanceState | null = null;
  #instanceId: string | null = null;
  #connection: UpstreamConnection | null = null;
  #attempts = 0;

  /** Null: chunked. */
  #contentLength: number | null = 0;
  #isReadingBody = false;
  #isBodySent = false;
  #isCorked = false;
  #hasContinued = false;
  #bytesIn = 0;
  #bytesOut = 0;
  /** The end of the answer, between onBody and the onComplete that follows at once. */
  #lastChunk: Buffer | null = null;

  #authenticatedAt = 0;
  #admittedAt = 0;
  #headAt = 0;
  #error: AppError | null = null;
  /** Set when the answer is cut off after its head. */
  #cutBy: Owner | null = null;

  constructor(
    deps: PredictionDeps,
    request: IncomingMessage,
    response: ServerResponse,
    target: { readonly serviceId: string; readonly path: string },
    expectsContinue: boolean,
  ) {
    this.#deps = deps;
    this.#request = request;
    this.#response = response;
    this.#target = target;
    this.#expectsContinue = expectsContinue;
    this.#requestId = requestIdOf(request);
    this.#startedAt = deps.clock.monotonicMs();
  }

  start(): void {
    const { deps, request } = { deps: this.#deps, request: this.#request };
    this.#response.once("close", () => this.#onClose());
    // Without a listener an aborted upload would be an uncaught error; #onClose does what is to be done.
    request.on("error", ignore);
    this.#deadline = deps.timer.after(deps.predictTimeoutMs, () => this.#onDeadline());
    if (deps.table.version === null) return this.#fail(fail("NOT_READY", {}), ["Retry-After", "1"]);
    const token = request.headers["x-auth-token"];
    const verdict = deps.authenticator.authenticate(
      typeof token === "string" ? token : undefined,
      deps.table.trust,
    );
    this.#authenticatedAt = deps.clock.monotonicMs();
    if (!verdict.ok) return this.#fail(verdict.error);
    this.#caller = verdict.caller;
    const service = deps.table.service(this.#target.serviceId);
    // Another project's service does not exist for this caller: the same bytes as for an id nobody has.
    if (service === undefined || service.route.projectId !== verdict.caller.project) {
      return this.#fail(fail("ROUTE_NOT_FOUND", {}));
    }
    this.#service = service;
    const framing = this.#readFraming();
    if (framing !== null) return this.#fail(framing);
    this.#seek();
  }

  /** node:http has refused what is ambiguous, the listener any coding but chunked. */
  #readFraming(): AppError | null {
    const { headers } = this.#request;
    if (headers["transfer-encoding"] !== undefined) {
      this.#contentLength = null;
      return null;
    }
    this.#contentLength = Number(headers["content-length"] ?? 0);
    return this.#contentLength > this.#deps.bodyBytesMax ? this.#tooLarge() : null;
  }

  #tooLarge(): AppError {
    return fail("BODY_TOO_LARGE", { limitBytes: this.#deps.bodyBytesMax });
  }

  // --- admission --------------------------------------------------------------------------------------------------

  /** Asks the table of this moment for a group and the group for a slot. */
  #seek(): void {
    const service = this.#deps.table.service(this.#target.serviceId);
    if (service === undefined) return this.#fail(fail("ROUTE_NOT_FOUND", {}));
    this.#service = service;
    const { id, state } = service.route;
    if (state === "stopped") return this.#fail(fail("SERVICE_STOPPED", { id }));
    const group = service.choose();
    if (group === null) {
      return this.#fail(fail("NO_INSTANCE", { id }), ["Retry-After", String(NO_INSTANCE_RETRY_SECONDS)]);
    }
    this.#group = group;
    const instance = group.take();
    if (instance !== null) return this.admitted(instance);
    if (!group.wait(this)) return this.#refuse(group, id);
    this.#isWaiting = true;
  }

  #refuse(group: GroupState, id: string): void {
    const retryAfterSeconds = group.retryAfterSeconds();
    this.#fail(fail("QUEUE_FULL", { id, retryAfterSeconds }), ["Retry-After", String(retryAfterSeconds)]);
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
    this.#connection = instance.pool.take();
    this.#connection.begin(this, this.#request.method ?? "GET");
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
    connection.cork();
    this.#isCorked = true;
    connection.writeHead(this.#head(instance.pool.authority), this.#contentLength === null);
    if (this.#contentLength === 0) {
      this.#isBodySent = true;
      this.#uncork(connection);
      return connection.endRequest();
    }
    if (this.#expectsContinue && !this.#hasContinued) {
      this.#hasContinued = true;
      this.#response.writeContinue();
    }
    this.#isReadingBody = true;
    this.#request.on("data", (chunk: Buffer) => this.#sendBody(chunk));
    if (this.#contentLength === null) this.#request.on("end", () => this.#endBody());
    // What has arrived of the body flows in the tick that `on("data")` has queued, so this runs just behind it: head and
    // body leave in one packet, and a body that is slow to come does not hold the head back.
    process.nextTick(() => this.#uncork(connection));
  }

  #uncork(connection: UpstreamConnection): void {
    if (!this.#isCorked || connection !== this.#connection) return;
    this.#isCorked = false;
    connection.uncork();
  }

  #head(authority: string): string {
    const { headers, rawHeaders, method, socket } = this.#request;
    const passed = Math.round(this.#deps.clock.monotonicMs() - this.#startedAt);
    const remaining = Math.max(1, this.#deps.predictTimeoutMs - passed);
    const peer = socket.remoteAddress ?? "unknown";
    const length = this.#contentLength;
    const framing =
      length === null
        ? "Transfer-Encoding: chunked\r\n"
        : length > 0 || WITH_EMPTY_BODY.has(method ?? "")
          ? `Content-Length: ${length}\r\n`
          : "";
    return `${method ?? "GET"} ${this.#target.path} HTTP/1.1\r\nHost: ${authority}\r\n${requestHeaderLines(rawHeaders, headers.connection)}X-Request-Id: ${this.#requestId}\r\nX-Request-Deadline-Ms: ${remaining}\r\nX-Forwarded-For: ${forwardedFor(this.#request, peer)}\r\n${framing}\r\n`;
  }

  #sendBody(chunk: Buffer): void {
    this.#bytesIn += chunk.length;
    const connection = this.#connection;
    // Refused or answered meanwhile: what still comes is thrown away (discardRest).
    if (connection === null || this.#isBodySent) return;
    if (this.#bytesIn > this.#deps.bodyBytesMax) return this.#fail(this.#tooLarge());
    if (!connection.writeBody(chunk)) this.#request.pause();
    // With the last byte of a known length the request is complete; node:http would say so a turn later.
    if (this.#bytesIn === this.#contentLength) this.#endBody();
    this.#uncork(connection);
  }

  #endBody(): void {
    if (this.#isBodySent || this.#connection === null) return;
    this.#isBodySent = true;
    const connection = this.#connection;
    connection.endRequest();
    this.#uncork(connection);
  }

  onDrain(): void {
    if (this.#isReadingBody) this.#request.resume();
  }

  // --- answer, towards the caller ---------------------------------------------------------------------------------

  onHead(status: number, reason: string, headers: string[]): void {
    this.#headAt = this.#deps.clock.monotonicMs();
    const fields = answerHeaders(headers);
    fields.push("X-Request-Id", this.#requestId, "Server-Timing", this.#serverTiming());
    if (this.#deps.isClosing()) fields.push("Connection", "close");
    this.#response.writeHead(status, reason, fields);
  }

  onBody(chunk: Buffer, isLast: boolean): void {
    this.#bytesOut += chunk.length;
    if (isLast) {
      this.#lastChunk = chunk;
      return;
    }
    // Several chunks may come in one go; one listener is enough for them.
    if (this.#response.write(chunk) || this.#response.listenerCount("drain") > 0) return;
    this.#connection?.pause();
    this.#response.once("drain", () => this.#connection?.resume());
  }

  onComplete(): void {
    this.#connection = null;
    this.#instance?.answered();
    this.#release(true);
    // Head, body and end in one call: node:http then makes one write of them without a detour over the next tick.
    this.#response.end(this.#lastChunk ?? undefined);
    if (!this.#isBodySent) discardRest(this.#request, this.#deps.timer);
  }

  onFailure(failure: UpstreamFailure): void {
    this.#connection = null;
    this.#isCorked = false;
    const instances = this.#group?.instances.length ?? 1;
    switch (failure.kind) {
      case "dial":
        this.#instance?.failed("dial");
        this.#release(false);
        if (this.#attempts < Math.max(1, instances)) return this.#seek();
        return this.#fail(fail("UPSTREAM_REFUSED", {}, { cause: failure.cause }), ["Retry-After", "1"]);
      case "lost":
        this.#instance?.failed("reset");
        this.#release(false);
        if (failure.reused && this.#contentLength === 0 && REPEATABLE.has(this.#request.method ?? "")) {
          return this.#seek();
        }
        return this.#fail(fail("UPSTREAM_BROKEN", {}, { cause: failure.cause }));
      case "broken":
        this.#instance?.failed("broken");
        return this.#fail(fail("UPSTREAM_BROKEN", {}, { cause: failure.cause }));
    }
  }

  #serverTiming(): string {
    const now = this.#deps.clock.monotonicMs();
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

  /** Gives back whatever is held: the connection, the slot, the place in the queue. */
  #abandon(): void {
    const connection = this.#connection;
    this.#connection = null;
    connection?.destroy();
    this.#release(false);
    if (this.#isWaiting) {
      this.#isWaiting = false;
      this.#group?.leave(this);
    }
  }

  #fail(error: AppError, fields: readonly string[] = []): void {
    this.#abandon();
    if (this.#response.headersSent) {
      // The head has promised another answer; only a cut connection tells the caller that it did not come.
      this.#cutBy = error.owner;
      this.#error = error;
      this.#response.destroy();
      return;
    }
    this.#error = error;
    const unread = this.#expectsContinue && !this.#hasContinued;
    const closing = unread || this.#deps.isClosing() ? ["Connection", "close"] : [];
    sendError(this.#response, error, {
      requestId: this.#requestId,
      plane: "inference",
      url: this.#request.url ?? "",
      fields: ["Server-Timing", this.#serverTiming(), ...fields, ...closing],
    });
    if (!unread) discardRest(this.#request, this.#deps.timer);
  }

  #onDeadline(): void {
    if (this.#response.writableEnded) {
      // The answer is complete and the caller does not read it.
      this.#cutBy = "client";
      this.#response.destroy();
      return;
    }
    const limitMs = this.#deps.predictTimeoutMs;
    if (this.#instance !== null && this.#isBodySent && this.#headAt === 0) this.#instance.failed("timeout");
    const isUploading = this.#isReadingBody && !this.#isBodySent && !this.#request.complete;
    this.#fail(isUploading ? fail("REQUEST_INCOMPLETE", { limitMs }) : fail("UPSTREAM_TIMEOUT", { limitMs }));
  }

  #onClose(): void {
    this.#deadline?.cancel();
    this.#abandon();
    const { metrics, accessLog, usage, clock } = this.#deps;
    const now = clock.monotonicMs();
    const isCut = !this.#response.writableFinished;
    const status = this.#response.headersSent ? this.#response.statusCode : 499;
    const outcome: Outcome = isCut ? "aborted" : outcomeOf(status);
    const owner: Owner = isCut ? (this.#cutBy ?? "client") : (this.#error?.owner ?? ownerOfAnswer(status));
    const service = this.#service?.route.id ?? null;
    const version = this.#group?.route.modelVersion ?? null;
    const t = this.#durations(now);
    metrics.count(service, version ?? "", outcome, owner, t.total);
    if (service !== null) usage.count(service, isCut ? owner !== "client" : status >= 400);
    const { method, url = "", socket } = this.#request;
    const question = url.indexOf("?");
    accessLog.write({
      time: new Date(clock.now()).toISOString(),
      request_id: this.#requestId,
      client: socket.remoteAddress ?? "",
      method: method ?? "",
      path: question < 0 ? url : url.slice(0, question),
      status,
      outcome,
      owner,
      error: this.#error?.code ?? null,
      project: this.#caller?.project ?? null,
      user: this.#caller?.user ?? null,
      service,
      version,
      instance: this.#instanceId,
      attempts: this.#attempts,
      bytes_in: this.#bytesIn,
      bytes_out: this.#bytesOut,
      auth_ms: t.auth,
      queue_ms: t.queue,
      upstream_ms: t.upstream,
      total_ms: t.total,
    });
  }
}

/**
 * The open-loop load: requests leave at a constant rate whatever becomes of earlier ones, over kept-alive raw sockets,
 * at most so many. Latency counts from the moment a request was due, so a caller that was held up hides nothing.
 *
 *   {run: Run} → {calls: Call[]} once the run is over and all it began has ended;  {stop: true} ends a run early
 */
import { connect } from "node:net";
import type { Socket } from "node:net";

export interface Run {
  readonly port: number;
  readonly path: string;
  readonly token: string;
  readonly body: string;
  readonly perSecond: number;
  /** Null: until told to stop. */
  readonly seconds: number | null;
  readonly connectionsMax: number;
  readonly timeoutMs: number;
  /** This share of those who are told Retry-After comes back after exactly that time, up to ATTEMPTS_MAX times. */
  readonly obedient: number;
}

/** One request and what became of it. */
export interface Call {
  /** On the machine's monotonic clock, milliseconds. */
  readonly dueMs: number;
  /** How much later than due it was written: this process's own delay, part of latencyMs. */
  readonly lateMs: number;
  readonly latencyMs: number;
  /** 0 when there was no answer. */
  readonly status: number;
  /** Why there was no answer; "" otherwise. */
  readonly failure: string;
  readonly retryAfterS: number | null;
  /** 1: the first time. */
  readonly attempt: number;
}

interface Pending {
  readonly dueMs: number;
  readonly sentMs: number;
  readonly attempt: number;
}

const ATTEMPTS_MAX = 6;
const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;

class Caller {
  readonly #run: Run;
  readonly #request: string;
  readonly #calls: Call[] = [];
  readonly #idle: Connection[] = [];
  readonly #open = new Set<Connection>();
  readonly #done: (calls: readonly Call[]) => void;
  #isOver = false;
  /** In flight or waiting to come back. */
  #outstanding = 0;
  #obeyed = 0;

  constructor(run: Run, done: (calls: readonly Call[]) => void) {
    this.#run = run;
    this.#done = done;
    this.#request = `POST ${run.path} HTTP/1.1\r\nHost: 127.0.0.1:${run.port}\r\nX-Auth-Token: ${run.token}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(run.body)}\r\n\r\n${run.body}`;
    const start = nowMs();
    let sent = 0;
    const beat = setInterval(() => {
      const now = nowMs();
      for (const call of this.#open) call.checkTimeout(now, run.timeoutMs);
      while (!this.#isOver) {
        const due = start + (sent * 1000) / run.perSecond;
        if (due > now) break;
        if (run.seconds !== null && due - start >= run.seconds * 1000) this.stop();
        else this.#send(due, 1);
        sent += 1;
      }
      if (!this.#isOver || this.#outstanding > 0) return;
      clearInterval(beat);
      for (const connection of this.#open) connection.close();
      this.#done(this.#calls);
    }, 1);
  }

  stop(): void {
    this.#isOver = true;
  }

  #send(dueMs: number, attempt: number): void {
    this.#outstanding += 1;
    let connection = this.#idle.pop();
    while (connection?.isClosed === true) connection = this.#idle.pop();
    const pending = { dueMs, sentMs: nowMs(), attempt };
    if (connection === undefined) {
      if (this.#open.size >= this.#run.connectionsMax) return this.#over(pending, "no free connection");
      connection = new Connection(this.#run.port, {
        answered: (call, status, retryAfterS) => this.#over(call, "", status, retryAfterS),
        failed: (call, failure) => this.#over(call, failure),
        idle: (one) => this.#idle.push(one),
        closed: (one) => this.#open.delete(one),
      });
      this.#open.add(connection);
    }
    connection.send(this.#request, pending);
  }

  #over(call: Pending, failure: string, status = 0, retryAfterS: number | null = null): void {
    const { dueMs, sentMs, attempt } = call;
    const lateMs = sentMs - dueMs;
    this.#calls.push({ dueMs, lateMs, latencyMs: nowMs() - dueMs, status, failure, retryAfterS, attempt });
    if (retryAfterS !== null && attempt < ATTEMPTS_MAX && (attempt > 1 || this.#obeys())) {
      const dueAgain = nowMs() + retryAfterS * 1000;
      setTimeout(() => {
        this.#outstanding -= 1;
        this.#send(dueAgain, attempt + 1);
      }, retryAfterS * 1000);
    } else this.#outstanding -= 1;
  }

  /** Evenly spread over those who are refused. */
  #obeys(): boolean {
    this.#obeyed += this.#run.obedient;
    if (this.#obeyed < 1) return false;
    this.#obeyed -= 1;
    return true;
  }
}

interface ConnectionEvents {
  answered(call: Pending, status: number, retryAfterS: number | null): void;
  failed(call: Pending, failure: string): void;
  idle(connection: Connection): void;
  closed(connection: Connection): void;
}

class Connection {
  readonly #socket: Socket;
  readonly #events: ConnectionEvents;
  #call: Pending | null = null;
  #text = "";
  #isConnected = false;
  #isReused = false;
  isClosed = false;

  constructor(port: number, events: ConnectionEvents) {
    this.#events = events;
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket.on("connect", () => (this.#isConnected = true));
    this.#socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    this.#socket.on("error", (error: NodeJS.ErrnoException) => this.#end(error.code ?? error.message));
    this.#socket.on("end", () => this.#end("closed"));
    this.#socket.on("close", () => this.#end("closed"));
  }

  send(request: string, call: Pending): void {
    this.#call = call;
    this.#socket.write(request, "latin1");
  }

  close(): void {
    this.#end("closed by us");
  }

  checkTimeout(now: number, timeoutMs: number): void {
    if (this.#call !== null && now - this.#call.sentMs > timeoutMs) this.#end("no answer in time");
  }

  #onData(chunk: Buffer): void {
    this.#text += chunk.toString("latin1");
    const end = this.#text.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = this.#text.slice(0, end + 2);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (length === undefined) return this.#end("an answer without a length");
    if (this.#text.length < end + 4 + Number(length)) return;
    const call = this.#call;
    this.#text = "";
    this.#call = null;
    this.#isReused = true;
    if (call === null) return this.#end("an answer to nothing");
    const retryAfter = /\r\nretry-after: *(\d+)/i.exec(head)?.[1];
    const status = Number(head.slice(9, 12));
    this.#events.answered(call, status, retryAfter === undefined ? null : Number(retryAfter));
    if (/\r\nconnection: *close/i.test(head)) this.#end("closed");
    else this.#events.idle(this);
  }

  #end(why: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#socket.destroy();
    this.#events.closed(this);
    const call = this.#call;
    this.#call = null;
    if (call === null) return;
    const when = !this.#isConnected
      ? "connecting"
      : this.#text !== ""
        ? "amid the answer"
        : "before the answer";
    this.#events.failed(call, `${why}, ${when}${this.#isReused ? ", on a kept connection" : ""}`);
  }
}

let caller: Caller | null = null;
process.on("message", (order: { readonly run?: Run; readonly stop?: boolean }) => {
  if (order.stop === true) caller?.stop();
  if (order.run !== undefined) caller = new Caller(order.run, (calls) => process.send?.({ calls }));
});
process.once("disconnect", () => process.exit(0));
process.send?.({ port: 0 });

/**
 * The instance's listening socket and its connections: HTTP/1.1 as src/http/ reads it. node:http would cost three times
 * as much for each request as the reading here does (bench/hop), and twice the start-up time and 15 MB for what of it no
 * instance uses.
 */
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import type { Clock } from "../core/clock.ts";
import { CallerConnection } from "../http/caller-connection.ts";
import type { CallerConnectionDeps, DoorRefusal } from "../http/caller-connection.ts";
import { dateLine, reasonOf } from "../http/answer-head.ts";
import type { Exchange } from "../http/exchange.ts";
import { refusalError } from "../http/refusal.ts";
import { INSTANCE_LIMITS } from "../http/request-head.ts";
import { plainError } from "./answers.ts";
import type { Timers } from "./timers.ts";

const SWEEP_MS = 1_000;
/** How long idle connections stay open after the listener closed, for requests that were already on their way. */
const LINGER_MS = 250;

export class Door {
  readonly server: Server;
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #connections = new Set<CallerConnection>();
  readonly #deps: CallerConnectionDeps;
  #sweptAt: number;
  #cancelSweep = (): void => {};
  #isDraining = false;
  #whenIdle: (() => void) | null = null;

  /** `handle` never throws. `bodyMs`: how long a request's body may take to come. */
  constructor(clock: Clock, timers: Timers, bodyMs: number, handle: (exchange: Exchange) => void) {
    this.#clock = clock;
    this.#timers = timers;
    this.#sweptAt = clock.monotonicMs();
    this.#deps = {
      handle,
      limits: INSTANCE_LIMITS,
      bodyMs,
      refusal: (refusal) => this.#refusal(refusal),
      sweptAt: () => this.#sweptAt,
      isClosing: () => this.#isDraining,
      onClosed: (connection) => {
        this.#connections.delete(connection);
        this.#endIfIdle();
      },
    };
    this.server = createServer({ noDelay: true }, (socket: Socket) => {
      this.#connections.add(new CallerConnection(socket, this.#deps));
    });
    this.#sweep();
  }

  /** Stops listening and closes connections once their requests are answered; resolves when none is open. */
  drain(): Promise<void> {
    this.#isDraining = true;
    this.server.close();
    return new Promise((resolve) => {
      this.#timers.after(LINGER_MS, () => {
        this.#whenIdle = resolve;
        for (const connection of this.#connections) connection.closeIfIdle();
        this.#endIfIdle();
      });
    });
  }

  #endIfIdle(): void {
    if (this.#whenIdle === null || this.#connections.size > 0) return;
    this.#cancelSweep();
    this.#whenIdle();
  }

  /** One timer for the times of all connections: they are of seconds. */
  #sweep(): void {
    this.#cancelSweep = this.#timers.after(SWEEP_MS, () => {
      this.#sweptAt = this.#clock.monotonicMs();
      for (const connection of this.#connections) connection.expire(this.#sweptAt);
      this.#sweep();
    });
  }

  #refusal(refusal: DoorRefusal): string {
    const { status, message } = refusalError(refusal);
    const reason = reasonOf(status);
    const body = plainError(reason, message);
    return `HTTP/1.1 ${status} ${reason}\r\n${dateLine(this.#clock.now())}Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`;
  }
}

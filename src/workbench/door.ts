/**
 * The one address of a package under work: it stays while instances behind it come and go. Requests go to the instance
 * that is ready now; those that began on the one before finish there.
 */
import { createServer, request as ask } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Clock } from "../core/clock.ts";

export interface RequestSeen {
  readonly method: string;
  readonly path: string;
  /** Null: the caller went away before its answer. */
  readonly status: number | null;
  readonly ms: number;
}

export interface DoorDeps {
  readonly clock: Clock;
  readonly onRequest: (seen: RequestSeen) => void;
}

const HOST = "127.0.0.1";
/** Of one connection, not of the message (RFC 9110, 7.6.1). */
const HOP_BY_HOP = ["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"];

const withoutHops = (headers: IncomingMessage["headers"]): IncomingMessage["headers"] =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.includes(name)));

export class Door {
  readonly #deps: DoorDeps;
  readonly #server: Server;
  #port: number | null = null;
  #why = "The package is being loaded.";

  constructor(deps: DoorDeps) {
    this.#deps = deps;
    this.#server = createServer((req, res) => this.#serve(req, res));
  }

  /** Rejects with what `listen` says: EADDRINUSE, EACCES. Resolves with the port, which 0 leaves to the system. */
  open(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host, port }, () => {
        this.#server.off("error", reject);
        const address = this.#server.address();
        resolve(typeof address === "object" && address !== null ? address.port : port);
      });
    });
  }

  /** From now on requests go there. */
  to(port: number): void {
    this.#port = port;
  }

  /** From now on requests are answered with 503 and this reason. */
  shut(why: string): void {
    this.#port = null;
    this.#why = why;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #serve(req: IncomingMessage, res: ServerResponse): void {
    const { clock, onRequest } = this.#deps;
    const began = clock.monotonicMs();
    res.on("close", () =>
      onRequest({
        method: req.method ?? "",
        path: req.url ?? "/",
        status: res.headersSent ? res.statusCode : null,
        ms: clock.monotonicMs() - began,
      }),
    );
    if (this.#port === null) return this.#unavailable(req, res, this.#why);
    const upstream = ask(
      {
        host: HOST,
        port: this.#port,
        method: req.method,
        path: req.url,
        headers: withoutHops(req.headers),
        agent: false,
      },
      (answer) => {
        res.writeHead(answer.statusCode ?? 502, withoutHops(answer.headers));
        answer.on("error", () => res.destroy());
        answer.pipe(res);
      },
    );
    upstream.on("error", () => {
      if (res.headersSent) res.destroy();
      else this.#unavailable(req, res, "The instance ended before it answered.");
    });
    req.on("error", () => upstream.destroy());
    res.on("close", () => {
      if (!res.writableFinished) upstream.destroy();
    });
    req.pipe(upstream);
  }

  #unavailable(req: IncomingMessage, res: ServerResponse, why: string): void {
    req.resume();
    const body = JSON.stringify({ msg: "Service Unavailable", error_info: why });
    res.writeHead(503, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
    res.end(body);
  }
}

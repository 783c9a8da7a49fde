/**
 * Bounded load on one service from this machine: a few callers that each send one prediction after the other, on a fresh
 * connection each, and remember every answer. A request that failed is found in the gateway's access log by its id, so a
 * test can say whose hands it was in.
 */
import { request } from "node:http";
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Platform } from "./platform.ts";
import { until } from "./until.ts";

export interface Outcome {
  readonly id: string;
  /** performance.now() at its start. */
  readonly sentAt: number;
  readonly status: number | null;
  /** The connection's error code, when there was no answer. */
  readonly error: string | null;
  readonly text: string;
}

/** What the access log says of a request. */
export interface Held {
  readonly instance: string | null;
  readonly status: number;
  readonly owner: string;
}

const ANSWER_WITHIN_MS = 60_000;
const OUTCOMES_MAX = 50_000;

export class Load {
  readonly outcomes: Outcome[] = [];
  readonly #target: { readonly url: URL; readonly token: string; readonly body: string };
  readonly #dataDir: string;
  readonly #callers: readonly Promise<void>[];
  #isWanted = true;

  private constructor(platform: Platform, target: { url: URL; token: string; body: string }, lanes: number) {
    this.#dataDir = platform.dataDir;
    this.#target = target;
    this.#callers = Array.from({ length: lanes }, () => this.#call());
  }

  /** Starts, and resolves once every caller has had an answer. */
  static async on(
    platform: Platform,
    service: string,
    options: { lanes: number; body: unknown },
  ): Promise<Load> {
    const load = new Load(
      platform,
      {
        url: new URL(`${platform.state.url}/v1/infers/${service}`),
        token: await platform.token(),
        body: JSON.stringify(options.body),
      },
      options.lanes,
    );
    await load.answers(options.lanes * 2);
    return load;
  }

  get failures(): readonly Outcome[] {
    return this.outcomes.filter((outcome) => outcome.status !== 200);
  }

  /** Waits for so many further good answers to requests that are sent from now on. */
  async answers(count: number): Promise<void> {
    const from = performance.now();
    await until(`${count} answers`, () => {
      const good = this.outcomes.filter((o) => o.sentAt >= from && o.status === 200);
      return good.length >= count;
    });
  }

  /** No further requests; resolves when the last one is answered. */
  async end(): Promise<void> {
    this.#isWanted = false;
    await Promise.all(this.#callers);
  }

  /** Whose hands a request was in; null when the gateway wrote nothing of it. */
  held(id: string): Held | null {
    for (const name of ["access.log", "access.log.1"]) {
      const file = join(this.#dataDir, "logs", "platform", name);
      if (!existsSync(file)) continue;
      for (const line of readFileSync(file, "utf8").split("\n"))
        if (line.includes(id)) return JSON.parse(line) as Held;
    }
    return null;
  }

  async #call(): Promise<void> {
    while (this.#isWanted && this.outcomes.length < OUTCOMES_MAX) {
      const outcome = await this.#send();
      this.outcomes.push(outcome);
      // Nobody listens: not a reason to burn the machine.
      if (outcome.status === null) await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  #send(): Promise<Outcome> {
    const { url, token, body } = this.#target;
    const id = randomUUID().replaceAll("-", "");
    const sentAt = performance.now();
    return new Promise((resolve) => {
      const end = (status: number | null, error: string | null, text: string): void =>
        resolve({ id, sentAt, status, error, text });
      const sent = request(
        url,
        {
          method: "POST",
          agent: false,
          timeout: ANSWER_WITHIN_MS,
          headers: {
            "x-auth-token": token,
            "content-type": "application/json",
            "content-length": Buffer.byteLength(body),
            "x-request-id": id,
          },
        },
        (answer) => {
          let text = "";
          answer.setEncoding("utf8").on("data", (part: string) => (text += part));
          answer.on("end", () => end(answer.statusCode ?? 0, null, text));
          answer.on("error", (error: NodeJS.ErrnoException) => end(null, error.code ?? error.message, text));
        },
      );
      sent.on("timeout", () => sent.destroy(new Error("no answer")));
      sent.on("error", (error: NodeJS.ErrnoException) => end(null, error.code ?? error.message, ""));
      sent.end(body);
    });
  }
}

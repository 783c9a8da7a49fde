/**
 * Callers for tests of what goes on under load: some keep their connection, some open a fresh one for each request.
 * Every request is noted with the moment it began and what came of it, so a test can tell whose failure is allowed.
 */
import { Agent, request } from "node:http";

export interface Sent {
  readonly kind: "kept" | "fresh";
  readonly startedAt: number;
  readonly endedAt: number;
  /** The status, or the code of the error. */
  readonly outcome: number | string;
}

export interface Load {
  readonly sent: readonly Sent[];
  /** Ends the callers once each has its last answer. */
  stop(): Promise<readonly Sent[]>;
}

const send = (
  url: URL,
  call: { readonly agent: Agent | false; readonly token: string; readonly body: string },
): Promise<number | string> =>
  new Promise((resolve) => {
    const outgoing = request(url, {
      method: "POST",
      agent: call.agent,
      headers: {
        "x-auth-token": call.token,
        "content-type": "application/json",
        "content-length": Buffer.byteLength(call.body),
      },
    });
    const failed = (error: NodeJS.ErrnoException): void => resolve(error.code ?? error.message);
    outgoing.on("error", failed);
    outgoing.on("response", (answer) => {
      answer.on("error", failed);
      answer.on("end", () => resolve(answer.statusCode ?? 0));
      answer.resume();
    });
    outgoing.end(call.body);
  });

/** Starts `kept` + `fresh` callers, each sending its next request when the last one is answered. */
export const startLoad = (call: {
  readonly url: URL;
  readonly token: string;
  readonly kept: number;
  readonly fresh: number;
  readonly body?: unknown;
}): Load => {
  const sent: Sent[] = [];
  const body = JSON.stringify(call.body ?? {});
  let isOver = false;
  const caller = async (kind: Sent["kind"]): Promise<void> => {
    const agent = kind === "kept" ? new Agent({ keepAlive: true, maxSockets: 1 }) : false;
    while (!isOver) {
      const startedAt = performance.now();
      const outcome = await send(call.url, { agent, token: call.token, body });
      sent.push({ kind, startedAt, endedAt: performance.now(), outcome });
    }
    if (agent !== false) agent.destroy();
  };
  const callers = [
    ...Array.from({ length: call.kept }, () => caller("kept")),
    ...Array.from({ length: call.fresh }, () => caller("fresh")),
  ];
  return {
    sent,
    stop: async () => {
      isOver = true;
      await Promise.all(callers);
      return sent;
    },
  };
};

/** How often each outcome came, by kind of connection. */
export const outcomes = (sent: readonly Sent[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const { kind, outcome } of sent) {
    const key = `${kind} ${outcome}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
};

/** Asks an instance for its health (core/launch.ts). Null: no answer, or none that means anything, within the limit. */
import type { Clock } from "../../core/clock.ts";
import { parseBatchingDecision } from "../../core/batching.ts";
import { parseInstanceCounters } from "../../core/instance-counters.ts";
import type { InstanceCounters } from "../../core/instance-counters.ts";
import type { HealthAnswer } from "../../core/launch.ts";
import type { Failure } from "../../core/service.ts";

// Not imported: an `import` of node:http runs its lazy exports, which load fetch and WebSocket (15 MB).
const { request } = process.getBuiltinModule("node:http");

const TIMEOUT_MS = 1500;
const ANSWER_BYTES_MAX = 256 * 1024;

export const askHealth = async (
  origin: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<HealthAnswer | null> => {
  const over = new AbortController();
  const stop = (): void => over.abort();
  signal.addEventListener("abort", stop, { once: true });
  void clock.sleep(TIMEOUT_MS, over.signal).then(stop);
  const text = await get(`${origin}/health`, over.signal);
  stop();
  signal.removeEventListener("abort", stop);
  return text === null ? null : parse(text);
};

const get = (url: string, signal: AbortSignal): Promise<string | null> =>
  new Promise((resolve) => {
    // No agent: each look opens its own connection, so it also sees that new connections are taken.
    const asked = request(url, { agent: false, signal }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (part: string) => {
        text += part;
        if (text.length > ANSWER_BYTES_MAX) answer.destroy();
      });
      answer.on("end", () => resolve(text));
      answer.on("error", () => resolve(null));
      answer.on("close", () => resolve(null));
    });
    asked.on("error", () => resolve(null));
    asked.end();
  });

const parse = (text: string): HealthAnswer | null => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || !("status" in value)) return null;
  if (value.status === "OK" || value.status === "starting") {
    const counters: InstanceCounters | null =
      "counters" in value ? parseInstanceCounters(value.counters) : null;
    const batching = "batching" in value ? parseBatchingDecision(value.batching) : null;
    return {
      status: value.status,
      ...(counters === null ? {} : { counters }),
      ...(batching === null ? {} : { batching }),
    };
  }
  if (value.status !== "failed") return null;
  const failure = "failure" in value && isFailure(value.failure) ? value.failure : UNEXPLAINED;
  return { status: "failed", failure };
};

const UNEXPLAINED: Failure = { reason: "failed", message: "The instance says that it has failed." };

const isFailure = (value: unknown): value is Failure =>
  typeof value === "object" &&
  value !== null &&
  "reason" in value &&
  typeof value.reason === "string" &&
  "message" in value &&
  typeof value.message === "string";

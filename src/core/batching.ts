/**
 * How requests that wait together are joined into one inference (design.md §8): the platform's setting, and what a service
 * says otherwise by variables of the same names among its `envs`, the one place where every cloud's SDK lets users say
 * something of the kind. Pure.
 */
import type { Problem } from "./errors.ts";
import { batchingIs, serviceEvents } from "./event-texts.ts";
import type { EventText } from "./event-texts.ts";
import type { InstanceId } from "./ids.ts";

/** off: never. on: always. auto: once a worker has seen on live requests that it is right and faster. */
export const BATCHING_MODES = ["off", "on", "auto"] as const;
export type BatchingMode = (typeof BATCHING_MODES)[number];

export interface Batching {
  readonly mode: BatchingMode;
  /** Requests joined at most. */
  readonly maxSize: number;
  /** How long the first of them waits for more at most, a fifth of the last inference's time at that; 0: not at all. */
  readonly maxDelayMs: number;
}

export const NO_BATCHING: Batching = { mode: "off", maxSize: 1, maxDelayMs: 0 };

/** What a worker under `auto` decided, and in words what it saw. */
export interface BatchingDecision {
  readonly state: "on" | "off";
  readonly text: string;
}

/** The words may quote answers and exceptions of user code, of any length. */
const DECISION_TEXT_MAX = 500;

/** Null for what is no decision; its words cut to what an event may hold. */
export const parseBatchingDecision = (value: unknown): BatchingDecision | null => {
  if (typeof value !== "object" || value === null) return null;
  const { state, text } = value as Partial<Record<keyof BatchingDecision, unknown>>;
  if ((state !== "on" && state !== "off") || typeof text !== "string") return null;
  return { state, text: text.length > DECISION_TEXT_MAX ? `${text.slice(0, DECISION_TEXT_MAX - 1)}…` : text };
};

/**
 * What the history still has to tell of the decisions of one version's instances: what none of them has come to before,
 * and what one of them that was told of has changed. Instances that come to what another came to add nothing.
 *
 * @param model as events name it: `m 1.0.0`
 * @param told what the history says of these instances' decisions, newest first
 */
export const untoldDecisions = (
  model: string,
  decided: readonly { readonly instance: InstanceId; readonly decision: BatchingDecision }[],
  told: readonly string[],
): readonly EventText[] => {
  const lines = [...told];
  return decided.flatMap(({ instance, decision }) => {
    const { state, text } = decision;
    const event = serviceEvents.batchingDecided(model, instance, state, text);
    const own = lines.find((line) => line.includes(` Instance ${instance}: `));
    const isKnown = (own === undefined ? lines : [own]).some((line) =>
      line.startsWith(batchingIs(model, state)),
    );
    if (isKnown || lines.includes(event.info)) return [];
    lines.unshift(event.info);
    return [event];
  });
};

export const BATCH_SIZE_MAX = 1024;
export const BATCH_DELAY_MS_MAX = 10_000;

const NAMES = {
  mode: "MODELPORT_BATCHING",
  maxSize: "MODELPORT_BATCHING_MAX_SIZE",
  maxDelayMs: "MODELPORT_BATCHING_MAX_DELAY_MS",
} as const;

const whole = (text: string, min: number, max: number): number | null =>
  /^\d{1,6}$/.test(text) && Number(text) >= min && Number(text) <= max ? Number(text) : null;

/** What a service's variables make of the platform's setting, and everything that is wrong with them. */
export const readBatching = (
  envs: Readonly<Record<string, string>>,
  platform: Batching,
): { readonly batching: Batching; readonly problems: readonly Problem[] } => {
  const problems: Problem[] = [];
  const read = <T>(name: string, parse: (text: string) => T | null, otherwise: T, fix: string): T => {
    const text = envs[name];
    const value = text === undefined ? otherwise : parse(text);
    if (value === null) problems.push({ path: `envs.${name}`, message: `is ${JSON.stringify(text)}`, fix });
    return value ?? otherwise;
  };
  const batching: Batching = {
    mode: read(
      NAMES.mode,
      (text) => BATCHING_MODES.find((mode) => mode === text) ?? null,
      platform.mode,
      `use one of ${BATCHING_MODES.join(", ")}`,
    ),
    maxSize: read(
      NAMES.maxSize,
      (text) => whole(text, 1, BATCH_SIZE_MAX),
      platform.maxSize,
      `use a whole number from 1 to ${BATCH_SIZE_MAX}`,
    ),
    maxDelayMs: read(
      NAMES.maxDelayMs,
      (text) => whole(text, 0, BATCH_DELAY_MS_MAX),
      platform.maxDelayMs,
      `use milliseconds from 0 to ${BATCH_DELAY_MS_MAX}`,
    ),
  };
  return { batching: batching.maxSize === 1 ? { ...batching, mode: "off" } : batching, problems };
};

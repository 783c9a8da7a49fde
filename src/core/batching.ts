/**
 * How requests that wait together are joined into one inference (design.md §8): the platform's setting, and what a service
 * says otherwise by variables of the same names among its `envs`, the one place where every cloud's SDK lets users say
 * something of the kind. Pure.
 */
import type { Problem } from "./errors.ts";

/** off: never. on: always. auto: once a worker has seen on live requests that it is right and faster. */
export const BATCHING_MODES = ["off", "on", "auto"] as const;
export type BatchingMode = (typeof BATCHING_MODES)[number];

export interface Batching {
  readonly mode: BatchingMode;
  /** Requests joined at most. */
  readonly maxSize: number;
  /** How long the first of them waits for more at most; 0: only what already waits is joined. */
  readonly maxDelayMs: number;
}

export const NO_BATCHING: Batching = { mode: "off", maxSize: 1, maxDelayMs: 0 };

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

/**
 * How often a password may be guessed: each wrong one fills a bucket of the user at that address and one of the address;
 * both leak. An attempt is counted when it begins, so that guesses made at the same time count too, and given back when
 * it was right. Kept in memory and bounded: a restart forgets, which costs an attacker more than it gives.
 *
 * By user and address, not by user alone: else anyone could lock somebody out by guessing wrongly.
 */
import type { Clock } from "../../core/clock.ts";
import { LIMITS } from "../../core/limits.ts";

/** Ends an attempt. */
export type Attempt = { readonly succeeded: () => void };

export interface LoginThrottle {
  /** Counts an attempt; or says how long to wait until one more is allowed. */
  begin(user: string, address: string): Attempt | { readonly retryAfterSeconds: number };
  /** Buckets that are kept at the moment. */
  readonly size: number;
}

interface Bucket {
  level: number;
  /** Monotonic time at which `level` was right. */
  at: number;
}

interface Rule {
  readonly capacity: number;
  /** One attempt leaks out in this time. */
  readonly leakMs: number;
}

const USER: Rule = { capacity: LIMITS.loginFailuresUser.value, leakMs: 30_000 };
const ADDRESS: Rule = { capacity: LIMITS.loginFailuresAddress.value, leakMs: 6000 };
const BUCKETS_MAX = 20_000;

/** See the file header. */
export const createLoginThrottle = (clock: Clock): LoginThrottle => {
  // In the order of their last use, so that the first is the one to forget when there are too many.
  const buckets = new Map<string, Bucket>();

  const levelOf = (key: string, rule: Rule): number => {
    const bucket = buckets.get(key);
    return bucket === undefined
      ? 0
      : Math.max(0, bucket.level - (clock.monotonicMs() - bucket.at) / rule.leakMs);
  };
  const waitMs = (key: string, rule: Rule): number =>
    Math.max(0, (levelOf(key, rule) - (rule.capacity - 1)) * rule.leakMs);
  const add = (key: string, rule: Rule, count: number): void => {
    const level = Math.max(0, levelOf(key, rule) + count);
    buckets.delete(key);
    if (level === 0) return;
    buckets.set(key, { level, at: clock.monotonicMs() });
    if (buckets.size <= BUCKETS_MAX) return;
    for (const oldest of buckets.keys()) {
      buckets.delete(oldest);
      break;
    }
  };

  return {
    begin: (user, address) => {
      const userKey = `user ${JSON.stringify([user, address])}`;
      const addressKey = `address ${address}`;
      const wait = Math.max(waitMs(userKey, USER), waitMs(addressKey, ADDRESS));
      if (wait > 0) return { retryAfterSeconds: Math.ceil(wait / 1000) };
      add(userKey, USER, 1);
      add(addressKey, ADDRESS, 1);
      return {
        succeeded: () => {
          // The user knows the password: earlier typing errors are forgiven. The address may be shared.
          buckets.delete(userKey);
          add(addressKey, ADDRESS, -1);
        },
      };
    },
    get size() {
      return buckets.size;
    },
  };
};

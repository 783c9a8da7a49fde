/**
 * What the gateway believes of one instance: (belief, signal, now) → belief, nothing else.
 *
 *   up ── a dial or a probe fails, or FAILURES_MAX requests in a row ──→ out ── a good sign ──→ recovering ──→ up
 *                                                                         ↑─── any failure ─────────┘
 *
 * `out` says why, because that decides what is a good sign. What a probe can see (nothing listens, silence, "not ready")
 * a probe can also take back. Requests that fail while the probes are content cannot be seen by a probe, so that
 * verdict stands for its hold time first. The hold doubles with every further time out within CALM_MS, up to 30 s: an
 * instance that comes and goes is tried less and less.
 *
 * `recovering` limits how many requests an instance has in flight while others are up: 1, then one more for every
 * answer (which doubles it per round trip), or twice as many after a probe that found it idle. An instance that
 * answers probes and swallows requests therefore gets one request, not its share.
 */

export type OutReason =
  /** Requests fail one after the other while it takes connections. */
  | "failing"
  /** It says itself that it is not ready (503). */
  | "unready"
  /** Connections come about and nothing is said, or they do not come about and nobody says no. */
  | "silent"
  /** Nothing listens, or connections are closed without a word. */
  | "refused";

export type Health =
  | { readonly is: "up"; readonly failures: number; readonly outs: number; readonly since: number }
  | { readonly is: "recovering"; readonly allowed: number; readonly outs: number }
  | {
      readonly is: "out";
      readonly why: OutReason;
      /** No good sign counts before; milliseconds on the monotonic clock. */
      readonly until: number;
      /** How often in a row it went out, this time included. */
      readonly outs: number;
    };

/** How a request failed: no connection; ended before the first byte; no first byte in time; broken off half-way. */
export type FailureKind = "dial" | "reset" | "timeout" | "broken";

/** What a probe found. Any status below 500 is `ok`: busy, or without such a path, but there. */
export type ProbeResult = "ok" | "unready" | "silent" | "refused";

export type Signal =
  | { readonly kind: "answered" }
  | { readonly kind: "failed"; readonly how: FailureKind }
  | { readonly kind: "probed"; readonly result: ProbeResult; readonly inFlight: number };

/**
 * One reset or timeout may be the request's fault (a caller must not be able to take an instance away from the others
 * with one input); this many in a row, with no answer between them, are the instance's.
 */
export const FAILURES_MAX = 3;
export const HOLD_MS = 1_000;
export const HOLD_MS_MAX = 30_000;
/** Up for so long, and what was before is forgotten. */
export const CALM_MS = 30_000;
/** With so many requests allowed recovery is over. */
export const ALLOWED_FULL = 64;

/** A new instance: control has seen it ready. */
export const FRESH: Health = { is: "up", failures: 0, outs: 0, since: 0 };

export const nextHealth = (health: Health, signal: Signal, now: number): Health => {
  switch (signal.kind) {
    case "answered":
      return onAnswer(health, now);
    case "failed":
      return onFailure(health, signal.how, now);
    case "probed":
      return signal.result === "ok"
        ? onGoodProbe(health, signal.inFlight, now)
        : out(health, signal.result, now);
  }
};

const onAnswer = (health: Health, now: number): Health => {
  switch (health.is) {
    case "up":
      return health.failures === 0 ? health : { ...health, failures: 0 };
    case "recovering":
      return grow(health.allowed + 1, health.outs, now);
    case "out":
      // It answered after all: a slow one, or a server that does one thing at a time and was predicting. An answer says
      // nothing about a listener that is gone, or about what the instance itself calls not ready.
      return health.why === "silent" || health.why === "failing" ? recover(health.outs) : health;
  }
};

const onFailure = (health: Health, how: FailureKind, now: number): Health => {
  if (how === "dial") return out(health, "refused", now);
  if (health.is === "out") return health;
  if (health.is === "up" && health.failures + 1 < FAILURES_MAX) {
    return { ...health, failures: health.failures + 1 };
  }
  return out(health, "failing", now);
};

const onGoodProbe = (health: Health, inFlight: number, now: number): Health => {
  switch (health.is) {
    case "up":
      return health;
    case "recovering":
      // With requests in its hands their answers decide, not its answers to probes.
      return inFlight === 0 ? grow(health.allowed * 2, health.outs, now) : health;
    case "out":
      return now >= health.until ? recover(health.outs) : health;
  }
};

const recover = (outs: number): Health => ({ is: "recovering", allowed: 1, outs });

const grow = (allowed: number, outs: number, now: number): Health =>
  allowed < ALLOWED_FULL ? { is: "recovering", allowed, outs } : { is: "up", failures: 0, outs, since: now };

const out = (health: Health, why: OutReason, now: number): Health => {
  // Still out, perhaps for another reason by now; the hold stays the one it went out with.
  if (health.is === "out") return health.why === why ? health : { ...health, why };
  const isCalm = health.is === "up" && now - health.since >= CALM_MS;
  const outs = isCalm ? 1 : health.outs + 1;
  return { is: "out", why, until: now + holdMs(why, outs), outs };
};

/** What the instance says of itself holds no longer than it says so; of the rest a probe may take the first back at once. */
const holdMs = (why: OutReason, outs: number): number => {
  if (why === "unready") return 0;
  const doublings = why === "failing" ? outs - 1 : outs - 2;
  return doublings < 0 ? 0 : Math.min(HOLD_MS_MAX, HOLD_MS * 2 ** Math.min(doublings, 10));
};

/**
 * The order in which instances are tried when none is up: 0 up, 1 recovering, then the reasons for being out by how
 * much hope is left. "Refused" comes last, since nothing is there; but asking costs no more than a refusal.
 */
export const rankOf = (health: Health): number => {
  switch (health.is) {
    case "up":
      return 0;
    case "recovering":
      return 1;
    case "out":
      return 2 + OUT_ORDER.indexOf(health.why);
  }
};

const OUT_ORDER: readonly OutReason[] = ["failing", "unready", "silent", "refused"];

/** How many requests it may have in flight while others are up. */
export const allowedOf = (health: Health): number => {
  switch (health.is) {
    case "up":
      return Number.MAX_SAFE_INTEGER;
    case "recovering":
      return health.allowed;
    case "out":
      return 0;
  }
};

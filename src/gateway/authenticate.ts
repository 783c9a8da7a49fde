/**
 * Who calls: checks X-Auth-Token against the table's keys, without asking anybody. The Ed25519 check costs as much as a
 * whole prediction's forwarding, so a token that passed is remembered by its text; expiry is looked at every time, and
 * revocations again whenever the table has changed.
 */
import { verify } from "node:crypto";
import { fail } from "../core/errors.ts";
import type { AppError } from "../core/errors.ts";
import type { TokenPayload } from "../core/routing-table.ts";
import { checkToken, parseToken } from "../core/token.ts";
import type { Trust } from "./table.ts";

const REMEMBERED_MAX = 10_000;

export interface Caller {
  readonly user: string;
  readonly project: string;
}

interface Remembered {
  readonly payload: TokenPayload;
  readonly caller: Caller | null;
  /** The trust it was last checked against. */
  trust: Trust;
}

export type Authentication =
  | { readonly ok: true; readonly caller: Caller }
  | { readonly ok: false; readonly error: AppError };

/**
 * Refusals, in the words of contracts/modelarts.md §7: no token, one that is not ours to read, one that is expired,
 * revoked or signed by a key that is not (or no longer) trusted → 401; a good token without a project → 403.
 */
export class Authenticator {
  readonly #now: () => number;
  readonly #remembered = new Map<string, Remembered>();

  constructor(now: () => number) {
    this.#now = now;
  }

  authenticate(token: string | undefined, trust: Trust): Authentication {
    if (token === undefined || token === "") return { ok: false, error: fail("TOKEN_MISSING", {}) };
    let entry = this.#remembered.get(token);
    if (entry === undefined) {
      const parsed = parseToken(token);
      if (parsed === null) return { ok: false, error: fail("TOKEN_MALFORMED", {}) };
      const key = trust.keys.get(parsed.payload.kid);
      if (key === undefined || !verify(null, parsed.signed, key, parsed.signature)) return this.#refused();
      const { user, project } = parsed.payload;
      if (!this.#isGood(parsed.payload, trust)) return this.#refused();
      entry = {
        payload: parsed.payload,
        caller: project === undefined ? null : { user, project },
        trust,
      };
      this.#remember(token, entry);
    } else if (entry.trust !== trust || entry.payload.exp <= this.#now()) {
      if (!trust.keys.has(entry.payload.kid) || !this.#isGood(entry.payload, trust)) {
        this.#remembered.delete(token);
        return this.#refused();
      }
      entry.trust = trust;
    }
    if (entry.caller === null) return { ok: false, error: fail("CALLER_WITHOUT_PROJECT", {}) };
    return { ok: true, caller: entry.caller };
  }

  get rememberedCount(): number {
    return this.#remembered.size;
  }

  #isGood(payload: TokenPayload, trust: Trust): boolean {
    const verdict = checkToken(payload, {
      now: this.#now(),
      revoked: (jti) => trust.revoked.has(jti),
      refusedUsers: (user) => trust.refusedUsers.get(user),
    });
    return verdict === "ok";
  }

  #refused(): Authentication {
    return { ok: false, error: fail("TOKEN_REFUSED", {}) };
  }

  /** Only tokens with a right signature get here, so callers cannot fill this with inventions. Oldest first out. */
  #remember(token: string, entry: Remembered): void {
    if (this.#remembered.size >= REMEMBERED_MAX) {
      const [oldest] = this.#remembered.keys();
      if (oldest !== undefined) this.#remembered.delete(oldest);
    }
    this.#remembered.set(token, entry);
  }
}

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

/** Per generation; two are kept. A token that is used stays, one that is not goes after a generation or two. */
export const TOKENS_PER_GENERATION = 5_000;

export interface Caller {
  readonly user: string;
  readonly project: string;
}

interface Remembered {
  readonly payload: TokenPayload;
  readonly caller: Caller | null;
  /** The key its signature was checked with, as text. */
  readonly spki: string;
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
  #recent = new Map<string, Remembered>();
  #older = new Map<string, Remembered>();

  readonly #generationMax: number;

  constructor(now: () => number, generationMax: number) {
    this.#now = now;
    this.#generationMax = generationMax;
  }

  authenticate(token: string | undefined, trust: Trust): Authentication {
    if (token === undefined || token === "") return { ok: false, error: fail("TOKEN_MISSING", {}) };
    let entry = this.#recall(token);
    if (entry === undefined) {
      const parsed = parseToken(token);
      if (parsed === null) return { ok: false, error: fail("TOKEN_MALFORMED", {}) };
      const key = trust.keys.get(parsed.payload.kid);
      if (key === undefined || !verify(null, parsed.signed, key.key, parsed.signature))
        return this.#refused();
      const { user, project } = parsed.payload;
      if (!this.#isGood(parsed.payload, trust)) return this.#refused();
      entry = {
        payload: parsed.payload,
        caller: project === undefined ? null : { user, project },
        spki: key.spki,
        trust,
      };
      this.#remember(token, entry);
    } else if (entry.trust !== trust || entry.payload.exp <= this.#now()) {
      if (trust.keys.get(entry.payload.kid)?.spki !== entry.spki || !this.#isGood(entry.payload, trust)) {
        this.#recent.delete(token);
        return this.#refused();
      }
      entry.trust = trust;
    }
    if (entry.caller === null) return { ok: false, error: fail("CALLER_WITHOUT_PROJECT", {}) };
    return { ok: true, caller: entry.caller };
  }

  get rememberedCount(): number {
    return this.#recent.size + this.#older.size;
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

  #recall(token: string): Remembered | undefined {
    const entry = this.#recent.get(token);
    if (entry !== undefined) return entry;
    const old = this.#older.get(token);
    if (old !== undefined) this.#remember(token, old);
    return old;
  }

  /** Only tokens with a right signature get here, so callers cannot fill this with inventions. */
  #remember(token: string, entry: Remembered): void {
    this.#older.delete(token);
    if (this.#recent.size >= this.#generationMax) {
      this.#older = this.#recent;
      this.#recent = new Map();
    }
    this.#recent.set(token, entry);
  }
}

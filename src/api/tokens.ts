/** Issues and verifies tokens: signatures with the platform's Ed25519 key, judgement with core/token.ts and the store. */
import { randomUUID, sign, verify } from "node:crypto";
import { fail } from "../core/errors.ts";
import type { TokenPayload } from "../core/routing-table.ts";
import { checkToken, encodeToken, parseToken, tokenToSign } from "../core/token.ts";
import { instant } from "../core/ids.ts";
import type { Instant, ProjectId, UserId } from "../core/ids.ts";
import type { User } from "../store/store.ts";
import type { Caller } from "./app.ts";
import type { ApiDeps } from "./deps.ts";

export interface Tokens {
  /** `asOf`: before the user was read, so that a password or a right taken away meanwhile ends this token too. */
  issue(
    user: User,
    project: ProjectId | null,
    asOf: Instant,
  ): { readonly text: string; readonly payload: TokenPayload };
  /** Throws TOKEN_MISSING, TOKEN_MALFORMED or TOKEN_REFUSED. */
  verify(text: string | undefined): Promise<Caller>;
  revoke(payload: TokenPayload): Promise<void>;
}

export const createTokens = (deps: Pick<ApiDeps, "store" | "clock" | "keys" | "settings">): Tokens => {
  const { store, clock, keys } = deps;
  return {
    issue: (user, project, iat) => {
      const payload: TokenPayload = {
        jti: randomUUID().replaceAll("-", ""),
        kid: keys.kid,
        user: user.id,
        domain: user.domainId,
        ...(project === null ? {} : { project }),
        iat,
        exp: iat + deps.settings.tokenHours * 3_600_000,
      };
      const toSign = tokenToSign(payload);
      return { text: encodeToken(toSign, sign(null, Buffer.from(toSign), keys.privateKey)), payload };
    },
    verify: async (text) => {
      if (text === undefined || text === "") throw fail("TOKEN_MISSING", {});
      const parsed = parseToken(text);
      if (parsed === null) throw fail("TOKEN_MALFORMED", {});
      const { payload, signed, signature } = parsed;
      if (payload.kid !== keys.kid || !verify(null, signed, keys.publicKey, signature)) {
        throw fail("TOKEN_REFUSED", {});
      }
      const [isRevoked, user] = await Promise.all([
        store.identity.isRevoked(payload.jti),
        store.identity.user(payload.user as UserId),
      ]);
      if (user === null || !user.enabled) throw fail("TOKEN_REFUSED", {});
      const verdict = checkToken(payload, {
        now: clock.now(),
        revoked: () => isRevoked,
        refusedUsers: () => user.refusedBefore ?? undefined,
      });
      if (verdict !== "ok") throw fail("TOKEN_REFUSED", {});
      return { user, token: payload };
    },
    revoke: (payload) => store.identity.revokeToken(payload.jti, instant(payload.exp)),
  };
};

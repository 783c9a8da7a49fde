/**
 * The pure parts of our tokens (format: core/routing-table.ts): reading, writing and judging one. Signatures are made
 * and checked by the callers, with one line of node:crypto each. Shared by the control API and the gateway.
 */
import type { TokenPayload } from "./routing-table.ts";

const PREFIX = "MP1.";
/** Our tokens have about 350 characters; anything much longer is not one and is not worth decoding. */
const LENGTH_MAX = 4096;
const SHAPE = /^MP1\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})$/;

const isName = (value: unknown): value is string => typeof value === "string" && value !== "";
const isMoment = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

/** By hand, not with zod: the gateway reads tokens, and has no other use for 13 MB of it. Unknown members are dropped. */
const readPayload = (json: unknown): TokenPayload | null => {
  if (typeof json !== "object" || json === null) return null;
  const { jti, kid, user, domain, project, iat, exp } = json as Readonly<Record<string, unknown>>;
  if (!isName(jti) || !isName(kid) || !isName(user) || !isName(domain)) return null;
  if (!isMoment(iat) || !isMoment(exp)) return null;
  const rest = { jti, kid, user, domain, iat, exp };
  if (project === undefined) return rest;
  return isName(project) ? { ...rest, project } : null;
};

const toBase64Url = (bytes: Uint8Array): string =>
  bytes.toBase64({ alphabet: "base64url", omitPadding: true });

/** Null when the text is not base64url. */
const fromBase64Url = (text: string): Uint8Array<ArrayBuffer> | null => {
  try {
    return Uint8Array.fromBase64(text, { alphabet: "base64url" });
  } catch {
    return null;
  }
};

export interface ParsedToken {
  readonly payload: TokenPayload;
  /** The bytes the signature is over. */
  readonly signed: Uint8Array<ArrayBuffer>;
  readonly signature: Uint8Array<ArrayBuffer>;
}

/** Takes a token apart without believing it; null when it is not one of ours. */
export const parseToken = (text: string): ParsedToken | null => {
  if (text.length > LENGTH_MAX) return null;
  const match = SHAPE.exec(text);
  if (match === null) return null;
  const [, body = "", mark = ""] = match;
  const bytes = fromBase64Url(body);
  const signature = fromBase64Url(mark);
  if (bytes === null || signature === null || signature.length !== 64) return null;
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return null;
  }
  const payload = readPayload(json);
  if (payload === null) return null;
  return {
    payload,
    signed: new TextEncoder().encode(PREFIX + body),
    signature,
  };
};

/** The part of a token that gets signed, `MP1.<payload>`; `encodeToken` adds the signature. */
export const tokenToSign = (payload: TokenPayload): string =>
  PREFIX + toBase64Url(new TextEncoder().encode(JSON.stringify(payload)));

export const encodeToken = (toSign: string, signature: Uint8Array): string =>
  `${toSign}.${toBase64Url(signature)}`;

/** Judges a token whose signature is right. `refusedUsers` gives the epoch ms up to which a user's tokens are void. */
export const checkToken = (
  payload: TokenPayload,
  facts: {
    readonly now: number;
    readonly revoked: (jti: string) => boolean;
    readonly refusedUsers: (user: string) => number | undefined;
  },
): "ok" | "expired" | "revoked" => {
  if (payload.exp <= facts.now) return "expired";
  if (facts.revoked(payload.jti)) return "revoked";
  const refusedUpTo = facts.refusedUsers(payload.user);
  return refusedUpTo !== undefined && payload.iat <= refusedUpTo ? "revoked" : "ok";
};

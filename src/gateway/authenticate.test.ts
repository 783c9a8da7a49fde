import { generateKeyPairSync, sign } from "node:crypto";
import { expect, test } from "vitest";
import { encodeToken, tokenToSign } from "../core/token.ts";
import { Authenticator } from "./authenticate.ts";
import type { Trust } from "./table.ts";

const pair = () => {
  const keys = generateKeyPairSync("ed25519");
  const spki = keys.publicKey.export({ type: "spki", format: "der" }).toString("base64url");
  return { key: keys.publicKey, spki, privateKey: keys.privateKey };
};
const first = pair();
const second = pair();
const trusting = (key: typeof first): Trust => ({
  keys: new Map([["k", key]]),
  revoked: new Set(),
  refusedUsers: new Map(),
});
const mint = (jti: string, exp = 1_000): string => {
  const text = tokenToSign({ jti, kid: "k", user: "u", domain: "d", project: "p", iat: 0, exp });
  return encodeToken(text, sign(null, Buffer.from(text), first.privateKey));
};

test("a remembered token ends at its expiry, to the millisecond, without a change of the table", () => {
  let now = 999;
  const authenticator = new Authenticator(() => now, 10);
  const trust = trusting(first);
  const token = mint("a");
  expect(authenticator.authenticate(token, trust).ok).toBe(true);
  now = 1_000;
  expect(authenticator.authenticate(token, trust).ok).toBe(false);
});

test("a remembered token ends when its key is replaced under the same id", () => {
  const authenticator = new Authenticator(() => 0, 10);
  const token = mint("a");
  expect(authenticator.authenticate(token, trusting(first)).ok).toBe(true);
  expect(authenticator.authenticate(token, trusting(second)).ok).toBe(false);
  expect(authenticator.authenticate(token, trusting(first)).ok).toBe(true);
});

test("what is remembered is bounded, and a forged token is never remembered", () => {
  const authenticator = new Authenticator(() => 0, 10);
  const trust = trusting(first);
  const text = tokenToSign({ jti: "x", kid: "k", user: "u", domain: "d", project: "p", iat: 0, exp: 1_000 });
  const forged = encodeToken(text, sign(null, Buffer.from(text), second.privateKey));
  for (let n = 0; n < 3; n += 1) expect(authenticator.authenticate(forged, trust).ok).toBe(false);
  expect(authenticator.rememberedCount).toBe(0);
  for (let n = 0; n < 50; n += 1) authenticator.authenticate(mint(`t${n}`), trust);
  expect(authenticator.rememberedCount).toBeLessThanOrEqual(20);
});

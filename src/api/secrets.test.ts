/** Secrets are made once, kept private, and tell when they are damaged. */
import { randomBytes, sign, verify } from "node:crypto";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { hashPassword, verifyPassword } from "./passwords.ts";
import { loadOrCreateSecrets, seal, unseal } from "./secrets.ts";

let dir: string;
beforeEach(async () => {
  dir = join(await mkdtemp(join(tmpdir(), "modelport-secrets-")), "secrets");
});
afterEach(() => rm(join(dir, ".."), { recursive: true, force: true }));

test("are the same at every start, in files only their owner reads", async () => {
  const first = await loadOrCreateSecrets(dir);
  const second = await loadOrCreateSecrets(dir);
  expect(second.masterKey).toEqual(first.masterKey);
  expect(second.keys.kid).toBe(first.keys.kid);
  expect((await stat(dir)).mode & 0o777).toBe(0o700);
  expect((await readdir(dir)).toSorted()).toEqual(["master.key", "token-key.pem"]);
  for (const file of await readdir(dir)) expect((await stat(join(dir, file))).mode & 0o777).toBe(0o600);
});

test("are one set when several processes start at once", async () => {
  const all = await Promise.all(Array.from({ length: 8 }, () => loadOrCreateSecrets(dir)));
  expect(new Set(all.map((s) => s.masterKey.toString("hex"))).size).toBe(1);
  expect(new Set(all.map((s) => s.keys.kid)).size).toBe(1);
  const [one, other] = all;
  const mark = sign(null, Buffer.from("x"), one?.keys.privateKey ?? "");
  expect(verify(null, Buffer.from("x"), other?.keys.publicKey ?? "", mark)).toBe(true);
});

test("that are damaged stop the start instead of being replaced", async () => {
  await loadOrCreateSecrets(dir);
  await writeFile(join(dir, "master.key"), "short");
  await expect(loadOrCreateSecrets(dir)).rejects.toThrow("master.key is damaged");
});

test("sealed values open only with their key and their context", () => {
  const key = randomBytes(32);
  const sealed = seal(key, "secret", "access-key:A");
  expect(sealed).not.toContain("secret");
  expect(unseal(key, sealed, "access-key:A")).toBe("secret");
  expect(() => unseal(key, sealed, "access-key:B")).toThrow();
  expect(() => unseal(randomBytes(32), sealed, "access-key:A")).toThrow();
});

test("passwords verify against their own hash only, and against none when there is no user", async () => {
  const hash = await hashPassword("correct horse");
  expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  expect(await verifyPassword("correct horse", hash)).toBe(true);
  expect(await verifyPassword("wrong", hash)).toBe(false);
  expect(await verifyPassword("correct horse", null)).toBe(false);
  expect(await hashPassword("correct horse")).not.toBe(hash);
});

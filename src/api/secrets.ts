/**
 * The two secrets of an installation: the master key that seals what must be read back (SK, AppSecret), and the Ed25519
 * key that signs tokens. Made at the first start, 0600 in a 0700 directory. A file appears whole or not at all, and
 * two processes that start at once end up with the same one: it is written beside its place and linked into it, which
 * fails when somebody else was first.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  randomUUID,
} from "node:crypto";
import { chmod, link, mkdir, open, readFile, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { TokenKeys } from "./deps.ts";

export interface Secrets {
  readonly masterKey: Buffer;
  readonly keys: TokenKeys;
}

const MASTER_KEY_BYTES = 32;

const codeOf = (error: unknown): unknown =>
  typeof error === "object" && error !== null && "code" in error ? error.code : undefined;

const readIfThere = async (path: string): Promise<Buffer | null> => {
  try {
    return await readFile(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw error;
  }
};

const loadOrCreate = async (dir: string, file: string, make: () => Buffer): Promise<Buffer> => {
  const path = join(dir, file);
  const present = await readIfThere(path);
  if (present !== null) return present;
  const scratch = join(dir, `.${file}.${randomUUID()}`);
  const handle = await open(scratch, "wx", 0o600);
  try {
    await handle.writeFile(make());
    await handle.sync();
  } finally {
    await handle.close();
  }
  try {
    await link(scratch, path);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  } finally {
    await unlink(scratch);
  }
  return readFile(path);
};

/** Reads the installation's secrets, making them at the first start. Throws when a file is there but damaged. */
export const loadOrCreateSecrets = async (dir: string): Promise<Secrets> => {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await chmod(dir, 0o700);
  const master = await loadOrCreate(dir, "master.key", () =>
    Buffer.from(`${randomBytes(MASTER_KEY_BYTES).toString("base64")}\n`),
  );
  const masterKey = Buffer.from(master.toString("latin1").trim(), "base64");
  if (masterKey.length !== MASTER_KEY_BYTES) {
    throw new Error(`${join(dir, "master.key")} is damaged: expected ${MASTER_KEY_BYTES} bytes in base64.`);
  }
  const pem = await loadOrCreate(dir, "token-key.pem", () =>
    Buffer.from(generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" })),
  );
  const privateKey = createPrivateKey(pem);
  if (privateKey.asymmetricKeyType !== "ed25519") {
    throw new Error(`${join(dir, "token-key.pem")} is not an Ed25519 key.`);
  }
  const publicKey = createPublicKey(privateKey);
  return {
    masterKey,
    keys: { kid: keyId(publicKey.export({ type: "spki", format: "der" })), privateKey, publicKey },
  };
};

/** Key ids are derived from the key, so a replaced key file cannot pass under the old id. */
const keyId = (spki: Buffer): string => createHash("sha256").update(spki).digest("hex").slice(0, 16);

/** Seals a secret under the master key (AES-256-GCM). `context` is bound in: a sealed value moved elsewhere fails. */
export const seal = (masterKey: Buffer, secret: string, context: string): string => {
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", masterKey, nonce).setAAD(Buffer.from(context));
  const body = Buffer.concat([cipher.update(secret, "utf8"), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), body]).toString("base64");
};

/** Opens what `seal` made; throws when key, context or bytes are not the ones it was made with. */
export const unseal = (masterKey: Buffer, sealed: string, context: string): string => {
  const bytes = Buffer.from(sealed, "base64");
  const decipher = createDecipheriv("aes-256-gcm", masterKey, bytes.subarray(0, 12), { authTagLength: 16 })
    .setAAD(Buffer.from(context))
    .setAuthTag(bytes.subarray(12, 28));
  return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString("utf8");
};

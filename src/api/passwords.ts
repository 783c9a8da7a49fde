/**
 * Passwords as argon2id hashes in the PHC string form, so the parameters travel with each hash and can be raised later
 * without invalidating old ones. Node's own implementation runs on the thread pool, which bounds how many run at once.
 */
import { argon2, randomBytes, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";

const derive = promisify(argon2);

/** OWASP's second recommended set: 19 MiB, two passes, one lane. About 30 ms. */
const PARAMETERS = { memory: 19_456, passes: 2, parallelism: 1 };
const TAG_BYTES = 32;

const encode = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64").replaceAll("=", "");

export const hashPassword = async (password: string): Promise<string> => {
  const nonce = randomBytes(16);
  const tag = await derive("argon2id", { ...PARAMETERS, message: password, nonce, tagLength: TAG_BYTES });
  const { memory, passes, parallelism } = PARAMETERS;
  return `$argon2id$v=19$m=${memory},t=${passes},p=${parallelism}$${encode(nonce)}$${encode(tag)}`;
};

const PHC = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/;

/**
 * Whether the password is the one of the hash. Without a hash (no such user) the same work is done against a made-up
 * one, so the time of the answer does not tell which user names exist.
 */
export const verifyPassword = async (password: string, hash: string | null): Promise<boolean> => {
  const match = hash === null ? null : PHC.exec(hash);
  const nonce = match === null ? randomBytes(16) : Buffer.from(match[4] ?? "", "base64");
  const expected = match === null ? randomBytes(TAG_BYTES) : Buffer.from(match[5] ?? "", "base64");
  const tag = await derive("argon2id", {
    message: password,
    nonce,
    tagLength: expected.length,
    memory: match === null ? PARAMETERS.memory : Number(match[1]),
    passes: match === null ? PARAMETERS.passes : Number(match[2]),
    parallelism: match === null ? PARAMETERS.parallelism : Number(match[3]),
  });
  return match !== null && timingSafeEqual(tag, expected);
};

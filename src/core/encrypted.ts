/** Recognises files that were encrypted before they were uploaded, by how they begin. Such a model can be loaded by nobody. */

/** Bytes of the beginning of a file that decide. */
export const ENCRYPTED_HEAD_BYTES = 64;

const MARKS: readonly { readonly begins: string; readonly by: string }[] = [
  { begins: "Salted__", by: "openssl enc" },
  { begins: "U2FsdGVkX1", by: "openssl enc" },
  { begins: "-----BEGIN PGP MESSAGE-----", by: "PGP" },
  { begins: "age-encryption.org/v1", by: "age" },
  { begins: "-----BEGIN AGE ENCRYPTED FILE-----", by: "age" },
  { begins: "$ANSIBLE_VAULT;", by: "Ansible Vault" },
  { begins: "\u0000GITCRYPT\u0000", by: "git-crypt" },
  { begins: "LUKS\u00ba\u00be", by: "LUKS" },
  // Packets of OpenPGP: a session key by a password, and by a public RSA key of 2048 or 4096 bits.
  { begins: "\u008c\u000d\u0004", by: "GPG" },
  { begins: "\u0085\u0001\u000c\u0003", by: "GPG" },
  { begins: "\u0085\u0002\u000c\u0003", by: "GPG" },
];

/** The first entry of a zip archive, and the flag that says it needs a password. */
const ZIP = "PK\u0003\u0004";
const ZIP_FLAGS_AT = 6;

/** What encrypted the file; null when it does not look encrypted. */
export const encryptedBy = (head: Uint8Array): string | null => {
  const text = String.fromCharCode(...head.subarray(0, ENCRYPTED_HEAD_BYTES));
  if (text.startsWith(ZIP) && ((head[ZIP_FLAGS_AT] ?? 0) & 1) === 1) return "zip with a password";
  return MARKS.find(({ begins }) => text.startsWith(begins))?.by ?? null;
};

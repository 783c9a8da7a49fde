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
];

/** What encrypted the file; null when it does not look encrypted. */
export const encryptedBy = (head: Uint8Array): string | null => {
  const text = String.fromCharCode(...head.subarray(0, ENCRYPTED_HEAD_BYTES));
  return MARKS.find(({ begins }) => text.startsWith(begins))?.by ?? null;
};

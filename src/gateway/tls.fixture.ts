/** Certificates for tests, made by openssl as an operator would make them. */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Certificate, CertificateFiles } from "./certificate.ts";

const run = promisify(execFile);

export interface MadeCertificate {
  readonly files: CertificateFiles;
  readonly certificate: Certificate;
}

/** A self-made certificate for 127.0.0.1 in files of its own below `dir`. `more`: options of `openssl req` instead of a validity of 30 days. */
export const makeCertificate = async (
  dir: string,
  more: readonly string[] = [],
): Promise<MadeCertificate> => {
  const name = randomUUID();
  const [certificateFile, keyFile] = [join(dir, `${name}.crt`), join(dir, `${name}.key`)];
  await run("openssl", [
    ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes".split(" "),
    "-keyout",
    keyFile,
    "-out",
    certificateFile,
    "-subj",
    `/CN=${name}`,
    "-addext",
    "subjectAltName=IP:127.0.0.1,DNS:localhost",
    ...(more.length > 0 ? more : ["-days", "30"]),
  ]);
  const [cert, key] = await Promise.all([readFile(certificateFile, "utf8"), readFile(keyFile, "utf8")]);
  return { files: { certificateFile, keyFile }, certificate: { cert, key, expiresAt: Infinity } };
};

/**
 * The listener's certificate and key: read and judged together, followed while the gateway runs. The two files may be
 * replaced one after the other, so a pair that does not fit is not taken: the one in use stays and the files are looked
 * at again. Compared by content, once a second: it costs nothing beside a handshake, and neither renamed files, symbolic
 * links that are turned (Kubernetes) nor file systems that report no changes can be missed.
 */
import { X509Certificate, createPrivateKey } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import type { Problem } from "../core/errors.ts";
import type { Timer } from "./timer.ts";

export interface CertificateFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
}

export interface Certificate {
  /** PEM, the listener's own certificate first. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  /** Epoch ms. */
  readonly expiresAt: number;
}

type Read = { ok: true; certificate: Certificate } | { ok: false; problems: readonly Problem[] };

const LOOK_MS = 1_000;
const FILE_BYTES_MAX = 1024 * 1024;
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "does not exist",
  EACCES: "may not be read by this user",
  EISDIR: "is a directory",
};

const causeOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
const day = (time: number): string => new Date(time).toISOString().slice(0, 10);

/** Reads both files and says everything that is wrong with them. `now`: epoch ms. */
export const readCertificate = (files: CertificateFiles, now: number): Read => {
  const problems: Problem[] = [];
  const complain = (name: "CERT" | "KEY", what: string, fix: string): null => {
    const file = name === "CERT" ? files.certificateFile : files.keyFile;
    problems.push({ path: `MODELPORT_TLS_${name}_FILE`, message: `${file} ${what}`, fix });
    return null;
  };
  const text = (name: "CERT" | "KEY", file: string): string | null => {
    try {
      if (statSync(file).size > FILE_BYTES_MAX) return complain(name, "is too large", "name a PEM file");
      return readFileSync(file, "utf8");
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? "";
      return complain(
        name,
        REASONS[code] ?? `cannot be read: ${causeOf(error)}`,
        "name a file it can be read from",
      );
    }
  };
  const cert = text("CERT", files.certificateFile);
  const key = text("KEY", files.keyFile);
  const leaf = cert === null ? null : parseCertificate(cert);
  const privateKey = key === null ? null : parseKey(key);
  if (typeof leaf === "string")
    complain("CERT", leaf, "name the PEM file of the certificate, its chain behind it");
  if (typeof privateKey === "string")
    complain("KEY", privateKey, "name the PEM file of the certificate's key");
  if (leaf instanceof X509Certificate) {
    const [from, to] = [leaf.validFromDate.getTime(), leaf.validToDate.getTime()];
    if (to <= now) complain("CERT", `has expired on ${day(to)}`, "renew the certificate");
    if (from > now) complain("CERT", `is not valid before ${day(from)}`, "use one that is, or set the clock");
    if (privateKey !== null && typeof privateKey !== "string" && !leaf.checkPrivateKey(privateKey)) {
      complain(
        "KEY",
        `is not the key of the certificate in ${files.certificateFile}`,
        "name the two that belong together",
      );
    }
  }
  if (problems.length > 0 || cert === null || key === null || !(leaf instanceof X509Certificate)) {
    return { ok: false, problems };
  }
  try {
    // What remains is what only the handshake's own code knows, such as keys it takes for too weak.
    process.getBuiltinModule("node:tls").createSecureContext({ cert, key });
  } catch (error) {
    complain("CERT", `cannot be served: ${causeOf(error)}`, "use another certificate");
    return { ok: false, problems };
  }
  return { ok: true, certificate: { cert, key, expiresAt: leaf.validToDate.getTime() } };
};

/** The certificate, or what is wrong with the text. */
const parseCertificate = (text: string): X509Certificate | string => {
  if (!text.includes("-----BEGIN CERTIFICATE-----")) return "holds no certificate in PEM form";
  try {
    return new X509Certificate(text);
  } catch (error) {
    return `holds no readable certificate: ${causeOf(error)}`;
  }
};

const parseKey = (text: string): ReturnType<typeof createPrivateKey> | string => {
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) return "holds no private key in PEM form";
  if (/ENCRYPTED/.test(text)) return "holds an encrypted key, which nobody could unlock at a restart";
  try {
    return createPrivateKey(text);
  } catch (error) {
    return `holds no readable private key: ${causeOf(error)}`;
  }
};

/** For one line of text. */
export const describeProblems = (problems: readonly Problem[]): string =>
  problems.map((one) => `${one.path}: ${one.message}`).join("; ");

export interface CertificateWatch {
  stop(): void;
}

/**
 * Looks at the files every second. `onChange` gets a new pair once it fits; `onProblems` hears once of each state of the
 * files that cannot be taken.
 */
export const followCertificate = (
  files: CertificateFiles,
  first: Certificate,
  deps: {
    readonly timer: Timer;
    readonly now: () => number;
    readonly onChange: (certificate: Certificate) => void;
    readonly onProblems: (problems: readonly Problem[]) => void;
  },
): CertificateWatch => {
  let current = first;
  let told = "";
  let isStopped = false;
  const raw = (file: string): string => {
    try {
      return readFileSync(file, "utf8");
    } catch {
      return "";
    }
  };
  const look = (): void => {
    if (isStopped) return;
    if (raw(files.certificateFile) !== current.cert || raw(files.keyFile) !== current.key) {
      const read = readCertificate(files, deps.now());
      if (read.ok) {
        current = read.certificate;
        told = "";
        deps.onChange(current);
      } else {
        const text = describeProblems(read.problems);
        if (text !== told) deps.onProblems(read.problems);
        told = text;
      }
    } else told = "";
    deps.timer.after(LOOK_MS, look);
  };
  deps.timer.after(LOOK_MS, look);
  return { stop: () => (isStopped = true) };
};

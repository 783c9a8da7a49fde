/**
 * One sentence for each way a program of a build can fail, naming the requirement it failed at, and whether to ask again.
 * Knows the messages of uv 0.13 and of the compilers and build backends behind it; pure.
 */
import { projectOf } from "./requirements.ts";
import { causeOf, missingIn } from "./resolution.ts";

/** What a program's failure comes down to. */
export interface Failure {
  /** `index` and `disk`: no requirement is to blame; the same one may be had later. */
  readonly kind: "index" | "disk" | "package";
  /** One sentence for the user. */
  readonly sentence: string;
  /** Of a package: the sentence without its beginning, "Dependency … cannot be installed: ". */
  readonly reason: string;
  /** True where the same question may get an answer a little later. */
  readonly mayPass: boolean;
}

/** What is asked for, by the words of those who asked. */
export interface Asked {
  /** Requirements as written, those of the package first. */
  readonly lines: readonly string[];
  /** Who needs a project, by its normalised name: from the resolved set. */
  readonly neededBy: ReadonlyMap<string, readonly string[]>;
}

const DISK =
  /No space left on device|os error 28\b|ENOSPC|Disk quota exceeded|os error 122\b|ERROR_DISK_FULL/i;
const COMPILER = String.raw`[\w./+-]*(?:cc|g\+\+|clang(?:\+\+)?|cl\.exe|c\+\+|gfortran)(?:-\d+)?`;
const NO_COMPILER = new RegExp(
  [
    String.raw`(?:command|execute) '?(${COMPILER})'? failed: No such file`,
    String.raw`unable to execute '?([\w./+-]+)'?: No such file`,
    String.raw`No such file or directory: '(${COMPILER})'`,
    String.raw`([\w+-]*(?:gcc|g\+\+|clang|\bcc)): (?:command )?not found`,
    String.raw`Unknown compiler\(s\)`,
    String.raw`(Microsoft Visual C\+\+) .* is required`,
  ].join("|"),
  "i",
);
const NO_HEADERS = /fatal error: '?Python\.h'?|Python\.h: No such file/;
const BUILT =
  /(?:Failed to (?:download and )?build|Could not build|build) [`'"]?([A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?(?:==[\w.+!]+)?)[`'"]?/;
const AT =
  /(?:Failed to (?:download|read|fetch|unzip|extract|read metadata for|prepare distributions for)|while (?:downloading|fetching)):? *[`']([^`'\n]+)[`']/;
const INSTALLED = /Failed to install: ([\w.+-]+\.whl)/;
const ADDRESS = /(?:Failed to fetch:|for url \() *(\S+?)\)?(?:\n|$)/;

const TIMED_OUT = /timed out|network timeout/i;
const BROKEN_OFF =
  /error decoding response body|end of file before message length|error reading a body|connection closed before|Connection (?:reset|broken)|unexpected (?:EOF|end of file)/i;
const UNREACHABLE =
  /dns error|name resolution|Name or service not known|error sending request|client error \(Connect\)|Could not connect|Connection refused|Network is unreachable|UnknownIssuer|CERTIFICATE_VERIFY_FAILED|NewConnectionError|Max retries|Retrying \(|from versions: none/i;
const FETCHING = /Failed to (?:fetch|download(?! and build))|Request failed after|error sending request/;
const STATUS = /HTTP status (?:server|client) error \((\d{3})([^)]*)\)/;

export const DISK_FULL =
  "The disk that holds the environments is full: free some space, or delete AI applications that are not used, and import again";

export const unreachable = (what: string | null): string =>
  `The package index cannot be reached${what === null ? "" : ` for ${what}`}: check the network connection, or set PIP_INDEX_URL, a proxy (HTTPS_PROXY) or SSL_CERT_FILE, and try again.`;

/** True when this text of a program says that the disk is full. */
export const isDiskFull = (text: string): boolean => DISK.test(text);

/** True when it says that the index did not answer as it should. */
export const isUnreachable = (output: string): boolean =>
  UNREACHABLE.test(output) || TIMED_OUT.test(output) || BROKEN_OFF.test(output) || STATUS.test(output);

/** `https://…/numpy-1.2.3-….whl` and `…/simple/numpy/` name their project in their last part. */
const projectAt = (found: string): string => {
  if (!found.includes("/") && !/\.(?:whl|tar\.gz|zip)$/.test(found)) return projectOf(found);
  const last = found.replace(/\/$/, "").split("/").at(-1) ?? found;
  return projectOf(/^(.+?)-\d[^/]*\.(?:whl|tar\.gz|zip)/.exec(last)?.[1] ?? last);
};

/** The requirement that a name in a log stands for; what it comes from, where nobody asked for it directly. */
export const nameIn = (found: string, asked: Asked): string => {
  const project = projectAt(found);
  const isProject = (line: string): boolean => projectAt(line) === project;
  const direct = asked.lines.find(isProject);
  if (direct !== undefined) return direct;
  const seen = new Set([project]);
  for (const one of seen) for (const parent of asked.neededBy.get(one) ?? []) seen.add(parent);
  const root = asked.lines.find((line) => seen.has(projectAt(line)));
  const plain = found.includes("/") ? project : found;
  return root === undefined ? plain : `${plain} (needed by ${root})`;
};

const about = (name: string, reason: string): Failure => ({
  kind: "package",
  sentence: `Dependency ${name} cannot be installed: ${reason}.`.replace(/\.+$/, "."),
  reason,
  mayPass: false,
});

const WITHOUT_SOURCE = "or put a wheel of it beside the model file";

/** Why a source distribution was not built. */
const buildFailure = (log: string): string => {
  const compiler = NO_COMPILER.exec(log);
  if (compiler !== null)
    return `it is published as source only, with parts in C, and this machine has no compiler (${compiler.slice(1).find((name) => name !== undefined) ?? "cc"}); install one (Debian: apt-get install build-essential), ${WITHOUT_SOURCE}`;
  if (NO_HEADERS.test(log))
    return `it is published as source only, with parts in C, and this machine has no headers of Python (Python.h); install them (Debian: apt-get install python3-dev), ${WITHOUT_SOURCE}`;
  const missing = missingIn(log);
  if (missing !== null)
    return `it is published as source only, and the package index has not ${missing.project}, which it is built with; put that on the index, ${WITHOUT_SOURCE}`;
  const error = log
    .split("\n")
    .map((line) => line.trim())
    .findLast((line) => /^(?:\w+Error|error|fatal error)\b.*:|: error:/.test(line));
  return `it could not be built from its source: ${error ?? causeOf(log)}`;
};

const indexFailure = (log: string, name: string | null): Failure | null => {
  const at = name ?? "what is asked for";
  const index = (sentence: string, mayPass: boolean): Failure => ({
    kind: "index",
    sentence,
    reason: sentence,
    mayPass,
  });
  const [, status, words = ""] = STATUS.exec(log) ?? [];
  if (status !== undefined) {
    const answer = `HTTP ${status}${words}`;
    if (status === "404" || status === "410")
      return about(at, `the package index lists it but has not its file (${answer})`);
    if (status.startsWith("5") || status === "429" || status === "408")
      return index(
        `The package index answers ${answer} for ${at}: try again later, or set PIP_INDEX_URL to another.`,
        true,
      );
    return index(
      `The package index answers ${answer} for ${at}: check PIP_INDEX_URL with its user and password, and the proxy (HTTPS_PROXY).`,
      false,
    );
  }
  if (/client error \(Connect\)/.test(log) && !TIMED_OUT.test(log)) return index(unreachable(name), false);
  if (TIMED_OUT.test(log))
    return index(
      `The package index does not answer in time for ${at}: try again later, or set UV_HTTP_TIMEOUT (seconds) higher, or PIP_INDEX_URL to another.`,
      true,
    );
  if (BROKEN_OFF.test(log))
    return index(
      `The package index broke off in the middle of ${at}: try again later, or set PIP_INDEX_URL to another.`,
      true,
    );
  return UNREACHABLE.test(log) ? index(unreachable(name), false) : null;
};

/** A wheel that cannot be what it should; null where the log is about something else. */
const fileFailure = (log: string): string | null => {
  if (/Hash mismatch/.test(log))
    return "its file is not the one the package index promises (the SHA-256 differs)";
  if (/is incompatible with the current platform/.test(log)) {
    const [, theirs = "another platform", ours = "this one"] =
      /compatible with [^`]*`([^`]+)`.*you're on [^`]*`([^`]+)`/.exec(log) ?? [];
    return `it is a wheel for ${theirs}, and what runs here needs ${ours}`;
  }
  if (
    /Failed to (?:extract archive|read from zip file|read metadata|unzip)|Invalid (?:wheel|zip)|does not start with the normalized package name/.test(
      log,
    )
  ) {
    const why = [...log.matchAll(/cause: ([^\n]+)/g)].at(-1)?.[1];
    return `its file is damaged or is no wheel${why === undefined ? "" : ` (${why.trim()})`}`;
  }
  return null;
};

/** Null: it is none of the failures known here. */
export const explainFailure = (log: string, asked: Asked): Failure | null => {
  const found = (
    /A path \(([^)]+)\) dependency is incompatible/.exec(log) ??
    AT.exec(log) ??
    INSTALLED.exec(log) ??
    ADDRESS.exec(log)
  )?.[1];
  const name = found === undefined ? null : nameIn(found.replace(/ @ .*$/, ""), asked);
  if (isDiskFull(log)) {
    const sentence = `${DISK_FULL}${name === null ? "" : ` (it was full at ${name})`}.`;
    return { kind: "disk", sentence, reason: sentence, mayPass: false };
  }
  const built = /Failed to (?:download and )?build|build backend|Could not build/.test(log)
    ? BUILT.exec(log)?.[1]
    : undefined;
  if (built !== undefined) {
    const what = nameIn(built, asked);
    // Compilers, too, speak of files that end unexpectedly.
    const index = FETCHING.test(log) ? indexFailure(log, what) : null;
    return index ?? about(what, buildFailure(log));
  }
  const index = indexFailure(log, name);
  if (index !== null) return index;
  const file = fileFailure(log);
  return file === null ? null : about(name ?? "that was asked for", file);
};

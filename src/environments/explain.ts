/** One sentence for each way an install can fail, naming the requirement it failed at. Knows uv's messages; pure. */
import { projectOf } from "./requirements.ts";
import { UNREACHABLE_MESSAGE, causeOf, isUnreachable } from "./uv.ts";

const DISK =
  /No space left on device|os error 28\b|ENOSPC|Disk quota exceeded|os error 122\b|ERROR_DISK_FULL/i;
const NO_COMPILER =
  /(?:command|execute) '?([\w./+-]*(?:cc|g\+\+|clang(?:\+\+)?|cl\.exe|c\+\+)(?:-\d+)?)'? failed: No such file|unable to execute '?([\w./+-]+)'?: No such file|([\w+-]*(?:gcc|g\+\+|clang|\bcc)): (?:command )?not found|Unknown compiler\(s\)|(Microsoft Visual C\+\+) .* is required/i;
const NO_HEADERS = /fatal error: '?Python\.h'?|Python\.h: No such file/;
const BUILT =
  /(?:Failed to build|Could not build|build) [`'"]?([A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?(?:==[\w.+!]+)?)[`'"]?/;
const FETCHED =
  /(?:Failed to (?:download|fetch|unzip|extract|read metadata for|install|prepare distributions for)|Request failed for|while (?:downloading|fetching))[^`'\n]*[`']([^`'\n]+)[`']/;

export const DISK_FULL =
  "The disk that holds the environments is full: free some space, or delete AI applications that are not used, and import again";

/** True when this text of a program says that the disk is full. */
export const isDiskFull = (text: string): boolean => DISK.test(text);

const nameOf = (found: string, asked: readonly string[]): string => {
  // `https://…/numpy-1.2.3-….whl` names its project in its file.
  const file = found.includes("/") ? (/\/([A-Za-z0-9_.]+)-[^/]*$/.exec(found)?.[1] ?? found) : found;
  return asked.find((line) => projectOf(line) === projectOf(file)) ?? file;
};

/** `asked`: what package and engine ask for, as written. Null: it is none of the failures known here. */
export const explainFailure = (log: string, asked: readonly string[]): string | null => {
  const at = FETCHED.exec(log)?.[1];
  if (isDiskFull(log))
    return `${DISK_FULL}${at === undefined ? "" : ` (it was full at ${nameOf(at, asked)})`}.`;
  const built = /Failed to build|build backend|Could not build/.test(log) ? BUILT.exec(log)?.[1] : undefined;
  if (built !== undefined) {
    const what = `Dependency ${nameOf(built, asked)}`;
    if (isUnreachable(log)) return `${what} could not be built from its source: ${UNREACHABLE_MESSAGE}`;
    const compiler = NO_COMPILER.exec(log);
    if (compiler !== null)
      return `${what} is published as source only, with parts in C, and this machine has no compiler (${compiler.slice(1).find((name) => name !== undefined) ?? "cc"}): install one (Debian: apt-get install build-essential), or put a wheel of it beside the model file.`;
    if (NO_HEADERS.test(log))
      return `${what} is published as source only, with parts in C, and this machine has no headers of Python (Python.h): install them (Debian: apt-get install python3-dev), or put a wheel of it beside the model file.`;
    const error = log
      .split("\n")
      .map((line) => line.trim())
      .findLast((line) => /^(?:\w+Error|error|fatal error)\b.*:|: error:/.test(line));
    return `${what} could not be built from its source: ${error ?? causeOf(log)}.`.replace(/\.+$/, ".");
  }
  if (isUnreachable(log))
    return at === undefined
      ? UNREACHABLE_MESSAGE
      : `The package index stopped answering at ${nameOf(at, asked)}. ${UNREACHABLE_MESSAGE}`;
  return null;
};

/**
 * Decides, once per instance, as whom and within which groups its workers run. A user of the service's own that could
 * not read what the worker needs (an interpreter or a checkout below somebody's closed home) would only make the
 * instance fail: the platform's user stands in then, and the instance's log says why.
 */
import { chmodSync, chownSync, readFileSync } from "node:fs";
import type { Confinement, LaunchSpec } from "../core/launch.ts";
import { unreachable } from "../telemetry/reach.ts";
import { subgroupOf } from "../telemetry/control-groups.ts";

const NONE: Confinement = { user: null, cgroups: [], rlimits: {}, memoryMb: null };

/** The confinement of worker `index`. Gives the work directory to the user. */
export const confine = (
  spec: Pick<LaunchSpec, "confinement" | "engine" | "python" | "packageDir">,
  paths: { readonly pythonDir: string; readonly workDir: string },
  log: (text: string) => void,
): ((index: number) => Confinement) => {
  const given = spec.confinement ?? NONE;
  const { user } = given;
  const obstacle =
    user === null
      ? null
      : (needsAccount(spec.engine, user.uid) ??
        unreachable(user, [spec.python, spec.packageDir, paths.pythonDir, paths.workDir]));
  if (obstacle !== null) log(`warning: user code runs as the platform's own user: ${obstacle}`);
  const own = obstacle === null ? user : null;
  chmodSync(paths.workDir, 0o700);
  if (own !== null) chownSync(paths.workDir, own.uid, own.gid);
  // The number of processes is counted per user: of the platform's it would count everything else as well.
  const { NPROC: processes, ...rlimits } = given.rlimits;
  return (index) => ({
    ...given,
    user: own,
    rlimits: own === null || processes === undefined ? rlimits : { ...rlimits, NPROC: processes },
    cgroups: subgroupOf(given.cgroups, `w${index + 1}`),
  });
};

/** Spark asks the system for its user's name and does not start without an answer. */
const needsAccount = (engine: string, uid: number): string | null => {
  if (engine !== "Spark_MLlib") return null;
  const hasAccount = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .some((line) => line.split(":")[2] === String(uid));
  return hasAccount
    ? null
    : `Spark runs only as a user that has an entry in /etc/passwd, and the service's (${uid}) has none`;
};

/**
 * Finds the folder `model` a source means: below it, the source itself, or in what a training job wrote, whose runs leave
 * V001, V002, … below its `train_url` with a folder `model` in each (guide, table 2-6).
 */
import { fail } from "../core/errors.ts";
import type { ProjectId } from "../core/ids.ts";
import { formatObsLocation, parseObsLocation } from "../core/obs-location.ts";
import type { ObsLocation } from "../core/obs-location.ts";
import type { Objects } from "./objects.ts";

const VERSIONS_MAX = 1000;

const join = (...parts: readonly string[]): string => parts.filter((part) => part !== "").join("/");

/**
 * `jobVersion` (`V002`) picks one run of a training job; without it the newest that has a model counts. Of a source that
 * holds the folder itself it tells only where that came from. Throws SOURCE_NOT_FOUND, and BUCKET_NOT_FOUND as the objects do.
 */
export const findModelFolder = async (
  objects: Objects,
  project: ProjectId,
  location: string,
  jobVersion: string | null = null,
): Promise<ObsLocation> => {
  const at = parseObsLocation(location);
  if (at === null) throw fail("SOURCE_NOT_FOUND", { location });
  const key = at.key.replace(/\/+$/, "");
  const holds = async (folder: string): Promise<boolean> =>
    (await objects.list(project, at.bucket, { prefix: `${folder}/`, limit: 1 })).objects.length > 0;
  const first = async (folders: readonly string[]): Promise<ObsLocation | null> => {
    for (const folder of folders) if (await holds(folder)) return { bucket: at.bucket, key: folder };
    return null;
  };
  const direct = [join(key, "model"), ...(/(?:^|\/)model$/.test(key) ? [key] : [])];
  const isNamed =
    jobVersion !== null && !new RegExp(`(?:^|/)${RegExp.escape(jobVersion)}(?:/model)?$`).test(key);
  const found = await first(isNamed ? [join(key, jobVersion, "model"), ...direct] : direct);
  if (found !== null) return found;
  const runs = await jobVersions(objects, project, at.bucket, key);
  const newest = isNamed ? null : await first(runs.map((run) => join(key, run, "model")));
  if (newest !== null) return newest;
  throw fail(
    "SOURCE_NOT_FOUND",
    { location: formatObsLocation({ bucket: at.bucket, key }) },
    isNamed && runs.length > 0
      ? {
          problems: [
            {
              path: "source_job_version",
              message: `is ${JSON.stringify(jobVersion)}, which holds no folder named model`,
              fix: `use one of ${runs.slice(0, 10).join(", ")}`,
            },
          ],
        }
      : {},
  );
};

/** What the runs of a training job left, the newest first. */
const jobVersions = async (
  objects: Objects,
  project: ProjectId,
  bucket: string,
  key: string,
): Promise<readonly string[]> => {
  const prefix = key === "" ? "V" : `${key}/V`;
  const { prefixes } = await objects.list(project, bucket, { prefix, delimiter: "/", limit: VERSIONS_MAX });
  return prefixes
    .flatMap((name) => /(?:^|\/)(V\d{1,9})\/$/.exec(name)?.[1] ?? [])
    .toSorted((a, b) => Number(b.slice(1)) - Number(a.slice(1)));
};

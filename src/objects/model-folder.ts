/** Finds the folder `model` a source means; core/model-folders.ts says where that may be. */
import { fail } from "../core/errors.ts";
import type { ProjectId } from "../core/ids.ts";
import { modelFolders, runsOf } from "../core/model-folders.ts";
import { formatObsLocation, parseObsLocation } from "../core/obs-location.ts";
import type { ObsLocation } from "../core/obs-location.ts";
import type { Objects } from "./objects.ts";

const VERSIONS_MAX = 1000;

/**
 * `jobVersion` (`V002`) picks one run of a training job. Throws SOURCE_NOT_FOUND, and BUCKET_NOT_FOUND as the objects do.
 */
export const findModelFolder = async (
  objects: Objects,
  project: ProjectId,
  location: string,
  jobVersion: string | null = null,
): Promise<ObsLocation> => {
  const at = parseObsLocation(location);
  if (at === null) throw fail("SOURCE_NOT_FOUND", { location });
  const { bucket } = at;
  const holds = async (folder: string): Promise<boolean> =>
    (await objects.list(project, bucket, { prefix: `${folder}/`, limit: 1 })).objects.length > 0;
  const first = async (folders: readonly string[]): Promise<ObsLocation | null> => {
    for (const folder of folders) if (await holds(folder)) return { bucket, key: folder };
    return null;
  };
  const { direct, run, runsPrefix, ofRun } = modelFolders(at.key, jobVersion);
  const found = await first(direct);
  if (found !== null) return found;
  const { prefixes } = await objects.list(project, bucket, {
    prefix: runsPrefix,
    delimiter: "/",
    limit: VERSIONS_MAX,
  });
  const runs = runsOf(prefixes);
  const newest = run === null ? await first(runs.map(ofRun)) : null;
  if (newest !== null) return newest;
  throw fail(
    "SOURCE_NOT_FOUND",
    { location: formatObsLocation({ bucket, key: at.key.replace(/\/+$/, "") }) },
    run !== null && runs.length > 0
      ? {
          problems: [
            {
              path: "source_job_version",
              message: `is ${JSON.stringify(run)}, which holds no folder named model`,
              fix: `use one of ${runs.slice(0, 10).join(", ")}`,
            },
          ],
        }
      : {},
  );
};

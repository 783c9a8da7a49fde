/** `obs://bucket/key` addresses and the object calls of the API that the commands share. */
import { splitObsAddress } from "../core/obs-location.ts";
import type { ObsLocation } from "../core/obs-location.ts";
import type { Api } from "./api.ts";
import type { ObjectItem, ObjectPage } from "./api-shapes.ts";
import { usage } from "./failures.ts";

export const isObsAddress = (text: string): boolean => /^(obs|s3):\/\//.test(text);

export const parseObsAddress = (text: string): ObsLocation => {
  const at = splitObsAddress(text);
  if (at === null) throw usage(`${text} is not an object address.`, "Write it as obs://BUCKET/KEY.");
  return at;
};

export const bucketPath = (api: Api, bucket: string): string =>
  api.inProject(`/buckets/${encodeURIComponent(bucket)}`);

export const objectPath = (api: Api, at: ObsLocation): string =>
  `${bucketPath(api, at.bucket)}/objects/${at.key.split("/").map(encodeURIComponent).join("/")}`;

/** Everything below a prefix, or with `delimiter` one level of it. */
export const listObjects = async (
  api: Api,
  at: ObsLocation,
  delimiter?: "/",
): Promise<{ objects: readonly ObjectItem[]; prefixes: readonly string[] }> => {
  const objects: ObjectItem[] = [];
  const prefixes: string[] = [];
  let after: string | undefined;
  for (;;) {
    const page = await api.get<ObjectPage>(`${bucketPath(api, at.bucket)}/objects`, {
      prefix: at.key,
      delimiter,
      after,
      limit: 1000,
    });
    objects.push(...page.objects);
    prefixes.push(...(page.prefixes ?? []));
    if (page.next == null) return { objects, prefixes };
    after = page.next;
  }
};

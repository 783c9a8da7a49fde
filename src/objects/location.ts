/** Where an object is, as users write it: `obs://bucket/key`, `s3://bucket/key` or an OBS URL. */
import type { ObjectLocation } from "./objects.ts";

/** Takes a location apart; null when the text is not one. The key may be empty and is not checked here. */
export const parseLocation = (text: string): ObjectLocation | null => {
  const plain = /^(?:obs|s3):\/\/([^/]+)(?:\/(.*))?$/su.exec(text);
  if (plain !== null) return location(plain[1], plain[2]);
  // https://bucket.obs.<host>[:port]/key; a query means a signed URL, which is more than a location.
  const url = /^https?:\/\/([^/?#:]+)\.obs\.[^/?#:]+(?::\d{1,5})?(?:\/([^?#]*))?$/su.exec(text);
  if (url === null) return null;
  try {
    return location(url[1], decodeURIComponent(url[2] ?? ""));
  } catch {
    return null;
  }
};

const location = (bucket: string | undefined, key: string | undefined): ObjectLocation | null =>
  bucket !== undefined && isBucketName(bucket) ? { bucket, key: key ?? "" } : null;

/** S3's rules: 3–63 lower-case letters, digits, `-` and `.`, no two dots in a row, not like an IP address. */
export const isBucketName = (name: string): boolean =>
  /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) &&
  !name.includes("..") &&
  !/^\d+\.\d+\.\d+\.\d+$/.test(name);

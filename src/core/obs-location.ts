/**
 * Reads where objects lie: `obs://bucket/key`, `s3://bucket/key` and the URL form the cloud's console shows,
 * `https://bucket.obs.<region>.<domain>/key`. All three name the same thing here.
 */
export interface ObsLocation {
  readonly bucket: string;
  /** Without a leading slash; "" for the bucket itself. */
  readonly key: string;
}

/** Takes `obs://bucket/key` apart without judging the bucket's name; null for any other form. */
export const splitObsAddress = (text: string): ObsLocation | null => {
  const match = /^(?:obs|s3):\/\/([^/]+)(?:\/(.*))?$/su.exec(text);
  return match === null ? null : { bucket: match[1] ?? "", key: match[2] ?? "" };
};

/** Takes a location apart; null when the text is not one. The key may be empty and is not checked here. */
export const parseObsLocation = (text: string): ObsLocation | null => {
  const plain = splitObsAddress(text);
  if (plain !== null) return location(plain.bucket, plain.key);
  // https://bucket.obs.<host>[:port]/key; a query means a signed URL, which is more than a location.
  const url = /^https?:\/\/([^/?#:]+)\.obs\.[^/?#:]+(?::\d{1,5})?(?:\/([^?#]*))?$/su.exec(text);
  if (url === null) return null;
  try {
    return location(url[1], decodeURIComponent(url[2] ?? ""));
  } catch {
    return null;
  }
};

const location = (bucket: string | undefined, key: string | undefined): ObsLocation | null =>
  bucket !== undefined && isBucketName(bucket) ? { bucket, key: key ?? "" } : null;

/** S3's rules: 3–63 lower-case letters, digits, `-` and `.`, no two dots in a row, not like an IP address. */
export const isBucketName = (name: string): boolean =>
  /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) &&
  !name.includes("..") &&
  !/^\d+\.\d+\.\d+\.\d+$/.test(name);

export const formatObsLocation = (at: ObsLocation): string => `obs://${at.bucket}/${at.key}`;

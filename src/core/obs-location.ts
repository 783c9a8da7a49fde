/**
 * Reads where objects lie: `obs://bucket/key`, `s3://bucket/key` and the URL form the cloud's console shows,
 * `https://bucket.obs.<region>.<domain>/key`. All three name the same thing here.
 */
export interface ObsLocation {
  readonly bucket: string;
  /** Without a leading slash; "" for the bucket itself. */
  readonly key: string;
}

/** Null when the text is none of the three forms. */
export const parseObsLocation = (text: string): ObsLocation | null => {
  const scheme = /^(?:obs|s3):\/\/([^/]+)(?:\/(.*))?$/s.exec(text);
  if (scheme !== null) return { bucket: scheme[1] ?? "", key: scheme[2] ?? "" };
  const url = /^https?:\/\/([a-z0-9][a-z0-9.-]*?)\.obs\.[^/]+(?:\/([^?#]*)(?:[?#].*)?)?$/s.exec(text);
  if (url === null) return null;
  try {
    return { bucket: url[1] ?? "", key: decodeURIComponent(url[2] ?? "") };
  } catch {
    return null;
  }
};

export const formatObsLocation = (at: ObsLocation): string => `obs://${at.bucket}/${at.key}`;

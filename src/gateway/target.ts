/**
 * Reads the request target, pure. The target is never decoded or normalised on its way to an instance: what is routed
 * is what is sent. Forms that another parser could read as a different path (absolute form, dot segments, backslashes,
 * bytes outside printable ASCII) are refused here, for predictions and for the control plane alike.
 */
export type Target =
  /** `path` is what the instance gets: everything behind the service id, verbatim, query included. */
  | { readonly kind: "prediction"; readonly serviceId: string; readonly path: string }
  | { readonly kind: "service-missing" }
  | { readonly kind: "health" }
  | { readonly kind: "metrics" }
  /** Never forwarded: control's internal routes listen on the same socket as its public ones. */
  | { readonly kind: "internal" }
  | { readonly kind: "control" }
  | { readonly kind: "too-long" }
  | { readonly kind: "malformed"; readonly reason: string };

const URI_LENGTH_MAX = 32 * 1024;
const PREFIX = "/v1/infers";
const ALLOWED = /^\/[\x21\x22\x24-\x5b\x5d-\x7e]*$/;
const DOT_SEGMENT = /\/(?:\.|%2e){1,2}(?:\/|%2f|;|$)/i;
const BAD_ESCAPE = /%(?![0-9a-fA-F]{2})/;

const ends = (char: string | undefined): boolean => char === undefined || char === "/" || char === "?";

/** True for every spelling of a path below `/internal` that a decoding, case-folding router could accept. */
const isInternal = (path: string): boolean => {
  let text = path;
  // Each round takes off one layer of percent-encoding; a target of 32 KB cannot have many that still mean anything.
  for (let round = 0; round < 5 && text.includes("%"); round += 1) {
    text = text.replace(/%([0-7][0-9a-fA-F])/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  }
  return /^[/\\]+internal(?:$|[/\\;?])/i.test(text);
};

export const readTarget = (url: string): Target => {
  if (url.length > URI_LENGTH_MAX) return { kind: "too-long" };
  if (!ALLOWED.test(url)) {
    return {
      kind: "malformed",
      reason: url.startsWith("/")
        ? "The request target has characters that must be percent-encoded."
        : "The request target must be a path that starts with /.",
    };
  }
  const question = url.indexOf("?");
  const path = question < 0 ? url : url.slice(0, question);
  if (path.includes("%") && BAD_ESCAPE.test(path)) {
    return { kind: "malformed", reason: "The request target has a broken percent-encoding." };
  }
  if (DOT_SEGMENT.test(path)) {
    return { kind: "malformed", reason: "The request target must not have . or .. segments." };
  }
  if (url.startsWith(PREFIX) && ends(url[PREFIX.length])) {
    const rest = url.slice(PREFIX.length + 1);
    if (url[PREFIX.length] !== "/") return { kind: "service-missing" };
    const end = rest.search(/[/?]/);
    const serviceId = end < 0 ? rest : rest.slice(0, end);
    if (serviceId === "") return { kind: "service-missing" };
    const behind = end < 0 ? "" : rest.slice(end);
    return { kind: "prediction", serviceId, path: behind.startsWith("/") ? behind : `/${behind}` };
  }
  if (path === "/healthz") return { kind: "health" };
  if (path === "/metrics") return { kind: "metrics" };
  return isInternal(path) ? { kind: "internal" } : { kind: "control" };
};

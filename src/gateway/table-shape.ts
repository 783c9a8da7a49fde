/**
 * The shape of a routing table as it comes off the wire or the disk. A table that does not fit is refused whole: half a
 * table would route to half of the services. By hand, not with zod: this would be the gateway's only use of it, for
 * 13 MB and 70 ms of every start.
 */
import type { RoutingTable } from "../core/routing-table.ts";

type Check = (value: unknown) => boolean;
/** Where a value is wrong, as a path below it ("" for the value itself); null when it fits. */
type Shape = (value: unknown) => string | null;

const ID_LENGTH_MAX = 256;
const ORIGIN = /^https?:\/\/(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?$/;
/** Goes into a request line as it is. */
const PATH = /^\/[\x21-\x7e]{0,1023}$/;
const SPKI = /^[A-Za-z0-9_-]+$/;

const is =
  (check: Check): Shape =>
  (value) =>
    check(value) ? null : "";

const at = (place: string | number, below: string): string =>
  below === "" ? String(place) : `${place}.${below}`;

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const object =
  (members: Readonly<Record<string, Shape>>): Shape =>
  (value) => {
    if (!isObject(value)) return "";
    for (const [name, shape] of Object.entries(members)) {
      const wrong = shape(value[name]);
      if (wrong !== null) return at(name, wrong);
    }
    return null;
  };

/** An object whose members all have one shape, whatever their names. */
const record =
  (shape: Shape): Shape =>
  (value) =>
    isObject(value) ? firstWrong(Object.entries(value), shape) : "";

const list =
  (shape: Shape): Shape =>
  (value) =>
    Array.isArray(value) ? firstWrong(value.entries(), shape) : "";

const firstWrong = (entries: Iterable<[string | number, unknown]>, shape: Shape): string | null => {
  for (const [place, value] of entries) {
    const wrong = shape(value);
    if (wrong !== null) return at(place, wrong);
  }
  return null;
};

const text = is((value) => typeof value === "string");
const id = is((value) => typeof value === "string" && value !== "" && value.length <= ID_LENGTH_MAX);
const matching = (pattern: RegExp): Shape => is((value) => typeof value === "string" && pattern.test(value));
const whole = (min: number): Shape => is((value) => Number.isSafeInteger(value) && Number(value) >= min);
/** What older tables do not have yet. */
const optional =
  (shape: Shape): Shape =>
  (value) =>
    value === undefined ? null : shape(value);
const finite = is((value) => Number.isFinite(value));

/** A port above 65535 looks like an origin and is none; found out later, half of the table would be in use. */
const origin = is((value) => typeof value === "string" && ORIGIN.test(value) && URL.canParse(value));

const group = object({
  id,
  modelId: text,
  modelName: text,
  modelVersion: text,
  weight: is((value) => typeof value === "number" && value >= 0 && value <= 100),
  concurrency: whole(1),
  queueMax: whole(0),
  queueAgeMs: optional(whole(1)),
  healthPath: optional(matching(PATH)),
  instances: list(object({ id, url: origin })),
});
const service = object({
  id,
  projectId: id,
  name: text,
  state: is((value) => value === "serving" || value === "stopped"),
  groups: list(group),
});
const table = object({
  version: whole(0),
  identity: object({
    keys: record(matching(SPKI)),
    revokedTokens: list(text),
    refusedUsers: record(finite),
  }),
  services: list(service),
});

/** Reads a table from JSON text. The reason names the first place that is wrong. */
export const readTable = (
  source: string,
): { ok: true; table: RoutingTable } | { ok: false; reason: string } => {
  let json: unknown;
  try {
    json = JSON.parse(source);
  } catch {
    return { ok: false, reason: "not JSON" };
  }
  const wrong = table(json);
  if (wrong !== null) return { ok: false, reason: `${wrong === "" ? "the table" : wrong} does not fit` };
  const read = json as RoutingTable;
  const services = new Set<string>();
  const groups = new Set<string>();
  for (const one of read.services) {
    if (services.has(one.id)) return { ok: false, reason: `service ${one.id} appears twice` };
    services.add(one.id);
    for (const part of one.groups) {
      if (groups.has(part.id)) return { ok: false, reason: `group ${part.id} appears twice` };
      groups.add(part.id);
    }
  }
  return { ok: true, table: read };
};

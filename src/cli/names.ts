/** Finding models and services by what people call them: an id, a name, or `name:version`. */
import { isUuid } from "../core/ids.ts";
import { nearest } from "../core/nearest.ts";
import type { Api } from "./api.ts";
import type { ModelDetail, ModelItem, ServiceDetail, ServiceItem } from "./api-shapes.ts";
import { CliError } from "./failures.ts";

/** "did you mean" among the names there are; empty when none is near. */
const meant = (name: string, names: readonly string[]): string => {
  const best = nearest(name, names);
  return best === null ? "" : `Did you mean ${best}? `;
};

const numbers = (version: string): number[] => version.split(".").map(Number);

/** Orders versions by their numbers: 0.9.0 before 0.10.0. */
export const compareVersions = (a: string, b: string): number => {
  const left = numbers(a);
  const right = numbers(b);
  for (const [index, part] of left.entries()) {
    const difference = part - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
};

/** The version after the newest: its patch counted up, carrying at 99 since a part has at most two digits. */
export const nextVersion = (versions: readonly string[]): string => {
  const newest = versions.toSorted(compareVersions).at(-1);
  if (newest === undefined) return "0.0.1";
  const [major = 0, minor = 0, patch = 0] = numbers(newest);
  if (patch < 99) return `${major}.${minor}.${patch + 1}`;
  if (minor < 99) return `${major}.${minor + 1}.0`;
  if (major < 99) return `${major + 1}.0.0`;
  throw new CliError("usage", `There is no version after ${newest}.`, {
    next: "Choose another name with `--name`.",
  });
};

/** All versions of one name, oldest first. */
export const versionsOf = async (api: Api, name: string): Promise<ModelItem[]> => {
  const rows = await api.all<ModelItem>(api.inProject("/models"), "models", {
    model_name: name,
    exact_match: true,
  });
  return rows
    .filter((row) => row.model_name === name)
    .toSorted((a, b) => compareVersions(a.model_version, b.model_version));
};

const splitReference = (reference: string): { name: string; version: string | undefined } => {
  const at = reference.lastIndexOf(":");
  return at < 0
    ? { name: reference, version: undefined }
    : { name: reference.slice(0, at), version: reference.slice(at + 1) };
};

const noModel = async (api: Api, name: string): Promise<CliError> => {
  const all = await api.all<ModelItem>(api.inProject("/models"), "models");
  const near = meant(
    name,
    all.map((row) => row.model_name),
  );
  return new CliError("notFound", `There is no AI application called ${name}.`, {
    next: `${near}\`modelport model list\` shows them all.`,
  });
};

/** The version a reference names; without one, the newest that `usable` accepts, else the newest. */
export const findModel = async (
  api: Api,
  reference: string,
  prefer: (model: ModelItem) => boolean = () => true,
): Promise<ModelDetail> => {
  const detail = (id: string): Promise<ModelDetail> =>
    api.get<ModelDetail>(api.inProject(`/models/${encodeURIComponent(id)}`));
  if (isUuid(reference)) return detail(reference);
  const { name, version } = splitReference(reference);
  const versions = await versionsOf(api, name);
  if (versions.length === 0) throw await noModel(api, name);
  const found =
    version === undefined
      ? (versions.findLast(prefer) ?? versions.at(-1))
      : versions.find((row) => row.model_version === version);
  if (found === undefined) {
    throw new CliError("notFound", `${name} has no version ${version ?? ""}.`, {
      next: `It has ${versions.map((row) => row.model_version).join(", ")}.`,
    });
  }
  return detail(found.model_id);
};

/** The service a reference names, or null. */
export const lookUpService = async (api: Api, reference: string): Promise<ServiceDetail | null> => {
  const detail = (id: string): Promise<ServiceDetail> =>
    api.get<ServiceDetail>(api.inProject(`/services/${encodeURIComponent(id)}`));
  if (isUuid(reference)) return detail(reference);
  const rows = await api.all<ServiceItem>(api.inProject("/services"), "services", {
    service_name: reference,
  });
  const found = rows.find((row) => row.service_name === reference);
  return found === undefined ? null : detail(found.service_id);
};

export const findService = async (api: Api, reference: string): Promise<ServiceDetail> => {
  const found = await lookUpService(api, reference);
  if (found !== null) return found;
  const all = await api.all<ServiceItem>(api.inProject("/services"), "services");
  const near = meant(
    reference,
    all.map((row) => row.service_name),
  );
  throw new CliError("notFound", `There is no service called ${reference}.`, {
    next: `${near}\`modelport service list\` shows them all.`,
  });
};

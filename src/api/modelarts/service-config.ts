/**
 * From the `config` a client sends to the entries of a revision and back: checks that need other rows (models,
 * specifications), all of them at once, and JSON-patches over the answered form (contracts/modelarts.md §2.1, §2.6).
 */
import { NO_BATCHING, readBatching } from "../../core/batching.ts";
import {
  NO_VALIDATION,
  checksByBrokenSchema,
  checksWithoutSchema,
  readValidation,
} from "../../core/api-rule.ts";
import type { Validation } from "../../core/api-rule.ts";
import type { AppError, Problem } from "../../core/errors.ts";
import { fail } from "../../core/errors.ts";
import type { ModelId, ProjectId } from "../../core/ids.ts";
import type { Model } from "../../core/model.ts";
import type { NamedModels } from "../../core/service-update.ts";
import type { RevisionEntry, ServiceConfig } from "../../core/service.ts";
import { CUSTOM_SPECIFICATION, SPECIFICATION_NAMES } from "../../core/specifications.ts";
import { serviceConfig } from "../../contract/modelarts/services.ts";
import type { ConfigEntry } from "../../contract/modelarts/services.ts";
import type { Store } from "../../store/store.ts";
import { argumentInvalid, parseArgument } from "../validation.ts";
import { demandSharedPool } from "./workspace.ts";

const DEFAULTS = { maxSurge: 1, maxUnavailable: 0, grace: 240 };

/** The cloud rounds a third decimal. */
const twoDecimals = (value: number): number => Math.round(value * 100) / 100;

const toConfig = (entry: ConfigEntry): ServiceConfig => {
  const { additional_properties: more, custom_spec: size } = entry;
  return {
    modelId: entry.model_id as ModelId,
    weight: entry.weight,
    specification: entry.specification,
    customSpec:
      entry.specification === CUSTOM_SPECIFICATION && size?.cpu !== undefined && size.memory !== undefined
        ? { cpu: twoDecimals(size.cpu), memory: size.memory }
        : null,
    instanceCount: entry.instance_count,
    envs: entry.envs ?? {},
    deployTimeout: entry.deploy_timeout_in_seconds ?? null,
    maxSurge: more?.max_surge ?? DEFAULTS.maxSurge,
    maxUnavailable: more?.max_unavailable ?? more?.max_invalid ?? DEFAULTS.maxUnavailable,
    terminationGracePeriodSeconds: more?.termination_grace_period_seconds ?? DEFAULTS.grace,
  };
};

/** A finding about one entry: makes its error, so that the first can carry the list of all. */
interface Finding {
  readonly path: string;
  readonly error: (problems: readonly Problem[]) => AppError;
}

/** One that has no code of its own. */
const argumentFinding = (problem: Problem): Finding => ({
  path: problem.path,
  error: (problems) => argumentInvalid(problems.length > 0 ? problems : [problem]),
});

const sizeFindings = (entry: ConfigEntry, path: string): readonly Finding[] => {
  const name = entry.specification;
  if (!SPECIFICATION_NAMES.includes(name)) {
    return [
      {
        path: `${path}.specification`,
        error: (problems) =>
          fail("SPECIFICATION_UNKNOWN", { name, available: SPECIFICATION_NAMES }, { problems }),
      },
    ];
  }
  if (name !== CUSTOM_SPECIFICATION) return [];
  return (["cpu", "memory"] as const)
    .filter((member) => entry.custom_spec?.[member] === undefined)
    .map((member) =>
      argumentFinding({
        path: `${path}.custom_spec.${member}`,
        message: `The field [${path}.custom_spec.${member}] is required and cannot be empty.`,
        fix: "Add it, or name another specification.",
      }),
    );
};

/** The checks that a version has no schema for, or a wrong one. */
const checkFindings = async (
  { name, version, published }: Model,
  validation: Validation,
): Promise<readonly Problem[]> => {
  if (published === null) return [];
  const { config } = published;
  // Few services ask for it, and what reads schemas weighs more than the rest of the API.
  const { sideProblems } = await import("../../schemas/api-schemas.ts");
  return [
    ...checksWithoutSchema(`${name} ${version}`, config, validation),
    ...checksByBrokenSchema(`${name} ${version}`, config, validation, sideProblems),
  ];
};

/** What a service's variables say to the platform itself: wrong values would be ignored, silently. */
const settingFindings = async (
  entry: ConfigEntry,
  path: string,
  model: Model | null,
): Promise<readonly Finding[]> => {
  const envs = entry.envs ?? {};
  const { validation, problems } = readValidation(envs, NO_VALIDATION);
  const asked = validation.requests !== "off" || validation.answers !== "off" ? model : null;
  return [
    ...readBatching(envs, NO_BATCHING).problems,
    ...problems,
    ...(asked === null ? [] : await checkFindings(asked, validation)),
  ].map(({ path: name, message, fix }) =>
    argumentFinding({ path: `${path}.${name}`, message: `The field [${path}.${name}] ${message}.`, fix }),
  );
};

/** Adds the entry's model to `models`, where it is there. */
const modelFindings = (
  model: Model | null,
  entry: ConfigEntry,
  path: string,
  models: Map<ModelId, { name: string; version: string }>,
): readonly Finding[] => {
  const id = entry.model_id as ModelId;
  const finding = (error: Finding["error"]): readonly Finding[] => [{ path: `${path}.model_id`, error }];
  if (models.has(id)) return finding((problems) => fail("SERVICE_MODEL_TWICE", { id }, { problems }));
  if (model === null) return finding((problems) => fail("SERVICE_MODEL_NOT_FOUND", { id }, { problems }));
  models.set(id, { name: model.name, version: model.version });
  if (model.status === "failed")
    return finding((problems) => fail("MODEL_IMPORT_FAILED", { id }, { problems }));
  if (model.status === "publishing") {
    return finding((problems) => fail("MODEL_NOT_PUBLISHED", { id }, { problems }));
  }
  if (!model.installTypes.includes("real-time")) {
    return finding((problems) => fail("MODEL_INFER_TYPE", { id, inferType: "real-time" }, { problems }));
  }
  return [];
};

/** Checks a parsed `config` against the project's rows. Throws the first finding, with all of them as problems. */
export const resolveConfig = async (
  store: Store,
  project: ProjectId,
  entries: readonly ConfigEntry[],
): Promise<{ config: readonly ServiceConfig[]; models: NamedModels }> => {
  const models = new Map<ModelId, { name: string; version: string }>();
  const findings: Finding[] = [];
  for (const [index, entry] of entries.entries()) {
    demandSharedPool(entry);
    const path = `config[${index}]`;
    const model = await store.models.get(project, entry.model_id as ModelId);
    findings.push(
      ...sizeFindings(entry, path),
      ...(await settingFindings(entry, path, model)),
      ...modelFindings(model, entry, path, models),
    );
  }
  const [first] = findings;
  if (first !== undefined) {
    const problems = findings.map(({ path, error }) => {
      const { message, hint, problems: own } = error([]);
      return own[0] ?? { path, message, fix: hint ?? "Correct it." };
    });
    throw first.error(problems);
  }
  return { config: entries.map(toConfig), models };
};

const propertiesView = (entry: ServiceConfig): Record<string, number> => ({
  ...(entry.maxSurge === DEFAULTS.maxSurge ? {} : { max_surge: entry.maxSurge }),
  ...(entry.maxUnavailable === DEFAULTS.maxUnavailable ? {} : { max_unavailable: entry.maxUnavailable }),
  ...(entry.terminationGracePeriodSeconds === DEFAULTS.grace
    ? {}
    : { termination_grace_period_seconds: entry.terminationGracePeriodSeconds }),
});

/** An entry as details and update history answer it; also what patches address. */
export const entryView = (entry: RevisionEntry) => ({
  model_id: entry.modelId as string,
  model_name: entry.modelName,
  model_version: entry.modelVersion,
  specification: entry.specification,
  custom_spec: { ...entry.customSpec } as Record<string, unknown>,
  weight: entry.weight,
  instance_count: entry.instanceCount,
  envs: { ...entry.envs },
  ...(entry.deployTimeout === null ? {} : { deploy_timeout_in_seconds: entry.deployTimeout }),
  additional_properties: propertiesView(entry) as Record<string, unknown>,
});

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A copy of `target` with the member at `path` replaced; null when the way there does not exist. */
const replaced = (target: unknown, path: readonly string[], value: unknown): { value: unknown } | null => {
  const [head, ...rest] = path;
  if (head === undefined) return { value };
  if (Array.isArray(target)) {
    const index = Number(head);
    if (!/^\d+$/.test(head) || index >= target.length) return null;
    const inner = replaced(target[index], rest, value);
    return inner === null ? null : { value: target.with(index, inner.value) };
  }
  if (!isRecord(target)) return null;
  // A missing last member is set: the answered form leaves defaults out.
  if (rest.length > 0 && !Object.hasOwn(target, head)) return null;
  const inner = replaced(Object.hasOwn(target, head) ? target[head] : undefined, rest, value);
  return inner === null ? null : { value: { ...target, [head]: inner.value } };
};

/** Applies replacements below `/config/` to a revision and checks the result like a submitted `config`. */
export const patchedConfig = (
  entries: readonly RevisionEntry[],
  operations: readonly { readonly path: string; readonly value?: unknown }[],
): readonly ConfigEntry[] => {
  let document: unknown = { config: entries.map(entryView) };
  for (const [index, operation] of operations.entries()) {
    const path = operation.path
      .slice(1)
      .split("/")
      .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
    const next = replaced(document, path, operation.value);
    if (next === null) {
      throw argumentInvalid([
        {
          path: `[${index}].path`,
          message: `The parameter [path] ${operation.path} does not exist in the service.`,
          fix: "Name a member of the config array that the details of the service show.",
        },
      ]);
    }
    document = next.value;
  }
  return parseArgument(serviceConfig, isRecord(document) ? document["config"] : undefined, ["config"]);
};

/** Schemas of the service operations (contracts/modelarts.md §2): requests, queries and answers. */
import { z } from "zod";
import { LIMITS } from "../../core/limits.ts";
import { description, event, lenientInteger, name, order, paging, queryText } from "./common.ts";

const LARGEST_SHARE = 1000;

/** `cpu` and `memory` are needed with the specification `custom` only; answers of others carry an empty object. */
const customSpec = z.object({
  cpu: z.number().min(0.01).max(1024).optional(),
  memory: z
    .int()
    .min(16)
    .max(8 * 1024 * 1024)
    .optional(),
  gpu_p4: z.literal(0, "0: this platform has no accelerators").optional(),
  ascend_a310: z.literal(0, "0: this platform has no accelerators").optional(),
});

const modelProperties = z.object({
  max_surge: z.number().gt(0).max(LARGEST_SHARE).optional(),
  max_unavailable: z.number().min(0).max(LARGEST_SHARE).optional(),
  /** The console's word for max_unavailable. */
  max_invalid: z.number().min(0).max(LARGEST_SHARE).optional(),
  termination_grace_period_seconds: z
    .int()
    .min(LIMITS.terminationGraceMin.value)
    .max(LIMITS.terminationGraceMax.value)
    .optional(),
  log_volume: z
    .array(z.unknown())
    .max(0, "left out: host directories need a dedicated resource pool")
    .optional(),
  persistent_volumes: z
    .array(z.unknown())
    .max(0, "left out: this platform has no mountable volumes")
    .optional(),
});

const envs = z
  .record(
    z.string(),
    z
      .string("a text; write numbers in quotes")
      .max(LIMITS.envValueLength.value, `at most ${LIMITS.envValueLength.value} characters`),
  )
  .superRefine((value, context) => {
    const names = Object.keys(value);
    if (names.length > LIMITS.envCount.value) {
      context.addIssue({ code: "custom", message: `at most ${LIMITS.envCount.value} environment variables` });
    }
    for (const key of names) {
      if (!/^[A-Za-z_][A-Za-z0-9_.-]{0,127}$/.test(key)) {
        context.addIssue({
          code: "custom",
          path: [key],
          message: "a name of letters, digits, _ . -, not starting with a digit",
        });
      }
    }
  });

const configEntry = z.object({
  model_id: z.string().min(1).max(64),
  weight: lenientInteger(0, 100),
  specification: z.string().min(1).max(64),
  custom_spec: customSpec.optional(),
  instance_count: lenientInteger(1, LIMITS.instanceCount.value),
  envs: envs.optional(),
  deploy_timeout_in_seconds: lenientInteger(
    LIMITS.deployTimeoutMin.value,
    LIMITS.deployTimeoutMax.value,
  ).optional(),
  cluster_id: z.string().max(64).optional(),
  pool_name: z.string().max(64).optional(),
  additional_properties: modelProperties.optional(),
});

export type ConfigEntry = z.output<typeof configEntry>;

const hasWeights = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every(
    (e: unknown) => typeof e === "object" && e !== null && "weight" in e && Number.isInteger(e.weight),
  );

/** `config` of a real-time service: the weights of its entries sum to 100. */
export const serviceConfig = z
  .array(configEntry)
  .min(1)
  .max(LIMITS.configEntries.value)
  .refine((entries) => entries.reduce((sum, e) => sum + e.weight, 0) === 100, {
    message: "weights that sum to 100 over all entries",
    // Also when something else is wrong with an entry, so that all problems come at once.
    when: (payload) => hasWeights(payload.value),
  });

const schedule = z
  .array(
    z.object({
      type: z.enum(["stop"]),
      time_unit: z.enum(["DAYS", "HOURS", "MINUTES"]),
      duration: lenientInteger(1, 1_000_000),
    }),
  )
  .max(10);

const additionalProperties = z.record(z.string().max(128), z.unknown());

/** Body of POST /services. `batch` and `edge` are refused before this schema is asked. */
export const createService = z.object({
  service_name: name,
  infer_type: z.enum(["real-time"]),
  config: serviceConfig,
  description: description.optional(),
  workspace_id: z.string().max(64).optional(),
  schedule: schedule.optional(),
  cluster_id: z.string().max(64).optional(),
  pool_name: z.string().max(64).optional(),
  additional_properties: additionalProperties.optional(),
});

export const createServiceAnswer = z.object({ service_id: z.string(), resource_ids: z.array(z.string()) });

/** Body of PUT /services/{id}; every member optional. */
export const updateService = z.object({
  description: description.optional(),
  status: z.enum(["running", "stopped"]).optional(),
  config: serviceConfig.optional(),
  schedule: schedule.optional(),
  additional_properties: additionalProperties.optional(),
});

/** `{}` unless the configuration changed (§2.5). */
export const updateServiceAnswer = z.object({
  update_time: z.number().optional(),
  resource_ids: z.array(z.string()).optional(),
});

/** Body of PATCH /services/{id}: replacements below `/config/` (§2.6). */
export const patchService = z
  .array(
    z.object({
      op: z.enum(["replace"]),
      path: z
        .string()
        .max(256)
        .regex(/^\/config\/\d{1,3}(\/[^/]+)+$/, "a path below /config/, such as /config/0/instance_count"),
      value: z.unknown(),
    }),
  )
  .min(1)
  .max(100);

/** Body of PUT /services/{id}/property (§2.6). */
export const scaleBody = z.object({
  changed_property: z.enum(["instance_count"]),
  configs: z
    .array(
      z.object({
        model_id: z.string().min(1).max(64),
        changed_value: lenientInteger(1, LIMITS.instanceCount.value),
      }),
    )
    .min(1)
    .max(LIMITS.configEntries.value),
});

export const listServicesQuery = z.object({
  service_id: queryText,
  service_name: queryText,
  model_id: queryText,
  workspace_id: queryText,
  infer_type: queryText,
  status: queryText,
  sort_by: z.enum(["publish_at", "service_name", "transition_at"]).default("publish_at"),
  order,
  ...paging,
});

const scheduleAnswer = z.array(z.object({ type: z.string(), time_unit: z.string(), duration: z.number() }));

const loose = z.looseObject({});

const listItem = {
  service_id: z.string(),
  service_name: z.string(),
  description: z.string(),
  infer_type: z.string(),
  status: z.string(),
  tenant: z.string(),
  project: z.string(),
  owner: z.string(),
  workspace_id: z.string(),
  publish_at: z.number(),
  transition_at: z.number(),
  operation_time: z.number(),
  invocation_times: z.number(),
  failed_times: z.number(),
  is_shared: z.boolean(),
  is_free: z.boolean(),
  shared_count: z.number(),
  progress: z.number().optional(),
  schedule: scheduleAnswer.optional(),
  due_time: z.number().optional(),
  is_opened_sample_collection: z.string(),
  additional_properties: loose,
};

export const serviceListItem = z.object(listItem);

export const listServicesAnswer = z.object({
  total_count: z.number(),
  count: z.number(),
  services: z.array(serviceListItem),
});

const entryAnswer = {
  model_id: z.string(),
  model_name: z.string(),
  model_version: z.string(),
  specification: z.string(),
  custom_spec: loose,
  weight: z.number(),
  instance_count: z.number(),
  envs: z.record(z.string(), z.string()),
  deploy_timeout_in_seconds: z.number().optional(),
  additional_properties: loose,
};

export const serviceDetails = z.object({
  ...listItem,
  config: z.array(
    z.object({ ...entryAnswer, status: z.string(), scaling: z.boolean(), support_debug: z.boolean() }),
  ),
  access_address: z.string().optional(),
  error_msg: z.string().optional(),
  update_time: z.number(),
});

export const serviceParams = z.object({ project_id: z.string(), service_id: z.string() });

export const monitorAnswer = z.object({
  service_id: z.string(),
  service_name: z.string(),
  service_instance_count: z.number(),
  service_running_instance_count: z.number(),
  req_count_per_min: z.number(),
  monitors: z.array(
    z.object({
      model_id: z.string(),
      model_name: z.string(),
      model_version: z.string(),
      invocation_times: z.number(),
      failed_times: z.number(),
      model_instance_count: z.number(),
      model_running_instance_count: z.number(),
      cpu_core_usage: z.number(),
      cpu_core_total: z.number(),
      cpu_memory_usage: z.number(),
      cpu_memory_total: z.number(),
      gpu_usage: z.number(),
      gpu_total: z.number(),
      gpu_memory_usage: z.number(),
      gpu_memory_total: z.number(),
      npu_usage: z.number(),
      npu_total: z.number(),
      npu_memory_usage: z.number(),
      npu_memory_total: z.number(),
    }),
  ),
});

export const serviceEventsAnswer = z.object({
  service_id: z.string(),
  service_name: z.string(),
  total_count: z.number(),
  count: z.number(),
  events: z.array(event),
});

/** The history of configurations (§2.10); `reason` is additive. */
export const serviceLogsAnswer = z.object({
  service_id: z.string(),
  service_name: z.string(),
  logs: z.array(
    z.object({
      update_time: z.number(),
      result: z.enum(["SUCCESS", "FAIL", "RUNNING"]),
      config: z.array(z.object({ ...entryAnswer, cluster_id: z.string() })),
      cluster_id: z.string(),
      extend_config: z.array(loose),
      success_num: z.number(),
      failed_num: z.number(),
      result_detail: z.array(loose),
      reason: z.string().optional(),
    }),
  ),
});

export const specificationsQuery = z.object({
  infer_type: queryText,
  is_personal_cluster: queryText,
  ...paging,
});

export const specificationsAnswer = z.object({
  total_count: z.number(),
  count: z.number(),
  specifications: z.array(
    z.object({
      specification: z.string(),
      billing_spec: z.string(),
      category: z.string(),
      cpu_info: z.object({ arch: z.string(), cpu: z.number() }),
      memory_info: z.object({ unit: z.string(), memory: z.number() }),
      gpu_info: z.object({
        brand: z.string(),
        version: z.string(),
        unit: z.string(),
        gpu: z.number(),
        memory: z.number(),
      }),
      is_open: z.boolean(),
      spec_status: z.string(),
      is_free: z.boolean(),
      over_quota: z.boolean(),
      extend_params: z.number(),
      source_type: z.string(),
      display_en: z.string(),
      display_cn: z.string(),
    }),
  ),
});

export const clustersAnswer = z.object({
  total_count: z.number(),
  count: z.number(),
  clusters: z.array(loose),
});

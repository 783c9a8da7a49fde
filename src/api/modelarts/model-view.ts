/** How an AI application looks in answers (contracts/modelarts.md §1.3, §1.4): what was submitted is echoed as it came. */
import type { z } from "zod";
import type { modelDetails, modelListItem } from "../../contract/modelarts/models.ts";
import { isDynamic } from "../../core/model.ts";
import type { Model } from "../../core/model.ts";

type Loose = Readonly<Record<string, unknown>>;

const text = (value: unknown): string => (typeof value === "string" ? value : "");

const isRecord = (value: unknown): value is Loose =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const records = (value: unknown): Loose[] => (Array.isArray(value) ? value.filter(isRecord) : []);

/** Members of a probe as strings, as the API gives them. */
const strings = (value: unknown): Record<string, string> =>
  isRecord(value)
    ? Object.fromEntries(
        Object.entries(value).map(([k, v]) => [k, typeof v === "string" ? v : JSON.stringify(v)]),
      )
    : {};

export const modelItem = (model: Model): z.output<typeof modelListItem> => ({
  model_id: model.id,
  model_name: model.name,
  model_version: model.version,
  model_type: model.type,
  model_status: model.status,
  description: model.description,
  owner: model.ownerId,
  tenant: model.domainId,
  project: model.projectId,
  workspace_id: model.workspaceId,
  model_size: model.published?.sizeBytes ?? 0,
  create_at: model.createdAt,
  install_type: [...model.installTypes],
  ...(text(model.request["source_type"]) === "" ? {} : { source_type: text(model.request["source_type"]) }),
  model_source: "custom",
  source_copy:
    model.request["source_copy"] === false || model.request["source_copy"] === "false" ? "false" : "true",
  tunable: false,
  market_flag: false,
  publishable_flag: false,
  specification: {},
  ...(model.failure === null ? {} : { error_msg: model.failure }),
});

export const modelDetail = (model: Model): z.output<typeof modelDetails> => {
  const { request } = model;
  const config: Loose = model.published?.config ?? {};
  const submitted = text(request["initial_config"]);
  const apis = request["apis"] ?? config["apis"] ?? [];
  return {
    ...modelItem(model),
    source_location: text(request["source_location"]) || model.sourceLocation,
    ...(request["source_job_id"] === undefined ? {} : { source_job_id: text(request["source_job_id"]) }),
    ...(request["source_job_version"] === undefined
      ? {}
      : { source_job_version: text(request["source_job_version"]) }),
    model_algorithm: text(request["model_algorithm"]) || text(config["model_algorithm"]),
    ...(isRecord(request["template"]) ? { template: request["template"] } : {}),
    ...(isDynamic(request)
      ? { dynamic_loading: true, model_loaded: typeof model.published?.packageDigest === "string" }
      : {}),
    model_docs: records(request["model_docs"]),
    execution_code: text(request["execution_code"]),
    schema_doc: "",
    image_address: "",
    input_params: records(request["input_params"]),
    output_params: records(request["output_params"]),
    health: strings(config["health"]),
    runtime: text(request["runtime"]) || text(config["runtime"]),
    model_metrics:
      text(request["model_metrics"]) ||
      (config["metrics"] === undefined ? "" : JSON.stringify(config["metrics"])),
    dependencies: records(request["dependencies"] ?? config["dependencies"]),
    apis: JSON.stringify(apis),
    // Byte for byte: Terraform maps this back into the argument and would see a difference for ever.
    config: submitted || (model.published === null ? "" : JSON.stringify(config)),
    model_labels: [],
    labels_map: { labels: [] },
    cmd: "",
  };
};

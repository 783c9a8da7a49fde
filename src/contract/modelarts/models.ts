/** Schemas of the AI application operations (contracts/modelarts.md §1): requests, queries and answers. */
import { z } from "zod";
import { KNOWN_MODEL_TYPES } from "../../core/engines.ts";
import { LIMITS } from "../../core/limits.ts";
import { INSTALL_TYPES } from "../../core/model.ts";
import { parseObsLocation } from "../../core/obs-location.ts";
import { chooseTemplate } from "../../core/templates.ts";
import { description, event, name, order, paging, queryFlag, queryText, version } from "./common.ts";

const CLEAN = /^[^&!'"<>=\u4e00-\u9fa5\s]{1,128}$/;

const dependency = z.object({
  installer: z.enum(["pip"]),
  packages: z
    .array(
      z
        .object({
          package_name: z.string().regex(CLEAN, "a package name without spaces and & ! ' \" < > ="),
          package_version: z.string().regex(CLEAN, "a version such as 1.15.0").optional(),
          restraint: z.enum(["EXACT", "ATLEAST", "ATMOST"]).optional(),
        })
        .refine((p) => (p.package_version === undefined) === (p.restraint === undefined), {
          message: "restraint is required exactly when package_version is given",
        }),
    )
    .min(1)
    .max(200),
});

const params = z.array(z.looseObject({})).max(200);

/** True for a text that is the JSON of an object. */
const isJsonObject = (text: string): boolean => {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
};

const jsonObjectText = z
  .string()
  .max(LIMITS.initialConfigBytes.value)
  .refine((text) => text === "" || isJsonObject(text), { message: "a string that holds a JSON object" });

const sourceLocation = z
  .string()
  .max(1024)
  .refine((text) => parseObsLocation(text) !== null, {
    message: "obs://bucket/folder, where the folder holds a folder named model",
  });

interface Source {
  readonly model_type?: unknown;
  readonly source_location?: unknown;
  readonly template?: unknown;
  readonly install_type?: unknown;
}

const installTypes = z.array(z.enum(INSTALL_TYPES)).min(1).max(3);

const templateRequest = z.object({
  template_id: z.string().min(1).max(128),
  template_inputs: z
    .array(z.object({ input: sourceLocation, input_id: z.string().min(1).max(128) }))
    .min(1)
    .max(10),
  infer_format: z.string().max(128).optional(),
});

/** A template has its inputs, everything else a source. Runs beside the other checks: all problems come at once. */
const demandSource = (body: Source, context: z.core.$RefinementCtx): void => {
  const isTemplate = body.model_type === "Template";
  const needed = isTemplate ? "template" : "source_location";
  if (body[needed] === undefined)
    context.addIssue({
      code: "invalid_type",
      expected: isTemplate ? "object" : "string",
      input: undefined,
      path: [needed],
    });
  if (!isTemplate && body.template !== undefined)
    context.addIssue({ code: "custom", path: ["template"], message: "only for model_type Template" });
  // Without problems of other kinds the API answers these with the codes of their own.
  if (context.issues.length > 0 && isTemplate) addTemplateProblems(body, context);
};

const addTemplateProblems = (body: Source, context: z.core.$RefinementCtx): void => {
  const template = templateRequest.safeParse(body.template);
  const types = installTypes.safeParse(body.install_type);
  if (!template.success) return;
  const choice = chooseTemplate(template.data, types.success ? types.data : undefined);
  if (choice.ok) return;
  for (const problem of choice.problems) context.addIssue({ code: "custom", params: { problem } });
};

/** Body of POST /models. Unknown members are kept, because details answers echo the request. */
export const createModel = z
  .looseObject({
    model_name: name,
    model_version: version,
    model_type: z.enum(KNOWN_MODEL_TYPES),
    source_location: sourceLocation.optional(),
    template: templateRequest.optional(),
    source_type: z.enum(["auto", ""]).optional(),
    source_copy: z.unknown().optional(),
    source_job_id: z.string().max(64).optional(),
    /** Picks one run of a training job whose `train_url` is the source: `V002`. */
    source_job_version: z
      .string()
      .regex(/^[A-Za-z0-9._-]{0,64}$/, "a run of the training job, such as V002")
      .optional(),
    /** Additive, for the console's "Dynamic loading" (guide tables 2-4, 2-6, 2-8); no source tells the cloud's own name. */
    dynamic_loading: z.union([z.boolean(), z.enum(["true", "false"])]).optional(),
    description: description.optional(),
    runtime: z.string().max(128).optional(),
    execution_code: z
      .string()
      .max(1024)
      .refine((text) => text === "" || text.endsWith("customize_service.py"), {
        message: "the location of a file named customize_service.py",
      })
      .optional(),
    initial_config: jsonObjectText.optional(),
    model_algorithm: z
      .string()
      .regex(
        /^([A-Za-z][^&!'"<>=]{0,35})?$/,
        `at most ${LIMITS.algorithmLength.value} characters, a letter first`,
      )
      .optional(),
    model_metrics: jsonObjectText.optional(),
    apis: z.array(z.looseObject({})).max(200).optional(),
    input_params: params.optional(),
    output_params: params.optional(),
    dependencies: z.array(dependency).max(50).optional(),
    install_type: installTypes.optional(),
    model_docs: z
      .array(
        z.object({
          doc_name: z
            .string()
            .regex(
              /^[A-Za-z\u4e00-\u9fa5][A-Za-z0-9\u4e00-\u9fa5_-]{0,47}$/,
              "1 to 48 characters, a letter first",
            ),
          doc_url: z.string().regex(/^https?:\/\/\S{1,1024}$/, "an http or https URL"),
        }),
      )
      .max(LIMITS.modelDocs.value)
      .optional(),
    workspace_id: z.string().max(64).optional(),
  })
  .superRefine(demandSource, { when: ({ value }) => typeof value === "object" && value !== null });

export const createModelAnswer = z.object({ model_id: z.string() });

export const listModelsQuery = z.object({
  model_name: queryText,
  exact_match: queryFlag,
  model_version: queryText,
  model_status: queryText,
  description: queryText,
  workspace_id: queryText,
  model_type: queryText,
  not_model_type: queryText,
  sort_by: z.enum(["create_at", "model_version", "model_size"]).default("create_at"),
  order,
  ...paging,
});

const listItem = {
  model_id: z.string(),
  model_name: z.string(),
  model_version: z.string(),
  model_type: z.string(),
  model_status: z.string(),
  description: z.string(),
  owner: z.string(),
  tenant: z.string(),
  project: z.string(),
  workspace_id: z.string(),
  model_size: z.number(),
  create_at: z.number(),
  install_type: z.array(z.string()),
  source_type: z.string().optional(),
  model_source: z.string(),
  source_copy: z.string(),
  tunable: z.boolean(),
  market_flag: z.boolean(),
  publishable_flag: z.boolean(),
  specification: z.record(z.string(), z.string()),
  /** Additive: why the import failed. */
  error_msg: z.string().optional(),
};

export const modelListItem = z.object(listItem);

export const listModelsAnswer = z.object({
  total_count: z.number(),
  count: z.number(),
  models: z.array(modelListItem),
});

const loose = z.looseObject({});

export const modelDetails = z.object({
  ...listItem,
  source_location: z.string(),
  source_job_id: z.string().optional(),
  source_job_version: z.string().optional(),
  model_algorithm: z.string(),
  /** Additive: the template as it was asked for. */
  template: loose.optional(),
  /** Additive: whether the files are taken when a service first starts the version, and whether they were. */
  dynamic_loading: z.boolean().optional(),
  model_loaded: z.boolean().optional(),
  model_docs: z.array(loose),
  execution_code: z.string(),
  schema_doc: z.string(),
  image_address: z.string(),
  input_params: z.array(loose),
  output_params: z.array(loose),
  health: z.record(z.string(), z.string()),
  runtime: z.string(),
  model_metrics: z.string(),
  dependencies: z.array(loose),
  apis: z.string(),
  config: z.string(),
  model_labels: z.array(z.string()),
  labels_map: z.object({ labels: z.array(z.string()) }),
  cmd: z.string(),
});

export const templatesQuery = z.object({
  type: queryText,
  engine: queryText,
  environment: queryText,
  search: queryText,
});

export const templatesAnswer = z.object({
  count: z.number(),
  total_count: z.number(),
  templates: z.array(
    z.object({
      template_id: z.string(),
      template_name: z.string(),
      type: z.string(),
      engine: z.string(),
      release: z.string(),
      environment: z.string(),
      runtime: z.string(),
      infer_format: z.string(),
      overridable: z.boolean(),
      template_inputs: z.array(z.object({ input_id: z.string(), description: z.string() })),
    }),
  ),
  infer_formats: z.array(z.object({ infer_format: z.string(), name: z.string(), apis: z.string() })),
});

export const modelParams = z.object({ project_id: z.string(), model_id: z.string() });

export const deleteModelQuery = z.object({ cascade: queryFlag });

export const deleteModelAnswer = z.object({
  delete_success_list: z.array(z.string()),
  delete_failed_list: z.array(
    z.object({ model_id: z.string(), error_code: z.string(), error_msg: z.string() }),
  ),
});

export const modelEventsAnswer = z.object({
  model_id: z.string(),
  model_name: z.string(),
  total_count: z.number(),
  count: z.number(),
  events: z.array(event),
});

export const engineRuntimesAnswer = z.object({
  count: z.number(),
  total_count: z.number(),
  engine_runtimes: z.array(
    z.object({
      ai_engine: z.string(),
      runtimes: z.array(z.string()),
      request_mode: z.array(z.string()),
      accelerators: z.array(z.string()),
      arch: z.array(z.string()),
      status_list: z.array(z.string()),
      image_source: z.array(z.string()),
      /** Not of ModelArts: what becomes of each runtime on this machine. */
      runtime_states: z.array(
        z.object({
          runtime: z.string(),
          python: z.string().nullable(),
          release: z.string().nullable(),
          state: z.enum(["here", "fetchable", "replaced", "missing"]),
          runs: z.string().nullable(),
        }),
      ),
    }),
  ),
});

/** The AI application operations of `/v1/{project_id}/models` (contracts/modelarts.md §1). They start nothing: a new
 *  version is written in `publishing`, and the import reconciler takes it from there. */
import { randomUUID } from "node:crypto";
import type { z } from "zod";
import { errorBody, eventsQuery, projectParams } from "../../contract/modelarts/common.ts";
import { modelArtsCode } from "../../contract/modelarts/errors.ts";
import {
  createModel,
  createModelAnswer,
  deleteModelAnswer,
  deleteModelQuery,
  engineRuntimesAnswer,
  listModelsAnswer,
  listModelsQuery,
  modelDetails,
  modelEventsAnswer,
  modelParams,
  templatesAnswer,
  templatesQuery,
} from "../../contract/modelarts/models.ts";
import { AVAILABLE_ENGINES, isAvailable } from "../../core/engines.ts";
import { engineRuntimes } from "../../core/runtimes.ts";
import { AppError, fail, problemText } from "../../core/errors.ts";
import { IO_MODES } from "../../core/io-modes.ts";
import { TEMPLATES, TEMPLATE_INPUT, chooseTemplate } from "../../core/templates.ts";
import { findModelFolder } from "../../objects/model-folder.ts";
import { at, modelEvents } from "../../core/event-texts.ts";
import type { ModelId, ProjectId } from "../../core/ids.ts";
import { LIMITS } from "../../core/limits.ts";
import { INSTALL_TYPES } from "../../core/model.ts";
import type { Model } from "../../core/model.ts";
import { formatObsLocation } from "../../core/obs-location.ts";
import type { ModelFilter } from "../../store/store.ts";
import { projectCallerOf } from "../app.ts";
import type { App } from "../app.ts";
import type { ApiDeps } from "../deps.ts";
import { eventFilter, eventPage } from "./history.ts";
import { modelDetail, modelItem } from "./model-view.ts";
import { demandWorkspace } from "./workspace.ts";

const tags = ["AI applications"];
const ROOT = "/v1/:project_id/models";

type CreateModel = z.output<typeof createModel>;

/** What a version is made from, and what it may be deployed as; a template's inputs take the place of a source. */
const originOf = (body: CreateModel): { source: string; installTypes: Model["installTypes"] } => {
  const { template, install_type: asked } = body;
  if (template === undefined)
    return { source: body.source_location ?? "", installTypes: asked ?? INSTALL_TYPES };
  const choice = chooseTemplate(template, asked);
  if (choice.ok) return { source: choice.location, installTypes: choice.installTypes };
  const { kind, problems } = choice;
  switch (kind) {
    case "id":
      throw fail("TEMPLATE_NOT_FOUND", { id: template.template_id }, { problems });
    case "use":
      throw fail(
        "TEMPLATE_INVALID",
        { reason: problems.map((problem) => problemText(problem)).join(". ") },
        { problems },
      );
    case "install-type":
      throw fail("MODEL_INFER_TYPE", { id: body.model_name, inferType: "batch" }, { problems });
  }
};

/**
 * Refuses a source that holds no folder named `model` right away, instead of after an import that must fail. What is kept
 * is the folder above that one, of the run of a training job that is the newest now.
 */
const demandSource = async (
  deps: ApiDeps,
  project: ProjectId,
  location: string,
  jobVersion: string | undefined,
): Promise<string> => {
  try {
    const named = jobVersion === undefined || jobVersion === "" ? null : jobVersion;
    const { bucket, key } = await findModelFolder(deps.objects, project, location, named);
    return formatObsLocation({ bucket, key: key.replace(/\/?model$/, "") });
  } catch (error) {
    if (!(error instanceof AppError) || error.status >= 500 || error.code === "SOURCE_NOT_FOUND") throw error;
    throw fail("SOURCE_NOT_FOUND", { location });
  }
};

export const modelRoutes = (app: App, deps: ApiDeps): void => {
  const { models, events } = deps.store;
  const find = async (project: ProjectId, id: string): Promise<Model> => {
    const model = await models.get(project, id as ModelId);
    if (model === null) throw fail("MODEL_NOT_FOUND", { id });
    return model;
  };

  app.post(
    ROOT,
    {
      schema: {
        tags,
        summary: "Create a version of an AI application from a package in OBS",
        params: projectParams,
        body: createModel,
        response: { 200: createModelAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      const caller = projectCallerOf(request);
      const { body } = request;
      const workspaceId = demandWorkspace(body.workspace_id);
      const { source, installTypes } = originOf(body);
      if (body.template === undefined && !isAvailable(body.model_type)) {
        throw fail("MODEL_TYPE_UNAVAILABLE", { type: body.model_type, available: AVAILABLE_ENGINES });
      }
      const model: Model = {
        id: randomUUID() as ModelId,
        projectId: caller.projectId,
        domainId: caller.user.domainId,
        ownerId: caller.user.id,
        workspaceId,
        name: body.model_name,
        version: body.model_version,
        type: body.model_type,
        description: body.description ?? "",
        installTypes,
        sourceLocation: await demandSource(deps, caller.projectId, source, body.source_job_version),
        request: body,
        status: "publishing",
        failure: null,
        published: null,
        createdAt: deps.clock.now(),
      };
      const outcome = await models.create(model, at(modelEvents.importStarted(), model.createdAt));
      if (outcome === "exists") throw fail("MODEL_EXISTS", { name: model.name, version: model.version });
      return { model_id: model.id };
    },
  );

  app.get(
    ROOT,
    {
      schema: {
        tags,
        summary: "List AI applications",
        params: projectParams,
        querystring: listModelsQuery,
        response: { 200: listModelsAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      const { query } = request;
      const filter: ModelFilter = {
        sortBy: query.sort_by,
        order: query.order,
        offset: query.offset,
        limit: query.limit,
        exactMatch: query.exact_match,
        ...(query.model_name === undefined ? {} : { name: query.model_name }),
        ...(query.model_version === undefined ? {} : { version: query.model_version }),
        ...(query.model_status === undefined ? {} : { status: query.model_status }),
        ...(query.description === undefined ? {} : { description: query.description }),
        ...(query.workspace_id === undefined ? {} : { workspaceId: query.workspace_id }),
        ...(query.model_type === undefined ? {} : { type: query.model_type }),
        ...(query.not_model_type === undefined ? {} : { notType: query.not_model_type }),
      };
      const { total, rows } = await models.list(projectCallerOf(request).projectId, filter);
      return { total_count: total, count: rows.length, models: rows.map(modelItem) };
    },
  );

  app.get(
    `${ROOT}/ai-engine-runtimes`,
    {
      schema: {
        tags,
        summary: "List the AI engines that run here",
        params: projectParams,
        response: { 200: engineRuntimesAnswer, "4xx": errorBody },
      },
    },
    async () => {
      const states = await deps.runtimes();
      return {
        count: engineRuntimes.length,
        total_count: engineRuntimes.length,
        engine_runtimes: engineRuntimes.map((engine) => ({
          ai_engine: engine.ai_engine,
          runtimes: [...engine.runtimes],
          request_mode: ["sync"],
          accelerators: [],
          arch: ["x86_64", "aarch64"],
          status_list: ["normal"],
          image_source: [],
          runtime_states: states
            .filter((state) => state.engine === engine.ai_engine)
            .map(({ runtime, python, release, state, runs }) => ({ runtime, python, release, state, runs })),
        })),
      };
    },
  );

  app.get(
    `${ROOT}/templates`,
    {
      schema: {
        tags,
        summary: "List the model templates and the input and output modes (additive)",
        params: projectParams,
        querystring: templatesQuery,
        response: { 200: templatesAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      const { type, engine, environment, search } = request.query;
      const has = (text: string, part: string | undefined): boolean =>
        part === undefined || text.toLowerCase().includes(part.toLowerCase());
      const templates = TEMPLATES.filter(
        (template) =>
          has(template.type, type) &&
          has(template.engine, engine) &&
          has(template.environment, environment) &&
          has(`${template.id} ${template.name} ${template.release} ${template.environment}`, search),
      );
      return {
        count: templates.length,
        total_count: templates.length,
        templates: templates.map((template) => ({
          template_id: template.id,
          template_name: template.name,
          type: template.type,
          engine: template.engine,
          release: template.release,
          environment: template.environment,
          runtime: template.runtime ?? "",
          infer_format: template.mode,
          overridable: template.overridable,
          template_inputs: [
            {
              input_id: TEMPLATE_INPUT,
              description: "folder model with the model's files and customize_service.py",
            },
          ],
        })),
        infer_formats: IO_MODES.map((mode) => ({
          infer_format: mode.id,
          name: mode.name,
          apis: JSON.stringify(mode.apis),
        })),
      };
    },
  );

  app.get(
    `${ROOT}/:model_id`,
    {
      schema: {
        tags,
        summary: "Show an AI application",
        params: modelParams,
        response: { 200: modelDetails, "4xx": errorBody },
      },
    },
    async (request) => modelDetail(await find(projectCallerOf(request).projectId, request.params.model_id)),
  );

  app.get(
    `${ROOT}/:model_id/events`,
    {
      schema: {
        tags,
        summary: "History of an AI application (additive)",
        params: modelParams,
        querystring: eventsQuery,
        response: { 200: modelEventsAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      const model = await find(projectCallerOf(request).projectId, request.params.model_id);
      const page = await events.ofModel(model.id, eventFilter(request.query));
      return { model_id: model.id, model_name: model.name, ...eventPage(page) };
    },
  );

  app.delete(
    `${ROOT}/:model_id`,
    {
      schema: {
        tags,
        summary: "Delete a version, or with `cascade` all versions of its name",
        params: modelParams,
        querystring: deleteModelQuery,
        response: { 200: deleteModelAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      const { projectId } = projectCallerOf(request);
      const model = await find(projectId, request.params.model_id);
      const others = request.query.cascade ? await models.versions(projectId, model.name) : [];
      const ids = [model.id, ...others.map((m) => m.id).filter((id) => id !== model.id)];
      const deleted: string[] = [];
      const failed: { model_id: string; error_code: string; error_msg: string }[] = [];
      const tried = ids.slice(0, LIMITS.cascadeDelete.value);
      const outcomes = await models.deleteAll(projectId, tried);
      for (const [index, id] of tried.entries()) {
        if (outcomes[index] === "in-use") {
          const { code, message } = modelArtsCode(fail("MODEL_IN_USE", { id }), "control");
          failed.push({ model_id: id, error_code: code, error_msg: message });
        } else deleted.push(id);
      }
      return { delete_success_list: deleted, delete_failed_list: failed };
    },
  );
};

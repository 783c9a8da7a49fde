/**
 * The writing service operations (contracts/modelarts.md §2.1, §2.5 to §2.7). They write what is wanted and start
 * nothing; which write is allowed when is decided by core/service-update.ts inside the store's transaction.
 */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { errorBody, projectParams } from "../../contract/modelarts/common.ts";
import {
  createService,
  createServiceAnswer,
  patchService,
  scaleBody,
  serviceParams,
  updateService,
  updateServiceAnswer,
} from "../../contract/modelarts/services.ts";
import { fail } from "../../core/errors.ts";
import { at, serviceEvents } from "../../core/event-texts.ts";
import { ownText } from "../validation.ts";
import type { Instant, ModelId, ServiceId } from "../../core/ids.ts";
import { LIMITS } from "../../core/limits.ts";
import { decideDelete, decideScale, decideUpdate, dueTime, firstEntries } from "../../core/service-update.ts";
import type { UpdateRequest } from "../../core/service-update.ts";
import type { Revision, Service } from "../../core/service.ts";
import type { ServiceChange } from "../../store/store.ts";
import { projectCallerOf } from "../app.ts";
import type { App, ProjectCaller } from "../app.ts";
import type { ApiDeps } from "../deps.ts";
import { patchedConfig, resolveConfig } from "./service-config.ts";
import { resourceIds } from "./service-view.ts";
import { demandSharedPool, demandWorkspace } from "./workspace.ts";

const tags = ["Services"];
const ROOT = "/v1/:project_id/services";
const UNAVAILABLE_TYPES = ["batch", "edge"];

/** A PATCH that met a newer revision than the one it was computed from. */
class RevisionMoved extends Error {}

const answerOf = (result: { service: Service; revision: Revision }) => ({
  update_time: result.revision.createdAt as number,
  resource_ids: resourceIds(result.service, result.revision),
});

export const serviceWriteRoutes = (app: App, deps: ApiDeps): void => {
  const { services } = deps.store;

  const write = async (
    caller: ProjectCaller,
    id: string,
    now: Instant,
    decide: (service: Service, revision: Revision) => ServiceChange,
  ): Promise<{ service: Service; revision: Revision }> => {
    const result = await services.update(caller.projectId, id as ServiceId, now, decide);
    if (result === null) throw fail("SERVICE_NOT_FOUND", { id });
    return result;
  };

  app.post(
    ROOT,
    {
      // Before the schema, which knows real-time services only: these types are fine requests for a feature not here.
      preValidation: async (request) => {
        const type = ownText(request.body, "infer_type");
        if (type !== null && UNAVAILABLE_TYPES.includes(type))
          throw fail("SERVICE_TYPE_UNAVAILABLE", { type });
      },
      schema: {
        tags,
        summary: "Deploy a service",
        params: projectParams,
        body: createService,
        response: { 200: createServiceAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      const caller = projectCallerOf(request);
      const { body } = request;
      const workspaceId = demandWorkspace(body.workspace_id);
      demandSharedPool(body);
      const { config, models } = await resolveConfig(deps.store, caller.projectId, body.config);
      const now = deps.clock.now();
      const id = randomUUID() as ServiceId;
      const schedule = body.schedule ?? [];
      const service: Service = {
        id,
        projectId: caller.projectId,
        domainId: caller.user.domainId,
        ownerId: caller.user.id,
        workspaceId,
        name: body.service_name,
        description: body.description ?? "",
        inferType: "real-time",
        desired: "running",
        revision: 1,
        servingRevision: null,
        generation: 1,
        status: "deploying",
        progress: 0,
        errorMessage: null,
        schedule,
        dueAt: dueTime(schedule, now),
        additionalProperties: body.additional_properties ?? {},
        publishAt: now,
        updateAt: now,
        transitionAt: now,
        operationAt: now,
        invocationTimes: 0,
        failedTimes: 0,
      };
      const entries = firstEntries(id, config, models);
      const events = [
        serviceEvents.deployStarted(),
        ...schedule.map((s) => serviceEvents.autoStopEnabled(`${s.duration} ${s.time_unit}`)),
      ].map((text) => at(text, now));
      const limit = LIMITS.servicesPerProject.value;
      const outcome = await services.create(service, entries, events, limit);
      if (outcome === "full") throw fail("SERVICE_LIMIT", { limit });
      if (outcome === "exists") throw fail("SERVICE_EXISTS", { name: service.name });
      const revision: Revision = {
        serviceId: id,
        number: 1,
        entries,
        createdAt: now,
        result: "RUNNING",
        reason: null,
      };
      return { service_id: id, resource_ids: resourceIds(service, revision) };
    },
  );

  app.put(
    `${ROOT}/:service_id`,
    {
      schema: {
        tags,
        summary: "Update, start or stop a service",
        description: "With both `status` and `config`, only `status` is applied.",
        params: serviceParams,
        body: updateService,
        response: { 200: updateServiceAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      const caller = projectCallerOf(request);
      const { body } = request;
      const { service_id: id } = request.params;
      // Missing services before anything about the configuration: a stranger learns nothing but that.
      if ((await services.get(caller.projectId, id as ServiceId)) === null)
        throw fail("SERVICE_NOT_FOUND", { id });
      const hasConfig = body.config !== undefined && body.status === undefined;
      const resolved = hasConfig
        ? await resolveConfig(deps.store, caller.projectId, body.config ?? [])
        : null;
      const wanted: UpdateRequest = {
        ...(body.description === undefined ? {} : { description: body.description }),
        ...(body.schedule === undefined ? {} : { schedule: body.schedule }),
        ...(body.additional_properties === undefined
          ? {}
          : { additionalProperties: body.additional_properties }),
        ...(body.status === undefined ? {} : { status: body.status }),
        ...(resolved === null ? {} : { config: resolved.config }),
      };
      if (Object.keys(wanted).length === 0) return {};
      const now = deps.clock.now();
      const result = await write(caller, id, now, (service, revision) =>
        decideUpdate(service, revision, wanted, resolved?.models ?? new Map(), now),
      );
      return hasConfig ? answerOf(result) : {};
    },
  );

  app.patch(
    `${ROOT}/:service_id`,
    {
      schema: {
        tags,
        summary: "Replace single members of a service's configuration",
        params: serviceParams,
        body: patchService,
        response: { 200: updateServiceAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      const caller = projectCallerOf(request);
      const { service_id: id } = request.params;
      for (;;) {
        const service = await services.get(caller.projectId, id as ServiceId);
        const current = service === null ? null : await services.revision(service.id, service.revision);
        if (current === null) throw fail("SERVICE_NOT_FOUND", { id });
        const patched = patchedConfig(current.entries, request.body);
        const { config, models } = await resolveConfig(deps.store, caller.projectId, patched);
        const now = deps.clock.now();
        try {
          const result = await write(caller, id, now, (found, revision) => {
            if (revision.number !== current.number) throw new RevisionMoved();
            return decideUpdate(found, revision, { config }, models, now);
          });
          return answerOf(result);
        } catch (error) {
          // Somebody else's update came in between: the patch is applied to the new revision instead.
          if (!(error instanceof RevisionMoved)) throw error;
        }
      }
    },
  );

  app.put(
    `${ROOT}/:service_id/property`,
    {
      schema: {
        tags,
        summary: "Change the instance count of versions of a service",
        params: serviceParams,
        body: scaleBody,
        response: { 200: updateServiceAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      const counts = new Map(request.body.configs.map((c) => [c.model_id as ModelId, c.changed_value]));
      const now = deps.clock.now();
      const result = await write(
        projectCallerOf(request),
        request.params.service_id,
        now,
        (service, revision) => decideScale(service, revision, counts, now),
      );
      return answerOf(result);
    },
  );

  app.delete(
    `${ROOT}/:service_id`,
    {
      schema: {
        tags,
        summary: "Delete one service, or several named with commas in between",
        params: serviceParams,
        response: { 200: z.object({}), "4xx": errorBody },
      },
    },
    async (request) => {
      const caller = projectCallerOf(request);
      const ids = [...new Set(request.params.service_id.split(",").filter((id) => id !== ""))];
      if (ids.length > LIMITS.deleteMany.value) {
        throw fail("ARGUMENT_INVALID", {
          reason: `The parameter [service_id] must have a number of items of at most ${LIMITS.deleteMany.value}.`,
        });
      }
      const now = deps.clock.now();
      // All or none: also when one of the names is wrong, and when the process dies in the middle.
      await services.updateAll(caller.projectId, ids as ServiceId[], now, (service) =>
        decideDelete(service, now),
      );
      return {};
    },
  );
};

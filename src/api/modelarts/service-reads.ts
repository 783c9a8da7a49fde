/** The reading service operations (contracts/modelarts.md §2.3, §2.4, §2.8 to §2.12) and, ours, what instances print. */
import { Readable } from "node:stream";
import { z } from "zod";
import {
  errorBody,
  eventsQuery,
  projectParams,
  queryFlag,
  queryInstant,
  queryInteger,
} from "../../contract/modelarts/common.ts";
import {
  clustersAnswer,
  listServicesAnswer,
  listServicesQuery,
  monitorAnswer,
  serviceDetails,
  serviceEventsAnswer,
  serviceLogsAnswer,
  serviceParams,
  specificationsAnswer,
  specificationsQuery,
} from "../../contract/modelarts/services.ts";
import { fail } from "../../core/errors.ts";
import { instant } from "../../core/ids.ts";
import type { GroupId, ProjectId, ServiceId } from "../../core/ids.ts";
import { LIMITS } from "../../core/limits.ts";
import type { Revision, Service } from "../../core/service.ts";
import { SPECIFICATIONS } from "../../core/specifications.ts";
import type { ServiceFilter } from "../../store/store.ts";
import { projectCallerOf } from "../app.ts";
import type { App } from "../app.ts";
import type { ApiDeps } from "../deps.ts";
import { eventFilter, eventPage } from "./history.ts";
import { serviceDetail, serviceHistory, serviceItem, serviceMonitor } from "./service-view.ts";

const tags = ["Services"];
const ROOT = "/v1/:project_id/services";

const specificationView = (spec: (typeof SPECIFICATIONS)[number]) => ({
  specification: spec.name,
  billing_spec: spec.name,
  category: spec.category,
  cpu_info: { arch: "x86", cpu: spec.cpu },
  memory_info: { unit: "GB", memory: spec.memoryMb / 1024 },
  gpu_info: { brand: "", version: "", unit: "MB", gpu: 0, memory: 0 },
  is_open: true,
  spec_status: "normal",
  is_free: false,
  over_quota: false,
  extend_params: 1,
  source_type: "",
  display_en: spec.display,
  display_cn: spec.display,
});

export const serviceReadRoutes = (app: App, deps: ApiDeps, closing: AbortSignal): void => {
  const { services, events, routes } = deps.store;

  const find = async (project: ProjectId, id: string): Promise<Service> => {
    const service = await services.get(project, id as ServiceId);
    if (service === null) throw fail("SERVICE_NOT_FOUND", { id });
    return service;
  };
  const findWithRevision = async (
    project: ProjectId,
    id: string,
  ): Promise<{ service: Service; revision: Revision }> => {
    const service = await find(project, id);
    const revision = await services.revision(service.id, service.revision);
    // Gone between the two reads: the service was purged.
    if (revision === null) throw fail("SERVICE_NOT_FOUND", { id });
    return { service, revision };
  };

  app.get(
    ROOT,
    {
      schema: {
        tags,
        summary: "List services",
        params: projectParams,
        querystring: listServicesQuery,
        response: { 200: listServicesAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      const { query } = request;
      const filter: ServiceFilter = {
        sortBy: query.sort_by,
        order: query.order,
        offset: query.offset,
        limit: query.limit,
        ...(query.service_id === undefined ? {} : { id: query.service_id }),
        ...(query.service_name === undefined ? {} : { name: query.service_name }),
        ...(query.model_id === undefined ? {} : { modelId: query.model_id }),
        ...(query.workspace_id === undefined ? {} : { workspaceId: query.workspace_id }),
        ...(query.infer_type === undefined ? {} : { inferType: query.infer_type }),
        ...(query.status === undefined ? {} : { status: query.status }),
      };
      const { total, rows } = await services.list(projectCallerOf(request).projectId, filter);
      return { total_count: total, count: rows.length, services: rows.map(serviceItem) };
    },
  );

  app.get(
    `${ROOT}/specifications`,
    {
      schema: {
        tags,
        summary: "List the specifications services can be deployed with",
        params: projectParams,
        querystring: specificationsQuery,
        response: { 200: specificationsAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      const { infer_type: inferType, offset, limit } = request.query;
      const all = inferType === undefined || inferType === "real-time" ? SPECIFICATIONS : [];
      const page = all.slice(offset, offset + limit);
      return { total_count: all.length, count: page.length, specifications: page.map(specificationView) };
    },
  );

  app.get(
    "/v1/:project_id/clusters",
    {
      schema: {
        tags,
        summary: "List dedicated resource pools (this platform has none)",
        params: projectParams,
        response: { 200: clustersAnswer, "4xx": errorBody },
      },
    },
    async () => ({ total_count: 0, count: 0, clusters: [] }),
  );

  app.get(
    `${ROOT}/:service_id`,
    {
      schema: {
        tags,
        summary: "Show a service",
        params: serviceParams,
        response: { 200: serviceDetails, "4xx": errorBody },
      },
    },
    async (request) => {
      const { service, revision } = await findWithRevision(
        projectCallerOf(request).projectId,
        request.params.service_id,
      );
      return serviceDetail(service, revision, deps.settings.publicUrl());
    },
  );

  app.get(
    `${ROOT}/:service_id/monitor`,
    {
      schema: {
        tags,
        summary: "Monitoring snapshot of a service",
        params: serviceParams,
        response: { 200: monitorAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      const { service, revision } = await findWithRevision(
        projectCallerOf(request).projectId,
        request.params.service_id,
      );
      return serviceMonitor(service, revision, await routes.get(service.id));
    },
  );

  app.get(
    `${ROOT}/:service_id/events`,
    {
      schema: {
        tags,
        summary: "History of a service",
        params: serviceParams,
        querystring: eventsQuery,
        response: { 200: serviceEventsAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      const service = await find(projectCallerOf(request).projectId, request.params.service_id);
      const page = await events.ofService(service.id, eventFilter(request.query));
      return { service_id: service.id, service_name: service.name, ...eventPage(page) };
    },
  );

  app.get(
    `${ROOT}/:service_id/logs`,
    {
      schema: {
        tags,
        summary: "Configurations a service had, newest first",
        params: serviceParams,
        querystring: z.object({ update_time: queryInstant }),
        response: { 200: serviceLogsAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      const service = await find(projectCallerOf(request).projectId, request.params.service_id);
      const { update_time: createdAt } = request.query;
      const revisions = await services.revisions(service.id, {
        limit: LIMITS.pageSize.value,
        ...(createdAt === undefined ? {} : { createdAt: instant(createdAt) }),
      });
      return serviceHistory(service, revisions);
    },
  );

  /** The groups worth reading: wanted, serving, and the newest, which may be the one that failed and was rolled back. */
  const groupsOf = async (service: Service): Promise<readonly GroupId[]> => {
    const numbers = new Set([service.revision, service.servingRevision ?? service.revision]);
    const [newest, ...named] = await Promise.all([
      services.revisions(service.id, { limit: 1 }),
      ...[...numbers].map((number) => services.revision(service.id, number)),
    ]);
    const entries = [...named, ...newest].flatMap((revision) => revision?.entries ?? []);
    return [...new Set(entries.map((e) => e.groupId))];
  };

  app.get(
    `${ROOT}/:service_id/instance-logs`,
    {
      schema: {
        tags,
        summary: "What the instances of a service print (additive)",
        description:
          "Lines of `<instance> <text>`; with `follow=true` the answer goes on until the client leaves.",
        params: serviceParams,
        querystring: z.object({
          tail: queryInteger(0, LIMITS.logTail.value, 100),
          follow: queryFlag,
        }),
        produces: ["text/plain"],
      },
    },
    async (request, reply) => {
      const service = await find(projectCallerOf(request).projectId, request.params.service_id);
      const left = new AbortController();
      reply.raw.once("close", () => left.abort());
      const lines = deps.instanceLogs.read(await groupsOf(service), {
        ...request.query,
        signal: AbortSignal.any([left.signal, closing]),
      });
      return reply
        .type("text/plain; charset=utf-8")
        .header("X-Content-Type-Options", "nosniff")
        .send(Readable.from(asText(lines)));
    },
  );
};

async function* asText(lines: AsyncIterable<{ instance: string; text: string }>): AsyncGenerator<string> {
  for await (const { instance, text } of lines) yield `${instance} ${text}\n`;
}

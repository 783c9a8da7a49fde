/** Service and revision rows to and from the core's shapes. */
import { instant } from "../core/ids.ts";
import type { DomainId, ProjectId, ServiceId, UserId } from "../core/ids.ts";
import type { Revision, Service } from "../core/service.ts";
import type { RevisionRow, ServiceRow } from "./schema.ts";

export const toService = (row: ServiceRow): Service => ({
  id: row.id as ServiceId,
  projectId: row.project_id as ProjectId,
  domainId: row.domain_id as DomainId,
  ownerId: row.owner_id as UserId,
  workspaceId: row.workspace_id,
  name: row.name,
  description: row.description,
  inferType: row.infer_type as Service["inferType"],
  desired: row.desired as Service["desired"],
  revision: row.revision,
  servingRevision: row.serving_revision,
  generation: row.generation,
  status: row.status as Service["status"],
  progress: row.progress,
  errorMessage: row.error_message,
  schedule: JSON.parse(row.schedule) as Service["schedule"],
  dueAt: row.due_at === null ? null : instant(row.due_at),
  additionalProperties: JSON.parse(row.additional_properties) as Service["additionalProperties"],
  publishAt: instant(row.publish_at),
  updateAt: instant(row.update_at),
  transitionAt: instant(row.transition_at),
  operationAt: instant(row.operation_at),
  invocationTimes: row.invocation_times,
  failedTimes: row.failed_times,
});

export const fromService = (service: Service): ServiceRow => ({
  id: service.id,
  project_id: service.projectId,
  domain_id: service.domainId,
  owner_id: service.ownerId,
  workspace_id: service.workspaceId,
  name: service.name,
  description: service.description,
  infer_type: service.inferType,
  desired: service.desired,
  revision: service.revision,
  serving_revision: service.servingRevision,
  generation: service.generation,
  status: service.status,
  progress: service.progress,
  error_message: service.errorMessage,
  schedule: JSON.stringify(service.schedule),
  due_at: service.dueAt,
  additional_properties: JSON.stringify(service.additionalProperties),
  publish_at: service.publishAt,
  update_at: service.updateAt,
  transition_at: service.transitionAt,
  operation_at: service.operationAt,
  invocation_times: service.invocationTimes,
  failed_times: service.failedTimes,
});

export const toRevision = (row: RevisionRow): Revision => ({
  serviceId: row.service_id as ServiceId,
  number: row.number,
  entries: JSON.parse(row.entries) as Revision["entries"],
  createdAt: instant(row.created_at),
  result: row.result as Revision["result"],
  reason: row.reason,
});

/** How a service looks in answers (contracts/modelarts.md §2.3, §2.4, §2.8, §2.10). */
import type { z } from "zod";
import type {
  monitorAnswer,
  serviceDetails,
  serviceListItem,
  serviceLogsAnswer,
} from "../../contract/modelarts/services.ts";
import type { ServiceRoute } from "../../core/routing-table.ts";
import type { Revision, Service, ServiceStatus } from "../../core/service.ts";
import { resourcesOf } from "../../core/specifications.ts";
import { entryView } from "./service-config.ts";

export const serviceItem = (service: Service): z.output<typeof serviceListItem> => ({
  service_id: service.id,
  service_name: service.name,
  description: service.description,
  infer_type: service.inferType,
  status: service.status,
  tenant: service.domainId,
  project: service.projectId,
  owner: service.ownerId,
  workspace_id: service.workspaceId,
  publish_at: service.publishAt,
  transition_at: service.transitionAt,
  operation_time: service.operationAt,
  invocation_times: service.invocationTimes,
  failed_times: service.failedTimes,
  is_shared: false,
  is_free: false,
  shared_count: 0,
  ...(service.status === "deploying" ? { progress: service.progress } : {}),
  ...(service.schedule.length === 0 ? {} : { schedule: service.schedule.map((s) => ({ ...s })) }),
  ...(service.dueAt === null ? {} : { due_time: service.dueAt }),
  is_opened_sample_collection: "false",
  additional_properties: { ...service.additionalProperties },
});

/** Status of one version within its service: the service's, except that what is not up yet is `notReady`. */
const ENTRY_STATUS: Record<ServiceStatus, string> = {
  deploying: "notReady",
  running: "running",
  concerning: "concerning",
  failed: "failed",
  stopping: "stopping",
  stopped: "stopped",
  deleting: "deleting",
};

/** Whether predictions can reach it: it was ready once, and nobody stopped it. */
const isCallable = (service: Service): boolean =>
  service.servingRevision !== null &&
  (service.status === "running" || service.status === "concerning" || service.status === "deploying");

export const serviceDetail = (
  service: Service,
  revision: Revision,
  publicUrl: string,
): z.output<typeof serviceDetails> => ({
  ...serviceItem(service),
  config: revision.entries.map((entry) => ({
    ...entryView(entry),
    status: ENTRY_STATUS[service.status],
    scaling: false,
    support_debug: false,
  })),
  ...(isCallable(service) ? { access_address: `${publicUrl}/v1/infers/${service.id}` } : {}),
  ...(service.errorMessage === null ? {} : { error_msg: service.errorMessage }),
  update_time: revision.createdAt,
});

/** Made up from the service and the moment: nothing here is billed by it, but clients expect one per entry. */
export const resourceIds = (service: Service, revision: Revision): string[] =>
  revision.entries.map(
    (_, index) => `INF-${service.id.replaceAll("-", "").slice(index, index + 16)}@${revision.createdAt}`,
  );

export const serviceHistory = (
  service: Service,
  revisions: readonly Revision[],
): z.output<typeof serviceLogsAnswer> => ({
  service_id: service.id,
  service_name: service.name,
  logs: revisions.map((revision) => ({
    update_time: revision.createdAt,
    result: revision.result,
    config: revision.entries.map((entry) => ({ ...entryView(entry), cluster_id: "" })),
    cluster_id: "",
    extend_config: [],
    success_num: 0,
    failed_num: 0,
    result_detail: [],
    ...(revision.reason === null ? {} : { reason: revision.reason }),
  })),
});

/**
 * The monitoring snapshot. Calls are counted per service, so they are given to the version when there is one only;
 * consumption is not measured in this release and stays 0, while totals and ready instances are real.
 */
export const serviceMonitor = (
  service: Service,
  revision: Revision,
  route: ServiceRoute | null,
): z.output<typeof monitorAnswer> => {
  const readyIn = (groupId: string): number =>
    route?.groups.find((g) => g.id === groupId)?.instances.length ?? 0;
  const isSingle = revision.entries.length === 1;
  const monitors = revision.entries.map((entry) => {
    const size = resourcesOf(entry) ?? { cpu: 0, memoryMb: 0 };
    return {
      model_id: entry.modelId as string,
      model_name: entry.modelName,
      model_version: entry.modelVersion,
      invocation_times: isSingle ? service.invocationTimes : 0,
      failed_times: isSingle ? service.failedTimes : 0,
      model_instance_count: entry.instanceCount,
      model_running_instance_count: readyIn(entry.groupId),
      cpu_core_usage: 0,
      cpu_core_total: size.cpu * entry.instanceCount,
      cpu_memory_usage: 0,
      cpu_memory_total: size.memoryMb * entry.instanceCount,
      gpu_usage: 0,
      gpu_total: 0,
      gpu_memory_usage: 0,
      gpu_memory_total: 0,
      npu_usage: 0,
      npu_total: 0,
      npu_memory_usage: 0,
      npu_memory_total: 0,
    };
  });
  const sum = (counts: readonly number[]): number => counts.reduce((a, b) => a + b, 0);
  return {
    service_id: service.id,
    service_name: service.name,
    service_instance_count: sum(monitors.map((m) => m.model_instance_count)),
    service_running_instance_count: sum(monitors.map((m) => m.model_running_instance_count)),
    req_count_per_min: 0,
    monitors,
  };
};

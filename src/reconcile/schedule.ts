/** Automatic stop: what a service's schedule asks for once its moment has come (contracts/modelarts.md §2.1). */
import { at, serviceEvents } from "../core/event-texts.ts";
import type { Instant } from "../core/ids.ts";
import type { Service } from "../core/service.ts";
import type { ServiceSettlement } from "../store/store.ts";

/** The write that stops the service; null while nothing is due. */
export const automaticStop = (service: Service, now: Instant): ServiceSettlement | null =>
  service.desired !== "running" || service.dueAt === null || service.dueAt > now
    ? null
    : service.status === "failed"
      ? // Nothing runs; the failure stays visible and the schedule has done its work.
        { dueAt: null, events: [] }
      : {
          desired: "stopped",
          status: "stopping",
          dueAt: null,
          progress: 100,
          events: [at(serviceEvents.autoStopped(), now)],
        };

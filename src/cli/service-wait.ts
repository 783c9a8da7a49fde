/** Waiting for a service to reach what was asked of it, and telling why when it does not. */
import type { Api } from "./api.ts";
import type { EventItem, ServiceConfigItem, ServiceDetail, UpdateLog } from "./api-shapes.ts";
import { CliError } from "./failures.ts";
import { status } from "./format.ts";
import { countEvents, follow } from "./follow.ts";
import type { Live } from "./live.ts";
import type { Session } from "./session.ts";
import { readAll } from "./transport.ts";

export interface WaitOptions {
  readonly wait: boolean;
  readonly timeout?: number;
}

export const servicePath = (api: Api, id: string): string => api.inProject(`/services/${id}`);

export const eventsPath = (api: Api, id: string): string => `${servicePath(api, id)}/events`;

/** Events there are before a change, so that only its own are shown. */
export const eventsSoFar = (api: Api, id: string): Promise<number> => countEvents(api, eventsPath(api, id));

interface Awaited {
  readonly skip: number;
  readonly until: "running" | "stopped";
  readonly options: Pick<WaitOptions, "timeout">;
  /** The change that is waited for; without it the service's status alone decides. */
  readonly updateTime?: number | undefined;
  /** Where progress goes; default: the session's own. */
  readonly live?: Live;
}

interface Seen {
  readonly service: ServiceDetail;
  readonly update: UpdateLog["result"] | null;
}

const describe = ({ service }: Seen, last: string | null): string => {
  const share =
    service.status === "deploying" && service.progress !== undefined ? ` ${service.progress} %` : "";
  return `${service.service_name} is ${service.status}${share}${last === null ? "" : `: ${last}`}`;
};

/** Whether any instance has printed a line: of a service that failed before its first, the logs are empty. */
const hasPrinted = async (api: Api, id: string): Promise<boolean> => {
  try {
    const answer = await api.demand("GET", `${servicePath(api, id)}/instance-logs`, { query: { tail: 1 } });
    return (await readAll(answer)).byteLength > 0;
  } catch {
    // The failure that is being told must not give way to this one.
    return true;
  }
};

const isSettled = (wanted: Awaited, { service, update }: Seen): boolean => {
  if (service.status === "failed") return true;
  if (wanted.until === "stopped") return service.status === "stopped";
  if (update === "RUNNING") return false;
  if (update === "FAIL") return service.status !== "deploying";
  return service.status === "running" || service.status === "stopped";
};

/** Follows a service until it is as wanted; throws with the platform's reason when it is not. */
export const awaitService = async (
  session: Session,
  api: Api,
  id: string,
  wanted: Awaited,
): Promise<ServiceDetail> => {
  const live = wanted.live ?? session.live();
  const read = async (): Promise<Seen> => {
    // The update first: a service read after its update has ended shows the status the end left behind.
    const update =
      wanted.updateTime === undefined
        ? null
        : ((
            await api.get<{ logs: readonly UpdateLog[] }>(`${servicePath(api, id)}/logs`, {
              update_time: wanted.updateTime,
            })
          ).logs[0]?.result ?? null);
    return { service: await api.get<ServiceDetail>(servicePath(api, id)), update };
  };
  let seen: Seen;
  try {
    seen = await follow<Seen>(session, api, live, {
      events: eventsPath(api, id),
      skip: wanted.skip,
      read,
      describe,
      isDone: (state) => isSettled(wanted, state),
      timeoutMs: wanted.options.timeout ?? null,
      later: `See how it goes with \`modelport service events ${id} -f\`.`,
    });
  } finally {
    if (wanted.live === undefined) live.end();
  }
  const { service, update } = seen;
  if (update !== "FAIL" && service.status === wanted.until) return service;
  const { events } = await api.get<{ events: readonly EventItem[] }>(eventsPath(api, id), {
    offset: wanted.skip,
    limit: 1000,
    sort_by: "occur_time",
    order: "asc",
  });
  const reasons = events.filter((event) => event.event_type === "abnormal").map((event) => event.event_info);
  const name = service.service_name;
  const everyStep = `\`modelport service events ${name}\``;
  const isServing = service.status === "running" || service.status === "concerning";
  throw new CliError(
    "failed",
    isServing
      ? `The update of ${name} was rolled back; it goes on serving as before.`
      : `${name} is ${service.status}, not ${wanted.until}.`,
    {
      detail: reasons.at(-1) ?? service.error_msg,
      next: (await hasPrinted(api, id))
        ? `\`modelport service logs ${name}\` shows what its instances printed, ${everyStep} every step.`
        : `${everyStep} shows every step.`,
    },
  );
};

/** The configuration as it was submitted: the details answer without what the platform adds to it. */
export const submitted = (one: ServiceConfigItem): Record<string, unknown> => ({
  model_id: one.model_id,
  specification: one.specification,
  ...(one.specification === "custom" ? { custom_spec: one.custom_spec } : {}),
  weight: one.weight,
  instance_count: one.instance_count,
  envs: one.envs ?? {},
  ...(one.deploy_timeout_in_seconds === undefined
    ? {}
    : { deploy_timeout_in_seconds: one.deploy_timeout_in_seconds }),
  ...(Object.keys(one.additional_properties ?? {}).length === 0
    ? {}
    : { additional_properties: one.additional_properties }),
});

/** Sends a change of the service and, with `wait`, follows it. */
export const applyUpdate = async (
  session: Session,
  api: Api,
  service: ServiceDetail,
  body: Readonly<Record<string, unknown>>,
  options: WaitOptions,
): Promise<void> => {
  const id = service.service_id;
  const skip = await eventsSoFar(api, id);
  const answer = await api.json<{ update_time?: number }>("PUT", servicePath(api, id), { json: body });
  // A stopped service keeps the new configuration for its next start.
  const isRollout = body["config"] !== undefined && service.status !== "stopped";
  if (!options.wait || !isRollout) {
    session.answer({ service_id: id, ...answer }, () =>
      isRollout ? `${service.service_name} is being updated.\n` : `${service.service_name} is changed.\n`,
    );
    return;
  }
  const settled = await awaitService(session, api, id, {
    skip,
    until: "running",
    options,
    updateTime: answer.update_time,
  });
  session.answer(settled, () => `${settled.service_name} is ${status(settled.status, session.paint)}.\n`);
};

/** The same configuration again makes a new revision with new instances. */
export const restart = (
  session: Session,
  api: Api,
  service: ServiceDetail,
  options: WaitOptions,
): Promise<void> => applyUpdate(session, api, service, { config: service.config.map(submitted) }, options);

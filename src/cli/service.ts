/** `modelport service …`, all but `deploy`/`update` (service-deploy.ts) and `predict` (service-predict.ts). */
import type { Command } from "commander";
import { LIMITS } from "../core/limits.ts";
import type { Api } from "./api.ts";
import type { EventItem, ServiceDetail, ServiceItem } from "./api-shapes.ts";
import { addNoun, addVerb, timeSpan, wholeNumber } from "./commands.ts";
import { CliError, usage } from "./failures.ts";
import { facts, status, table, when } from "./format.ts";
import { eventLine, follow } from "./follow.ts";
import type { CliIo } from "./io.ts";
import { findService } from "./names.ts";
import { addDeployCommands } from "./service-deploy.ts";
import { addPredictCommand, predictPath } from "./service-predict.ts";
import { awaitService, eventsPath, eventsSoFar, restart, servicePath } from "./service-wait.ts";
import type { WaitOptions } from "./service-wait.ts";
import type { Session } from "./session.ts";

const list = async (session: Session): Promise<void> => {
  const api = await session.api();
  const rows = await api.all<ServiceItem>(api.inProject("/services"), "services");
  const now = session.io.clock.now();
  session.answer({ total_count: rows.length, services: rows }, () =>
    rows.length === 0
      ? "There are no services yet. Deploy one: modelport service deploy NAME\n"
      : table(
          ["NAME", "STATUS", "CALLS", "FAILED", "DEPLOYED", "ID"],
          rows.map((row) => [
            row.service_name,
            row.status,
            String(row.invocation_times),
            String(row.failed_times),
            when(row.publish_at, now),
            row.service_id,
          ]),
          session.columns,
          session.paint,
          (text, column) => (column === 1 ? status(text, session.paint) : text),
        ),
  );
};

const show = async (session: Session, _options: unknown, reference: string): Promise<void> => {
  const service = await findService(await session.api(), reference);
  const now = session.io.clock.now();
  session.answer(service, () => {
    const envs = (one: ServiceDetail["config"][number]): string =>
      Object.entries(one.envs ?? {})
        .map(([name, value]) => `${name}=${value}`)
        .join(" ");
    return (
      facts(
        [
          ["name", service.service_name],
          ["status", status(service.status, session.paint)],
          ...(service.error_msg ? [["reason", service.error_msg] as const] : []),
          ["url", service.access_address || "-"],
          ["description", service.description || "-"],
          ["calls", `${service.invocation_times}, of which ${service.failed_times} failed`],
          ["deployed", when(service.publish_at, now)],
          ...(service.update_time ? [["updated", when(service.update_time, now)] as const] : []),
          ...(service.due_time ? [["stops", when(service.due_time, now)] as const] : []),
          ["id", service.service_id],
        ],
        session.paint,
      ) +
      `\n${table(
        ["MODEL", "VERSION", "WEIGHT", "INSTANCES", "STATUS", "SPECIFICATION", "ENVIRONMENT"],
        service.config.map((one) => [
          one.model_name,
          one.model_version,
          `${one.weight} %`,
          String(one.instance_count),
          one.status ?? "-",
          one.specification,
          envs(one) || "-",
        ]),
        session.columns,
        session.paint,
        (text, column) => (column === 4 ? status(text, session.paint) : text),
      )}`
    );
  });
};

const url = async (session: Session, _options: unknown, reference: string): Promise<void> => {
  const api = await session.api();
  const service = await findService(api, reference);
  const address = new URL(predictPath(service.service_id, service.access_address, ""), api.endpoint).href;
  session.answer({ url: address }, () => `${address}\n`);
};

const change =
  (to: "running" | "stopped") =>
  async (session: Session, options: WaitOptions, reference: string): Promise<void> => {
    const api = await session.api();
    const service = await findService(api, reference);
    const skip = await eventsSoFar(api, service.service_id);
    await api.json("PUT", servicePath(api, service.service_id), { json: { status: to } });
    const verb = to === "running" ? "start" : "stop";
    if (!options.wait) {
      session.answer(
        { service_id: service.service_id, requested: verb },
        () => `${service.service_name}: ${verb} requested.\n`,
      );
      return;
    }
    const settled = await awaitService(session, api, service.service_id, { skip, until: to, options });
    session.answer(settled, () => `${service.service_name} is ${status(settled.status, session.paint)}.\n`);
  };

const restartService = async (session: Session, options: WaitOptions, reference: string): Promise<void> => {
  const api = await session.api();
  const service = await findService(api, reference);
  if (service.status === "stopped") {
    throw new CliError("conflict", `${service.service_name} is stopped.`, {
      next: `Start it with \`modelport service start ${service.service_name}\`.`,
    });
  }
  await restart(session, api, service, options);
};

const remove = async (session: Session, options: WaitOptions, reference: string): Promise<void> => {
  const api = await session.api();
  const service = await findService(api, reference);
  await api.json("DELETE", servicePath(api, service.service_id));
  if (options.wait) {
    const live = session.live();
    try {
      await follow<boolean>(session, api, live, {
        events: null,
        skip: 0,
        read: () =>
          api.get(servicePath(api, service.service_id)).then(
            () => false,
            (error: unknown) => {
              if (error instanceof CliError && error.outcome === "notFound") return true;
              throw error;
            },
          ),
        describe: () => "waiting for predictions under way to finish",
        isDone: (gone) => gone,
        timeoutMs: options.timeout ?? null,
        later: "`modelport service list` shows when it is gone.",
      });
    } finally {
      live.end();
    }
  }
  session.answer({ service_id: service.service_id, deleted: options.wait }, () =>
    options.wait ? `${service.service_name} is deleted.\n` : `${service.service_name} is being deleted.\n`,
  );
};

const events = async (session: Session, options: { follow?: boolean }, reference: string): Promise<void> => {
  const api = await session.api();
  const service = await findService(api, reference);
  const path = eventsPath(api, service.service_id);
  if (options.follow) {
    if (session.json) throw usage("--follow and --json do not go together.", "Leave one out.");
    await follow<null>(
      session,
      api,
      { note: (line) => session.io.stdout.write(`${line}\n`), now: () => {}, end: () => {} },
      {
        events: path,
        skip: 0,
        read: () => Promise.resolve(null),
        describe: () => "",
        isDone: () => false,
        timeoutMs: null,
        later: "",
      },
    ).catch((error: unknown) => {
      if (!(error instanceof CliError && error.outcome === "interrupted")) throw error;
    });
    return;
  }
  const rows = await api.all<EventItem>(path, "events", { sort_by: "occur_time", order: "asc" });
  session.answer({ service_id: service.service_id, total_count: rows.length, events: rows }, () =>
    rows.map((row) => `${eventLine(row, session.paint)}\n`).join(""),
  );
};

const logs = async (
  session: Session,
  options: { follow?: boolean; tail: number },
  reference: string,
): Promise<void> => {
  if (options.follow && session.json)
    throw usage("--follow and --json do not go together.", "Leave one out.");
  const api: Api = await session.api();
  const service = await findService(api, reference);
  const answer = await api.demand("GET", `${servicePath(api, service.service_id)}/instance-logs`, {
    query: { tail: options.tail, follow: options.follow === true },
    withinMs: options.follow ? null : 60_000,
  });
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of answer) {
      if (session.json) chunks.push(chunk as Buffer);
      else session.io.stdout.write(chunk as Buffer);
    }
  } catch (cause) {
    // Ctrl-C is how following ends.
    if (session.io.interrupt.aborted) return;
    throw new CliError("unreachable", "The platform closed the log before its end.", {
      next: "`modelport status` shows whether it is well; then run the command again.",
      cause,
    });
  }
  if (session.json) {
    const text = Buffer.concat(chunks).toString("utf8");
    session.answer(
      { service_id: service.service_id, lines: text.split("\n").filter((line) => line !== "") },
      () => "",
    );
  }
};

const waiting = (done: string) => (command: Command) =>
  command
    .option("--wait", `wait until it is ${done}`, true)
    .option("--no-wait", "return as soon as the platform has accepted it")
    .option("--timeout <time>", "stop waiting after 30s, 10m, 2h", timeSpan);

export const addServiceCommands = (program: Command, io: CliIo): void => {
  const service = addNoun(program, "service", "services: deploy, call, update and watch AI applications");
  addDeployCommands(service, io);
  addVerb(service, io, {
    usage: "list",
    summary: "list the services of the project",
    examples: ["service list", "service list --json"],
    run: list,
  });
  addVerb(service, io, {
    usage: "show <service>",
    summary: "show one service (a name or an id)",
    examples: ["service show iris"],
    run: show,
  });
  addVerb(service, io, {
    usage: "url <service>",
    summary: "print the address predictions are sent to",
    examples: ["service url iris", "service url iris --json"],
    run: url,
  });
  addPredictCommand(service, io);
  addVerb<WaitOptions>(service, io, {
    usage: "start <service>",
    summary: "start a stopped service",
    examples: ["service start iris"],
    options: waiting("running"),
    run: change("running"),
  });
  addVerb<WaitOptions>(service, io, {
    usage: "stop <service>",
    summary: "stop a service and keep it for later",
    examples: ["service stop iris"],
    options: waiting("stopped"),
    run: change("stopped"),
  });
  addVerb<WaitOptions>(service, io, {
    usage: "restart <service>",
    summary: "replace all instances, one after the other, without losing a prediction",
    examples: ["service restart iris"],
    options: waiting("running again"),
    run: restartService,
  });
  addVerb<WaitOptions>(service, io, {
    usage: "delete <service>",
    summary: "delete a service; predictions under way are finished first",
    examples: ["service delete iris"],
    options: waiting("gone"),
    run: remove,
  });
  addVerb<{ follow?: boolean }>(service, io, {
    usage: "events <service>",
    summary: "show what happened to a service, oldest first",
    examples: ["service events iris", "service events iris -f"],
    options: (command) => command.option("-f, --follow", "go on showing new ones until Ctrl-C"),
    run: events,
  });
  addVerb<{ follow?: boolean; tail: number }>(service, io, {
    usage: "logs <service>",
    summary: "show what the instances print",
    examples: ["service logs iris", "service logs iris -f --tail 20"],
    options: (command) =>
      command
        .option("-f, --follow", "go on showing new lines until Ctrl-C")
        .option("--tail <lines>", "how many lines to begin with", wholeNumber(0, LIMITS.logTail.value), 200),
    run: logs,
  });
};

/**
 * The texts of the history shown to users: tables 2-6 (AI applications) and 3-15 (services) of the inference guide, in
 * its English wording and with its severities, as far as they happen here, plus the lines only this platform has.
 * Nobody else writes event sentences. Functions return an event without its moment; the writer adds `occurredAt`.
 */
import { problemText } from "./errors.ts";
import type { Problem } from "./errors.ts";
import type { HistoryEvent } from "./model.ts";

export type EventText = Pick<HistoryEvent, "type" | "info">;

const normal = (info: string): EventText => ({ type: "normal", info });
const abnormal = (info: string): EventText => ({ type: "abnormal", info });
const warning = (info: string): EventText => ({ type: "warning", info });

/** Appends a reason as the guide does (`… Error: xxx`). */
const because = (text: string, reason: string): string => `${text} Error: ${reason}`;

/** The same event with the time a step took, `Image created. (2.4 s)`. */
export const withDuration = (event: EventText, durationMs: number): EventText => ({
  type: event.type,
  info: `${event.info} (${durationMs < 1000 ? `${Math.round(durationMs)} ms` : `${(durationMs / 1000).toFixed(1)} s`})`,
});

const DETAIL_LINES = 20;
const DETAIL_CHARACTERS = 4000;

/** The same event with the end of what there is to read below it: a traceback, the last lines of a log. */
export const withDetail = (event: EventText, detail: string | undefined): EventText => {
  const lines = (detail ?? "")
    .trimEnd()
    .split("\n")
    .slice(-DETAIL_LINES)
    .join("\n")
    .slice(-DETAIL_CHARACTERS);
  return lines === "" ? event : { type: event.type, info: `${event.info}\n${lines}` };
};

/** Makes a stored event of a text. */
export const at = (event: EventText, occurredAt: HistoryEvent["occurredAt"]): HistoryEvent => ({
  ...event,
  occurredAt,
});

export const modelEvents = {
  // --- table 2-6 ----------------------------------------------------------------------------------------------
  importStarted: () => normal("The model starts to import."),
  imageFailedSeeLog: (logTail: string) =>
    abnormal(`Failed to create the image. For details, see image creation logs.\n${logTail}`),
  imported: () => normal("The model imported."),
  fileImported: () => normal("Model file imported."),
  sizeCalculated: () => normal("Model size calculated."),
  importFailedBecause: (reason: string) => abnormal(because("Failed to import the model.", reason)),
  environmentRequested: () => normal("Request for creating an environment image received."),
  environmentReused: () => normal("An existing environment image is used."),
  // --- this platform ------------------------------------------------------------------------------------------
  /** Several runs of a training job lay at the source. */
  trainingRunTaken: (location: string) =>
    normal(`The newest output of the training job was taken: ${location}.`),
  /** With dynamic loading: what the import leaves for later, and that it was done. */
  filesLeft: () =>
    normal(
      "Dynamic loading: model files and dependencies are taken when a service first starts the version.",
    ),
  loaded: () => normal("The model files and dependencies were loaded for a service."),
  loadFailedBecause: (reason: string) => abnormal(because("Failed to load the model for a service.", reason)),
  /** A line of the build's log that says what it is at: `Downloading numpy (16.3MiB)`. */
  environmentProgress: (line: string) => normal(`Environment: ${line}`),
  environmentCreated: () => normal("The environment was created."),
  packageInvalid: (problem: Problem) => abnormal(`${problemText(problem, "config.json")}.`),
  trialStarted: () => normal("The model is being loaded for a trial."),
  trialKnown: () => normal("The same files loaded in this environment before, so there is no trial."),
  trialSucceeded: () => normal("The model loaded and answered its health check."),
  /** The reason is a whole sentence: what did not work, and the exception where there was one. */
  trialFailed: (reason: string) => abnormal(reason),
  dependencyReplaced: (asked: string, got: string, reason: string) =>
    warning(`Dependency ${asked} was replaced by ${got}: ${reason}`),
  notice: (text: string) => warning(text),
} as const;

/** How a decision about joining requests begins: what it is, whoever came to it. */
export const batchingIs = (model: string, state: "on" | "off"): string =>
  `Batching of [${model}] is ${state}.`;

export const serviceEvents = {
  // --- table 3-15 ---------------------------------------------------------------------------------------------
  deployStarted: () => normal("The service starts to be deployed."),
  deployFailed: (reason: string) => abnormal(because("The service failed.", reason)),
  updateFailedRollingBack: (reason: string) =>
    abnormal(because("Failed to update the service. Perform a rollback.", reason)),
  updateRolledBack: (reason: string) =>
    normal(because("Failed to update the service. The update has been rolled back.", reason)),
  updating: () => normal("The service is being updated."),
  starting: () => normal("The service is being started."),
  stopping: () => normal("The service is being stopped."),
  stopped: () => normal("The service stopped."),
  autoStopDisabled: () => normal("Auto stop is disabled."),
  /** `after` with its unit, as the schedule says it: `2 HOURS`. */
  autoStopEnabled: (after: string) => normal(`Auto stop is enabled. The service will stop after ${after}.`),
  autoStopped: () => normal("The service stops when the auto stop time expires."),
  running: (service: string) => normal(`Service ${service} started.`),
  deployTimeout: (reason: string) => abnormal(because("Service deployment timed out.", reason)),
  // --- this platform ------------------------------------------------------------------------------------------
  updated: () => normal("The service has been updated."),
  deleting: () => normal("The service is being deleted."),
  scaling: (model: string, from: number, to: number) =>
    normal(`The instances of [${model}] change from ${from} to ${to}.`),
  instanceFailed: (model: string, reason: string) =>
    abnormal(`An instance of [${model}] failed and is replaced. Error: ${reason}`),
  preparingEnvironment: () => normal("preparing environment"),
  environmentPrepared: (model: string) => normal(`[${model}] prepare environment success`),
  resourcesScheduled: (model: string) => normal(`[${model}] schedule resource success`),
  startingModel: (model: string) => normal(`[${model}] starting model`),
  modelReady: (model: string) => normal(`[${model}] start model success`),
  /** `saw` in words of the worker: `requests that wait together are joined from now on: 16 requests in …`. */
  batchingDecided: (model: string, instance: string, state: "on" | "off", saw: string) =>
    normal(`${batchingIs(model, state)} Instance ${instance}: ${saw}`),
  concerning: (ready: number, wanted: number) => abnormal(`Only ${ready} of ${wanted} instances are ready.`),
  recovered: () => normal("All instances are ready again."),
} as const;

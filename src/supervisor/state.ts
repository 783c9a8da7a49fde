/**
 * What a supervisor says about itself: run/supervisor.json (who runs here, since when, on which address), the events of
 * a run in words, and the refusal of a start. The file outlives a killed supervisor; `runningState` tells the two apart.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isAlive } from "../telemetry/process-identity.ts";
import type { ProcessIdentity } from "../telemetry/process-identity.ts";

export type RoleName = "control" | "gateway";

/** What run/supervisor.json holds. */
export interface PlatformState {
  readonly supervisor: ProcessIdentity;
  /** The processes that run now; a role that is being restarted is missing. */
  readonly roles: Readonly<Partial<Record<RoleName, ProcessIdentity>>>;
  readonly restarts: Readonly<Record<RoleName, number>>;
  /** Ids of the gateway processes control may still know of (gateway-ids.ts). */
  readonly gateways?: readonly string[];
  /** While a gateway takes another's place: the one that comes, or the one that goes. */
  readonly beside?: readonly ProcessIdentity[];
  /** During an upgrade: the successor's processes. Should the supervisor be killed, they end by themselves, like its own. */
  readonly successor?: readonly ProcessIdentity[];
  /** Epoch ms of the supervisor's start. */
  readonly since: number;
  readonly url: string;
  readonly port: number;
}

/** A start that cannot work: what is wrong and what to do about it. */
export class StartRefused extends Error {
  readonly hint: string;
  constructor(message: string, hint: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "StartRefused";
    this.hint = hint;
  }
}

export type SupervisorEvent =
  | { readonly type: "starting"; readonly role: RoleName }
  | { readonly type: "ready"; readonly role: RoleName; readonly pid: number; readonly durationMs: number }
  | { readonly type: "restarting"; readonly role: RoleName; readonly exit: string; readonly delayMs: number }
  | { readonly type: "recovered"; readonly previous: ProcessIdentity }
  | { readonly type: "step"; readonly text: string };

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

export const describeEvent = (event: SupervisorEvent): string => {
  switch (event.type) {
    case "starting":
      return `starting ${event.role}`;
    case "ready":
      return `${event.role} is ready (process ${event.pid}, ${seconds(event.durationMs)})`;
    case "restarting":
      return `${event.role} ended unexpectedly (${event.exit}); restarting in ${seconds(event.delayMs)}`;
    case "recovered":
      return `the previous run (process ${event.previous.pid}) was killed; taking over what it left running`;
    case "step":
      return event.text;
  }
};

const stateFile = (dataDir: string): string => join(dataDir, "run", "supervisor.json");

/** What the state file says, whether its supervisor still runs or not; null without one. */
export const readState = (dataDir: string): PlatformState | null => {
  try {
    return JSON.parse(readFileSync(stateFile(dataDir), "utf8")) as PlatformState;
  } catch {
    return null;
  }
};

/** The running platform of a data directory; null when none runs. */
export const runningState = (dataDir: string): PlatformState | null => {
  const state = readState(dataDir);
  return state !== null && isAlive(state.supervisor) ? state : null;
};

export const writeState = (dataDir: string, state: PlatformState): void => {
  const file = stateFile(dataDir);
  writeFileSync(`${file}.new`, JSON.stringify(state), { mode: 0o600 });
  renameSync(`${file}.new`, file);
};

export const removeState = (dataDir: string): void => rmSync(stateFile(dataDir), { force: true });

/**
 * What the CLI asks of the platform on this machine, as opposed to what it asks of the API: start, stop, look,
 * diagnose. Implemented by src/supervise.ts. A start that is refused throws a CliError with the sentence to show.
 */
import type { Instant } from "../core/ids.ts";

export interface PlatformProcess {
  readonly role: string;
  readonly pid: number;
  readonly state: "starting" | "ready" | "restarting";
  readonly restarts: number;
}

export type PlatformState =
  | { readonly running: false }
  | {
      readonly running: true;
      readonly url: string;
      readonly since: Instant | null;
      readonly processes: readonly PlatformProcess[];
    };

export interface RunningPlatform {
  readonly url: string;
  /** True when it was already up: then it is not ours to stop. */
  readonly alreadyRunning: boolean;
  /**
   * Settles when the platform has ended, by itself or by `stop`, with the reason when it was not asked to; at once when
   * it runs in a process of its own (found running, or detached).
   */
  readonly ended: Promise<{ readonly reason: string | null }>;
  /** Clean stop: nothing of it is left behind when this resolves. */
  stop(): Promise<void>;
}

export type UpgradeResult =
  | { readonly wasRunning: false }
  | {
      readonly wasRunning: true;
      readonly url: string;
      /** The supervisors' pids. */
      readonly before: number;
      readonly after: number;
    };

export interface DoctorProbe {
  readonly name: string;
  run(): Promise<DoctorFinding>;
}

export interface DoctorFinding {
  readonly state: "ok" | "warning" | "failed";
  /** What was found: "3.11.2 at /usr/bin/python3". */
  readonly found: string;
  /** What to do about it; absent when all is well. */
  readonly fix?: string;
}

export interface PlatformControl {
  /** Starts the platform, or finds it running. Resolves once its URL answers. Detached it outlives this process. */
  up(options: {
    readonly detach: boolean;
    readonly onStep: (text: string) => void;
  }): Promise<RunningPlatform>;
  /** Stops a platform that runs on this data directory, whoever started it. */
  down(options: { readonly onStep: (text: string) => void }): Promise<{ readonly wasRunning: boolean }>;
  /** Replaces the platform's own processes by ones of the program on disk; resolves when the former have ended. */
  upgrade(options: { readonly onStep: (text: string) => void }): Promise<UpgradeResult>;
  state(): Promise<PlatformState>;
  probes(): readonly DoctorProbe[];
}

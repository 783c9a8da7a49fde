/**
 * Services: what a user wants (desired state, immutable revisions) and what is shown to the user (status).
 *
 * Status machine (contracts/modelarts.md §2.2; words are the cloud's own):
 *
 *   POST → deploying ──→ running ⇄ concerning          concerning: fewer instances ready than wanted
 *             └────────→ failed                        the first revision never became ready
 *   running|concerning|failed|deploying ──PUT status=stopped──→ stopping → stopped
 *   stopped|failed ──PUT status=running──→ deploying → running | failed
 *   running|concerning|failed|stopped ──PUT config──→ deploying → running     (new revision serves)
 *                                                              └→ running     (rolled back: the old one serves on)
 *   any ──DELETE──→ deleting → (row gone)
 *
 * The API moves a service only to deploying, stopping and deleting; the service reconciler makes every other move.
 * `generation` counts the user's writes; the reconciler's writes name the generation they are an answer to, and are
 * dropped when a newer one exists.
 */
import type { DomainId, GroupId, Instant, ModelId, ProjectId, ServiceId, UserId } from "./ids.ts";

export type ServiceStatus =
  | "deploying"
  | "running"
  | "concerning"
  | "failed"
  | "stopping"
  | "stopped"
  | "deleting";

/** What the user asked for last. */
export type DesiredState = "running" | "stopped" | "deleted";

/** One entry of a service's `config` array (contracts/modelarts.md §2.1 ServiceConfig), validated and normalised. */
export interface ServiceConfig {
  readonly modelId: ModelId;
  /** 0–100; the weights of one revision sum to 100. */
  readonly weight: number;
  readonly specification: string;
  readonly customSpec: { readonly cpu: number; readonly memory: number } | null;
  readonly instanceCount: number;
  readonly envs: Readonly<Record<string, string>>;
  /** `deploy_timeout_in_seconds` as given: 3–120, counted in minutes as the console labels it. Null: 20. */
  readonly deployTimeout: number | null;
  readonly maxSurge: number;
  /** Share of the instances when below 1, else a count: how many fewer than wanted may be ready during an update. */
  readonly maxUnavailable: number;
  readonly terminationGracePeriodSeconds: number;
}

/**
 * An entry of a revision: a configuration and the group that runs it. A revision that changes only weights and
 * instance counts keeps the groups of the one before it, so scaling restarts nothing; anything else makes new groups.
 */
export interface RevisionEntry extends ServiceConfig {
  readonly groupId: GroupId;
  readonly modelName: string;
  readonly modelVersion: string;
}

export interface Revision {
  readonly serviceId: ServiceId;
  /** 1, 2, 3 … within the service. */
  readonly number: number;
  readonly entries: readonly RevisionEntry[];
  /** The `update_time` by which /logs finds it. */
  readonly createdAt: Instant;
  readonly result: "RUNNING" | "SUCCESS" | "FAIL";
  /** Why it failed; null unless result is FAIL. */
  readonly reason: string | null;
}

export interface Service {
  readonly id: ServiceId;
  readonly projectId: ProjectId;
  readonly domainId: DomainId;
  readonly ownerId: UserId;
  readonly workspaceId: string;
  readonly name: string;
  readonly description: string;
  readonly inferType: "real-time";
  readonly desired: DesiredState;
  /** The revision the user wants. After a rollback it is the one that serves again. */
  readonly revision: number;
  /** The newest revision that became ready; null before the first did. Rollbacks go back to it. */
  readonly servingRevision: number | null;
  readonly generation: number;
  readonly status: ServiceStatus;
  /** 0–100 while deploying, else 100. */
  readonly progress: number;
  /** Why the last deployment failed; null when it did not. */
  readonly errorMessage: string | null;
  /** Automatic stop: `schedule` as submitted, and the moment it falls due. */
  readonly schedule: readonly {
    readonly type: "stop";
    readonly time_unit: "DAYS" | "HOURS" | "MINUTES";
    readonly duration: number;
  }[];
  readonly dueAt: Instant | null;
  readonly additionalProperties: Readonly<Record<string, unknown>>;
  readonly publishAt: Instant;
  readonly updateAt: Instant;
  readonly transitionAt: Instant;
  readonly operationAt: Instant;
  readonly invocationTimes: number;
  readonly failedTimes: number;
}

/** Why something did not come up or fell over, in words a user understands. */
export interface Failure {
  /** A short machine word: `load-failed`, `exited`, `start-timeout`, `not-found`, `environment`, … */
  readonly reason: string;
  /** One sentence; for user code the traceback's last line is in it. */
  readonly message: string;
  /** The traceback or the last log lines; for the log page and the events' details. */
  readonly detail?: string;
  readonly exitCode?: number | null;
}

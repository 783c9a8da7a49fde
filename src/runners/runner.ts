/**
 * The runner interface: brings groups to their wanted number of instances and reports what it sees. It decides
 * nothing: how many of what is the rollout plan's business (core/rollout.ts). Every implementation passes
 * runner.suite.ts. All verbs are idempotent; none waits for an instance to become ready.
 */
import type { GroupId, InstanceId, Instant, ServiceId } from "../core/ids.ts";
import type { InstanceCounters } from "../core/instance-counters.ts";
import type { Failure } from "../core/service.ts";
import type { Batching, BatchingDecision } from "../core/batching.ts";
import type { EngineName } from "../core/engines.ts";
import type { ApiChecks } from "../core/api-rule.ts";

/** How one copy of a version is started; equal for all instances of a group. */
export interface InstanceSpec extends ApiChecks {
  readonly engine: EngineName;
  readonly modelName: string;
  readonly modelVersion: string;
  /** Absolute path of the package's `model` folder; read-only for the instance. */
  readonly packageDir: string;
  /** Path of the model file relative to packageDir; "" when the engine takes the folder. */
  readonly modelFile: string;
  /** Absolute path of the Python interpreter of the package's environment. */
  readonly python: string;
  /** The user's environment variables; nothing else of the platform's environment reaches user code. */
  readonly envs: Readonly<Record<string, string>>;
  /** Python workers per instance. */
  readonly workers: number;
  /** Absent: requests are not joined. */
  readonly batching?: Batching;
  readonly cpu: number;
  readonly memoryMb: number;
  /** Longest single prediction, ms. A worker that exceeds it is replaced. */
  readonly predictTimeoutMs: number;
  /** An instance that is not ready after this long has failed. */
  readonly startTimeoutMs: number;
  /** After SIGTERM, how long predictions in flight may go on. */
  readonly drainTimeoutMs: number;
}

export interface GroupSpec {
  readonly id: GroupId;
  readonly serviceId: ServiceId | null;
  /** Instances wanted now. */
  readonly replicas: number;
  readonly instance: InstanceSpec;
}

/**
 * starting → ready → draining → (gone); any → failed → (replaced by a new instance while replicas asks for one).
 * A draining instance still serves: traffic must be led away from it first, then `release` ends it. It goes back to
 * ready when more replicas are wanted before that. A ready one that says it cannot take requests goes back to starting.
 */
export type InstanceObservation =
  | { readonly id: InstanceId; readonly state: "starting"; readonly since: Instant }
  | {
      readonly id: InstanceId;
      readonly state: "ready";
      readonly since: Instant;
      readonly url: string;
      /** What one of its workers decided last under `auto`; null before the first did. */
      readonly batching: BatchingDecision | null;
    }
  | { readonly id: InstanceId; readonly state: "draining"; readonly since: Instant; readonly url: string }
  | { readonly id: InstanceId; readonly state: "failed"; readonly since: Instant; readonly failure: Failure };

export interface GroupObservation {
  readonly id: GroupId;
  /** Null for trial starts, which belong to no service. */
  readonly serviceId: ServiceId | null;
  /** What its instances run on and must not lose while they do. */
  readonly uses: Pick<InstanceSpec, "packageDir" | "python">;
  readonly instances: readonly InstanceObservation[];
  /** Starts in a row that ended in failure since the last instance became ready; the runner backs off between them. */
  readonly failuresInARow: number;
  readonly lastFailure: Failure | null;
}

/** A running instance and what it last told of itself, for metrics. */
export interface InstanceMeasure {
  readonly id: InstanceId;
  /** Null for trial starts. */
  readonly serviceId: ServiceId | null;
  readonly modelVersion: string;
  readonly state: "starting" | "ready" | "draining" | "ending";
  /** Null until it told any; programs of users never do. */
  readonly counters: InstanceCounters | null;
}

export interface LogLine {
  readonly instance: InstanceId;
  readonly text: string;
}

export interface Runner {
  /** Makes the group known and brings it towards `replicas`: starts what is missing, marks surplus `draining`
   *  (failed and starting ones first, then the youngest ready). Surplus that never became ready is ended at once. */
  apply(group: GroupSpec): Promise<void>;
  /** Changes only how many instances are wanted of a group that `apply` made known. Unknown ids are fine: groups of
   *  old revisions are brought to nothing by this, when their start configuration cannot be rebuilt any more. */
  scale(group: GroupId, replicas: number): Promise<void>;
  /** Ends a draining instance: SIGTERM, predictions in flight finish within drainTimeoutMs, then SIGKILL.
   *  Resolves when it is gone, with nothing left behind. Unknown ids are fine. */
  release(group: GroupId, instance: InstanceId): Promise<void>;
  /** Ends every instance of the group and forgets it, with its files (not its logs). Unknown ids are fine. */
  remove(group: GroupId): Promise<void>;
  /** Everything this runner runs, also what an earlier process of ours started and left running. */
  observe(): Promise<readonly GroupObservation[]>;
  /** What is known of the running instances without asking them. */
  measure(): readonly InstanceMeasure[];
  /** Calls back whenever a group's observation may have changed. Returns the way to stop. */
  onChange(listener: (group: GroupId, service: ServiceId | null) => void): () => void;
  /** The last `tail` lines of the group's instances, oldest first; with `follow`, new ones until `signal` aborts. */
  logs(
    group: GroupId,
    options: { tail: number; follow: boolean; signal: AbortSignal },
  ): AsyncIterable<LogLine>;
  /** Deletes the logs of a group that is gone. */
  removeLogs(group: GroupId): Promise<void>;
  /** Every group that there are logs of, also those that are gone. */
  loggedGroups(): Promise<readonly GroupId[]>;
  /** Stops watching. `stopInstances` ends all of them first (clean stop of the platform); without it they run on
   *  and are adopted by the next runner on the same directory. */
  close(options: { stopInstances: boolean }): Promise<void>;
}

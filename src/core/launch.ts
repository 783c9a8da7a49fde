/**
 * What a runner hands to an instance program of ours at start (a JSON file named by `--spec`), and what the instance
 * tells in return. The instance is an HTTP server on one port:
 *
 *   GET /health → 200 {"status":"OK"}                           ready or busy: send traffic
 *                 503 {"status":"starting"}                     loading, or a worker is being replaced
 *                     both with "counters":InstanceCounters     for metrics; other programs leave it out
 *                     and "batching":BatchingDecision       once a worker has decided whether requests are joined
 *                 503 {"status":"failed","failure":Failure}     will not become ready by itself: end it
 *   SIGTERM     → no new connections, predictions in flight finish (at most drainTimeoutMs), exit 0
 */
import type { InstanceCounters } from "./instance-counters.ts";
import type { ApiChecks } from "./api-rule.ts";
import type { Failure } from "./service.ts";
import type { TracingSettings } from "./tracing.ts";
import type { Batching, BatchingDecision } from "./batching.ts";
import type { EngineName } from "./engines.ts";

/** What the kernel holds the instance's user code to. What this machine cannot hold it to is empty or absent. */
export interface Confinement {
  /** The service's own user and group; null: user code runs as the platform's user. */
  readonly user: { readonly uid: number; readonly gid: number } | null;
  /** The instance's control group: one directory, or one per controller. Each worker gets a group below it. */
  readonly cgroups: readonly string[];
  /** Of each worker, by the name after `RLIMIT_`; bytes where it is about bytes. */
  readonly rlimits: Readonly<Partial<Record<"NOFILE" | "NPROC" | "DATA", number>>>;
  /** What the control group or the limits give, for words; null: no limit. */
  readonly memoryMb: number | null;
}

export interface LaunchSpec extends ApiChecks {
  readonly instanceId: string;
  readonly engine: EngineName;
  readonly modelName: string;
  readonly modelVersion: string;
  /** Absolute; read-only. */
  readonly packageDir: string;
  /** Relative to packageDir; "" when the engine takes the folder. */
  readonly modelFile: string;
  /** Absolute path of the environment's interpreter. */
  readonly python: string;
  /** The user's variables; the worker sees these and nothing of the platform's environment. */
  readonly envs: Readonly<Record<string, string>>;
  /** Variables of the machine that native libraries need there (OPENBLAS_CORETYPE …); `envs` wins over them. */
  readonly hostEnv?: Readonly<Record<string, string>>;
  /** The accelerators granted, by the ids their driver knows them by (`0`, `GPU-8932f937-…`). Absent: all there are. */
  readonly devices?: readonly string[];
  readonly workers: number;
  /** How requests that wait together are joined; see modelserver/pool.ts. Absent: they are not. */
  readonly batching?: Batching;
  readonly predictTimeoutMs: number;
  readonly startTimeoutMs: number;
  readonly drainTimeoutMs: number;
  /** Whether `error_info` carries the traceback to callers; false: only the exception's class and message. */
  readonly errorInfo: boolean;
  /** Null or absent: no traces. Of the instance itself only; user code does not see it in its environment. */
  readonly tracing?: TracingSettings | null;
  /** The service's id, "" for a trial start: what its spans and metrics are known by. */
  readonly serviceId?: string;
  /** Address to listen on; the port is the kernel's choice. */
  readonly host: string;
  /** Written by the instance, atomically, once it listens: an AddressFile. */
  readonly addressFile: string;
  /** A directory of the instance's own, for its worker sockets and as the user code's scratch and HOME. */
  readonly scratchDir: string;
  /** Absent: none. */
  readonly confinement?: Confinement;
}

export interface AddressFile {
  readonly pid: number;
  readonly port: number;
}

export type HealthAnswer =
  | {
      readonly status: "OK" | "starting";
      readonly counters?: InstanceCounters;
      readonly batching?: BatchingDecision;
    }
  | { readonly status: "failed"; readonly failure: Failure };

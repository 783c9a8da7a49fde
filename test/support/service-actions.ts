/** What can happen to one service, and what its instances and statuses may then do (service-machine.ts plays it). */
import type { ServiceStatus } from "../../src/core/service.ts";
import type { Behaviour } from "../../src/runners/fake.ts";
import type { GroupSpec } from "../../src/runners/runner.ts";

export type Way = "ready" | "slow" | "fail" | "flaky" | "hang";

export interface Wish {
  /** One or two versions; the first number picks which. */
  readonly versions: 1 | 2;
  readonly first: 0 | 1 | 2;
  readonly count: number;
  readonly weight: number;
  readonly unavailable: 0 | 1;
  readonly surge: 1 | 2;
  readonly way: Way;
}

export type Action =
  | { readonly kind: "deploy" | "configure"; readonly wish: Wish }
  | { readonly kind: "scale"; readonly count: number }
  | { readonly kind: "stop" | "start" | "restart" | "delete" | "describe" }
  | { readonly kind: "crash" | "pause" | "resume"; readonly pick: number }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "control"; readonly downMs: number }
  | { readonly kind: "gateway"; readonly which: 0 | 1; readonly mode: "follows" | "lags" | "gone" }
  | { readonly kind: "environment"; readonly there: boolean };

const FAILURE = { reason: "load-failed", message: "The model could not be loaded." };

/** The moves of core/service.ts; null: no service. */
export const MOVES: Readonly<Record<ServiceStatus, readonly ServiceStatus[]>> = {
  deploying: ["running", "failed", "stopping", "deleting"],
  running: ["concerning", "deploying", "stopping", "deleting"],
  concerning: ["running", "deploying", "stopping", "deleting"],
  failed: ["deploying", "stopping", "deleting"],
  stopping: ["stopped", "deleting"],
  stopped: ["deploying", "deleting"],
  deleting: [],
};

/** How the nth instance of a group behaves. */
export const script = (group: GroupSpec, n: number): Behaviour => {
  switch (group.instance.envs["WAY"] as Way) {
    case "slow":
      return { kind: "ready", afterMs: 4000, drainMs: 700 };
    case "fail":
      return { kind: "fail", afterMs: 100, failure: FAILURE };
    case "flaky":
      return n === 1 ? { kind: "fail", afterMs: 100, failure: FAILURE } : { kind: "ready", afterMs: 300 };
    case "hang":
      return { kind: "hang" };
    case "ready":
    default:
      return { kind: "ready", afterMs: 300 };
  }
};

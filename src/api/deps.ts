/** What the control API needs from the rest of the platform. Built once, in the composition root (src/control.ts). */
import type { KeyObject } from "node:crypto";
import type { Clock } from "../core/clock.ts";
import type { RuntimeState } from "../core/runtimes.ts";
import type { InstanceLogs } from "../core/instance-logs.ts";
import type { Objects } from "../objects/objects.ts";
import type { Store } from "../store/store.ts";
import type { Logger } from "../telemetry/logger.ts";

/** The Ed25519 pair tokens are signed with; `kid` names it in tokens and in the routing table. */
export interface TokenKeys {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export interface ApiSettings {
  /** Where clients reach the gateway, without a trailing slash; asked per answer, as the port may be chosen late. */
  readonly publicUrl: () => string;
  readonly tokenHours: number;
  readonly version: string;
}

export interface ApiDeps {
  readonly store: Store;
  readonly objects: Objects;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly keys: TokenKeys;
  readonly instanceLogs: InstanceLogs;
  /** Every runtime of every engine and what becomes of it on the machine that builds environments. */
  readonly runtimes: () => Promise<readonly RuntimeState[]>;
  /** Control's metrics in Prometheus' text form; the gateway adds them to its own at /metrics. */
  readonly metrics: () => Promise<string>;
  readonly settings: ApiSettings;
}

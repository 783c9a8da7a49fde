/**
 * The internal contract between control and gateways: the routing table a gateway follows, and what it reports back.
 * Spoken over control's private socket only, never forwarded from outside.
 *
 *   GET  /internal/table?gateway=ID&applied=V&wait_ms=N   → 200 RoutingTable when its version is not V, else 204 after N ms.
 *        `applied` is also the gateway's acknowledgement: every request admitted from now on was routed by V or newer.
 *        -1: none applied yet. `&replaces=ID` (any number of times): gateways that are known dead; control forgets them.
 *   GET  /internal/metrics                                → 200, control's metrics in Prometheus' text form
 *   POST /internal/usage  UsageReport                     → 204
 *   DELETE /internal/gateways/ID                          → 204; the gateway has ended and routes nothing any more
 */
export interface RoutingTable {
  /** Grows with every change of anything in the table. */
  readonly version: number;
  readonly identity: {
    /** Ed25519 public keys (SPKI, base64url) by key id; a token names the one that signed it. */
    readonly keys: Readonly<Record<string, string>>;
    /** Token ids revoked before their expiry. */
    readonly revokedTokens: readonly string[];
    /** Users that are disabled or deleted, by id: tokens issued at or before the given epoch ms are refused. */
    readonly refusedUsers: Readonly<Record<string, number>>;
  };
  readonly services: readonly ServiceRoute[];
}

export interface ServiceRoute {
  readonly id: string;
  readonly projectId: string;
  readonly name: string;
  /** `serving`: requests are sent to the groups. `stopped`: answered with SERVICE_STOPPED. */
  readonly state: "serving" | "stopped";
  readonly groups: readonly GroupRoute[];
}

export interface GroupRoute {
  readonly id: string;
  readonly modelId: string;
  readonly modelName: string;
  readonly modelVersion: string;
  /** 0–100. A group with weight 0 gets no traffic. */
  readonly weight: number;
  /** Requests one instance may have in flight. */
  readonly concurrency: number;
  /** Requests that may wait for an instance of this group. */
  readonly queueMax: number;
  /** How long one may wait before it is refused as if the queue were full. Absent: QUEUE_AGE_MS. */
  readonly queueAgeMs?: number;
  /** What the gateway asks an instance for to see that it lives: GET, 503 is "not ready". Absent: HEALTH_PATH. */
  readonly healthPath?: string;
  /** Ready instances only. `url` is an http or https origin, `http://127.0.0.1:40123`. */
  readonly instances: readonly { readonly id: string; readonly url: string }[];
}

/** What instances of ours answer to (core/launch.ts). */
export const HEALTH_PATH = "/health";
/** Long enough for a burst to be worked off, short enough that a caller with a timeout of its own still hears of it. */
export const QUEUE_AGE_MS = 10_000;

/** Counts since the last report that was acknowledged, per service. */
export interface UsageReport {
  /** Of one process: a restarted gateway has another, and counts its reports from one again. */
  readonly gateway: string;
  /** Grows by one per report; control ignores a report it has seen, so a retried one counts once. */
  readonly sequence: number;
  readonly services: readonly {
    readonly id: string;
    readonly invocations: number;
    readonly failures: number;
  }[];
}

/**
 * Tokens are `MP1.<payload>.<signature>`: base64url of the JSON below and of an Ed25519 signature over the bytes
 * `MP1.<payload>`. Any process that has the public key can verify one without asking control.
 */
export interface TokenPayload {
  readonly jti: string;
  readonly kid: string;
  readonly user: string;
  readonly domain: string;
  /** Absent in domain-scoped tokens. */
  readonly project?: string;
  /** Epoch ms. */
  readonly iat: number;
  readonly exp: number;
}

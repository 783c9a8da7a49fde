/**
 * The internal contract between control and gateways: the routing table a gateway follows, and what it reports back.
 * Spoken over control's private socket only, never forwarded from outside.
 *
 *   GET  /internal/table?gateway=ID&applied=V&wait_ms=N   → 200 RoutingTable when its version is not V, else 204 after N ms.
 *        `applied` is also the gateway's acknowledgement: every request admitted from now on was routed by V or newer.
 *        -1: none applied yet.
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
  /** Ready instances only. `url` is an http or https origin, `http://127.0.0.1:40123`. */
  readonly instances: readonly { readonly id: string; readonly url: string }[];
}

/** Counts since the last report that was acknowledged, per service. */
export interface UsageReport {
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

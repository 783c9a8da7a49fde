/**
 * What the platform remembers. The only door to SQL: one interface, grouped by noun, with one suite
 * (store.suite.ts) that runs on SQLite and on PostgreSQL. Every verb is one transaction; a verb that changes what a
 * user wants writes its change row and its events in the same one, so nothing acknowledged is ever half there.
 */
import type { DecidedChange } from "../core/service-update.ts";
import type { DomainId, Instant, ModelId, ProjectId, ServiceId, UserId } from "../core/ids.ts";
import type { HistoryEvent, Model, Published } from "../core/model.ts";
import type { DesiredState, Revision, RevisionEntry, Service, ServiceStatus } from "../core/service.ts";
import type { RoutingTable, ServiceRoute } from "../core/routing-table.ts";

export interface Domain {
  readonly id: DomainId;
  readonly name: string;
}
export interface Project {
  readonly id: ProjectId;
  readonly domainId: DomainId;
  readonly name: string;
}
export interface User {
  readonly id: UserId;
  readonly domainId: DomainId;
  readonly name: string;
  readonly passwordHash: string;
  readonly admin: boolean;
  readonly enabled: boolean;
  readonly description: string;
  readonly createdAt: Instant;
  /** Tokens issued at or before this are refused (set when the user is disabled or gets a new password); null: none. */
  readonly refusedBefore: Instant | null;
}
export interface AccessKey {
  readonly access: string;
  readonly userId: UserId;
  /** The secret under the master key (AES-256-GCM), base64; never in clear text here. */
  readonly secretSealed: string;
  readonly createdAt: Instant;
}

export interface IdentityStore {
  /** Creates domain, project, administrator and access key in one go if there is no domain yet; false if there is. */
  bootstrap(first: { domain: Domain; project: Project; user: User; accessKey: AccessKey }): Promise<boolean>;
  domainByName(name: string): Promise<Domain | null>;
  domain(id: DomainId): Promise<Domain | null>;
  project(id: ProjectId): Promise<Project | null>;
  /** All projects of a domain, by name. */
  projects(domain: DomainId, filter?: { name?: string }): Promise<readonly Project[]>;
  createProject(project: Project): Promise<"created" | "exists">;
  user(id: UserId): Promise<User | null>;
  userByName(domain: DomainId, name: string): Promise<User | null>;
  users(domain: DomainId, filter?: { name?: string; enabled?: boolean }): Promise<readonly User[]>;
  createUser(user: User): Promise<"created" | "exists">;
  /** Disabling and a new password set refusedBefore to `now`, which enters the routing table's identity part. */
  updateUser(
    id: UserId,
    patch: { enabled?: boolean; passwordHash?: string; description?: string; name?: string },
    now: Instant,
  ): Promise<User | null | "exists">;
  deleteUser(id: UserId, now: Instant): Promise<boolean>;
  revokeToken(jti: string, expiresAt: Instant): Promise<void>;
  isRevoked(jti: string): Promise<boolean>;
  /** Forgets revocations of tokens that have expired by themselves. */
  pruneRevocations(now: Instant): Promise<void>;
}

export interface ModelFilter {
  readonly name?: string;
  readonly exactMatch?: boolean;
  readonly version?: string;
  readonly status?: string;
  readonly description?: string;
  readonly type?: string;
  readonly notType?: string;
  readonly workspaceId?: string;
  readonly sortBy: "create_at" | "model_version" | "model_size";
  readonly order: "asc" | "desc";
  readonly offset: number;
  readonly limit: number;
}

export interface ModelStore {
  /** Writes the version in `publishing` with its change row and first event. */
  create(model: Model, event: HistoryEvent): Promise<"created" | "exists">;
  get(project: ProjectId, id: ModelId): Promise<Model | null>;
  /** For reconcilers, which serve all projects. */
  byId(id: ModelId): Promise<Model | null>;
  /** `total` counts the matches without paging. Without exactMatch, name is a fuzzy match in which `_` is a wildcard. */
  list(project: ProjectId, filter: ModelFilter): Promise<{ total: number; rows: readonly Model[] }>;
  /** All versions of one name, newest first. */
  versions(project: ProjectId, name: string): Promise<readonly Model[]>;
  /** Refused while any service that is not deleted has it in its desired or serving revision. Deletes its events too. */
  delete(project: ProjectId, id: ModelId): Promise<"deleted" | "in-use" | "not-found">;
  /** The same for several versions in one transaction; the outcomes in the order of `ids`. */
  deleteAll(
    project: ProjectId,
    ids: readonly ModelId[],
  ): Promise<readonly ("deleted" | "in-use" | "not-found")[]>;
  /** publishing → published | failed, with events; false when the row is gone or no longer publishing. */
  finish(
    id: ModelId,
    outcome: { published: Published } | { failure: string },
    events: readonly HistoryEvent[],
  ): Promise<boolean>;
  /** A version with dynamic loading gets what a service starts it with; false when it has that already, or is gone. */
  loaded(id: ModelId, published: Published, events: readonly HistoryEvent[]): Promise<boolean>;
  /** Ids of all versions in `publishing` (for the full pass). */
  unfinished(): Promise<readonly ModelId[]>;
  /** Package digests and environment keys that some version still names. */
  inUse(): Promise<{ packages: ReadonlySet<string>; environments: ReadonlySet<string> }>;
}

export interface ServiceFilter {
  readonly id?: string;
  readonly name?: string;
  readonly modelId?: string;
  readonly workspaceId?: string;
  readonly inferType?: string;
  readonly status?: string;
  readonly sortBy: "publish_at" | "service_name" | "transition_at";
  readonly order: "asc" | "desc";
  readonly offset: number;
  readonly limit: number;
}

/** What a user's write does to a service. A new revision becomes `service.revision`; its number is assigned here. */
export type ServiceChange = DecidedChange;

/** What the service reconciler writes back; never touches what the user wants, except to undo a revision. */
export interface ServiceSettlement {
  readonly status?: ServiceStatus;
  readonly progress?: number;
  readonly errorMessage?: string | null;
  readonly servingRevision?: number | null;
  /** Rollback: the desired revision goes back to the serving one. */
  readonly rollbackTo?: number;
  readonly desired?: DesiredState;
  readonly dueAt?: Instant | null;
  readonly revisionResult?: {
    readonly number: number;
    readonly result: "SUCCESS" | "FAIL";
    readonly reason: string | null;
  };
  readonly events: readonly HistoryEvent[];
}

export interface ServiceStore {
  /**
   * Writes service, revision 1, events and change row. "exists": the name is taken in the project. "full": the project
   * has `limit` services (any number without it), counted with those that are being deleted, in the same transaction.
   */
  create(
    service: Service,
    entries: readonly RevisionEntry[],
    events: readonly HistoryEvent[],
    limit?: number,
  ): Promise<"created" | "exists" | "full">;
  get(project: ProjectId, id: ServiceId): Promise<Service | null>;
  byId(id: ServiceId): Promise<Service | null>;
  list(project: ProjectId, filter: ServiceFilter): Promise<{ total: number; rows: readonly Service[] }>;
  revision(id: ServiceId, number: number): Promise<Revision | null>;
  /** Newest first. */
  revisions(id: ServiceId, filter?: { createdAt?: Instant; limit?: number }): Promise<readonly Revision[]>;
  /**
   * Reads service and desired revision, lets `decide` say what changes (it may throw an AppError, which leaves
   * everything as it is), applies it, bumps generation and writes the change row: one transaction, serialised per
   * service. Null when there is no such service in the project.
   */
  update(
    project: ProjectId,
    id: ServiceId,
    now: Instant,
    decide: (service: Service, revision: Revision) => ServiceChange,
  ): Promise<{ service: Service; revision: Revision } | null>;
  /** The same for several services at once, all or none. Throws SERVICE_NOT_FOUND for the first that is not there. */
  updateAll(
    project: ProjectId,
    ids: readonly ServiceId[],
    now: Instant,
    decide: (service: Service, revision: Revision) => ServiceChange,
  ): Promise<void>;
  /** The reconciler's write. False, and nothing changed, when `generation` is no longer current. */
  settle(id: ServiceId, generation: number, now: Instant, settlement: ServiceSettlement): Promise<boolean>;
  /** Appends events without any other effect. */
  note(id: ServiceId, events: readonly HistoryEvent[]): Promise<void>;
  /** Removes the service with its revisions, events and route. Only for services whose desired state is deleted. */
  purge(id: ServiceId): Promise<void>;
  /** Every service of every project (for the full pass). */
  all(): Promise<readonly Service[]>;
  addUsage(
    counts: readonly { id: string; invocations: number; failures: number }[],
    gateway: string,
    sequence: number,
  ): Promise<void>;
}

export interface EventFilter {
  readonly type?: string;
  /** Substring of the text, case-insensitive. */
  readonly info?: string;
  readonly from?: Instant;
  readonly to?: Instant;
  readonly order: "asc" | "desc";
  readonly offset: number;
  readonly limit: number;
}

export interface EventStore {
  ofModel(id: ModelId, filter: EventFilter): Promise<{ total: number; rows: readonly HistoryEvent[] }>;
  ofService(id: ServiceId, filter: EventFilter): Promise<{ total: number; rows: readonly HistoryEvent[] }>;
  /** Appends to a model's history. */
  noteModel(id: ModelId, events: readonly HistoryEvent[]): Promise<void>;
  /** Forgets what is older than this, and of every model and service all but the newest LIMITS.eventsKept. */
  prune(before: { models: Instant; services: Instant }): Promise<void>;
}

/** A work item is a key, never an event: the loop re-reads everything (see reconcile/loop.ts). */
export interface Change {
  readonly seq: number;
  readonly kind: "model" | "service" | "identity" | "route";
  readonly id: string;
}

export interface ChangeLog {
  /** Rows after the cursor, oldest first, at most `limit`. */
  after(seq: number, limit: number): Promise<readonly Change[]>;
  head(): Promise<number>;
  /** Calls back soon after any change was committed through this store, or through another process's (PostgreSQL:
   *  LISTEN/NOTIFY; SQLite: data_version polling). May call without cause; never misses for longer than 1 s. */
  onChange(listener: () => void): () => void;
  prune(before: number): Promise<void>;
}

export interface RouteStore {
  /** Writes or replaces a service's route when it differs; returns the table version that contains it. */
  put(route: ServiceRoute): Promise<number>;
  delete(id: ServiceId): Promise<number>;
  get(id: ServiceId): Promise<ServiceRoute | null>;
  /** Grows with every change of a route or of the identity part. */
  version(): Promise<number>;
  /** The table without the keys, which are not in the store. */
  table(): Promise<Omit<RoutingTable, "identity"> & { identity: Omit<RoutingTable["identity"], "keys"> }>;
  /** A gateway said it applied `version`. */
  acknowledge(gateway: string, version: number, now: Instant): Promise<void>;
  /** True when every gateway heard of since `since` has applied `version`; also true when there is none. */
  isApplied(version: number, since: Instant): Promise<boolean>;
  /** A gateway said goodbye. */
  forget(gateway: string): Promise<void>;
}

export interface Store {
  readonly identity: IdentityStore;
  readonly models: ModelStore;
  readonly services: ServiceStore;
  readonly events: EventStore;
  readonly changes: ChangeLog;
  readonly routes: RouteStore;
  close(): Promise<void>;
}

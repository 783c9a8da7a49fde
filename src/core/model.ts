/**
 * AI applications (API: models): a named thing with immutable versions.
 *
 *   POST → publishing ──→ published        usable for deployment
 *                   └───→ failed           the events say why
 *
 * Only the import reconciler moves a version out of `publishing` (contracts/modelarts.md §1.2). With dynamic loading
 * `published` comes before the files are taken; that happens when a service first starts the version.
 */
import type { DomainId, Instant, ModelId, ProjectId, UserId } from "./ids.ts";
import type { EngineName } from "./engines.ts";

export type ModelStatus = "publishing" | "published" | "failed";

/** What a finished import left behind; everything a start of the version needs. */
export interface Published {
  readonly engine: EngineName;
  /**
   * SHA-256 over the package's files (names and contents), hex. Names the content-addressed copy. Null with dynamic
   * loading until a service wants to start the version: the files are still in the objects then.
   */
  readonly packageDigest: string | null;
  readonly sizeBytes: number;
  /** Absolute path of the model file or folder inside the copy, relative to the copy (`sklearn.m`). */
  readonly modelFile: string;
  readonly hasCustomService: boolean;
  /** Key of the Python environment (environments/); null as long as `packageDigest` is. */
  readonly environmentKey: string | null;
  /** The effective configuration (config.json or initial_config), parsed. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** The kinds of services a version may be deployed as. */
export const INSTALL_TYPES = ["real-time", "batch", "edge"] as const;

export interface Model {
  readonly id: ModelId;
  readonly projectId: ProjectId;
  readonly domainId: DomainId;
  readonly ownerId: UserId;
  readonly workspaceId: string;
  readonly name: string;
  readonly version: string;
  /** As submitted: `Scikit_Learn`, `XGBoost`, … */
  readonly type: string;
  readonly description: string;
  readonly installTypes: readonly (typeof INSTALL_TYPES)[number][];
  readonly sourceLocation: string;
  /** The body of the create call as it came in; details answers echo from it (contracts/modelarts.md §1.4). */
  readonly request: Readonly<Record<string, unknown>>;
  readonly status: ModelStatus;
  readonly failure: string | null;
  readonly published: Published | null;
  readonly createdAt: Instant;
}

/** Whether files and environment are taken only when a service starts the version (guide table 2-6, dynamic loading). */
export const isDynamic = (request: Model["request"]): boolean =>
  request["dynamic_loading"] === true || request["dynamic_loading"] === "true";

/** A line of a resource's history shown to users. Severity words are the guide's. */
export interface HistoryEvent {
  readonly type: "normal" | "abnormal" | "warning";
  readonly info: string;
  readonly occurredAt: Instant;
}

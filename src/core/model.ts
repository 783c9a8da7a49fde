/**
 * AI applications (API: models): a named thing with immutable versions.
 *
 *   POST → publishing ──→ published        usable for deployment
 *                   └───→ failed           the events say why
 *
 * Only the import reconciler moves a version out of `publishing` (contracts/modelarts.md §1.2).
 */
import type { DomainId, Instant, ModelId, ProjectId, UserId } from "./ids.ts";
import type { EngineName } from "./engines.ts";

export type ModelStatus = "publishing" | "published" | "failed";

/** What a finished import left behind; everything a start of the version needs. */
export interface Published {
  readonly engine: EngineName;
  /** SHA-256 over the package's files (names and contents), hex. Names the content-addressed copy. */
  readonly packageDigest: string;
  readonly sizeBytes: number;
  /** Absolute path of the model file or folder inside the copy, relative to the copy (`sklearn.m`). */
  readonly modelFile: string;
  readonly hasCustomService: boolean;
  /** Key of the Python environment (environments/). */
  readonly environmentKey: string;
  /** The effective configuration (config.json or initial_config), parsed. */
  readonly config: Readonly<Record<string, unknown>>;
}

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
  readonly installTypes: readonly ("real-time" | "batch" | "edge")[];
  readonly sourceLocation: string;
  /** The body of the create call as it came in; details answers echo from it (contracts/modelarts.md §1.4). */
  readonly request: Readonly<Record<string, unknown>>;
  readonly status: ModelStatus;
  readonly failure: string | null;
  readonly published: Published | null;
  readonly createdAt: Instant;
}

/** A line of a resource's history shown to users. Severity words are the guide's. */
export interface HistoryEvent {
  readonly type: "normal" | "abnormal" | "warning";
  readonly info: string;
  readonly occurredAt: Instant;
}

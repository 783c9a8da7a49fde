/**
 * The tables as the queries see them. Portable types only: text, JSON as text, flags as 0 or 1, times as epoch
 * milliseconds, every number a JavaScript number on both databases. The shapes are made by migrations/.
 */
import type { Generated } from "kysely";

export interface DomainRow {
  id: string;
  name: string;
}
export interface ProjectRow {
  id: string;
  domain_id: string;
  name: string;
}
export interface UserRow {
  id: string;
  domain_id: string;
  name: string;
  password_hash: string;
  admin: number;
  enabled: number;
  description: string;
  created_at: number;
  refused_before: number | null;
}
/** Deleted users whose tokens may still be about. */
export interface RefusedUserRow {
  user_id: string;
  refused_before: number;
}
export interface AccessKeyRow {
  access: string;
  user_id: string;
  secret_sealed: string;
  created_at: number;
}
export interface RevokedTokenRow {
  jti: string;
  expires_at: number;
}

export interface ModelRow {
  id: string;
  project_id: string;
  domain_id: string;
  owner_id: string;
  workspace_id: string;
  name: string;
  version: string;
  /** `version` in a form whose text order is the numeric order. */
  version_key: string;
  type: string;
  description: string;
  install_types: string;
  source_location: string;
  request: string;
  status: string;
  failure: string | null;
  published: string | null;
  package_digest: string | null;
  environment_key: string | null;
  size_bytes: number;
  created_at: number;
}

export interface ServiceRow {
  id: string;
  project_id: string;
  domain_id: string;
  owner_id: string;
  workspace_id: string;
  name: string;
  description: string;
  infer_type: string;
  desired: string;
  revision: number;
  serving_revision: number | null;
  generation: number;
  status: string;
  progress: number;
  error_message: string | null;
  schedule: string;
  due_at: number | null;
  additional_properties: string;
  publish_at: number;
  update_at: number;
  transition_at: number;
  operation_at: number;
  invocation_times: number;
  failed_times: number;
}
export interface RevisionRow {
  service_id: string;
  number: number;
  entries: string;
  created_at: number;
  result: string;
  reason: string | null;
}
/** Which models a revision names, so that "in use" and the list filter are plain queries. */
export interface RevisionModelRow {
  service_id: string;
  number: number;
  model_id: string;
}

export interface EventRow {
  id: Generated<number>;
  subject: "model" | "service";
  subject_id: string;
  type: string;
  info: string;
  occurred_at: number;
}

/** At most one row per key: a newer change of the same thing replaces the older one. */
export interface ChangeRow {
  kind: string;
  id: string;
  seq: number;
}

/** `changes`: the last change number. `table`: the version of the routing table. */
export interface CounterRow {
  name: "changes" | "table";
  value: number;
}

export interface RouteRow {
  service_id: string;
  body: string;
  /** The table version that first contained this body. */
  version: number;
}
export interface GatewayRow {
  id: string;
  applied: number;
  /** When it last acknowledged a version; 0 if it only reported usage so far. */
  seen_at: number;
  usage_sequence: number;
  heard_at: number;
}

export interface Tables {
  domains: DomainRow;
  projects: ProjectRow;
  users: UserRow;
  refused_users: RefusedUserRow;
  access_keys: AccessKeyRow;
  revoked_tokens: RevokedTokenRow;
  models: ModelRow;
  services: ServiceRow;
  revisions: RevisionRow;
  revision_models: RevisionModelRow;
  events: EventRow;
  changes: ChangeRow;
  counters: CounterRow;
  routes: RouteRow;
  gateways: GatewayRow;
  schema_version: { version: number; name: string; applied_at: number };
}

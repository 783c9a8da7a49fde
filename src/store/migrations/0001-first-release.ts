/** The tables of the first release. Applied migrations are never edited; a change is a new file. */
import type { Migration } from "./migrate.ts";

export const firstRelease: Migration = {
  version: 1,
  name: "first-release",
  async up(db, { text, autoId }) {
    await db.schema
      .createTable("domains")
      .addColumn("id", text, (c) => c.primaryKey())
      .addColumn("name", text, (c) => c.notNull().unique())
      .execute();
    await db.schema
      .createTable("projects")
      .addColumn("id", text, (c) => c.primaryKey())
      .addColumn("domain_id", text, (c) => c.notNull().references("domains.id"))
      .addColumn("name", text, (c) => c.notNull())
      .addUniqueConstraint("projects_name", ["domain_id", "name"])
      .execute();
    await db.schema
      .createTable("users")
      .addColumn("id", text, (c) => c.primaryKey())
      .addColumn("domain_id", text, (c) => c.notNull().references("domains.id"))
      .addColumn("name", text, (c) => c.notNull())
      .addColumn("password_hash", text, (c) => c.notNull())
      .addColumn("admin", "integer", (c) => c.notNull())
      .addColumn("enabled", "integer", (c) => c.notNull())
      .addColumn("description", text, (c) => c.notNull())
      .addColumn("created_at", "bigint", (c) => c.notNull())
      .addColumn("refused_before", "bigint")
      .addUniqueConstraint("users_name", ["domain_id", "name"])
      .execute();
    await db.schema
      .createTable("refused_users")
      .addColumn("user_id", text, (c) => c.primaryKey())
      .addColumn("refused_before", "bigint", (c) => c.notNull())
      .execute();
    await db.schema
      .createTable("access_keys")
      .addColumn("access", text, (c) => c.primaryKey())
      .addColumn("user_id", text, (c) => c.notNull().references("users.id").onDelete("cascade"))
      .addColumn("secret_sealed", text, (c) => c.notNull())
      .addColumn("created_at", "bigint", (c) => c.notNull())
      .execute();
    await db.schema
      .createTable("revoked_tokens")
      .addColumn("jti", text, (c) => c.primaryKey())
      .addColumn("expires_at", "bigint", (c) => c.notNull())
      .execute();

    await db.schema
      .createTable("models")
      .addColumn("id", text, (c) => c.primaryKey())
      .addColumn("project_id", text, (c) => c.notNull())
      .addColumn("domain_id", text, (c) => c.notNull())
      .addColumn("owner_id", text, (c) => c.notNull())
      .addColumn("workspace_id", text, (c) => c.notNull())
      .addColumn("name", text, (c) => c.notNull())
      .addColumn("version", text, (c) => c.notNull())
      .addColumn("version_key", text, (c) => c.notNull())
      .addColumn("type", text, (c) => c.notNull())
      .addColumn("description", text, (c) => c.notNull())
      .addColumn("install_types", text, (c) => c.notNull())
      .addColumn("source_location", text, (c) => c.notNull())
      .addColumn("request", text, (c) => c.notNull())
      .addColumn("status", text, (c) => c.notNull())
      .addColumn("failure", text)
      .addColumn("published", text)
      .addColumn("package_digest", text)
      .addColumn("environment_key", text)
      .addColumn("size_bytes", "bigint", (c) => c.notNull())
      .addColumn("created_at", "bigint", (c) => c.notNull())
      .addUniqueConstraint("models_version", ["project_id", "name", "version"])
      .execute();

    await db.schema
      .createTable("services")
      .addColumn("id", text, (c) => c.primaryKey())
      .addColumn("project_id", text, (c) => c.notNull())
      .addColumn("domain_id", text, (c) => c.notNull())
      .addColumn("owner_id", text, (c) => c.notNull())
      .addColumn("workspace_id", text, (c) => c.notNull())
      .addColumn("name", text, (c) => c.notNull())
      .addColumn("description", text, (c) => c.notNull())
      .addColumn("infer_type", text, (c) => c.notNull())
      .addColumn("desired", text, (c) => c.notNull())
      .addColumn("revision", "bigint", (c) => c.notNull())
      .addColumn("serving_revision", "bigint")
      .addColumn("generation", "bigint", (c) => c.notNull())
      .addColumn("status", text, (c) => c.notNull())
      .addColumn("progress", "integer", (c) => c.notNull())
      .addColumn("error_message", text)
      .addColumn("schedule", text, (c) => c.notNull())
      .addColumn("due_at", "bigint")
      .addColumn("additional_properties", text, (c) => c.notNull())
      .addColumn("publish_at", "bigint", (c) => c.notNull())
      .addColumn("update_at", "bigint", (c) => c.notNull())
      .addColumn("transition_at", "bigint", (c) => c.notNull())
      .addColumn("operation_at", "bigint", (c) => c.notNull())
      .addColumn("invocation_times", "bigint", (c) => c.notNull())
      .addColumn("failed_times", "bigint", (c) => c.notNull())
      .addUniqueConstraint("services_name", ["project_id", "name"])
      .execute();
    await db.schema
      .createTable("revisions")
      .addColumn("service_id", text, (c) => c.notNull().references("services.id").onDelete("cascade"))
      .addColumn("number", "bigint", (c) => c.notNull())
      .addColumn("entries", text, (c) => c.notNull())
      .addColumn("created_at", "bigint", (c) => c.notNull())
      .addColumn("result", text, (c) => c.notNull())
      .addColumn("reason", text)
      .addPrimaryKeyConstraint("revisions_key", ["service_id", "number"])
      .execute();
    // No reference to models: old revisions outlive the versions they name.
    await db.schema
      .createTable("revision_models")
      .addColumn("service_id", text, (c) => c.notNull().references("services.id").onDelete("cascade"))
      .addColumn("number", "bigint", (c) => c.notNull())
      .addColumn("model_id", text, (c) => c.notNull())
      .addPrimaryKeyConstraint("revision_models_key", ["service_id", "number", "model_id"])
      .execute();
    await db.schema
      .createIndex("revision_models_by_model")
      .on("revision_models")
      .column("model_id")
      .execute();

    await db.schema
      .createTable("events")
      .addColumn("id", autoId)
      .addColumn("subject", text, (c) => c.notNull())
      .addColumn("subject_id", text, (c) => c.notNull())
      .addColumn("type", text, (c) => c.notNull())
      .addColumn("info", text, (c) => c.notNull())
      .addColumn("occurred_at", "bigint", (c) => c.notNull())
      .execute();
    await db.schema
      .createIndex("events_by_subject")
      .on("events")
      .columns(["subject", "subject_id", "occurred_at", "id"])
      .execute();

    await db.schema
      .createTable("changes")
      .addColumn("kind", text, (c) => c.notNull())
      .addColumn("id", text, (c) => c.notNull())
      .addColumn("seq", "bigint", (c) => c.notNull().unique())
      .addPrimaryKeyConstraint("changes_key", ["kind", "id"])
      .execute();
    await db.schema
      .createTable("counters")
      .addColumn("name", text, (c) => c.primaryKey())
      .addColumn("value", "bigint", (c) => c.notNull())
      .execute();
    // The table starts at 1, so a gateway that says it applied 0 has something to fetch on an empty platform.
    await db
      .insertInto("counters")
      .values([
        { name: "changes", value: 0 },
        { name: "table", value: 1 },
      ])
      .execute();

    await db.schema
      .createTable("routes")
      .addColumn("service_id", text, (c) => c.primaryKey())
      .addColumn("body", text, (c) => c.notNull())
      .addColumn("version", "bigint", (c) => c.notNull())
      .execute();
    await db.schema
      .createTable("gateways")
      .addColumn("id", text, (c) => c.primaryKey())
      .addColumn("applied", "bigint", (c) => c.notNull())
      .addColumn("seen_at", "bigint", (c) => c.notNull())
      .addColumn("usage_sequence", "bigint", (c) => c.notNull())
      .addColumn("heard_at", "bigint", (c) => c.notNull())
      .execute();
  },
};

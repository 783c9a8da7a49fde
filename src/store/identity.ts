/** Domains, projects, users, access keys and revoked tokens. What makes tokens invalid raises the table version. */
import { instant } from "../core/ids.ts";
import type { DomainId, ProjectId, UserId } from "../core/ids.ts";
import { raiseTableVersion, recordChange } from "./changes.ts";
import { isUniqueViolation } from "./db.ts";
import type { Database, WriteTx } from "./db.ts";
import type { DomainRow, ProjectRow, UserRow } from "./schema.ts";
import type { Domain, IdentityStore, Project, User } from "./store.ts";

/** No token lives longer (config.ts allows a year), so a deleted user need not be refused for longer. */
const TOKEN_LIFE_MAX_MS = 366 * 24 * 3600 * 1000;

export const createIdentityStore = (db: Database): IdentityStore => ({
  bootstrap: (first) =>
    db.write(async (tx) => {
      // Holding the counter makes two first starts take turns; the second one finds the domain.
      await tx.sql
        .updateTable("counters")
        .set((eb) => ({ value: eb.ref("value") }))
        .where("name", "=", "table")
        .execute();
      const any = await tx.sql.selectFrom("domains").select("id").limit(1).executeTakeFirst();
      if (any !== undefined) return false;
      const { domain, project, user, accessKey } = first;
      await tx.sql.insertInto("domains").values({ id: domain.id, name: domain.name }).execute();
      await tx.sql.insertInto("projects").values(fromProject(project)).execute();
      await tx.sql.insertInto("users").values(fromUser(user)).execute();
      await tx.sql
        .insertInto("access_keys")
        .values({
          access: accessKey.access,
          user_id: accessKey.userId,
          secret_sealed: accessKey.secretSealed,
          created_at: accessKey.createdAt,
        })
        .execute();
      await recordChange(tx, "identity", domain.id);
      return true;
    }),
  domainByName: async (name) => {
    const row = await db.read
      .selectFrom("domains")
      .selectAll()
      .where("name", "=", name)
      .limit(1)
      .executeTakeFirst();
    return row === undefined ? null : toDomain(row);
  },
  domain: async (id) => {
    const row = await db.read.selectFrom("domains").selectAll().where("id", "=", id).executeTakeFirst();
    return row === undefined ? null : toDomain(row);
  },
  project: async (id) => {
    const row = await db.read.selectFrom("projects").selectAll().where("id", "=", id).executeTakeFirst();
    return row === undefined ? null : toProject(row);
  },
  projects: async (domain, filter = {}) => {
    let query = db.read.selectFrom("projects").selectAll().where("domain_id", "=", domain).orderBy("name");
    if (filter.name !== undefined) query = query.where("name", "=", filter.name);
    return (await query.execute()).map(toProject);
  },
  createProject: (project) =>
    db.write(async (tx) => {
      const created = await tx.sql
        .insertInto("projects")
        .values(fromProject(project))
        .onConflict((oc) => oc.doNothing())
        .returning("id")
        .executeTakeFirst();
      if (created === undefined) return "exists";
      await recordChange(tx, "identity", project.id);
      return "created";
    }),
  user: async (id) => {
    const row = await db.read.selectFrom("users").selectAll().where("id", "=", id).executeTakeFirst();
    return row === undefined ? null : toUser(row);
  },
  userByName: async (domain, name) => {
    const row = await db.read
      .selectFrom("users")
      .selectAll()
      .where("domain_id", "=", domain)
      .where("name", "=", name)
      .executeTakeFirst();
    return row === undefined ? null : toUser(row);
  },
  users: async (domain, filter = {}) => {
    let query = db.read.selectFrom("users").selectAll().where("domain_id", "=", domain).orderBy("name");
    if (filter.name !== undefined) query = query.where("name", "=", filter.name);
    if (filter.enabled !== undefined) query = query.where("enabled", "=", filter.enabled ? 1 : 0);
    return (await query.execute()).map(toUser);
  },
  createUser: (user) =>
    db.write(async (tx) => {
      const created = await tx.sql
        .insertInto("users")
        .values(fromUser(user))
        .onConflict((oc) => oc.doNothing())
        .returning("id")
        .executeTakeFirst();
      if (created === undefined) return "exists";
      await recordChange(tx, "identity", user.id);
      return "created";
    }),
  updateUser: async (id, patch, now) => {
    const set: Partial<UserRow> = {};
    const endsTokens = patch.enabled === false || patch.passwordHash !== undefined;
    if (patch.enabled !== undefined) set.enabled = patch.enabled ? 1 : 0;
    if (patch.passwordHash !== undefined) set.password_hash = patch.passwordHash;
    if (endsTokens) set.refused_before = now;
    if (patch.description !== undefined) set.description = patch.description;
    if (patch.name !== undefined) set.name = patch.name;
    if (Object.keys(set).length === 0) {
      const row = await db.read.selectFrom("users").selectAll().where("id", "=", id).executeTakeFirst();
      return row === undefined ? null : toUser(row);
    }
    try {
      return await db.write(async (tx) => {
        const row = await tx.sql
          .updateTable("users")
          .set(set)
          .where("id", "=", id)
          .returningAll()
          .executeTakeFirst();
        if (row === undefined) return null;
        if (endsTokens) await raiseTableVersion(tx);
        await recordChange(tx, "identity", id);
        return toUser(row);
      });
    } catch (error) {
      if (isUniqueViolation(error)) return "exists";
      throw error;
    }
  },
  deleteUser: (id, now) =>
    db.write(async (tx) => {
      const gone = await tx.sql.deleteFrom("users").where("id", "=", id).returning("id").executeTakeFirst();
      if (gone === undefined) return false;
      await tx.sql
        .insertInto("refused_users")
        .values({ user_id: id, refused_before: now })
        .onConflict((oc) => oc.column("user_id").doUpdateSet({ refused_before: now }))
        .execute();
      await identityChanged(tx, id);
      return true;
    }),
  revokeToken: (jti, expiresAt) =>
    db.write(async (tx) => {
      const added = await tx.sql
        .insertInto("revoked_tokens")
        .values({ jti, expires_at: expiresAt })
        .onConflict((oc) => oc.doNothing())
        .returning("jti")
        .executeTakeFirst();
      // One change row for all tokens, so revocations do not make the change log grow.
      if (added !== undefined) await identityChanged(tx, "tokens");
    }),
  isRevoked: async (jti) => {
    const row = await db.read
      .selectFrom("revoked_tokens")
      .select("jti")
      .where("jti", "=", jti)
      .executeTakeFirst();
    return row !== undefined;
  },
  // The table version stays: gateways may refuse for longer what is refused by its age anyway.
  pruneRevocations: (now) =>
    db.write(async (tx) => {
      await tx.sql.deleteFrom("revoked_tokens").where("expires_at", "<", now).execute();
      await tx.sql
        .deleteFrom("refused_users")
        .where("refused_before", "<", now - TOKEN_LIFE_MAX_MS)
        .execute();
    }),
});

const identityChanged = async (tx: WriteTx, id: string): Promise<void> => {
  await raiseTableVersion(tx);
  await recordChange(tx, "identity", id);
};

const toDomain = (row: DomainRow): Domain => ({ id: row.id as DomainId, name: row.name });

const toProject = (row: ProjectRow): Project => ({
  id: row.id as ProjectId,
  domainId: row.domain_id as DomainId,
  name: row.name,
});

const fromProject = (project: Project): ProjectRow => ({
  id: project.id,
  domain_id: project.domainId,
  name: project.name,
});

const toUser = (row: UserRow): User => ({
  id: row.id as UserId,
  domainId: row.domain_id as DomainId,
  name: row.name,
  passwordHash: row.password_hash,
  admin: row.admin === 1,
  enabled: row.enabled === 1,
  description: row.description,
  createdAt: instant(row.created_at),
  refusedBefore: row.refused_before === null ? null : instant(row.refused_before),
});

const fromUser = (user: User): UserRow => ({
  id: user.id,
  domain_id: user.domainId,
  name: user.name,
  password_hash: user.passwordHash,
  admin: user.admin ? 1 : 0,
  enabled: user.enabled ? 1 : 0,
  description: user.description,
  created_at: user.createdAt,
  refused_before: user.refusedBefore,
});

/** /v3/users: administrators add, change, disable and delete users of their own domain; everyone may look at themself. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { createUser, iamError, noContent, updateUser, userAnswer, usersAnswer } from "../../contract/iam.ts";
import { fail } from "../../core/errors.ts";
import { hex32 } from "../../core/ids.ts";
import type { UserId } from "../../core/ids.ts";
import type { User } from "../../store/store.ts";
import { callerOf } from "../app.ts";
import type { App, Caller } from "../app.ts";
import { demandAdmin } from "../authenticate.ts";
import type { ApiDeps } from "../deps.ts";
import { hashPassword } from "../passwords.ts";
import { argumentInvalid } from "../validation.ts";

const tags = ["Identity"];
const params = z.object({ user_id: z.string() });

/** Nobody locks themself out: an administrator could be the last one. */
const demandOther = (caller: Caller, id: string, operation: string): void => {
  if (caller.user.id !== id) return;
  throw argumentInvalid([
    {
      path: "user_id",
      message: `You cannot ${operation} your own user.`,
      fix: "Let another administrator do it.",
    },
  ]);
};

export const userRoutes = (app: App, deps: ApiDeps): void => {
  const { identity } = deps.store;
  const self = (path: string) => ({ self: `${deps.settings.publicUrl()}${path}` });
  const view = (user: User) => ({
    id: user.id,
    name: user.name,
    domain_id: user.domainId,
    enabled: user.enabled,
    description: user.description,
    password_expires_at: null,
    pwd_status: true,
    create_time: user.createdAt,
    is_admin: user.admin,
    links: self(`/v3/users/${user.id}`),
  });
  /** The user, if it is one of the caller's domain. */
  const find = async (caller: Caller, id: string): Promise<User> => {
    const user = await identity.user(id as UserId);
    if (user === null || user.domainId !== caller.user.domainId) throw fail("USER_NOT_FOUND", { id });
    return user;
  };

  app.get(
    "/v3/users",
    {
      schema: {
        tags,
        summary: "List the users of the domain (administrators)",
        querystring: z.object({ name: z.string().optional(), enabled: z.enum(["true", "false"]).optional() }),
        response: { 200: usersAnswer, "4xx": iamError },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      demandAdmin(caller, "iam:users:listUsers");
      const { name, enabled } = request.query;
      const rows = await identity.users(caller.user.domainId, {
        ...(name === undefined ? {} : { name }),
        ...(enabled === undefined ? {} : { enabled: enabled === "true" }),
      });
      return { links: { ...self("/v3/users"), next: null, previous: null }, users: rows.map(view) };
    },
  );

  app.post(
    "/v3/users",
    {
      schema: {
        tags,
        summary: "Add a user (administrators)",
        body: createUser,
        response: { 201: userAnswer, "4xx": iamError },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      demandAdmin(caller, "iam:users:createUser");
      const wanted = request.body.user;
      if (wanted.domain_id !== undefined && wanted.domain_id !== caller.user.domainId) {
        throw fail("PERMISSION_DENIED", { operation: "iam:users:createUser" });
      }
      const user: User = {
        id: hex32<UserId>(randomUUID()),
        domainId: caller.user.domainId,
        name: wanted.name,
        passwordHash: await hashPassword(wanted.password),
        admin: wanted.is_admin ?? false,
        enabled: wanted.enabled ?? true,
        description: wanted.description ?? "",
        createdAt: deps.clock.now(),
        refusedBefore: null,
      };
      if ((await identity.createUser(user)) === "exists") throw fail("USER_EXISTS", { name: wanted.name });
      return reply.code(201).send({ user: view(user) });
    },
  );

  app.get(
    "/v3/users/:user_id",
    { schema: { tags, summary: "Show a user", params, response: { 200: userAnswer, "4xx": iamError } } },
    async (request) => {
      const caller = callerOf(request);
      const { user_id: id } = request.params;
      if (caller.user.id !== id) demandAdmin(caller, "iam:users:getUser");
      return { user: view(await find(caller, id)) };
    },
  );

  app.patch(
    "/v3/users/:user_id",
    {
      schema: {
        tags,
        summary: "Change, enable or disable a user (administrators)",
        params,
        body: updateUser,
        response: { 200: userAnswer, "4xx": iamError },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      demandAdmin(caller, "iam:users:updateUser");
      const { user_id: id } = request.params;
      const before = await find(caller, id);
      const { name, password, enabled, description } = request.body.user;
      if (enabled === false) demandOther(caller, id, "disable");
      const after = await identity.updateUser(
        before.id,
        {
          ...(name === undefined ? {} : { name }),
          ...(password === undefined ? {} : { passwordHash: await hashPassword(password) }),
          ...(enabled === undefined ? {} : { enabled }),
          ...(description === undefined ? {} : { description }),
        },
        deps.clock.now(),
      );
      if (after === "exists") throw fail("USER_EXISTS", { name: name ?? before.name });
      if (after === null) throw fail("USER_NOT_FOUND", { id });
      return { user: view(after) };
    },
  );

  app.delete(
    "/v3/users/:user_id",
    {
      schema: {
        tags,
        summary: "Delete a user (administrators)",
        params,
        response: { 204: noContent, "4xx": iamError },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      demandAdmin(caller, "iam:users:deleteUser");
      const { user_id: id } = request.params;
      demandOther(caller, id, "delete");
      const user = await find(caller, id);
      if (!(await identity.deleteUser(user.id, deps.clock.now()))) throw fail("USER_NOT_FOUND", { id });
      return reply.code(204).send(null);
    },
  );
};

/** POST, GET and DELETE /v3/auth/tokens (contracts/modelarts.md §5.1). */
import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { iamError, noContent, tokenAnswer, tokenRequest } from "../../contract/iam.ts";
import { fail } from "../../core/errors.ts";
import type { DomainId, ProjectId, UserId } from "../../core/ids.ts";
import type { TokenPayload } from "../../core/routing-table.ts";
import type { Domain, Project, User } from "../../store/store.ts";
import { callerOf } from "../app.ts";
import type { App } from "../app.ts";
import { headerText } from "../authenticate.ts";
import type { ApiDeps } from "../deps.ts";
import { verifyPassword } from "../passwords.ts";
import type { Tokens } from "../tokens.ts";
import { createLoginThrottle } from "./login-throttle.ts";

type TokenRequest = z.output<typeof tokenRequest>["auth"];
type UserReference = TokenRequest["identity"]["password"]["user"];

const tags = ["Identity"];

/** `2025-01-02T03:04:05.000000Z`, as Keystone writes times. */
const keystoneTime = (epochMs: number): string => new Date(epochMs).toISOString().replace("Z", "000Z");

const findDomain = async (
  deps: ApiDeps,
  reference: { id?: string | undefined; name?: string | undefined } | undefined,
): Promise<Domain | null> => {
  if (reference?.id !== undefined) return deps.store.identity.domain(reference.id as DomainId);
  return reference?.name === undefined ? null : deps.store.identity.domainByName(reference.name);
};

const findUser = async (deps: ApiDeps, reference: UserReference): Promise<User | null> => {
  if (reference.id !== undefined) return deps.store.identity.user(reference.id as UserId);
  const domain = await findDomain(deps, reference.domain);
  return domain === null || reference.name === undefined
    ? null
    : deps.store.identity.userByName(domain.id, reference.name);
};

/** The project of the asked scope; null for a domain scope. Projects of other domains are as good as missing. */
const findScope = async (
  deps: ApiDeps,
  user: User,
  scope: TokenRequest["scope"],
): Promise<Project | null> => {
  if (scope?.project === undefined) {
    if (scope?.domain === undefined) return null;
    const domain = await findDomain(deps, scope.domain);
    if (domain?.id !== user.domainId) throw fail("CREDENTIALS_WRONG", {});
    return null;
  }
  const { id, name } = scope.project;
  const found =
    id === undefined
      ? (await deps.store.identity.projects(user.domainId, { name: name ?? "" })).find((p) => p.name === name)
      : await deps.store.identity.project(id as ProjectId);
  if (found == null || found.domainId !== user.domainId) {
    throw fail("PROJECT_NOT_FOUND", { name: id ?? name ?? "" });
  }
  return found;
};

/** The token's description, as POST and GET answer it. */
const describe = async (deps: ApiDeps, payload: TokenPayload, user: User, hasCatalog: boolean) => {
  const [domain, project] = await Promise.all([
    deps.store.identity.domain(user.domainId),
    payload.project === undefined ? null : deps.store.identity.project(payload.project as ProjectId),
  ]);
  const inDomain = { id: user.domainId, name: domain?.name ?? "" };
  const url = deps.settings.publicUrl();
  const endpoint = (path: string) => [
    { id: path, interface: "public", region: "default", region_id: "default", url: `${url}${path}` },
  ];
  const catalog = [
    { id: "iam", name: "iam", type: "identity", endpoints: endpoint("/v3") },
    ...(payload.project === undefined
      ? []
      : [
          {
            id: "modelarts",
            name: "modelarts",
            type: "modelarts",
            endpoints: endpoint(`/v1/${payload.project}`),
          },
        ]),
  ];
  return {
    token: {
      methods: ["password"],
      issued_at: keystoneTime(payload.iat),
      expires_at: keystoneTime(payload.exp),
      ...(project === null
        ? { domain: inDomain }
        : { project: { id: project.id, name: project.name, domain: inDomain } }),
      user: { id: user.id, name: user.name, domain: inDomain, password_expires_at: "" },
      roles: user.admin ? [{ id: "0", name: "te_admin" }] : [{ id: "1", name: "modelarts_user" }],
      ...(hasCatalog ? { catalog } : {}),
    },
  };
};

const hasCatalog = (query: { nocatalog?: string | undefined }): boolean =>
  query.nocatalog === undefined || query.nocatalog === "false";

const querystring = z.object({ nocatalog: z.string().optional() });

/** Who the gateway saw: it writes the last entry, and nobody else reaches control's socket. */
const addressOf = (request: FastifyRequest): string =>
  headerText(request, "x-forwarded-for")?.split(",").at(-1)?.trim() ?? "";

/** The route that needs no token yet. */
export const loginRoute = (app: App, deps: ApiDeps, tokens: Tokens): void => {
  const throttle = createLoginThrottle(deps.clock);
  app.post(
    "/v3/auth/tokens",
    {
      schema: {
        tags,
        summary: "Get a token with a user name and password",
        description: "The token is in the header `X-Subject-Token`.",
        querystring,
        body: tokenRequest,
        response: { 201: tokenAnswer, "4xx": iamError },
      },
    },
    async (request, reply) => {
      const { identity, scope } = request.body.auth;
      const wanted = identity.password.user;
      const asOf = deps.clock.now();
      const user = await findUser(deps, wanted);
      // Known or not, so that the refusal does not tell which names exist.
      const name = user?.id ?? JSON.stringify([wanted.id, wanted.name, wanted.domain]);
      const attempt = throttle.begin(name, addressOf(request));
      if ("retryAfterSeconds" in attempt) {
        reply.header("Retry-After", String(attempt.retryAfterSeconds));
        throw fail("LOGIN_THROTTLED", attempt);
      }
      const isRight = await verifyPassword(wanted.password, user?.passwordHash ?? null);
      if (user === null || !isRight || !user.enabled) throw fail("CREDENTIALS_WRONG", {});
      attempt.succeeded();
      const project = await findScope(deps, user, scope);
      const { text, payload } = tokens.issue(user, project?.id ?? null, asOf);
      return reply
        .code(201)
        .header("X-Subject-Token", text)
        .send(await describe(deps, payload, user, hasCatalog(request.query)));
    },
  );
};

/** Looking at a token and revoking it. */
export const tokenRoutes = (app: App, deps: ApiDeps, tokens: Tokens): void => {
  app.get(
    "/v3/auth/tokens",
    {
      schema: {
        tags,
        summary: "Describe a token",
        querystring,
        response: { 200: tokenAnswer, "4xx": iamError },
      },
    },
    async (request, reply) => {
      const text = headerText(request, "x-subject-token") ?? headerText(request, "x-auth-token") ?? "";
      const subject = await tokens.verify(text).catch(() => null);
      if (subject === null || subject.user.domainId !== callerOf(request).user.domainId) {
        throw fail("TOKEN_NOT_FOUND", {});
      }
      return reply
        .header("X-Subject-Token", text)
        .send(await describe(deps, subject.token, subject.user, hasCatalog(request.query)));
    },
  );

  app.delete(
    "/v3/auth/tokens",
    { schema: { tags, summary: "Revoke a token", response: { 204: noContent, "4xx": iamError } } },
    async (request, reply) => {
      const caller = callerOf(request);
      const subject = await tokens.verify(headerText(request, "x-subject-token")).catch(() => null);
      const isTheirs = subject !== null && subject.user.domainId === caller.user.domainId;
      if (!isTheirs) throw fail("TOKEN_NOT_FOUND", {});
      if (subject.user.id !== caller.user.id && !caller.user.admin) {
        throw fail("PERMISSION_DENIED", { operation: "iam:tokens:delete" });
      }
      await tokens.revoke(subject.token);
      return reply.code(204).send(null);
    },
  );
};

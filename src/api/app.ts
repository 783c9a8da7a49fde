/** The Fastify instance as our routes see it, and what a request carries once it is authenticated. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest, RawServerDefault } from "fastify";
import type { TokenPayload } from "../core/routing-table.ts";
import type { ProjectId } from "../core/ids.ts";
import type { User } from "../store/store.ts";

export type App = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** Who is asking. `project` is the token's, and on `/v1` the one in the path too. */
export interface Caller {
  readonly user: User;
  readonly token: TokenPayload;
}

export interface ProjectCaller extends Caller {
  readonly projectId: ProjectId;
}

export const CALLER = "caller";

/** The caller of an authenticated `/v3` request. */
export const callerOf = (request: Pick<FastifyRequest, "getDecorator">): Caller =>
  request.getDecorator<Caller>(CALLER);

/** The caller of an authenticated `/v1/{project_id}` request. */
export const projectCallerOf = (request: Pick<FastifyRequest, "getDecorator">): ProjectCaller =>
  request.getDecorator<ProjectCaller>(CALLER);

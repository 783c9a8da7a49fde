/** Hooks that let only holders of a valid token in, and only to their own project. */
import type { FastifyRequest } from "fastify";
import { fail } from "../core/errors.ts";
import type { ProjectId } from "../core/ids.ts";
import type { App, Caller, ProjectCaller } from "./app.ts";
import { CALLER } from "./app.ts";
import type { Tokens } from "./tokens.ts";

/** A header as one text; a repeated one counts as its first. */
export const headerText = (request: FastifyRequest, name: string): string | undefined => {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
};

/** All routes of `scope` need a token, of any scope. */
export const requireToken = (scope: App, tokens: Tokens): void => {
  scope.decorateRequest(CALLER);
  scope.addHook("onRequest", async (request) => {
    request.setDecorator<Caller>(CALLER, await tokens.verify(headerText(request, "x-auth-token")));
  });
};

/** All routes of `scope` need a token of the project that their path names. */
export const requireProject = (scope: App, tokens: Tokens): void => {
  scope.decorateRequest(CALLER);
  scope.addHook("onRequest", async (request) => {
    const caller = await tokens.verify(headerText(request, "x-auth-token"));
    const { project } = caller.token;
    if (project === undefined) throw fail("TOKEN_WITHOUT_PROJECT", {});
    const { project_id: inPath } = request.params as { project_id?: string };
    if (inPath !== project) throw fail("PROJECT_MISMATCH", {});
    request.setDecorator<ProjectCaller>(CALLER, { ...caller, projectId: project as ProjectId });
  });
};

/** Stops everyone but administrators. */
export const demandAdmin = (caller: Caller, operation: string): void => {
  if (!caller.user.admin) throw fail("PERMISSION_DENIED", { operation });
};

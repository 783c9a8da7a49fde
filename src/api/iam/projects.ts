/** GET and POST /v3/projects, GET /v3/auth/domains (contracts/modelarts.md §5.2). */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { createProject, domainsAnswer, iamError, projectAnswer, projectsAnswer } from "../../contract/iam.ts";
import { fail } from "../../core/errors.ts";
import { hex32 } from "../../core/ids.ts";
import type { ProjectId } from "../../core/ids.ts";
import type { Project } from "../../store/store.ts";
import { callerOf } from "../app.ts";
import type { App } from "../app.ts";
import { demandAdmin } from "../authenticate.ts";
import type { ApiDeps } from "../deps.ts";

const tags = ["Identity"];

export const projectRoutes = (app: App, deps: ApiDeps): void => {
  const self = (path: string) => ({ self: `${deps.settings.publicUrl()}${path}` });
  const list = (path: string) => ({ ...self(path), next: null, previous: null });
  const view = (project: Project) => ({
    id: project.id,
    name: project.name,
    domain_id: project.domainId,
    enabled: true,
    is_domain: false,
    parent_id: project.domainId,
    description: "",
    links: self(`/v3/projects/${project.id}`),
  });

  for (const path of ["/v3/projects", "/v3/auth/projects"]) {
    app.get(
      path,
      {
        schema: {
          tags,
          summary: "List the projects of the caller's domain",
          querystring: z.object({ name: z.string().optional() }),
          response: { 200: projectsAnswer, "4xx": iamError },
        },
      },
      async (request) => {
        const { name } = request.query;
        const rows = await deps.store.identity.projects(
          callerOf(request).user.domainId,
          name === undefined || name === "" ? {} : { name },
        );
        return { links: list(path), projects: rows.map(view) };
      },
    );
  }

  app.post(
    "/v3/projects",
    {
      schema: {
        tags,
        summary: "Create a project (administrators)",
        body: createProject,
        response: { 201: projectAnswer, "4xx": iamError },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      demandAdmin(caller, "iam:projects:createProject");
      const { name } = request.body.project;
      const project: Project = { id: hex32<ProjectId>(randomUUID()), domainId: caller.user.domainId, name };
      if ((await deps.store.identity.createProject(project)) === "exists")
        throw fail("PROJECT_EXISTS", { name });
      return reply.code(201).send({ project: view(project) });
    },
  );

  app.get(
    "/v3/auth/domains",
    { schema: { tags, summary: "The caller's domain", response: { 200: domainsAnswer, "4xx": iamError } } },
    async (request) => {
      const domain = await deps.store.identity.domain(callerOf(request).user.domainId);
      const domains = domain === null ? [] : [domain];
      return {
        links: list("/v3/auth/domains"),
        domains: domains.map((d) => ({
          id: d.id,
          name: d.name,
          enabled: true,
          description: "",
          links: self(`/v3/domains/${d.id}`),
        })),
      };
    },
  );
};

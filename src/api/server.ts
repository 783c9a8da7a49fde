/**
 * The control API as one Fastify instance: dialects, authentication, documentation and the internal contract. It reads
 * and writes rows and objects; it starts nothing. The composition root lets it listen on control's private socket.
 */
import { randomUUID } from "node:crypto";
import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import Fastify, { LogController } from "fastify";
import type { FastifyBaseLogger, FastifyInstance } from "fastify";
import { jsonSchemaTransform, serializerCompiler } from "fastify-type-provider-zod";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { renderGateway } from "../contract/modelarts/errors.ts";
import { fail } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { App } from "./app.ts";
import { requireProject, requireToken } from "./authenticate.ts";
import type { ApiDeps } from "./deps.ts";
import { sendError, sendNotFound } from "./failures.ts";
import { projectRoutes } from "./iam/projects.ts";
import { loginRoute, tokenRoutes } from "./iam/tokens.ts";
import { userRoutes } from "./iam/users.ts";
import { gatewayRoutes } from "./internal/gateways.ts";
import { modelRoutes } from "./modelarts/models.ts";
import { serviceReadRoutes } from "./modelarts/service-reads.ts";
import { serviceWriteRoutes } from "./modelarts/service-writes.ts";
import { bucketRoutes, objectRoutes } from "./objects.ts";
import { createTokens } from "./tokens.ts";
import { readJson, validatorCompiler } from "./validation.ts";

export type { ApiDeps, ApiSettings, TokenKeys } from "./deps.ts";

/** Several service ids fit into one path parameter; object keys have up to 1024 bytes, three characters each at worst. */
const PARAMETER_LENGTH_MAX = 4096;

const REQUEST_ID = /^[A-Za-z0-9_-]{8,64}$/;

const newRequestId = (): string => randomUUID().replaceAll("-", "");

const document = async (app: App, version: string): Promise<void> => {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Modelport",
        version,
        description:
          "The control API: identity (`/v3`), AI applications and services (`/v1/{project_id}`, the ModelArts API) and " +
          "objects. Send the token in `X-Auth-Token`.",
      },
      components: {
        securitySchemes: { token: { type: "apiKey", in: "header", name: "X-Auth-Token" } },
      },
      security: [{ token: [] }],
    },
    transform: jsonSchemaTransform,
  });
  await app.register(swaggerUi, {
    routePrefix: "/docs",
    theme: {
      title: "Modelport API",
      // The bar only offers to explore some other document.
      css: [{ filename: "modelport.css", content: ".swagger-ui .topbar { display: none }" }],
    },
  });
};

/** Builds the API; the caller lets it listen and closes it. */
export const createApi = async (deps: ApiDeps): Promise<FastifyInstance> => {
  const closing = new AbortController();
  const fastify = Fastify({
    loggerInstance: deps.logger as FastifyBaseLogger,
    // One line per failed request (failures.ts); the gateway keeps the access records.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: "requestId" }),
    bodyLimit: LIMITS.jsonBodyBytes.value,
    exposeHeadRoutes: false,
    requestIdHeader: false,
    genReqId: (raw) => {
      const given = raw.headers["x-request-id"];
      return typeof given === "string" && REQUEST_ID.test(given) ? given : newRequestId();
    },
    routerOptions: { maxParamLength: PARAMETER_LENGTH_MAX, ignoreTrailingSlash: true },
    // Paths the router cannot read, before any hook runs.
    frameworkErrors: (error, request, reply) => void sendError(error, request, reply),
    clientErrorHandler: (_error, socket) => {
      if (!socket.writable) return;
      const requestId = newRequestId();
      const error = fail("REQUEST_MALFORMED", { reason: "The request is not valid HTTP." });
      const body = JSON.stringify(renderGateway(error, requestId, "control"));
      socket.end(
        `HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
          `X-Request-Id: ${requestId}\r\nConnection: close\r\n\r\n${body}`,
      );
    },
  });
  fastify.setValidatorCompiler(({ schema }) => validatorCompiler({ schema: schema as z.ZodType }));
  fastify.setSerializerCompiler(serializerCompiler);
  fastify.setErrorHandler(sendError);
  fastify.setNotFoundHandler(sendNotFound);
  const parse = fastify.getDefaultJsonParser("error", "error");
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser("application/json", { parseAs: "string" }, (request, text, done) => {
    try {
      const value = readJson(String(text), (json) => {
        let parsed: unknown;
        // The default parser answers through its callback, within the call.
        void parse(request, json, (error, body) => {
          if (error !== null) throw error;
          parsed = body;
        });
        return parsed;
      });
      done(null, value);
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
    }
  });
  fastify.addHook("onRequest", async (request, reply) => {
    reply.header("X-Request-Id", request.id);
    // No column, bucket or key may hold NUL; PostgreSQL would fail on it in the middle of a statement.
    if (/%00/.test(request.url))
      throw fail("REQUEST_MALFORMED", { reason: "The URL contains the NUL character." });
  });
  // Long polls and followed logs would keep close() waiting for their clients.
  fastify.addHook("preClose", async () => closing.abort());

  const app: App = fastify.withTypeProvider<ZodTypeProvider>();
  await document(app, deps.settings.version);
  const tokens = createTokens(deps);

  await app.register(async (scope: App) => {
    scope.get(
      "/healthz",
      {
        schema: {
          tags: ["Platform"],
          summary: "Health of the control service",
          security: [],
          response: { 200: z.object({ status: z.literal("OK") }) },
        },
      },
      async () => {
        await deps.store.routes.version();
        return { status: "OK" as const };
      },
    );
    gatewayRoutes(scope, deps, closing.signal);
    loginRoute(scope, deps, tokens);
  });
  await app.register(async (scope: App) => {
    requireToken(scope, tokens);
    tokenRoutes(scope, deps, tokens);
    projectRoutes(scope, deps);
    userRoutes(scope, deps);
  });
  await app.register(async (scope: App) => {
    requireProject(scope, tokens);
    modelRoutes(scope, deps);
    serviceReadRoutes(scope, deps, closing.signal);
    serviceWriteRoutes(scope, deps);
    bucketRoutes(scope, deps);
    await scope.register(async (bodies: App) => objectRoutes(bodies, deps));
  });
  return fastify as unknown as FastifyInstance;
};

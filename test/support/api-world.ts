/**
 * The control API on a real database (SQLite unless told otherwise) and real object files in a directory of its own,
 * asked through `inject`. Two tenants would share it, so tests can prove that they never see each other.
 */
import { runtimeStates } from "../../src/core/runtimes.ts";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { DatabaseSync } from "node:sqlite";
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from "fastify";
import { bootstrapIdentity } from "../../src/api/bootstrap.ts";
import type { FirstCredentials } from "../../src/api/bootstrap.ts";
import { hashPassword } from "../../src/api/passwords.ts";
import { loadOrCreateSecrets } from "../../src/api/secrets.ts";
import type { Secrets } from "../../src/api/secrets.ts";
import { createApi } from "../../src/api/server.ts";
import { createTokens } from "../../src/api/tokens.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { InstanceLogs } from "../../src/core/instance-logs.ts";
import { hex32, instant } from "../../src/core/ids.ts";
import type { DomainId, ModelId, ProjectId, ServiceId, UserId } from "../../src/core/ids.ts";
import type { Published } from "../../src/core/model.ts";
import type { ServiceStatus } from "../../src/core/service.ts";
import type { Objects } from "../../src/objects/objects.ts";
import { openDirectoryObjects } from "../../src/objects/directory.ts";
import type { DatabaseLocation } from "../../src/store/db.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/store.ts";
import { systemClock } from "../../src/telemetry/clock.ts";
import { createLogger } from "../../src/telemetry/logger.ts";

/** A wall clock that moves only when told; waiting is real, so long polls behave. */
export interface SteeredClock extends Clock {
  advance(ms: number): void;
}

const createClock = (): SteeredClock => {
  let now = 1_750_000_000_000;
  return {
    ...systemClock,
    now: () => instant(now),
    advance: (ms) => {
      now += ms;
    },
  };
};

export const PUBLISHED: Published = {
  engine: "Scikit_Learn",
  packageDigest: "d".repeat(64),
  sizeBytes: 1234,
  modelFile: "sklearn.m",
  hasCustomService: true,
  environmentKey: "e1",
  config: { model_type: "Scikit_Learn", model_algorithm: "iris", runtime: "python3.6", apis: [{ url: "/" }] },
};

export interface Answer {
  readonly status: number;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of every shape
  readonly body: any;
  readonly headers: LightMyRequestResponse["headers"];
  readonly text: string;
}

export interface ApiWorld {
  readonly api: FastifyInstance;
  readonly store: Store;
  readonly objects: Objects;
  readonly clock: SteeredClock;
  readonly secrets: Secrets;
  readonly first: FirstCredentials;
  /** The administrator's token for the first project. */
  readonly token: string;
  /** `/v1/<first project>`. */
  readonly base: string;
  call(
    method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD",
    url: string,
    options?: { body?: unknown; token?: string | null; headers?: Record<string, string> },
  ): Promise<Answer>;
  tokenOf(user: string, project: string | null): Promise<string>;
  /** A second tenant: its own domain, project and user, as another installation's administrator would add it. */
  stranger(): Promise<{ token: string; base: string }>;
  /** A version that is ready to be deployed. */
  model(name?: string, version?: string, apis?: unknown): Promise<string>;
  service(name: string, config: readonly object[]): Promise<string>;
  /** Does what the reconciler would: writes a status as the answer to the current generation. */
  settle(id: string, status: ServiceStatus): Promise<void>;
  close(): Promise<void>;
}

export const createWorld = async (
  more: { instanceLogs?: InstanceLogs; database?: DatabaseLocation } = {},
): Promise<ApiWorld> => {
  const dir = await mkdtemp(join(tmpdir(), "modelport-api-"));
  const clock = createClock();
  const logger = createLogger("test", "silent");
  const store = await openStore({
    database: more.database ?? { kind: "sqlite", path: join(dir, "modelport.db") },
    clock,
    logger,
  });
  const secrets = await loadOrCreateSecrets(join(dir, "secrets"));
  const objects = await openDirectoryObjects({ root: join(dir, "objects"), clock });
  const first = await bootstrapIdentity({ store, clock, masterKey: secrets.masterKey });
  if (first === null) throw new Error("a fresh store had an identity");
  const settings = { publicUrl: () => "http://modelport.test:8080", tokenHours: 24, version: "0.0.0-test" };
  const silent: InstanceLogs = {
    read: async function* () {
      // Nothing was printed.
    },
  };
  const deps = {
    store,
    objects,
    clock,
    logger,
    keys: secrets.keys,
    instanceLogs: more.instanceLogs ?? silent,
    runtimes: () => Promise.resolve(runtimeStates([6, 11], [9], 11, { mac: false })),
    metrics: async () => "",
    settings,
  };
  const api = await createApi(deps);
  await api.ready();
  const tokens = createTokens(deps);
  const user = await store.identity.user(first.user.id);
  if (user === null) throw new Error("the first user is missing");
  const token = tokens.issue(user, first.project.id, clock.now()).text;
  const base = `/v1/${first.project.id}`;

  const call: ApiWorld["call"] = async (method, url, options = {}) => {
    const { body } = options;
    const given = options.token === undefined ? token : options.token;
    const inject: InjectOptions = {
      method,
      url,
      headers: {
        ...(given === null ? {} : { "x-auth-token": given }),
        ...(body === undefined || Buffer.isBuffer(body) ? {} : { "content-type": "application/json" }),
        ...options.headers,
      },
      ...(body === undefined
        ? {}
        : { payload: typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body) }),
    };
    const answer = await api.inject(inject);
    const isJson = String(answer.headers["content-type"] ?? "").startsWith("application/json");
    return {
      status: answer.statusCode,
      headers: answer.headers,
      text: answer.body,
      body: isJson && answer.body !== "" ? JSON.parse(answer.body) : undefined,
    };
  };

  return {
    api,
    store,
    objects,
    clock,
    secrets,
    first,
    token,
    base,
    call,
    tokenOf: async (name, project) => {
      const found = await store.identity.userByName(first.domain.id, name);
      if (found === null) throw new Error(`no user ${name}`);
      return tokens.issue(found, project as ProjectId | null, clock.now()).text;
    },
    stranger: async () => {
      // The first release has no way to add a domain, so the row is written beside the store.
      const domain = { id: hex32<DomainId>(randomUUID()), name: `other-${randomUUID().slice(0, 8)}` };
      const project = { id: hex32<ProjectId>(randomUUID()), domainId: domain.id, name: "default" };
      const other = {
        id: hex32<UserId>(randomUUID()),
        domainId: domain.id,
        name: "stranger",
        passwordHash: await hashPassword("a password"),
        admin: true,
        enabled: true,
        description: "",
        createdAt: clock.now(),
        refusedBefore: null,
      };
      const database = new DatabaseSync(join(dir, "modelport.db"));
      database.prepare("insert into domains (id, name) values (?, ?)").run(domain.id, domain.name);
      database.close();
      await store.identity.createProject(project);
      await store.identity.createUser(other);
      return { token: tokens.issue(other, project.id, clock.now()).text, base: `/v1/${project.id}` };
    },
    model: async (name = "iris", version = "0.0.1", apis = PUBLISHED.config["apis"]) => {
      await uploadPackage(objects, first.project.id);
      const made = await call("POST", `${base}/models`, {
        body: {
          model_name: name,
          model_version: version,
          model_type: "Scikit_Learn",
          source_location: "obs://packages/iris",
        },
      });
      const id: string = made.body.model_id;
      const config = { ...PUBLISHED.config, apis };
      await store.models.finish(id as ModelId, { published: { ...PUBLISHED, config } }, []);
      return id;
    },
    service: async (name, config) => {
      const made = await call("POST", `${base}/services`, {
        body: { service_name: name, infer_type: "real-time", config },
      });
      if (made.status !== 200) throw new Error(made.text);
      return made.body.service_id;
    },
    settle: async (id, status) => {
      const service = await store.services.byId(id as ServiceId);
      if (service === null) throw new Error("no such service");
      const isUp = status === "running" || status === "concerning";
      await store.services.settle(service.id, service.generation, clock.now(), {
        status,
        progress: 100,
        ...(isUp ? { servingRevision: service.revision } : {}),
        ...(isUp
          ? { revisionResult: { number: service.revision, result: "SUCCESS" as const, reason: null } }
          : {}),
        events: [],
      });
    },
    close: async () => {
      await api.close();
      await store.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
};

/** Something that looks like a package: a folder `model` with a file in it. */
export const uploadPackage = async (objects: Objects, project: ProjectId): Promise<void> => {
  await objects.createBucket(project, "packages");
  await objects.put(
    project,
    { bucket: "packages", key: "iris/model/config.json" },
    Readable.from([Buffer.from("{}")]),
    { maxBytes: 100 },
  );
};

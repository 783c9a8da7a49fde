/**
 * A platform for tests of the CLI: answers in the contract's shapes from memory, advances imports and deployments by
 * one step per read, and remembers what it was asked. `break` lets a test put any answer in front of a route.
 */
import { createHash, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

export const PROJECT = { id: "0123456789abcdef0123456789abcdef", name: "default" };
export const ADMINISTRATOR = { domain: "modelport", user: "admin", password: "first-password" };
const NOW = Date.UTC(2026, 10, 23, 18, 30, 0);

interface FakeModel {
  readonly model_id: string;
  readonly model_name: string;
  readonly model_version: string;
  readonly model_type: string;
  readonly source_location: string;
  model_status: string;
  events: { event_type: string; event_info: string; occur_time: number }[];
}

interface FakeService {
  readonly service_id: string;
  readonly service_name: string;
  status: string;
  next: string | null;
  update: { update_time: number; result: string } | null;
  config: Record<string, unknown>[];
  events: { event_type: string; event_info: string; occur_time: number }[];
}

export interface Recorded {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Record<string, string>;
}

type Rows = readonly Record<string, unknown>[];

const page = (member: string, rows: Rows, query: URLSearchParams): Answer => {
  const offset = Number(query.get("offset") ?? 0);
  const part = rows.slice(offset, offset + Number(query.get("limit") ?? 1000));
  return { status: 200, body: { total_count: rows.length, count: part.length, [member]: part } };
};

const refuse = (status: number, code: string, message: string, more: object = {}): Answer => ({
  status,
  body: { error_code: code, error_msg: message, ...more },
});

export class ContractServer {
  readonly requests: Recorded[] = [];
  readonly models: FakeModel[] = [];
  readonly services: FakeService[] = [];
  readonly objects = new Map<string, Buffer>();
  readonly tokens = new Set<string>();
  password = ADMINISTRATOR.password;
  /** How the next import and the next deployment end. */
  importEnds: { status: "published" } | { status: "failed"; because: string } = { status: "published" };
  deployEnds: { status: "running" } | { status: "failed" | "rolled-back"; because: string } = {
    status: "running",
  };
  /** False: a start or stop goes on for ever. */
  startEnds = true;
  logs = "iris-0 model loaded\niris-0 ready\n";
  url = "";
  readonly #broken: { method: string; path: RegExp; answer: Answer }[] = [];
  readonly #server = createServer((request, response) => void this.#take(request, response));

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  /** Every matching call gets this answer from now on. */
  break(method: string, path: RegExp, answer: Answer): void {
    this.#broken.push({ method, path, answer });
  }

  addModel(
    name: string,
    version: string,
    status = "published",
    location = `obs://modelport/packages/${name}/${version}/`,
  ): FakeModel {
    const model: FakeModel = {
      model_id: randomUUID(),
      model_name: name,
      model_version: version,
      model_type: "Scikit_Learn",
      source_location: location,
      model_status: status,
      events: [{ event_type: "normal", event_info: "start to import model", occur_time: NOW }],
    };
    this.models.push(model);
    return model;
  }

  addService(name: string, model: FakeModel, status = "running"): FakeService {
    const service: FakeService = {
      service_id: randomUUID(),
      service_name: name,
      status,
      next: null,
      update: null,
      config: [
        {
          model_id: model.model_id,
          weight: 100,
          specification: "modelarts.vm.cpu.2u",
          instance_count: 1,
          envs: {},
        },
      ],
      events: [{ event_type: "normal", event_info: "start to deploy service", occur_time: NOW }],
    };
    this.services.push(service);
    return service;
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(request.url ?? "/", "http://x");
    const recorded: Recorded = {
      method: request.method ?? "",
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      body: Buffer.concat(chunks).toString("utf8"),
    };
    this.requests.push(recorded);
    const answer = this.#answer(recorded, Buffer.concat(chunks));
    const isText = typeof answer.body === "string" || Buffer.isBuffer(answer.body);
    response.writeHead(answer.status, {
      "content-type": isText ? "text/plain" : "application/json",
      "x-request-id": "req-1",
      ...answer.headers,
    });
    if (answer.body instanceof Readable) return pipeline(answer.body, response);
    response.end(isText ? (answer.body as string) : JSON.stringify(answer.body));
  }

  #answer(request: Recorded, bytes: Buffer): Answer {
    const broken = this.#broken.find(
      ({ method, path }) => method === request.method && path.test(request.path),
    );
    if (broken !== undefined) return broken.answer;
    if (request.path === "/healthz") return { status: 200, body: { status: "OK" } };
    if (request.path === "/v3/auth/tokens" && request.method === "POST") return this.#login(request);
    const token = request.headers["x-auth-token"];
    if (typeof token !== "string" || !this.tokens.has(token)) {
      return refuse(401, "ModelArts.0203", "Unauthorized", { hint: "`modelport login` gets a new one." });
    }
    if (request.path === "/v3/auth/tokens") return { status: 200, body: this.#tokenBody() };
    if (request.path === "/v3/projects") return { status: 200, body: { projects: [PROJECT] } };
    if (request.path.startsWith("/v1/infers/")) return this.#predict(request);
    const path = request.path.replace(`/v1/${PROJECT.id}`, "");
    if (path.startsWith("/models")) return this.#model(request, path);
    if (path.startsWith("/services")) return this.#service(request, path);
    if (path.startsWith("/buckets")) return this.#object(request, path, bytes);
    return refuse(404, "APIG.0101", "The API does not exist");
  }

  #tokenBody(): object {
    const domain = { id: "d".repeat(32), name: ADMINISTRATOR.domain };
    return {
      token: {
        expires_at: new Date(NOW + 86_400_000).toISOString(),
        project: { ...PROJECT, domain },
        user: { id: "e".repeat(32), name: ADMINISTRATOR.user, domain },
      },
    };
  }

  #login({ body }: Recorded): Answer {
    const { auth } = JSON.parse(body) as {
      auth: { identity: { password: { user: { password: string } } } };
    };
    if (auth.identity.password.user.password !== this.password) {
      return {
        status: 401,
        body: { error: { code: 401, message: "The username or password is wrong.", title: "Unauthorized" } },
      };
    }
    const token = `MP1.${randomUUID()}`;
    this.tokens.add(token);
    return { status: 201, body: this.#tokenBody(), headers: { "x-subject-token": token } };
  }

  #model({ method, query, body }: Recorded, path: string): Answer {
    const [, , id, rest] = path.split("/");
    const view = ({ events: _events, ...row }: FakeModel): Record<string, unknown> => ({
      ...row,
      description: "",
      model_size: 4096,
      create_at: NOW - 180_000,
    });
    if (id === undefined && method === "GET") {
      const name = query.get("model_name");
      const rows = this.models.filter((row) => name === null || row.model_name.includes(name));
      return page("models", rows.map(view), query);
    }
    if (id === undefined) {
      const wanted = JSON.parse(body) as Record<string, string>;
      const model = this.addModel(
        wanted["model_name"] ?? "",
        wanted["model_version"] ?? "",
        "publishing",
        wanted["source_location"],
      );
      return { status: 200, body: { model_id: model.model_id } };
    }
    const model = this.models.find((row) => row.model_id === id);
    if (model === undefined) return refuse(404, "ModelArts.3001", `Model (${id}) does not exist.`);
    if (rest === "events") {
      const type = query.get("event_type");
      return page(
        "events",
        model.events.filter((row) => type === null || row.event_type === type),
        query,
      );
    }
    if (method === "DELETE") {
      this.models.splice(this.models.indexOf(model), 1);
      return { status: 200, body: { delete_success_list: [id], delete_failed_list: [] } };
    }
    const answer: Answer = { status: 200, body: view(model) };
    if (model.model_status === "publishing") {
      model.model_status = this.importEnds.status;
      model.events.push(
        this.importEnds.status === "failed"
          ? { event_type: "abnormal", event_info: this.importEnds.because, occur_time: NOW + 1000 }
          : { event_type: "normal", event_info: "model published", occur_time: NOW + 1000 },
      );
    }
    return answer;
  }

  #service({ method, query, body }: Recorded, path: string): Answer {
    const [, , id, rest] = path.split("/");
    const view = ({ events: _e, next: _n, update: _u, ...row }: FakeService): Record<string, unknown> => ({
      ...row,
      description: "",
      publish_at: NOW - 3_600_000,
      invocation_times: 12,
      failed_times: 1,
      access_address: `${this.url}/v1/infers/${row.service_id}`,
      config: row.config.map((one) => {
        const model = this.models.find((row) => row.model_id === one["model_id"]);
        return {
          ...one,
          model_name: model?.model_name,
          model_version: model?.model_version,
          status: row.status,
        };
      }),
    });
    if (id === undefined && method === "GET") {
      const name = query.get("service_name");
      const rows = this.services.filter((row) => name === null || row.service_name.includes(name));
      return page("services", rows.map(view), query);
    }
    if (id === undefined) {
      const wanted = JSON.parse(body) as { service_name: string; config: Record<string, unknown>[] };
      if (this.services.some((row) => row.service_name === wanted.service_name)) {
        return refuse(409, "ModelArts.3503", `Service ${wanted.service_name} already exists.`);
      }
      const model = this.models.find((row) => row.model_id === wanted.config[0]?.["model_id"]);
      if (model === undefined) return refuse(404, "ModelArts.3507", "Model does not exist.");
      const service = this.addService(wanted.service_name, model, "deploying");
      service.config = wanted.config;
      service.next = this.deployEnds.status;
      return { status: 200, body: { service_id: service.service_id, resource_ids: [] } };
    }
    const service = this.services.find((row) => row.service_id === id);
    if (service === undefined) return refuse(404, "ModelArts.3502", `Service ${id} does not exist.`);
    if (rest === "events") return page("events", service.events, query);
    if (rest === "logs")
      return { status: 200, body: { logs: service.update === null ? [] : [service.update] } };
    if (rest === "instance-logs") return { status: 200, body: this.logs };
    if (method === "DELETE") {
      service.status = "deleting";
      service.next = "gone";
      return { status: 200, body: {} };
    }
    if (method === "PUT") return this.#change(service, JSON.parse(body) as Record<string, unknown>);
    const answer: Answer = { status: 200, body: view(service) };
    this.#advance(service);
    return answer;
  }

  #change(service: FakeService, wanted: Record<string, unknown>): Answer {
    if (wanted["status"] !== undefined) {
      if (wanted["status"] === service.status) {
        return refuse(400, "ModelArts.3519", `Service in state ${service.status} cannot be started.`);
      }
      service.next = wanted["status"] === "running" ? "running" : "stopped";
      service.status = wanted["status"] === "running" ? "deploying" : "stopping";
      return { status: 200, body: {} };
    }
    if (!Array.isArray(wanted["config"])) return { status: 200, body: {} };
    service.config = wanted["config"] as Record<string, unknown>[];
    service.status = "deploying";
    service.next = this.deployEnds.status;
    service.update = { update_time: NOW, result: "RUNNING" };
    return { status: 200, body: { update_time: NOW, resource_ids: [] } };
  }

  #advance(service: FakeService): void {
    const { next } = service;
    if (next === null || !this.startEnds) return;
    service.next = null;
    if (next === "gone") {
      this.services.splice(this.services.indexOf(service), 1);
      return;
    }
    const failed = next === "failed" || next === "rolled-back";
    if (service.update !== null) service.update.result = failed ? "FAIL" : "SUCCESS";
    service.status = next === "rolled-back" ? "running" : next;
    const because = this.deployEnds.status === "running" ? "service is running" : this.deployEnds.because;
    service.events.push({
      event_type: failed ? "abnormal" : "normal",
      event_info: because,
      occur_time: NOW + 2000,
    });
  }

  #object({ method, query }: Recorded, path: string, bytes: Buffer): Answer {
    const [, , bucket = "", , ...rest] = path.split("/");
    const key = rest.map(decodeURIComponent).join("/");
    if (key === "" && method === "GET" && bucket === "") {
      return { status: 200, body: { count: 1, buckets: [{ name: "modelport", created_at: NOW }] } };
    }
    if (key === "" && method === "GET") {
      const prefix = `${bucket}/${query.get("prefix") ?? ""}`;
      const found = [...this.objects].filter(([name]) => name.startsWith(prefix));
      // With a delimiter: what goes on behind it is told as one prefix.
      const level = (name: string): string | null => {
        const end = query.get("delimiter") === "/" ? name.indexOf("/", prefix.length) : -1;
        return end === -1 ? null : name.slice(bucket.length + 1, end + 1);
      };
      const prefixes = [...new Set(found.flatMap(([name]) => level(name) ?? []))];
      const objects = found
        .filter(([name]) => level(name) === null)
        .map(([name, content]) => ({
          key: name.slice(bucket.length + 1),
          size: content.byteLength,
          etag: createHash("md5").update(content).digest("hex"),
          modified_at: NOW - 60_000,
        }));
      return { status: 200, body: { count: objects.length, objects, prefixes, next: null } };
    }
    if (key === "") return { status: 200, body: { name: bucket } };
    const name = `${bucket}/${key}`;
    if (method === "PUT") {
      this.objects.set(name, bytes);
      return { status: 200, body: { key, size: bytes.byteLength } };
    }
    if (method === "DELETE") {
      this.objects.delete(name);
      return { status: 204, body: "" };
    }
    const content = this.objects.get(name);
    if (content === undefined) {
      return refuse(404, "ModelArts.3551", `The object obs://${name} does not exist.`);
    }
    return { status: 200, body: content };
  }

  #predict({ path, body }: Recorded): Answer {
    const service = this.services.find((row) => path.startsWith(`/v1/infers/${row.service_id}`));
    if (service === undefined) return refuse(404, "APIG.0101", "The API does not exist");
    if (service.status === "stopped") {
      return refuse(400, "ModelArts.4203", "Invalid request because requested service is unavailable.", {
        hint: "Start it with `modelport service start`.",
      });
    }
    const rows = (JSON.parse(body) as { data: { req_data: unknown[] } }).data.req_data;
    return { status: 200, body: { data: { resp_data: rows.map(() => ({ predictresult: "setosa" })) } } };
  }
}

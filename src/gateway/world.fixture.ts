/**
 * A gateway with everything around it for tests: a control that can go away and come back on its Unix socket, instances
 * that answer as a test says, tokens signed with a key of the test's own. Real sockets throughout.
 */
import { generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { IncomingMessage, RequestListener, Server, ServerResponse } from "node:http";
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import type {
  GroupRoute,
  RoutingTable,
  ServiceRoute,
  TokenPayload,
  UsageReport,
} from "../core/routing-table.ts";
import { encodeToken, tokenToSign } from "../core/token.ts";
import { systemClock } from "../telemetry/clock.ts";
import { createLogger } from "../telemetry/logger.ts";
import { runGateway } from "./main.ts";
import type { Gateway, GatewayOptions } from "./main.ts";
import { makeCertificate } from "./tls.fixture.ts";
import { callOver } from "./transports.fixture.ts";
import type { Answer, CallOptions, Transport } from "./transports.fixture.ts";
import type { AccessRecord } from "./record.ts";

export const PROJECT = "0123456789abcdef0123456789abcdef";

export interface FakeControl {
  /** Every `applied` a poll has brought, in order. */
  readonly applied: number[];
  readonly usage: UsageReport[];
  readonly goodbyes: string[];
  /** How often the next usage reports are taken without the gateway hearing of it. */
  loseUsageAnswers: number;
  /** Publishes the next table; the version is filled in. Resolves to it without waiting for anybody. */
  publish(change: Partial<Pick<RoutingTable, "services" | "identity">>): number;
  /** Replaces the table as it stands, version included. */
  restore(table: RoutingTable): void;
  /** Resolves when the gateway has acknowledged `version`. */
  acknowledged(version: number): Promise<void>;
  /** Answers everything that is not internal; the default says what it saw. */
  handler: RequestListener;
  start(): Promise<void>;
  stop(): Promise<void>;
}

const echo: RequestListener = (request, response) => {
  let size = 0;
  request.on("data", (chunk: Buffer) => (size += chunk.length));
  request.on("end", () => {
    const { method, url, headers } = request;
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ method, url, headers, size }));
  });
};

const createControl = (socketPath: string, first: RoutingTable): FakeControl => {
  let table = first;
  let waiting: (() => void)[] = [];
  let server: Server | null = null;
  const wake = (): void => {
    const woken = waiting;
    waiting = [];
    for (const one of woken) one();
  };
  const onTable = (url: URL, response: ServerResponse): void => {
    const applied = Number(url.searchParams.get("applied"));
    control.applied.push(applied);
    wake();
    const answer = (): void => {
      if (table.version !== applied) response.end(JSON.stringify(table));
      else if (response.destroyed) return;
      else if (url.searchParams.get("wait_ms") === "0") response.writeHead(204).end();
      else waiting.push(answer);
    };
    answer();
  };
  const onUsage = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    control.usage.push(JSON.parse(Buffer.concat(chunks).toString()) as UsageReport);
    wake();
    if (control.loseUsageAnswers > 0) {
      control.loseUsageAnswers -= 1;
      return void response.destroy();
    }
    response.writeHead(204).end();
  };
  const control: FakeControl = {
    applied: [],
    usage: [],
    goodbyes: [],
    loseUsageAnswers: 0,
    handler: echo,
    publish: (change) => {
      table = { ...table, ...change, version: table.version + 1 };
      wake();
      return table.version;
    },
    restore: (restored) => {
      table = restored;
      wake();
    },
    acknowledged: async (version) => {
      while (!control.applied.some((one) => one >= version)) {
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
    },
    start: async () => {
      server = createServer((request, response) => {
        const url = new URL(request.url ?? "/", "http://control");
        if (url.pathname === "/internal/table") return onTable(url, response);
        if (url.pathname === "/internal/metrics") return void response.end("fake_control_metric 1\n");
        if (url.pathname === "/internal/usage") return void onUsage(request, response);
        if (url.pathname.startsWith("/internal/gateways/")) {
          control.goodbyes.push(decodeURIComponent(url.pathname.split("/").pop() ?? ""));
          return void response.writeHead(204).end();
        }
        control.handler(request, response);
      });
      const listening = server;
      await new Promise<void>((resolve) => listening.listen(socketPath, resolve));
    },
    stop: async () => {
      const stopping = server;
      server = null;
      if (stopping === null) return;
      await new Promise<void>((resolve) => {
        stopping.close(() => resolve());
        stopping.closeAllConnections();
      });
    },
  };
  return control;
};

export interface World {
  /** Of its gateway. */
  readonly threads: number;
  readonly control: FakeControl;
  readonly port: number;
  readonly records: AccessRecord[];
  /** The gateway's directory for answers that wait. */
  readonly spoolDir: string;
  /** Starts an instance; returns its origin. It ends with the world. */
  instance(listener: RequestListener): Promise<string>;
  token(payload?: Partial<TokenPayload> & { readonly project?: string }): string;
  domainToken(): string;
  identity: RoutingTable["identity"];
  call(path: string, options?: CallOptions): Promise<Answer>;
  restartGateway(): Promise<void>;
  stopGateway(): Promise<void>;
  close(): Promise<void>;
}

export const group = (origins: readonly string[], more: Partial<GroupRoute> = {}): GroupRoute => {
  const id = more.id ?? randomUUID();
  return {
    id,
    modelId: randomUUID(),
    modelName: "iris",
    modelVersion: "1.0.0",
    weight: 100,
    concurrency: 64,
    queueMax: 256,
    instances: origins.map((url, index) => ({ id: `${id}-${index}`, url })),
    ...more,
  };
};

export const service = (groups: readonly GroupRoute[], more: Partial<ServiceRoute> = {}): ServiceRoute => ({
  id: randomUUID(),
  projectId: PROJECT,
  name: "iris",
  state: "serving",
  groups,
  ...more,
});

let defaultThreads = 1;
/** How many threads the gateways of this test file have from here on. */
export const useThreads = (threads: number): void => void (defaultThreads = threads);

let defaultTransport: Transport = "http1";
/** What `call` speaks in the worlds this test file makes from here on: one suite, several transports. */
export const speak = (transport: Transport): void => void (defaultTransport = transport);

export const createWorld = async (
  options: Partial<GatewayOptions> = {},
  transport: Transport = defaultTransport,
): Promise<World> => {
  const dir = await mkdtemp(join(tmpdir(), "mp-gateway-"));
  const keys = generateKeyPairSync("ed25519");
  const spki = keys.publicKey.export({ type: "spki", format: "der" }).toString("base64url");
  const identity = { keys: { k1: spki }, revokedTokens: [], refusedUsers: {} };
  const control = createControl(join(dir, "control.sock"), { version: 1, identity, services: [] });
  await control.start();
  const records: AccessRecord[] = [];
  const accessLog = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      for (const line of chunk.toString().trim().split("\n")) records.push(JSON.parse(line) as AccessRecord);
      done();
    },
  });
  const tls = transport === "http1" ? null : await makeCertificate(dir);
  const start = (port: number): Promise<Gateway> =>
    runGateway({
      listen: { host: "127.0.0.1", port, threads: defaultThreads },
      controlSocket: join(dir, "control.sock"),
      tableFile: join(dir, "table.json"),
      spoolDir: join(dir, "answers"),
      gatewayId: "gateway-under-test",
      bodyBytesMax: 1024 * 1024,
      predictTimeoutMs: 10_000,
      clock: systemClock,
      logger: createLogger("gateway", "silent"),
      accessLog,
      tls,
      ...options,
    });
  let gateway = await start(0);
  const { port } = gateway;
  const instances: Server[] = [];
  const mint = (payload: TokenPayload): string => {
    const text = tokenToSign(payload);
    return encodeToken(text, sign(null, Buffer.from(text), keys.privateKey));
  };
  const base = (): TokenPayload => ({
    jti: randomUUID(),
    kid: "k1",
    user: "alice",
    domain: "acme",
    iat: systemClock.now() - 1000,
    exp: systemClock.now() + 3_600_000,
  });
  const goodToken = mint({ ...base(), project: PROJECT });
  return {
    threads: defaultThreads,
    control,
    port,
    records,
    spoolDir: join(dir, "answers"),
    identity,
    token: (payload = {}) => mint({ ...base(), project: PROJECT, ...payload }),
    domainToken: () => mint(base()),
    instance: async (listener) => {
      // The gateway's probes are answered here: a test counts and holds the requests it made itself.
      const server = createServer({ keepAliveTimeout: 30_000 }, (request, response) =>
        request.headers["user-agent"] === "modelport-probe" ? response.end() : listener(request, response),
      );
      instances.push(server);
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    },
    call: (path, call = {}) =>
      callOver(transport, port, path, { ...call, token: call.token === undefined ? goodToken : call.token }),
    restartGateway: async () => {
      await gateway.close();
      gateway = await start(port);
    },
    stopGateway: () => gateway.close(),
    close: async () => {
      for (const server of instances) {
        server.closeAllConnections();
        server.close();
      }
      await gateway.close();
      await control.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
};

/** Sends bytes as they are and resolves to everything that came back once the other side ends. */
export const sendRaw = (port: number, text: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(text, "latin1"));
    let answer = "";
    socket.on("data", (bytes: Buffer) => (answer += bytes.toString("latin1")));
    socket.on("error", reject);
    socket.on("close", () => resolve(answer));
  });

/** Resolves when `condition` holds; the test's own timeout is the limit. */
export const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await systemClock.sleep(5);
};

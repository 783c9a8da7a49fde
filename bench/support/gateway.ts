/**
 * A gateway without the rest of the platform: control is a few lines that hand out one table, instances are whatever
 * the bench started, callers hold a token signed with a key of the bench's own.
 */
import { generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import type { RoutingTable, ServiceRoute } from "../../src/core/routing-table.ts";
import { encodeToken, tokenToSign } from "../../src/core/token.ts";
import { sleep } from "./bench.ts";
import type { Bench, Started } from "./bench.ts";

const PROJECT = "0".repeat(32);

export interface ServiceWanted {
  /** Ports of its instances. */
  readonly ports: readonly number[];
  readonly concurrency: number;
  readonly queueMax: number;
}

export interface GatewayUnderTest extends Started {
  readonly token: string;
  /** The path of each service, in the order asked for. */
  readonly paths: readonly string[];
}

export const startGateway = async (
  bench: Bench,
  wanted: readonly ServiceWanted[],
  /** `dir`: below the bench's; for several gateways in one bench. */
  { threads = 1, dir: below = "" }: { readonly threads?: number; readonly dir?: string } = {},
): Promise<GatewayUnderTest> => {
  const dir = join(bench.dir, below);
  mkdirSync(dir, { recursive: true });
  const keys = generateKeyPairSync("ed25519");
  const services = wanted.map((service, index): ServiceRoute => {
    const instances = service.ports.map((port, n) => ({
      id: `${index}-${n}`,
      url: `http://127.0.0.1:${port}`,
    }));
    const { concurrency, queueMax } = service;
    const model = { modelId: randomUUID(), modelName: "bench", modelVersion: "1.0.0" };
    const group = { id: `g${index}`, ...model, weight: 100, concurrency, queueMax, instances };
    return {
      id: randomUUID(),
      projectId: PROJECT,
      name: `bench-${index}`,
      state: "serving",
      groups: [group],
    };
  });
  const publicKey = keys.publicKey.export({ type: "spki", format: "der" }).toString("base64url");
  const identity = { keys: { k: publicKey }, revokedTokens: [], refusedUsers: {} };
  const table: RoutingTable = { version: 1, identity, services };
  const control = createServer((request, response) => {
    if (request.method !== "GET") return void request.resume().on("end", () => response.writeHead(204).end());
    // The table never changes: a poll that has it is kept waiting.
    if (request.url?.includes("applied=1")) return;
    response.end(JSON.stringify(table));
  });
  await new Promise<void>((resolve) => control.listen(join(dir, "control.sock"), resolve));

  const unsigned = tokenToSign({
    jti: randomUUID(),
    kid: "k",
    user: "u",
    domain: "d",
    project: PROJECT,
    iat: Date.now(),
    exp: Date.now() + 3_600_000,
  });
  const started = await bench.fork(join(import.meta.dirname, "gateway-process.ts"), [dir, String(threads)]);
  // It listens before it has a table, and refuses predictions until then.
  while (!(await fetch(`http://127.0.0.1:${started.port}/healthz`)).ok) await sleep(20);
  return {
    ...started,
    token: encodeToken(unsigned, sign(null, Buffer.from(unsigned), keys.privateKey)),
    paths: services.map(({ id }) => `/v1/infers/${id}`),
  };
};

/** A prediction of about 100 bytes. */
export const SMALL_BODY = JSON.stringify({
  data: { req_data: [{ sepal_length: 5.1, sepal_width: 3.5, petal_length: 1.4, petal_width: 0.2 }] },
});

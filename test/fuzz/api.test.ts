/** Whatever is sent, the API answers in the documented shape and never with a 500. On both databases, through inject. */
import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createWorld } from "../support/api-world.ts";
import type { Answer, ApiWorld } from "../support/api-world.ts";
import { startPostgres } from "../support/postgres.ts";
import type { TestPostgres } from "../support/postgres.ts";

let world: ApiWorld;
let modelId: string;
let serviceId: string;
const check = (asked: string, answer: Answer): void => {
  // As the server sees it: dots are resolved before a request is sent.
  const url = new URL(asked, "http://modelport.test").pathname;
  const where = `${url} → ${answer.status} ${answer.text.slice(0, 300)}`;
  expect(answer.status, where).toBeLessThan(500);
  expect(answer.headers["x-request-id"], where).toMatch(/^[A-Za-z0-9_-]{8,64}$/);
  if (answer.status < 400) return;
  if (url.startsWith("/v3")) {
    expect(answer.body?.error?.code, where).toBe(answer.status);
    expect(answer.body.error.message, where).not.toBe("");
    return;
  }
  expect(answer.body?.error_code, where).toMatch(/^(ModelArts|APIGW)\.\d{4}$/);
  expect(answer.body.error_msg, where).toBeTypeOf("string");
  for (const problem of answer.body.problems ?? []) {
    expect(problem.message, where).toMatch(/./);
    expect(problem.fix, where).toMatch(/./);
  }
};

/** Texts that have broken parsers, databases and paths before. */
const nasty = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.constantFrom(
    "",
    "0",
    "-1",
    "1e999",
    "%",
    "_",
    "\\",
    "'; drop table services; --",
    "__proto__",
    "constructor",
    "../../etc/passwd",
    "obs://packages/iris",
    "obs://",
    "\ud800",
    "\u0000",
    "a".repeat(3000),
    "9".repeat(30),
    "true",
    "null",
  ),
);
const value: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 4, arbitrary: nasty },
  { weight: 2, arbitrary: fc.double() },
  { weight: 2, arbitrary: fc.integer() },
  { weight: 1, arbitrary: fc.constantFrom(null, true, false, [], {}, [[]], Number.MAX_SAFE_INTEGER) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
);

/** A good body in which a few members are replaced, removed or added, at any depth. */
const mutated = (good: unknown): fc.Arbitrary<unknown> => {
  if (Array.isArray(good)) {
    return fc.oneof(
      { weight: 3, arbitrary: fc.tuple(...good.map(mutated)) },
      { weight: 1, arbitrary: fc.array(good.length === 0 ? value : mutated(good[0]), { maxLength: 4 }) },
      { weight: 1, arbitrary: value },
    );
  }
  if (typeof good === "object" && good !== null) {
    const members = Object.fromEntries(Object.entries(good).map(([k, v]) => [k, mutated(v)]));
    return fc.oneof(
      { weight: 8, arbitrary: fc.record(members, { requiredKeys: [] }) },
      { weight: 8, arbitrary: fc.record(members) },
      {
        weight: 2,
        arbitrary: fc
          .tuple(fc.record(members), fc.dictionary(nasty, value, { maxKeys: 3 }))
          .map(([a, b]) => ({ ...a, ...b })),
      },
      { weight: 1, arbitrary: value },
    );
  }
  return fc.oneof({ weight: 9, arbitrary: fc.constant(good) }, { weight: 2, arbitrary: value });
};

const BODIES = {
  model: {
    model_name: "m",
    model_version: "1.0.0",
    model_type: "XGBoost",
    source_location: "obs://packages/iris",
    description: "d",
    initial_config: '{"protocol":"http"}',
    dependencies: [
      {
        installer: "pip",
        packages: [{ package_name: "numpy", package_version: "1.15.0", restraint: "EXACT" }],
      },
    ],
    install_type: ["real-time"],
    model_docs: [{ doc_name: "d", doc_url: "https://x" }],
    workspace_id: "0",
  },
  schedule: [{ type: "stop", time_unit: "DAYS", duration: 1 }],
  token: (name: string, password: string, domain: string) => ({
    auth: {
      identity: { methods: ["password"], password: { user: { name, password, domain: { name: domain } } } },
      scope: { project: { name: "default" } },
    },
  }),
  user: { user: { name: "u", password: "long enough", enabled: true, description: "" } },
};
const configOf = () => [
  {
    model_id: modelId,
    weight: "100",
    specification: "custom",
    custom_spec: { cpu: 0.5, memory: 512 },
    instance_count: 1,
    envs: { A: "1" },
    deploy_timeout_in_seconds: 20,
    additional_properties: { max_surge: 1, max_unavailable: 0, termination_grace_period_seconds: 60 },
  },
];

// The API decides the same on both; what is left for the second is what a database makes of odd values.
describe.each([
  ["SQLite", 1],
  ["PostgreSQL", 0.3],
])("on %s", (database, share) => {
  const runs = (numRuns: number) => ({ numRuns: Math.ceil(numRuns * share), endOnFailure: true });
  let postgres: TestPostgres | null = null;
  beforeAll(async () => {
    postgres = database === "PostgreSQL" ? await startPostgres() : null;
    world = await createWorld(
      postgres === null ? {} : { database: { kind: "postgres", url: await postgres.createDatabase() } },
    );
    modelId = await world.model();
    serviceId = await world.service("svc", [
      { model_id: modelId, weight: 100, specification: "modelarts.vm.cpu.2u", instance_count: 1 },
    ]);
    await world.settle(serviceId, "running");
  });
  afterAll(async () => {
    await world.close();
    await postgres?.stop();
  });

  test("bodies", async () => {
    const writes: readonly (readonly ["POST" | "PUT" | "PATCH", () => string, () => unknown])[] = [
      ["POST", () => `${world.base}/models`, () => BODIES.model],
      [
        "POST",
        () => `${world.base}/services`,
        () => ({ service_name: "s", infer_type: "real-time", config: configOf(), schedule: BODIES.schedule }),
      ],
      [
        "PUT",
        () => `${world.base}/services/${serviceId}`,
        () => ({ description: "", config: configOf(), schedule: [] }),
      ],
      [
        "PATCH",
        () => `${world.base}/services/${serviceId}`,
        () => [{ op: "replace", path: "/config/0/envs", value: { A: "1" } }],
      ],
      [
        "PUT",
        () => `${world.base}/services/${serviceId}/property`,
        () => ({ changed_property: "instance_count", configs: [{ model_id: modelId, changed_value: "2" }] }),
      ],
      ["POST", () => "/v3/users", () => BODIES.user],
      [
        "PATCH",
        () => `/v3/users/${world.first.user.id}`,
        () => ({ user: { description: "d", enabled: true } }),
      ],
      ["POST", () => "/v3/projects", () => ({ project: { name: "p" } })],
      [
        "POST",
        () => "/internal/usage",
        () => ({ gateway: "g", sequence: 1, services: [{ id: serviceId, invocations: 1, failures: 0 }] }),
      ],
    ];
    for (const [method, url, good] of writes) {
      await fc.assert(
        fc.asyncProperty(mutated(good()), async (body) => {
          check(url(), await world.call(method, url(), { body: JSON.stringify(body) ?? "" }));
          // So that updates are decided in every status, not only in the one the first success leaves behind.
          await world.settle(serviceId, "running");
        }),
        runs(130),
      );
    }
    // Password hashing makes each of these slow.
    await fc.assert(
      fc.asyncProperty(mutated(BODIES.token("admin", "wrong", "modelport")), async (body) => {
        check(
          "/v3",
          await world.call("POST", "/v3/auth/tokens", { token: null, body: JSON.stringify(body) ?? "" }),
        );
      }),
      runs(50),
    );
  }, 300_000);

  test("bodies that are not JSON", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          nasty,
          fc.json().map((t) => t.slice(1)),
        ),
        async (text) => {
          check(world.base, await world.call("POST", `${world.base}/models`, { body: text }));
        },
      ),
      runs(150),
    );
  }, 120_000);

  test("queries", async () => {
    const urls = [
      "models",
      "services",
      `services/${serviceId}/events`,
      `models/${modelId}/events`,
      `services/${serviceId}/logs`,
      "services/specifications",
      "buckets/packages/objects",
    ];
    const names = (
      "offset limit sort_by order model_name service_name exact_match model_version status event_type event_info " +
      "start_time update_time prefix after delimiter model_id x"
    ).split(" ");
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...urls),
        fc.array(fc.tuple(fc.constantFrom(...names), nasty), { maxLength: 4 }),
        async (path, pairs) => {
          const query = pairs.map(([k, v]) => `${k}=${encodeURIComponent(v.toWellFormed())}`).join("&");
          const url = `${world.base}/${path}?${query}`;
          check(url, await world.call("GET", url));
        },
      ),
      runs(450),
    );
  }, 120_000);

  test("paths, methods and ids", async () => {
    const segment = fc.oneof(
      fc.constantFrom(
        "models",
        "services",
        "buckets",
        "objects",
        "packages",
        "property",
        "events",
        "v1",
        "v3",
        "users",
        "%",
      ),
      fc.constantFrom(
        "%zz",
        "%2e%2e",
        "%2F",
        "..",
        ".",
        "ai-engine-runtimes",
        "specifications",
        "a,b",
        ",",
        randomUUID(),
      ),
      nasty.map((text) => encodeURIComponent(text.toWellFormed())),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("GET", "POST", "PUT", "PATCH", "DELETE"),
        fc.boolean(),
        fc.array(segment, { maxLength: 5 }),
        async (method, isInProject, parts) => {
          const path = (isInProject ? `${world.base}/` : "/") + parts.join("/");
          // Two slashes would name a host to inject, not a path.
          if (path.startsWith("//")) return;
          // The fixtures stay: deleting them would make the rest of the run say nothing.
          if (method === "DELETE" && (path.includes(modelId) || path.includes(serviceId))) return;
          check(path, await world.call(method, path, method === "GET" ? {} : { body: "{}" }));
        },
      ),
      runs(450),
    );
  }, 120_000);

  test("tokens", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc
          .oneof(
            nasty,
            nasty.map((t) => `MP1.${t}.${"A".repeat(86)}`),
          )
          .filter((t) => /^[\x20-\x7e]*$/.test(t)),
        async (token) => {
          const answer = await world.call("GET", `${world.base}/models`, { token });
          check(world.base, answer);
          expect(answer.status).toBe(401);
        },
      ),
      runs(150),
    );
  }, 120_000);
});

/** A table is taken whole or refused with the first place that is wrong. */
import { expect, test } from "vitest";
import type { RoutingTable } from "../core/routing-table.ts";
import { readTable } from "./table-shape.ts";

const group = (id: string) => ({
  id,
  modelId: "m",
  modelName: "iris",
  modelVersion: "1.0.0",
  weight: 100,
  concurrency: 2,
  queueMax: 0,
  instances: [{ id: "i", url: "http://127.0.0.1:40123" }],
});
const service = (id: string, groups = [group(`${id}-g`)]) => ({
  id,
  projectId: "p",
  name: "iris",
  state: "serving" as const,
  groups,
});
const TABLE: RoutingTable = {
  version: 0,
  identity: { keys: { k: "AbC_-1" }, revokedTokens: ["t"], refusedUsers: { u: 1.5 } },
  services: [service("s"), service("s2")],
};

const reasonFor = (change: (table: typeof TABLE) => object): string => {
  const read = readTable(JSON.stringify(change(structuredClone(TABLE))));
  return read.ok ? "" : read.reason;
};

test("takes a table that fits, with origins by name, address and IPv6 address", () => {
  expect(readTable(JSON.stringify(TABLE))).toEqual({ ok: true, table: TABLE });
  for (const url of ["http://node-1.local", "http://10.0.0.1:80", "http://[::1]:8080"]) {
    const table = { ...TABLE, services: [service("s", [{ ...group("g"), instances: [{ id: "i", url }] }])] };
    expect(readTable(JSON.stringify(table)).ok).toBe(true);
  }
});

test("takes a table written before there were health paths and a bound on waiting", () => {
  expect(JSON.stringify(TABLE)).not.toMatch(/healthPath|queueAgeMs/);
  expect(readTable(JSON.stringify(TABLE)).ok).toBe(true);
  const told = { ...group("g"), healthPath: "/healthz?deep=1", queueAgeMs: 500 };
  const table = { ...TABLE, services: [service("s", [told])] };
  expect(readTable(JSON.stringify(table))).toEqual({ ok: true, table });
});

test("refuses what does not fit and names the place", () => {
  expect(readTable("{").ok).toBe(false);
  expect(readTable("null")).toEqual({ ok: false, reason: "the table does not fit" });
  expect(reasonFor((t) => ({ ...t, version: -1 }))).toBe("version does not fit");
  expect(reasonFor((t) => ({ ...t, version: 1.5 }))).toBe("version does not fit");
  expect(reasonFor((t) => ({ ...t, services: {} }))).toBe("services does not fit");
  expect(reasonFor((t) => ({ ...t, identity: { ...t.identity, keys: { k: "a/b" } } }))).toBe(
    "identity.keys.k does not fit",
  );
  expect(reasonFor((t) => ({ ...t, identity: { ...t.identity, revokedTokens: [1] } }))).toBe(
    "identity.revokedTokens.0 does not fit",
  );
  expect(reasonFor((t) => ({ ...t, identity: { ...t.identity, refusedUsers: { u: "1" } } }))).toBe(
    "identity.refusedUsers.u does not fit",
  );
  expect(reasonFor((t) => ({ ...t, services: [{ ...service("s"), state: "paused" }] }))).toBe(
    "services.0.state does not fit",
  );
  for (const [name, value] of Object.entries({
    queueAgeMs: 0,
    healthPath: "/health HTTP/1.1\r\nX: y",
    id: "",
    modelName: null,
    weight: 101,
    concurrency: 0,
    queueMax: "1",
    instances: [{ id: "i", url: "https://127.0.0.1/" }],
  })) {
    const reason = reasonFor((t) => ({ ...t, services: [service("s", [{ ...group("g"), [name]: value }])] }));
    expect(reason).toMatch(new RegExp(`^services\\.0\\.groups\\.0\\.${name}(?:\\.0\\.url)? does not fit$`));
  }
});

test("refuses an origin with a port that cannot be", () => {
  const instances = [{ id: "i", url: "http://127.0.0.1:70000" }];
  expect(reasonFor((t) => ({ ...t, services: [service("s", [{ ...group("g"), instances }])] }))).toBe(
    "services.0.groups.0.instances.0.url does not fit",
  );
});

test("refuses a service or group that appears twice", () => {
  expect(reasonFor((t) => ({ ...t, services: [service("s"), service("s")] }))).toBe(
    "service s appears twice",
  );
  expect(reasonFor((t) => ({ ...t, services: [service("s", [group("g"), group("g")])] }))).toBe(
    "group g appears twice",
  );
});

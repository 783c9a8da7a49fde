/**
 * What gateways speak with control (core/routing-table.ts): the routing table by long poll, and usage reports. Reachable
 * on control's private socket only; the gateway never forwards `/internal`.
 */
import { z } from "zod";
import { queryInteger } from "../../contract/modelarts/common.ts";
import type { RoutingTable } from "../../core/routing-table.ts";
import type { App } from "../app.ts";
import type { ApiDeps } from "../deps.ts";

const WAIT_MS_MAX = 60_000;

const gatewayId = z.string().min(1).max(128);
const tableQuery = z.object({
  gateway: gatewayId,
  /** -1: none applied yet. */
  applied: z
    .string()
    .regex(/^(-1|\d{1,15})$/, "a table version, or -1")
    .transform(Number),
  wait_ms: queryInteger(0, WAIT_MS_MAX, 0),
  /** Gateways that are known dead; once or several times. */
  replaces: z
    .union([gatewayId, z.array(gatewayId).max(64)])
    .optional()
    .transform((ids) => (ids === undefined ? [] : [ids].flat())),
});

const count = z.int().min(0);
const usageReport = z.object({
  gateway: gatewayId,
  sequence: count,
  services: z.array(z.object({ id: z.string().max(64), invocations: count, failures: count })).max(100_000),
});

export const gatewayRoutes = (app: App, deps: ApiDeps, closing: AbortSignal): void => {
  const { routes, changes, services } = deps.store;
  const keys = {
    [deps.keys.kid]: deps.keys.publicKey.export({ type: "spki", format: "der" }).toString("base64url"),
  };

  const table = async (): Promise<RoutingTable> => {
    const stored = await routes.table();
    return { ...stored, identity: { ...stored.identity, keys } };
  };

  app.get("/internal/table", { schema: { hide: true, querystring: tableQuery } }, async (request, reply) => {
    const { gateway, applied, wait_ms: waitMs, replaces } = request.query;
    const left = new AbortController();
    reply.raw.once("close", () => left.abort());
    const ended = AbortSignal.any([left.signal, closing]);
    const deadline = deps.clock.monotonicMs() + waitMs;
    const current = await routes.version();
    // A version from the future is of another data directory: nothing is acknowledged by it.
    if (applied >= 0 && applied <= current) await routes.acknowledge(gateway, applied, deps.clock.now());
    // After its own acknowledgement: until then the dead one's held for it.
    for (const dead of replaces) if (dead !== gateway) await routes.forget(dead);

    let changed = new AbortController();
    const stop = changes.onChange(() => changed.abort());
    try {
      for (;;) {
        // Replaced before reading, so a change during the read ends the next wait at once.
        if (changed.signal.aborted) changed = new AbortController();
        // Unequal and not just newer: after a restore the table's version may have gone back.
        if ((await routes.version()) !== applied) return await table();
        const remainingMs = deadline - deps.clock.monotonicMs();
        if (remainingMs <= 0 || ended.aborted) return reply.code(204).send(null);
        await deps.clock.sleep(remainingMs, AbortSignal.any([changed.signal, ended]));
      }
    } finally {
      stop();
    }
  });

  app.post("/internal/usage", { schema: { hide: true, body: usageReport } }, async (request, reply) => {
    const { gateway, sequence, services: counts } = request.body;
    await services.addUsage(counts, gateway, sequence);
    return reply.code(204).send(null);
  });

  app.get("/internal/metrics", { schema: { hide: true } }, async (_request, reply) =>
    reply.type("text/plain; version=0.0.4; charset=utf-8").send(await deps.metrics()),
  );

  app.delete(
    "/internal/gateways/:gateway",
    { schema: { hide: true, params: z.object({ gateway: gatewayId }) } },
    async (request, reply) => {
      await routes.forget(request.params.gateway);
      return reply.code(204).send(null);
    },
  );
};

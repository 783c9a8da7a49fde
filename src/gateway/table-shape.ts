/**
 * The shape of a routing table as it comes off the wire or the disk. A table that does not fit is refused whole: half a
 * table would route to half of the services.
 */
import { z } from "zod";
import type { RoutingTable } from "../core/routing-table.ts";

const id = z.string().min(1).max(256);
const origin = z.string().regex(/^http:\/\/(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?$/);

const instance = z.object({ id, url: origin });
const group = z.object({
  id,
  modelId: z.string(),
  modelName: z.string(),
  modelVersion: z.string(),
  weight: z.number().min(0).max(100),
  concurrency: z.int().min(1),
  queueMax: z.int().min(0),
  instances: z.array(instance),
});
const service = z.object({
  id,
  projectId: id,
  name: z.string(),
  state: z.enum(["serving", "stopped"]),
  groups: z.array(group),
});
const table = z.object({
  version: z.int().min(0),
  identity: z.object({
    keys: z.record(z.string(), z.string().regex(/^[A-Za-z0-9_-]+$/)),
    revokedTokens: z.array(z.string()),
    refusedUsers: z.record(z.string(), z.number()),
  }),
  services: z.array(service),
}) satisfies z.ZodType<RoutingTable>;

/** Reads a table from JSON text. The reason names the first place that is wrong. */
export const readTable = (
  text: string,
): { ok: true; table: RoutingTable } | { ok: false; reason: string } => {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { ok: false, reason: "not JSON" };
  }
  const parsed = table.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return { ok: false, reason: `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "does not fit"}` };
  }
  const services = new Set<string>();
  const groups = new Set<string>();
  for (const one of parsed.data.services) {
    if (services.has(one.id)) return { ok: false, reason: `service ${one.id} appears twice` };
    services.add(one.id);
    for (const part of one.groups) {
      if (groups.has(part.id)) return { ok: false, reason: `group ${part.id} appears twice` };
      groups.add(part.id);
    }
  }
  return { ok: true, table: parsed.data };
};

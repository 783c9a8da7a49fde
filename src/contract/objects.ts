/** Schemas of our own, additive object operations: the buckets behind `obs://bucket/key`, within one project. */
import { z } from "zod";
import { queryInteger } from "./modelarts/common.ts";

export const bucketsAnswer = z.object({
  count: z.number(),
  buckets: z.array(z.object({ name: z.string(), created_at: z.number() })),
});

export const bucketParams = z.object({ project_id: z.string(), bucket: z.string() });
export const bucketAnswer = z.object({ name: z.string() });
export const objectParams = z.object({ project_id: z.string(), bucket: z.string(), "*": z.string() });

export const objectsQuery = z.object({
  prefix: z.string().max(1024).default(""),
  delimiter: z.enum(["/", ""]).optional(),
  after: z.string().max(1024).optional(),
  limit: queryInteger(1, 1000, 1000),
});

export const objectInfo = z.object({
  key: z.string(),
  size: z.number(),
  etag: z.string(),
  modified_at: z.number(),
});

export const objectsAnswer = z.object({
  count: z.number(),
  objects: z.array(objectInfo),
  prefixes: z.array(z.string()),
  next: z.string().nullable(),
});

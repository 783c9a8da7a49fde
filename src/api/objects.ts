/**
 * Buckets and objects over HTTP (ours, additive): what `obs://bucket/key` names, within the caller's project. Bodies
 * stream both ways and are never held; what a client sends is taken as bytes, whatever its content type says.
 */
import type { Readable } from "node:stream";
import { errorBody, projectParams } from "../contract/modelarts/common.ts";
import {
  bucketAnswer,
  bucketParams,
  bucketsAnswer,
  objectInfo,
  objectParams,
  objectsAnswer,
  objectsQuery,
} from "../contract/objects.ts";
import { noContent } from "../contract/iam.ts";
import { fail } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ObjectInfo } from "../objects/objects.ts";
import { projectCallerOf } from "./app.ts";
import type { App } from "./app.ts";
import { headerText } from "./authenticate.ts";
import type { ApiDeps } from "./deps.ts";

const tags = ["Objects"];
const ROOT = "/v1/:project_id/buckets";

const view = (info: ObjectInfo) => ({
  key: info.key,
  size: info.sizeBytes,
  etag: info.etag,
  modified_at: info.modifiedAt as number,
});

/** What S3 and OBS clients ask for encryption with; to store such bytes in the clear would be a lie. */
const ENCRYPTION = /^x-(?:amz|obs)-server-side-encryption/;

/** One `bytes=` range within a size; null when the header asks for none we serve (the whole object is sent then). */
export const parseRange = (
  header: string | undefined,
  sizeBytes: number,
): { start: number; end: number } | null => {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? "");
  if (match === null) return null;
  const [, first = "", last = ""] = match;
  if (first === "" && last === "") return null;
  const start = first === "" ? Math.max(0, sizeBytes - Number(last)) : Number(first);
  const end = first === "" || last === "" ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1);
  if (first !== "" && last !== "" && Number(last) < start) return null;
  if (start >= sizeBytes || start > end) throw fail("OBJECT_RANGE_INVALID", { sizeBytes });
  return { start, end };
};

const headersOf = (info: ObjectInfo): Record<string, string> => ({
  "content-type": "application/octet-stream",
  etag: `"${info.etag}"`,
  "last-modified": new Date(info.modifiedAt).toUTCString(),
  "accept-ranges": "bytes",
  "x-content-type-options": "nosniff",
});

export const bucketRoutes = (app: App, deps: ApiDeps): void => {
  const { objects } = deps;

  app.get(
    ROOT,
    {
      schema: {
        tags,
        summary: "List buckets",
        params: projectParams,
        response: { 200: bucketsAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      const rows = await objects.buckets(projectCallerOf(request).projectId);
      return {
        count: rows.length,
        buckets: rows.map((b) => ({ name: b.name, created_at: b.createdAt as number })),
      };
    },
  );

  app.put(
    `${ROOT}/:bucket`,
    {
      schema: {
        tags,
        summary: "Create a bucket; one that exists stays as it is",
        params: bucketParams,
        response: { 200: bucketAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      await objects.createBucket(projectCallerOf(request).projectId, request.params.bucket);
      return { name: request.params.bucket };
    },
  );

  app.delete(
    `${ROOT}/:bucket`,
    {
      schema: {
        tags,
        summary: "Delete an empty bucket",
        params: bucketParams,
        response: { 204: noContent, "4xx": errorBody },
      },
    },
    async (request, reply) => {
      await objects.deleteBucket(projectCallerOf(request).projectId, request.params.bucket);
      return reply.code(204).send(null);
    },
  );

  app.get(
    `${ROOT}/:bucket/objects`,
    {
      schema: {
        tags,
        summary: "List objects by prefix",
        params: bucketParams,
        querystring: objectsQuery,
        response: { 200: objectsAnswer, "4xx": errorBody },
      },
    },
    async (request) => {
      const { prefix, delimiter, after, limit } = request.query;
      const page = await objects.list(projectCallerOf(request).projectId, request.params.bucket, {
        prefix,
        limit,
        ...(delimiter === "/" ? { delimiter } : {}),
        ...(after === undefined || after === "" ? {} : { after }),
      });
      return {
        count: page.objects.length,
        objects: page.objects.map(view),
        prefixes: [...page.prefixes],
        next: page.next,
      };
    },
  );
};

/** The routes with object bodies; `app` must be a scope of its own, as it takes every content type unread. */
export const objectRoutes = (app: App, deps: ApiDeps): void => {
  const { objects } = deps;
  app.removeAllContentTypeParsers();
  // What the client calls its bytes does not matter here, and a malformed name for them is no reason to refuse them.
  app.addHook("onRequest", async (request) => {
    request.raw.headers["content-type"] = "application/octet-stream";
  });
  app.addContentTypeParser("*", (_request, payload, done) => done(null, payload));
  const path = `${ROOT}/:bucket/objects/*`;

  app.put(
    path,
    {
      bodyLimit: LIMITS.objectBytes.value,
      schema: {
        tags,
        summary: "Store an object",
        consumes: ["application/octet-stream"],
        params: objectParams,
        response: { 200: objectInfo, "4xx": errorBody },
      },
    },
    async (request) => {
      const { bucket, "*": key } = request.params;
      const asked = Object.keys(request.headers).find((name) => ENCRYPTION.test(name));
      if (asked !== undefined) throw fail("ENCRYPTION_UNAVAILABLE", { header: asked });
      const maxBytes = LIMITS.objectBytes.value;
      if (Number(request.headers["content-length"] ?? 0) > maxBytes) {
        throw fail("BODY_TOO_LARGE", { limitBytes: maxBytes });
      }
      // Without a body there is no parsed stream; the raw request is an empty one.
      const body = (request.body as Readable | undefined) ?? request.raw;
      return view(await objects.put(projectCallerOf(request).projectId, { bucket, key }, body, { maxBytes }));
    },
  );

  app.get(
    path,
    {
      schema: {
        tags,
        summary: "Read an object or a range of it",
        produces: ["application/octet-stream"],
        params: objectParams,
      },
    },
    async (request, reply) => {
      const { projectId } = projectCallerOf(request);
      const { bucket, "*": key } = request.params;
      const header = headerText(request, "range");
      const known = header === undefined ? null : await objects.head(projectId, { bucket, key });
      const range = known === null ? null : parseRange(header, known.sizeBytes);
      const { info, body } = await objects.get(projectId, { bucket, key }, range ?? undefined);
      const length = range === null ? info.sizeBytes : range.end - range.start + 1;
      if (range !== null) {
        reply.code(206).header("content-range", `bytes ${range.start}-${range.end}/${info.sizeBytes}`);
      }
      return reply.headers(headersOf(info)).header("content-length", length).send(body);
    },
  );

  app.head(
    path,
    { schema: { tags, summary: "Describe an object", params: objectParams } },
    async (request, reply) => {
      const { bucket, "*": key } = request.params;
      const info = await objects.head(projectCallerOf(request).projectId, { bucket, key });
      if (info === null) throw fail("OBJECT_NOT_FOUND", { bucket, key });
      return reply.headers(headersOf(info)).header("content-length", info.sizeBytes).send(null);
    },
  );

  app.delete(
    path,
    {
      schema: {
        tags,
        summary: "Delete an object; one that is not there is fine",
        params: objectParams,
        response: { 204: noContent, "4xx": errorBody },
      },
    },
    async (request, reply) => {
      const { bucket, "*": key } = request.params;
      await objects.delete(projectCallerOf(request).projectId, { bucket, key });
      return reply.code(204).send(null);
    },
  );
};

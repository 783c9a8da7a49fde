/**
 * The error catalogue: every failure a caller can see has one entry here with its HTTP status, the owner of the
 * failure, a public text and, where there is one, a hint. Dialects (contract/<dialect>/errors.ts) render an entry in
 * their own codes and body shapes; nothing else invents codes. Codes are never reused.
 *
 * Owners: client (the request is wrong), route (no such thing for this caller), config (the package or the service
 * is set up wrongly), capacity (not now; try later), upstream (the user's own code failed), platform (we failed).
 */
export type ErrorOwner = "client" | "route" | "config" | "capacity" | "upstream" | "platform";

/** One thing that is wrong with an input. `path` is a JSON path such as `dependencies[0].packages[1].restraint`. */
export interface Problem {
  readonly path: string;
  /** What was found, in words. */
  readonly message: string;
  /** What would be right. */
  readonly fix: string;
}

/** A problem in a sentence without its full stop. `whole`: what a problem without a path is said of. */
export const problemText = ({ path, message, fix }: Problem, whole = ""): string =>
  `${path === "" ? whole : path} ${message}; ${fix}`.trimStart();

export interface ErrorDefinition<P> {
  readonly status: number;
  readonly owner: ErrorOwner;
  readonly message: (params: P) => string;
  readonly hint?: (params: P) => string;
}

const def = <P = Record<never, never>>(
  status: number,
  owner: ErrorOwner,
  message: (params: P) => string,
  hint?: (params: P) => string,
): ErrorDefinition<P> => (hint === undefined ? { status, owner, message } : { status, owner, message, hint });

type Named = { readonly id: string };
type Because = { readonly reason: string };

export const CATALOGUE = {
  // --- identity -----------------------------------------------------------------------------------------------
  TOKEN_MISSING: def(
    401,
    "client",
    () => "x-auth-token not found",
    () => "Send the token in the X-Auth-Token header; `modelport token` prints one.",
  ),
  TOKEN_MALFORMED: def(
    401,
    "client",
    () => "decrypt token fail",
    () => "The token is damaged; ask for a new one with `modelport login`.",
  ),
  TOKEN_REFUSED: def(
    401,
    "client",
    () => "Unauthorized",
    () => "The token is expired, revoked or not from this platform; `modelport login` gets a new one.",
  ),
  CALLER_WITHOUT_PROJECT: def(
    403,
    "client",
    () => "The IAM user is not authorized to access the API.",
    () => 'The token has no project; ask for one with "scope":{"project":{"name":…}}.',
  ),
  TOKEN_WITHOUT_PROJECT: def(
    400,
    "client",
    () => "Token must contain projectId info.",
    () => 'Ask for a token with a project scope: "scope":{"project":{"name":…}}.',
  ),
  PROJECT_MISMATCH: def(
    403,
    "client",
    () => "The project id in the request URL does not match the token.",
    () => "`modelport whoami` shows the project of your token.",
  ),
  CREDENTIALS_WRONG: def(401, "client", () => "The username or password is wrong."),
  LOGIN_THROTTLED: def<{ retryAfterSeconds: number }>(
    429,
    "capacity",
    () => "Too many failed logins of this user or from this address.",
    (p) => `Try again in ${p.retryAfterSeconds} s.`,
  ),
  PERMISSION_DENIED: def<{ operation: string }>(
    403,
    "client",
    (p) => `You are not authorized to perform the (${p.operation}) operation.`,
  ),
  TOKEN_NOT_FOUND: def(404, "route", () => "Could not find token."),
  USER_NOT_FOUND: def<Named>(404, "route", (p) => `Could not find user: ${p.id}.`),
  USER_EXISTS: def<{ name: string }>(409, "client", (p) => `User ${p.name} already exists.`),
  PROJECT_NOT_FOUND: def<{ name: string }>(404, "route", (p) => `Could not find project: ${p.name}.`),
  PROJECT_EXISTS: def<{ name: string }>(409, "client", (p) => `Project ${p.name} already exists.`),
  // --- requests -----------------------------------------------------------------------------------------------
  ARGUMENT_INVALID: def<Because>(400, "client", (p) => `Invalid argument. ${p.reason}`),
  BODY_NOT_JSON: def<Because>(400, "client", (p) => `The request body is not valid JSON: ${p.reason}`),
  BODY_TOO_LARGE: def<{ limitBytes: number }>(
    413,
    "client",
    (p) => `Invalid request body because the size exceeds the maximum size allowed (${p.limitBytes} bytes).`,
  ),
  MEDIA_TYPE_UNSUPPORTED: def<{ got: string }>(
    415,
    "client",
    (p) => `Content type ${p.got} is not supported; send application/json.`,
  ),
  METHOD_NOT_ALLOWED: def<{ method: string }>(
    405,
    "client",
    (p) => `Method ${p.method} is not allowed here.`,
  ),
  API_NOT_FOUND: def<{ path: string }>(404, "route", (p) => `API ${p.path} does not exist.`),
  REQUEST_MALFORMED: def<Because>(400, "client", (p) => p.reason),
  EXPECTATION_FAILED: def(417, "client", () => "The only expectation supported is 100-continue."),
  VERSION_NOT_SUPPORTED: def(505, "client", () => "The versions of HTTP supported are 1.0 and 1.1."),
  URI_TOO_LONG: def(414, "client", () => "Request URI too large."),
  HEADERS_TOO_LARGE: def(494, "client", () => "Request headers too large."),
  REQUEST_INCOMPLETE: def<{ limitMs: number }>(
    408,
    "client",
    (p) => `Connection timed out. The request was not complete after ${p.limitMs} ms.`,
  ),
  WORKSPACE_NOT_FOUND: def(
    400,
    "client",
    () => "The workspace does not exist.",
    () => 'Leave workspace_id out, or send "0".',
  ),
  // --- AI applications ----------------------------------------------------------------------------------------
  MODEL_NOT_FOUND: def<Named>(404, "route", (p) => `Model (${p.id}) does not exist.`),
  MODEL_EXISTS: def<{ name: string; version: string }>(
    409,
    "client",
    (p) => `Model (${p.name}, ${p.version}) already exists.`,
    () => "Choose a higher version, or delete the existing one.",
  ),
  MODEL_IN_USE: def<Named>(
    409,
    "client",
    (p) => `Failed to delete model because the model (${p.id}) has been used to deploy a service.`,
    () => "Delete the services that use it first.",
  ),
  MODEL_NOT_PUBLISHED: def<Named>(
    400,
    "client",
    (p) => `The model ${p.id} cannot be used for deploying services because it is still being published.`,
  ),
  MODEL_IMPORT_FAILED: def<Named>(
    400,
    "client",
    (p) => `The model ${p.id} cannot be used for deploying services because its import failed.`,
    (p) => `\`modelport model show ${p.id}\` says why.`,
  ),
  MODEL_INFER_TYPE: def<{ id: string; inferType: string }>(
    400,
    "client",
    (p) => `Model ${p.id} cannot be used to deploy ${p.inferType} service.`,
  ),
  MODEL_TYPE_UNAVAILABLE: def<{ type: string; available: readonly string[] }>(
    400,
    "config",
    (p) => `The AI engine ${p.type} is not available on this platform.`,
    (p) => `Available engines: ${p.available.join(", ")}.`,
  ),
  SOURCE_NOT_FOUND: def<{ location: string }>(
    400,
    "client",
    (p) =>
      `Failed to publish model because source location noncompliance: ${p.location} does not hold a folder named model.`,
    () => "Upload the package with `modelport obs cp -r`, or let `modelport model import DIR` do it.",
  ),
  TEMPLATE_NOT_FOUND: def<{ id: string }>(
    400,
    "client",
    (p) => `The model template ${p.id} does not exist.`,
    () => "`modelport model templates` lists them.",
  ),
  TEMPLATE_INVALID: def<Because>(
    400,
    "client",
    (p) => `The model template cannot be used like this: ${p.reason}.`,
  ),
  ENCRYPTION_UNAVAILABLE: def<{ header: string }>(
    400,
    "client",
    (p) => `Objects are not encrypted here, and ${p.header} asks for it.`,
    () => "Leave the header out; an import refuses encrypted objects in any case.",
  ),
  PACKAGE_INVALID: def<{ count: number }>(
    400,
    "config",
    (p) => `The model package has ${p.count} problem${p.count === 1 ? "" : "s"}.`,
  ),
  PACKAGE_TOO_LARGE: def<{ what: string; limitGb: number; advice: string }>(
    400,
    "config",
    (p) => `Failed to import data because ${p.what} exceeds ${p.limitGb} GB.`,
    (p) => p.advice,
  ),
  // --- services -----------------------------------------------------------------------------------------------
  SERVICE_NOT_FOUND: def<Named>(404, "route", (p) => `Service ${p.id} does not exist.`),
  SERVICE_EXISTS: def<{ name: string }>(
    409,
    "client",
    (p) => `Service ${p.name} already exists.`,
    () => "Choose another name, or change the existing one with `modelport service update`.",
  ),
  SERVICE_MODEL_NOT_FOUND: def<Named>(404, "route", (p) => `Model ${p.id} does not exist.`),
  SERVICE_MODEL_TWICE: def<Named>(
    400,
    "client",
    (p) => `Model ${p.id} is used more than once in the configuration of the service.`,
    () => "Give each model version one entry; its weight is its share of the traffic.",
  ),
  SERVICE_MODEL_NOT_IN_USE: def<{ id: string; service: string }>(
    400,
    "client",
    (p) => `Model ${p.id} under service ${p.service} does not exist.`,
  ),
  CLUSTER_NOT_FOUND: def<Named>(
    400,
    "client",
    (p) => `Cluster ${p.id} does not exist.`,
    () => "Leave cluster_id and pool_name out: this platform has one shared pool.",
  ),
  SERVICE_LIMIT: def<{ limit: number }>(
    400,
    "capacity",
    (p) => `The number of services has reached the maximum (${p.limit}).`,
    () => "Delete services that are no longer used.",
  ),
  SERVICE_STATE: def<{ state: string; action: string }>(
    400,
    "client",
    (p) => `Service in state ${p.state} cannot be ${p.action}.`,
  ),
  SERVICE_TYPE_UNAVAILABLE: def<{ type: string }>(
    400,
    "client",
    (p) => `The service type ${p.type} is not available on this platform.`,
  ),
  SPECIFICATION_UNKNOWN: def<{ name: string; available: readonly string[] }>(
    400,
    "client",
    (p) => `The specification ${p.name} does not exist.`,
    (p) => `Available: ${p.available.join(", ")}.`,
  ),
  // --- objects ------------------------------------------------------------------------------------------------
  BUCKET_NOT_FOUND: def<{ bucket: string }>(404, "route", (p) => `The bucket ${p.bucket} does not exist.`),
  BUCKET_NOT_EMPTY: def<{ bucket: string }>(409, "client", (p) => `The bucket ${p.bucket} is not empty.`),
  OBJECT_NOT_FOUND: def<{ bucket: string; key: string }>(
    404,
    "route",
    (p) => `The object obs://${p.bucket}/${p.key} does not exist.`,
  ),
  OBJECT_RANGE_INVALID: def<{ sizeBytes: number }>(
    416,
    "client",
    (p) => `The requested range is not within the object's ${p.sizeBytes} bytes.`,
  ),
  OBJECT_KEY_INVALID: def<Because>(400, "client", (p) => `The object key is not allowed: ${p.reason}`),
  // --- prediction ---------------------------------------------------------------------------------------------
  ROUTE_NOT_FOUND: def(
    404,
    "route",
    () => "The API does not exist or has not been published in the environment",
    () => "Check the service id; `modelport service list` shows the ones of your project.",
  ),
  METRICS_NOT_HERE: def(
    403,
    "client",
    () => "The metrics are told only to callers on this machine, without a proxy between.",
    () => "Set MODELPORT_METRICS_TOKEN and send it as `Authorization: Bearer`.",
  ),
  METRICS_TOKEN_WRONG: def(
    401,
    "client",
    () => "The metrics need the token of MODELPORT_METRICS_TOKEN as a bearer token.",
  ),
  SERVICE_ID_MISSING: def(
    400,
    "client",
    () => "Invalid request URL because no service ID or request URI included.",
    () => "The path is /v1/infers/{service_id}; `modelport service show` prints it.",
  ),
  SERVICE_STOPPED: def<Named>(
    400,
    "config",
    (p) => `Invalid request because requested service ${p.id} is unavailable.`,
    () => "Start it with `modelport service start`.",
  ),
  QUEUE_FULL: def<{ id: string; retryAfterSeconds: number }>(
    429,
    "capacity",
    (p) => `Excessive number of requests to ${p.id}.`,
    (p) => `Try again in ${p.retryAfterSeconds} s, or raise instance_count.`,
  ),
  NO_INSTANCE: def<Named>(
    503,
    "capacity",
    (p) => `Failed to find backend service because no instance of ${p.id} is ready.`,
    () => "`modelport service events` says why.",
  ),
  UPSTREAM_REFUSED: def(
    503,
    "upstream",
    () => "Gateway forwarding error. Failed to invoke backend service due to connection refused.",
  ),
  UPSTREAM_NOT_TLS: def(
    504,
    "upstream",
    () =>
      "Failed to find backend service because SSL error in calling it, please check the service is https.",
  ),
  UPSTREAM_BROKEN: def(
    502,
    "upstream",
    () => "Internal backend service error because the connection was closed before the answer was complete.",
  ),
  UPSTREAM_TIMEOUT: def<{ limitMs: number }>(
    504,
    "upstream",
    (p) => `Failed to find backend service because response timed out after ${p.limitMs} ms.`,
  ),
  CONTROL_UNAVAILABLE: def(
    503,
    "platform",
    () => "The control service is not available at the moment; predictions go on.",
    () => "Try again in a few seconds.",
  ),
  NOT_READY: def(503, "platform", () => "The gateway has not received its routing table yet."),
  // --- platform -----------------------------------------------------------------------------------------------
  INTERNAL: def(
    500,
    "platform",
    () => "Internal error.",
    () => "The request id is in the platform's log.",
  ),
  STORAGE_FULL: def(
    507,
    "platform",
    () => "The platform has no room left on its disk; nothing was changed. Predictions go on.",
    () => "Free room on the disk of the data directory, then try again; no restart is needed.",
  ),
} as const;

export type ErrorCode = keyof typeof CATALOGUE;
export type ErrorParams<C extends ErrorCode> =
  (typeof CATALOGUE)[C] extends ErrorDefinition<infer P> ? P : never;

/** The one error class for failures a caller may see. `cause` and `detail` go to the log, never to the caller. */
export class AppError<C extends ErrorCode = ErrorCode> extends Error {
  readonly code: C;
  readonly status: number;
  readonly owner: ErrorOwner;
  readonly hint: string | undefined;
  readonly problems: readonly Problem[];

  constructor(
    code: C,
    params: ErrorParams<C>,
    more: { problems?: readonly Problem[]; cause?: unknown } = {},
  ) {
    const entry = CATALOGUE[code] as ErrorDefinition<ErrorParams<C>>;
    super(entry.message(params), more.cause === undefined ? undefined : { cause: more.cause });
    this.name = "AppError";
    this.code = code;
    this.status = entry.status;
    this.owner = entry.owner;
    this.hint = entry.hint?.(params);
    this.problems = more.problems ?? [];
  }
}

/** Builds an AppError; `throw fail("MODEL_NOT_FOUND", { id })` reads better than the constructor. */
export const fail = <C extends ErrorCode>(
  code: C,
  params: ErrorParams<C>,
  more: { problems?: readonly Problem[]; cause?: unknown } = {},
): AppError<C> => new AppError(code, params, more);

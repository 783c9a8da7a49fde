/**
 * How the error catalogue looks in the ModelArts family of APIs: codes and bodies of contracts/modelarts.md §5, §7 and
 * §10. The table is exhaustive by its type, so a new catalogue entry does not compile until it has a code here.
 * Additive members (`request_id`, `hint`, `problems`) never replace documented ones.
 */
import type { AppError, ErrorCode, Problem } from "../../core/errors.ts";

/** `control`: the management APIs. `inference`: `/v1/infers`, where the gateway's prefix is APIG instead of APIGW. */
export type Plane = "control" | "inference";

interface DialectError {
  readonly code: string;
  /** Where the inference plane answers with another code. */
  readonly inference?: string;
  /** Documented sentence in front of the catalogue's text. */
  readonly prefix?: string;
}

const IAM_AUTHENTICATION = "Incorrect IAM authentication information: ";

export const MODELARTS_CODES: Record<ErrorCode, DialectError> = {
  TOKEN_MISSING: { code: "APIGW.0301", inference: "APIG.0301", prefix: IAM_AUTHENTICATION },
  TOKEN_MALFORMED: { code: "APIGW.0301", inference: "APIG.0301", prefix: IAM_AUTHENTICATION },
  TOKEN_REFUSED: { code: "APIGW.0301", inference: "APIG.0301", prefix: IAM_AUTHENTICATION },
  CALLER_WITHOUT_PROJECT: { code: "APIGW.0302", inference: "APIG.0302" },
  TOKEN_WITHOUT_PROJECT: { code: "ModelArts.0204" },
  PROJECT_MISMATCH: { code: "ModelArts.0210" },
  CREDENTIALS_WRONG: { code: "IAM.0001" },
  LOGIN_THROTTLED: { code: "APIGW.0308", inference: "APIG.0308" },
  PERMISSION_DENIED: { code: "ModelArts.0108" },
  TOKEN_NOT_FOUND: { code: "IAM.0004" },
  USER_NOT_FOUND: { code: "IAM.0004" },
  USER_EXISTS: { code: "IAM.0005" },
  PROJECT_NOT_FOUND: { code: "IAM.0004" },
  PROJECT_EXISTS: { code: "IAM.0005" },
  ARGUMENT_INVALID: { code: "ModelArts.0101" },
  BODY_NOT_JSON: { code: "ModelArts.0101", inference: "ModelArts.4105", prefix: "Invalid argument. " },
  BODY_TOO_LARGE: { code: "APIGW.0201", inference: "ModelArts.4104" },
  MEDIA_TYPE_UNSUPPORTED: { code: "ModelArts.0101", prefix: "Invalid argument. " },
  METHOD_NOT_ALLOWED: { code: "APIGW.0101", inference: "APIG.0101" },
  METRICS_NOT_HERE: { code: "APIGW.0302", inference: "APIG.0302" },
  METRICS_TOKEN_WRONG: { code: "APIGW.0301", inference: "APIG.0301" },
  API_NOT_FOUND: { code: "APIGW.0101", inference: "ModelArts.4204" },
  REQUEST_MALFORMED: { code: "APIGW.0201", inference: "APIG.0201", prefix: "Bad request. " },
  EXPECTATION_FAILED: { code: "APIGW.0201", inference: "APIG.0201", prefix: "Bad request. " },
  VERSION_NOT_SUPPORTED: { code: "APIGW.0201", inference: "APIG.0201", prefix: "Bad request. " },
  URI_TOO_LONG: { code: "APIGW.0201", inference: "APIG.0201" },
  HEADERS_TOO_LARGE: { code: "APIGW.0201", inference: "APIG.0201" },
  REQUEST_INCOMPLETE: { code: "APIGW.0201", inference: "ModelArts.4205" },
  WORKSPACE_NOT_FOUND: { code: "ModelArts.0102" },
  MODEL_NOT_FOUND: { code: "ModelArts.3001" },
  MODEL_EXISTS: { code: "ModelArts.3002" },
  MODEL_IN_USE: { code: "ModelArts.3009" },
  MODEL_NOT_PUBLISHED: { code: "ModelArts.3515" },
  MODEL_IMPORT_FAILED: { code: "ModelArts.3515" },
  MODEL_INFER_TYPE: { code: "ModelArts.3589" },
  MODEL_TYPE_UNAVAILABLE: { code: "ModelArts.3053" },
  SOURCE_NOT_FOUND: { code: "ModelArts.3017" },
  TEMPLATE_NOT_FOUND: { code: "ModelArts.3024" },
  TEMPLATE_INVALID: { code: "ModelArts.3039" },
  ENCRYPTION_UNAVAILABLE: { code: "ModelArts.0101" },
  PACKAGE_INVALID: { code: "ModelArts.3016" },
  PACKAGE_TOO_LARGE: { code: "ModelArts.3044" },
  SERVICE_NOT_FOUND: { code: "ModelArts.3502" },
  SERVICE_EXISTS: { code: "ModelArts.3503" },
  SERVICE_MODEL_NOT_FOUND: { code: "ModelArts.3507" },
  SERVICE_MODEL_TWICE: { code: "ModelArts.3516" },
  SERVICE_MODEL_NOT_IN_USE: { code: "ModelArts.3529" },
  SERVICE_STATE: { code: "ModelArts.3519" },
  SERVICE_TYPE_UNAVAILABLE: { code: "ModelArts.3518" },
  CLUSTER_NOT_FOUND: { code: "ModelArts.3547" },
  SERVICE_LIMIT: { code: "ModelArts.3520" },
  SPECIFICATION_UNKNOWN: { code: "ModelArts.0101", prefix: "Invalid argument. " },
  BUCKET_NOT_FOUND: { code: "ModelArts.3551" },
  BUCKET_NOT_EMPTY: { code: "ModelArts.3567", prefix: "OBS error occurs because " },
  OBJECT_NOT_FOUND: { code: "ModelArts.3551" },
  OBJECT_RANGE_INVALID: { code: "ModelArts.3568" },
  OBJECT_KEY_INVALID: { code: "ModelArts.3572" },
  ROUTE_NOT_FOUND: { code: "APIGW.0101", inference: "APIG.0101" },
  SERVICE_ID_MISSING: { code: "ModelArts.4201" },
  SERVICE_STOPPED: { code: "ModelArts.4203" },
  QUEUE_FULL: { code: "ModelArts.4206" },
  NO_INSTANCE: { code: "ModelArts.4503" },
  UPSTREAM_REFUSED: { code: "ModelArts.4302" },
  UPSTREAM_NOT_TLS: { code: "ModelArts.4503" },
  UPSTREAM_BROKEN: { code: "ModelArts.4505" },
  UPSTREAM_TIMEOUT: { code: "APIG.0203", prefix: "Backend timeout. " },
  CONTROL_UNAVAILABLE: { code: "APIGW.0202", inference: "APIG.0202", prefix: "Backend unavailable. " },
  NOT_READY: { code: "APIGW.0610", inference: "APIG.0610", prefix: "No backend available. " },
  INTERNAL: { code: "ModelArts.0010", inference: "APIG.0601" },
  STORAGE_FULL: { code: "ModelArts.0010", inference: "APIG.0601" },
};

/** The body of ModelArts and gateway errors; the two documented shapes share their members. */
export interface ModelArtsErrorBody {
  readonly error_code: string;
  readonly error_msg: string;
  readonly request_id: string;
  readonly hint?: string;
  readonly problems?: readonly Problem[];
}

/** IAM's envelope (§5.1). `hint` and `problems` are additive. */
export interface IamErrorBody {
  readonly error: {
    readonly code: number;
    readonly message: string;
    readonly title: string;
    readonly hint?: string;
    readonly problems?: readonly Problem[];
  };
}

const extras = (error: AppError): { hint?: string; problems?: readonly Problem[] } => ({
  ...(error.hint === undefined ? {} : { hint: error.hint }),
  ...(error.problems.length === 0 ? {} : { problems: error.problems }),
});

/** The code and text of an error in this dialect. */
export const modelArtsCode = (error: AppError, plane: Plane): { code: string; message: string } => {
  const entry = MODELARTS_CODES[error.code];
  return {
    code: plane === "inference" ? (entry.inference ?? entry.code) : entry.code,
    message: (entry.prefix ?? "") + error.message,
  };
};

/** Body of an error raised by or at the front door, for either plane. */
export const renderGateway = (error: AppError, requestId: string, plane: Plane): ModelArtsErrorBody => {
  const { code, message } = modelArtsCode(error, plane);
  return { error_msg: message, error_code: code, request_id: requestId, ...extras(error) };
};

/** Body of an error of the model and service APIs. */
export const renderModelArts = (error: AppError, requestId: string): ModelArtsErrorBody => {
  const { code, message } = modelArtsCode(error, "control");
  return { error_code: code, error_msg: message, request_id: requestId, ...extras(error) };
};

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  413: "Payload Too Large",
  414: "URI Too Long",
  416: "Range Not Satisfiable",
  417: "Expectation Failed",
  415: "Unsupported Media Type",
  429: "Too Many Requests",
  494: "Request Header Too Large",
  500: "Internal Server Error",
  507: "Insufficient Storage",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

/** Body of an error of the identity API (`/v3`). */
export const renderIam = (error: AppError): IamErrorBody => ({
  error: {
    code: error.status,
    message: error.message,
    title: TITLES[error.status] ?? "Error",
    ...extras(error),
  },
});

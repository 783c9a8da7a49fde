/**
 * Building blocks of the ModelArts schemas: names, texts, numbers that clients send as strings, paging. The message
 * given to a check says what would be right; api/validation.ts turns it into the `fix` of a problem.
 */
import { z } from "zod";
import { LIMITS } from "../../core/limits.ts";

/** Letters, digits, Chinese, `-` and `_` (§1.1, §2.1). */
export const name = z
  .string()
  .regex(
    /^[A-Za-z0-9\u4e00-\u9fa5_-]{1,64}$/,
    `1 to ${LIMITS.nameLength.value} letters, digits, Chinese characters, hyphens or underscores`,
  );

/** `1.0.0`: three numbers of one or two digits, without a leading zero. */
export const version = z
  .string()
  .regex(
    /^(\d\.|[1-9]\d\.){2}(\d|([1-9]\d))$/,
    "three numbers of one or two digits without leading zeros, such as 1.0.0",
  );

/** Free text (§0). NUL is refused for all bodies before any schema sees them. */
export const description = z
  .string()
  .regex(
    /^[^&!'"<>=]{0,100}$/u,
    `at most ${LIMITS.descriptionLength.value} characters, none of & ! ' " < > =`,
  );

/** A number that some clients send as a string (`"weight":"100"`). */
export const lenientInteger = (min: number, max: number) =>
  z.preprocess(
    (value) => (typeof value === "string" && /^\d{1,9}$/.test(value) ? Number(value) : value),
    z.int(`a whole number from ${min} to ${max}`).min(min).max(max),
  );

/** A whole number in a query string. */
export const queryInteger = (min: number, max: number, fallback: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, `a whole number from ${min} to ${max}`)
    .transform(Number)
    .pipe(z.int().min(min).max(max))
    .default(fallback);

/** `true` or `false` in a query string; an empty value counts as absent. */
export const queryFlag = z
  .enum(["true", "false", "True", "False", ""])
  .transform((v) => v.toLowerCase() === "true")
  .default(false);

/** A search text in a query string; empty counts as absent, as official clients send `name=`. */
export const queryText = z
  .string()
  .max(256, "at most 256 characters")
  .transform((v) => (v === "" ? undefined : v))
  .optional();

/** An epoch in ms in a query string. */
export const queryInstant = z
  .string()
  .regex(/^\d{1,15}$/, "milliseconds since the epoch")
  .transform(Number)
  .optional();

export const paging = {
  offset: queryInteger(0, 1_000_000_000, 0),
  limit: queryInteger(1, LIMITS.pageSize.value, LIMITS.pageSize.value),
};

export const order = z.enum(["desc", "asc"]).default("desc");

export const projectParams = z.object({ project_id: z.string() });

const problem = z.object({ path: z.string(), message: z.string(), fix: z.string() });

/** The error body of all `/v1` operations (§0, §7.1); the last two members are additive. */
export const errorBody = z
  .object({
    error_code: z.string(),
    error_msg: z.string(),
    request_id: z.string().optional(),
    hint: z.string().optional(),
    problems: z.array(problem).optional(),
  })
  .meta({ description: "What went wrong" });

/** One line of a resource's history (§2.9). */
export const event = z.object({
  event_type: z.enum(["normal", "abnormal", "warning"]),
  event_info: z.string(),
  occur_time: z.number(),
});

export const eventsQuery = z.object({
  event_type: z
    .enum(["normal", "abnormal", "warning", ""])
    .transform((v) => (v === "" ? undefined : v))
    .optional(),
  event_info: z
    .string()
    .max(256)
    .regex(/^[^`\\(){}';,[\]<>/?]*$/, "a text without ` \\ ( ) { } ' ; , [ ] < > / ?")
    .transform((v) => (v === "" ? undefined : v))
    .optional(),
  start_time: queryInstant,
  end_time: queryInstant,
  sort_by: z.enum(["occur_time"]).optional(),
  order,
  ...paging,
});

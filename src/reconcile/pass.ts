/**
 * What one pass of a reconciler over one key came to. Everything else about a pass is read back from the store: a pass
 * hands nothing to the next one.
 */
import type { AppError } from "../core/errors.ts";
import type { Instant } from "../core/ids.ts";

/**
 * `done`: nothing to do until something changes. `again`: come back at `at` even when nothing changes.
 * `terminal`: recorded, never retried until something changes. Throwing means: retry with back-off.
 */
export type Pass =
  | { readonly kind: "done" }
  | { readonly kind: "again"; readonly at: Instant }
  | { readonly kind: "terminal"; readonly error: AppError };

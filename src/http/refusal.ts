/** Why a request could not be read, in the words of the catalogue. */
import { fail } from "../core/errors.ts";
import type { AppError } from "../core/errors.ts";
import type { DoorRefusal } from "./caller-connection.ts";

export const refusalError = (refusal: DoorRefusal): AppError => {
  switch (refusal.kind) {
    case "malformed":
      return fail("REQUEST_MALFORMED", refusal);
    case "method":
      return fail("METHOD_NOT_ALLOWED", refusal);
    case "expectation":
      return fail("EXPECTATION_FAILED", {});
    case "version":
      return fail("VERSION_NOT_SUPPORTED", {});
    case "too-large":
      return fail("HEADERS_TOO_LARGE", {});
    case "late":
      return fail("REQUEST_INCOMPLETE", refusal);
  }
};

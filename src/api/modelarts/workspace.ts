/** Workspaces and pools: the cloud has many, this platform one of each, so every other name does not exist. */
import { fail } from "../../core/errors.ts";

const DEFAULT_WORKSPACE = "0";

/** The workspace asked for, `"0"` when none is. */
export const demandWorkspace = (asked: string | undefined): string => {
  if (asked !== undefined && asked !== "" && asked !== DEFAULT_WORKSPACE)
    throw fail("WORKSPACE_NOT_FOUND", {});
  return DEFAULT_WORKSPACE;
};

/** Refuses requests for a dedicated pool. */
export const demandSharedPool = (asked: {
  readonly cluster_id?: string | undefined;
  readonly pool_name?: string | undefined;
}): void => {
  const id = asked.pool_name || asked.cluster_id;
  if (id !== undefined && id !== "") throw fail("CLUSTER_NOT_FOUND", { id });
};

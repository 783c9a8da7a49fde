/**
 * What is forgotten, and when: events after one month (services) and three (AI applications), as the guide says;
 * revocations of tokens that expired days ago; logs of groups that no revision names; packages and environments that no
 * version names, no import holds and no instance runs on; instances of trial starts that nobody waits for. Every step can
 * fail without the others.
 */
import { basename, dirname } from "node:path";
import type { Clock } from "../core/clock.ts";
import type { GroupId } from "../core/ids.ts";
import { instant } from "../core/ids.ts";
import type { Environments } from "../environments/environments.ts";
import type { Runner } from "../runners/runner.ts";
import type { Store } from "../store/store.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Importer } from "./import.ts";
import type { Packages } from "./packages.ts";
import { trialGroupOf } from "./trial.ts";

export interface RetentionDeps {
  readonly store: Store;
  readonly runner: Runner;
  readonly environments: Pick<Environments, "reclaim">;
  /** Deletes package copies that are not in `used`; returns what it deleted. */
  readonly packages: Pick<Packages, "reclaim" | "forgetTrials">;
  /** What imports that run have made or found and no version names yet. */
  readonly imports: Pick<Importer, "holding">;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Retention {
  /** One round; never throws. */
  run(): Promise<void>;
  /** A round now and then every hour. */
  start(): void;
  /** Waits for the round that runs. */
  stop(): Promise<void>;
}

const DAY_MS = 24 * 3_600_000;
const SERVICE_EVENTS_MS = 30 * DAY_MS;
const MODEL_EVENTS_MS = 91 * DAY_MS;
/** Beyond a token's own end: a clock that was ahead and is set back makes tokens good again, never revoked ones. */
const REVOCATIONS_MS = 2 * DAY_MS;
const EVERY_MS = 3_600_000;
/** The change log holds one row per thing; older ones than this many changes ago are of no use to a follower. */
const CHANGES_KEPT = 10_000;

/** See the file header. */
export const createRetention = (deps: RetentionDeps): Retention => {
  const { store, runner, clock, logger } = deps;
  const stopping = new AbortController();
  let rounds: Promise<void> = Promise.resolve();

  const steps: Readonly<Record<string, () => Promise<void>>> = {
    events: () => {
      const before = (ms: number) => instant(clock.now() - ms);
      return store.events.prune({ models: before(MODEL_EVENTS_MS), services: before(SERVICE_EVENTS_MS) });
    },
    changes: async () => store.changes.prune((await store.changes.head()) - CHANGES_KEPT),
    revocations: () => store.identity.pruneRevocations(instant(clock.now() - REVOCATIONS_MS)),
    trials: async () => {
      // Looked at in this order: a trial that begins after the first look is not among them.
      const trials = (await runner.observe()).filter((g) => g.serviceId === null);
      const waitedFor = new Set((await store.models.unfinished()).map(trialGroupOf));
      for (const { id } of trials) {
        if (waitedFor.has(id)) continue;
        await runner.remove(id);
        logger.warn({ group: id }, "forgotten trial start removed");
      }
    },
    logs: async () => {
      // The logs first: a group that appears after this is not among them.
      const logged = await runner.loggedGroups();
      const used = new Set<GroupId>((await runner.observe()).map((g) => g.id));
      for (const service of await store.services.all()) {
        for (const revision of await store.services.revisions(service.id)) {
          for (const entry of revision.entries) used.add(entry.groupId);
        }
      }
      for (const id of await store.models.unfinished()) used.add(trialGroupOf(id));
      for (const id of logged) if (!used.has(id)) await runner.removeLogs(id);
    },
    packages: async () => {
      // What versions name, what imports hold, and what still runs of versions that were deleted. The imports first: one
      // that ends after this look has made its version name what it held.
      const held = deps.imports.holding();
      const running = (await runner.observe()).map((g) => g.uses);
      const named = await store.models.inUse();
      const usedPackages = new Set([
        ...named.packages,
        ...held.packages,
        ...running.map(({ packageDir }) => basename(packageDir)),
      ]);
      const usedEnvironments = new Set([
        ...named.environments,
        ...held.environments,
        // <key>/bin/python
        ...running.map(({ python }) => basename(dirname(dirname(python)))),
      ]);
      const packages = await deps.packages.reclaim(usedPackages);
      await deps.packages.forgetTrials(usedEnvironments);
      const environments = await deps.environments.reclaim(usedEnvironments);
      if (packages.length + environments.length > 0) {
        logger.info({ packages, environments }, "unused packages and environments removed");
      }
    },
  };

  const run = async (): Promise<void> => {
    for (const [step, work] of Object.entries(steps)) {
      if (stopping.signal.aborted) return;
      try {
        await work();
      } catch (error) {
        logger.error({ err: error, step }, "retention step failed");
      }
    }
  };

  const repeat = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await run();
      await clock.sleep(EVERY_MS, stopping.signal);
    }
  };

  return {
    run,
    start: () => {
      rounds = repeat();
    },
    stop: async () => {
      stopping.abort();
      await rounds;
    },
  };
};

/** Builds the Store over an opened database; the composition of this folder. */
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../telemetry/logger.ts";
import { createChangeLog } from "./changes.ts";
import { openDatabase } from "./db.ts";
import type { DatabaseLocation } from "./db.ts";
import { createEventStore } from "./events.ts";
import { createIdentityStore } from "./identity.ts";
import { createModelStore } from "./models.ts";
import { createRouteStore } from "./routes.ts";
import { createServiceStore } from "./services.ts";
import type { Store } from "./store.ts";

/** Opens the store and brings its schema up to date; safe to call from several processes at once. */
export const openStore = async (options: {
  database: DatabaseLocation;
  clock: Clock;
  logger: Logger;
}): Promise<Store> => {
  const db = await openDatabase(options.database, { clock: options.clock, logger: options.logger });
  return {
    identity: createIdentityStore(db),
    models: createModelStore(db),
    services: createServiceStore(db, options.clock),
    events: createEventStore(db),
    changes: createChangeLog(db),
    routes: createRouteStore(db),
    close: () => db.close(),
  };
};

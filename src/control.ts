/**
 * Puts the control role together: store, objects, environments, runner, API and reconcilers, each built once from the
 * settings. The API and the reconcilers meet only in the store.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bootstrapIdentity } from "./api/bootstrap.ts";
import { loadOrCreateSecrets } from "./api/secrets.ts";
import { createApi } from "./api/server.ts";
import type { Config } from "./config.ts";
import { openEnvironments } from "./environments/open-environments.ts";
import { openDirectoryObjects } from "./objects/directory.ts";
import { openStore } from "./store/open-store.ts";
import { systemClock } from "./telemetry/clock.ts";
import { createLogger } from "./telemetry/logger.ts";

const VERSION = "0.1.0";
const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));

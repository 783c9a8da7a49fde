/**
 * The environments that the platform itself builds for engines and runtimes, for tests that run real frameworks. Kept for
 * the next run and shared by all such tests: some gigabytes of downloads.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readConfig } from "../../src/config.ts";
import type { EngineName } from "../../src/core/engines.ts";
import type { Environments } from "../../src/environments/environments.ts";
import { openEnvironments } from "../../src/environments/open-environments.ts";
import { systemClock } from "../../src/telemetry/clock.ts";
import { createLogger } from "../../src/telemetry/logger.ts";

const CACHE = join(import.meta.dirname, "../../node_modules/.cache/modelport-test/engines");

export interface EngineEnvironment {
  readonly python: string;
  /** Says which interpreter or release runs in the place of the runtime's own; null: its own does. */
  readonly standIn: string | null;
}

let environments: Promise<Environments> | null = null;

/** The environment of a runtime of an engine; fails with the log of a build that fails. */
export const engineEnvironment = async (
  engine: EngineName,
  runtime: string,
  signal: AbortSignal,
): Promise<EngineEnvironment> => {
  environments ??= open();
  const noCode = mkdtempSync(join(tmpdir(), "modelport-engines-"));
  try {
    const built = await (
      await environments
    ).ensure(
      { engine, runtime, dependencies: [], wheels: [], code: { dir: noCode, files: [] }, strict: false },
      () => {},
      signal,
    );
    if (built.kind === "refused") throw new Error(`${built.message}\n${built.logTail}`);
    return {
      python: built.python,
      standIn: built.warnings.find((warning) => warning.includes("stands in")) ?? null,
    };
  } finally {
    rmSync(noCode, { recursive: true, force: true });
  }
};

const open = async (): Promise<Environments> => {
  const read = readConfig({ ...process.env, MODELPORT_DATA: CACHE });
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  return openEnvironments({
    root: join(CACHE, "environments"),
    tools: join(CACHE, "tools"),
    machinePython: null,
    environment: read.config.toolEnvironment,
    fetchPython: false,
    torchCpuIndex: false,
    sourceUsers: null,
    devices: null,
    buildTimeoutMs: 3_600_000,
    clock: systemClock,
    logger: createLogger("test", "silent"),
  });
};

/**
 * A process that writes to a store until it is killed: every acknowledged write is one line on its standard output.
 * `runUntilKilled` starts this file as that process, kills it in the middle and returns what was acknowledged.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { openStore } from "../../src/store/open-store.ts";
import type { DatabaseLocation } from "../../src/store/db.ts";
import { createLogger } from "../../src/telemetry/logger.ts";
import { systemClock } from "../../src/telemetry/clock.ts";
import { sampleModel } from "./store-samples.ts";

/** Kills the writer (SIGKILL) after `acknowledged` lines; returns the names it acknowledged by then. */
export const runUntilKilled = async (
  database: DatabaseLocation,
  acknowledged: number,
): Promise<readonly string[]> => {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), JSON.stringify(database)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  const names: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    names.push(line);
    if (names.length === acknowledged) child.kill("SIGKILL");
  }
  await closed;
  return names;
};

const write = async (database: DatabaseLocation): Promise<void> => {
  const store = await openStore({ database, clock: systemClock, logger: createLogger("test", "silent") });
  for (;;) {
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        const model = sampleModel();
        await store.models.create(model, { type: "normal", info: model.name, occurredAt: model.createdAt });
        process.stdout.write(`${model.id}\n`);
      }),
    );
  }
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await write(JSON.parse(process.argv[2] ?? "") as DatabaseLocation);
}

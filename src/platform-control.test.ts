/** What the command line is told about a platform that runs already. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readConfig } from "./config.ts";
import { createPlatformControl } from "./platform-control.ts";
import { systemClock } from "./telemetry/clock.ts";
import { self } from "./telemetry/process-identity.ts";

test("a platform found running does not keep the command that found it", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), "modelport-found-"));
  try {
    mkdirSync(join(dataDir, "run"));
    const url = "http://127.0.0.1:1";
    const state = {
      supervisor: self(),
      roles: {},
      restarts: { control: 0, gateway: 0 },
      since: 0,
      url,
      port: 1,
    };
    writeFileSync(join(dataDir, "run", "supervisor.json"), JSON.stringify(state));
    const read = readConfig({ MODELPORT_DATA: dataDir });
    if (!read.ok) throw new Error("the settings of the test are wrong");
    const control = createPlatformControl(read.config, {
      clock: systemClock,
      interrupt: new AbortController().signal,
      probes: [],
    });
    const found = await control.up({ detach: false, onStep: () => {} });
    expect([found.url, found.alreadyRunning]).toEqual([url, true]);
    // This process, the supervisor named, still runs: a wait for its end would never return.
    expect(await found.ended).toEqual({ reason: null });
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
});

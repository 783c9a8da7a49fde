/** Puts the gateway role together from the settings. The gateway itself is in gateway/. */
import { join } from "node:path";
import { finished } from "node:stream/promises";
import type { Config } from "./config.ts";
import { runGateway } from "./gateway/main.ts";
import { systemClock } from "./telemetry/clock.ts";
import { appendToLog } from "./telemetry/log-file.ts";
import { createLogger } from "./telemetry/logger.ts";

export const startGateway = async (config: Config): Promise<{ close(): Promise<void> }> => {
  const run = join(config.dataDir, "run");
  const accessLog = appendToLog(join(config.dataDir, "logs", "platform", "access.log"));
  const gateway = await runGateway({
    host: config.host,
    port: config.port,
    controlSocket: join(run, "control.sock"),
    tableFile: join(run, "gateway-table.json"),
    // The one gateway of this data directory: a restarted one stands in for the killed one at once, instead of
    // updates waiting for the killed one's acknowledgement until it counts as lost.
    gatewayId: "embedded",
    bodyBytesMax: config.bodyBytesMax,
    predictTimeoutMs: config.predictTimeoutMs,
    metricsToken: config.metricsToken,
    tracing: config.tracing,
    clock: systemClock,
    logger: createLogger("gateway", config.logLevel),
    accessLog,
  });
  return {
    close: async () => {
      await gateway.close();
      accessLog.end();
      await finished(accessLog);
    },
  };
};

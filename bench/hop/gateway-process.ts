/** The gateway as it ships, in a process of its own: token check, limits, metrics and access records on. */
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { runGateway } from "../../src/gateway/main.ts";
import { systemClock } from "../../src/telemetry/clock.ts";
import { createLogger } from "../../src/telemetry/logger.ts";

const [dir = "."] = process.argv.slice(2);
const gateway = await runGateway({
  listen: { host: "127.0.0.1", port: 0 },
  controlSocket: join(dir, "control.sock"),
  tableFile: join(dir, "table.json"),
  gatewayId: "bench",
  bodyBytesMax: 12 * 1024 * 1024,
  predictTimeoutMs: 40_000,
  clock: systemClock,
  logger: createLogger("gateway", "silent"),
  accessLog: createWriteStream(join(dir, "access.log")),
});
process.send?.({ port: gateway.port });
process.once("disconnect", () => process.exit(0));

/**
 * The gateway as it ships, in a process of its own: token check, limits, metrics and access records on. Told to, it
 * profiles itself between two moments, so that start and warm-up are not in the profile.
 *
 *   node gateway-process.ts FOLDER [THREADS]    → {port};  {profile: "start"} → {done};  {profile: "stop", file} → {done}
 */
import { createWriteStream, writeFileSync } from "node:fs";
import type { Session } from "node:inspector/promises";
import { join } from "node:path";
import { runGateway } from "../../src/gateway/main.ts";
import { systemClock } from "../../src/telemetry/clock.ts";
import { createLogger } from "../../src/telemetry/logger.ts";

const [dir = ".", threads = "1"] = process.argv.slice(2);
const gateway = await runGateway({
  listen: { host: "127.0.0.1", port: 0, threads: Number(threads) },
  controlSocket: join(dir, "control.sock"),
  tableFile: join(dir, "table.json"),
  spoolDir: join(dir, "answers"),
  gatewayId: "bench",
  bodyBytesMax: 12 * 1024 * 1024,
  predictTimeoutMs: 40_000,
  clock: systemClock,
  logger: createLogger("gateway", "silent"),
  accessLog: createWriteStream(join(dir, "access.log")),
});

type Order = { readonly profile: "start" } | { readonly profile: "stop"; readonly file: string };

let session: Session | null = null;
const obey = async (order: Order): Promise<void> => {
  if (order.profile === "start") {
    const inspector = await import("node:inspector/promises");
    session = new inspector.Session();
    session.connect();
    await session.post("Profiler.enable");
    await session.post("Profiler.setSamplingInterval", { interval: 200 });
    await session.post("Profiler.start");
  } else if (session !== null) {
    const { profile } = await session.post("Profiler.stop");
    writeFileSync(order.file, JSON.stringify(profile));
    session.disconnect();
  }
  process.send?.({ done: true });
};

process.on("message", (order: Order) => void obey(order));
process.send?.({ port: gateway.port });
process.once("disconnect", () => process.exit(0));

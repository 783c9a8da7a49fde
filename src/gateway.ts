/** Puts the gateway role together from the settings. The gateway itself is in gateway/. */
import { join } from "node:path";
import { finished } from "node:stream/promises";
import type { Config } from "./config.ts";
import { describeProblems, readCertificate } from "./gateway/certificate.ts";
import type { Certificate, CertificateFiles } from "./gateway/certificate.ts";
import { runGateway } from "./gateway/main.ts";
import { StartRefused } from "./supervise.ts";
import { systemClock } from "./telemetry/clock.ts";
import { appendToLog } from "./telemetry/log-file.ts";
import { createLogger } from "./telemetry/logger.ts";

/** The certificate to start with; one that cannot be served stops the start, with everything that is wrong. */
const readTls = (
  files: CertificateFiles | null,
): { files: CertificateFiles; certificate: Certificate } | null => {
  if (files === null) return null;
  const read = readCertificate(files, systemClock.now());
  if (read.ok) return { files, certificate: read.certificate };
  const fixes = [...new Set(read.problems.map((one) => one.fix))].join("; ");
  throw new StartRefused(
    `TLS cannot be served: ${describeProblems(read.problems)}.`,
    `What to do: ${fixes}.`,
  );
};

export const startGateway = async (config: Config): Promise<{ close(): Promise<void> }> => {
  const run = join(config.dataDir, "run");
  const accessLog = appendToLog(join(config.dataDir, "logs", "platform", "access.log"));
  const gateway = await runGateway({
    host: config.host,
    port: config.port,
    tls: readTls(config.tls),
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

/** Puts the gateway role together from the settings. The gateway itself is in gateway/. */
import { join } from "node:path";
import { finished } from "node:stream/promises";
import type { Config } from "./config.ts";
import { describeProblems, readCertificate } from "./gateway/certificate.ts";
import type { Certificate, CertificateFiles } from "./gateway/certificate.ts";
import { runGateway } from "./gateway/main.ts";
import { systemClock } from "./telemetry/clock.ts";
import type { GatewaySeat } from "./supervisor/gateway-ids.ts";
import { StartRefused } from "./supervisor/state.ts";
import { appendToLog } from "./telemetry/log-file.ts";
import { createLogger } from "./telemetry/logger.ts";

/**
 * How long a gateway that ends keeps idle connections: callers that use theirs often get their next answer with
 * `Connection: close` and lose no request to a connection that closes as they send it. Shorter where nobody takes the
 * gateway's place: `down` waits for it as long as any caller keeps a connection.
 */
const IDLE_GRACE_MS = { replaced: 3_000, over: 1_000 };

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

export const startGateway = async (
  config: Config,
  seat: GatewaySeat,
): Promise<{ close(how: { readonly isReplaced: boolean }): Promise<void> }> => {
  const run = join(config.dataDir, "run");
  const accessLog = appendToLog(join(config.dataDir, "logs", "platform", "access.log"));
  const gateway = await runGateway({
    listen: seat.fds === null ? { host: config.host, port: config.port } : { fds: seat.fds },
    tls: readTls(config.tls),
    controlSocket: join(run, "control.sock"),
    tableFile: join(run, "gateway-table.json"),
    spoolDir: join(config.dataDir, "spool"),
    gatewayId: seat.id,
    replaces: seat.replaces,
    bodyBytesMax: config.bodyBytesMax,
    predictTimeoutMs: config.predictTimeoutMs,
    metricsToken: config.metricsToken,
    tracing: config.tracing,
    clock: systemClock,
    logger: createLogger("gateway", config.logLevel),
    accessLog,
  });
  return {
    close: async ({ isReplaced }) => {
      await gateway.close({ idleGraceMs: isReplaced ? IDLE_GRACE_MS.replaced : IDLE_GRACE_MS.over });
      accessLog.end();
      await finished(accessLog);
    },
  };
};

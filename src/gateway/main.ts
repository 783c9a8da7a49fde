/**
 * The gateway process's composition: table, door, reports. Starts serving with the last good table, whether control is
 * there or not, and ends without losing an answer, a record or a count.
 */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import type { Writable } from "node:stream";
import type { Clock } from "../core/clock.ts";
import type { TracingSettings } from "../core/tracing.ts";
import type { Logger } from "../telemetry/logger.ts";
import { openTracer } from "../telemetry/tracing.ts";
import { Authenticator, TOKENS_PER_GENERATION } from "./authenticate.ts";
import { describeProblems, followCertificate } from "./certificate.ts";
import type { Certificate, CertificateFiles } from "./certificate.ts";
import { createControlClient } from "./control-client.ts";
import { createControlProxy } from "./control-proxy.ts";
import { announce, followTable, loadTable } from "./follow.ts";
import { HeldBytes } from "./held-bytes.ts";
import { Listener } from "./listener.ts";
import { Metrics } from "./metrics.ts";
import { AccessLog } from "./record.ts";
import { Table } from "./table.ts";
import { systemTimer } from "./timer.ts";
import type { Timer } from "./timer.ts";
import { Usage } from "./usage.ts";

export interface GatewayOptions {
  /** An address (port 0: the kernel's choice; the answer names it), or a socket inherited as a descriptor. */
  readonly listen: { readonly host: string; readonly port: number } | { readonly fd: number };
  /** TLS on the listener: the files that are followed, and what they held at the start. */
  readonly tls?: { readonly files: CertificateFiles; readonly certificate: Certificate } | null;
  /** Control's private Unix socket. */
  readonly controlSocket: string;
  /** Where the last good table is kept. */
  readonly tableFile: string;
  /** This process's own: never used by another gateway, before or after. */
  readonly gatewayId: string;
  /** Ids of gateways that are dead: control need not wait for them once this one has spoken. */
  readonly replaces?: readonly string[];
  readonly bodyBytesMax: number;
  /** Longest prediction, waiting and answering included. */
  readonly predictTimeoutMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Gets the access records, JSON lines. Not closed by the gateway. */
  readonly accessLog: Writable;
  /** Who scrapes /metrics sends it; null or absent: only callers on this machine may. */
  readonly metricsToken?: string | null;
  /** Null or absent: no traces. */
  readonly tracing?: TracingSettings | null;
  readonly timer?: Timer;
}

export interface Gateway {
  readonly port: number;
  /**
   * Stops accepting, lets what is in flight finish (at most the prediction timeout), reports, says goodbye. Idle
   * connections are closed at once, or after `idleGraceMs`, which leaves them a last answer with `Connection: close`.
   */
  close(how?: { readonly idleGraceMs: number }): Promise<void>;
}

/** A scrape waits at most this long for control's part. */
const CONTROL_METRICS_MS = 1_000;
/** A control that hangs may hold up the start for so long; one that is down does not. */
const ANNOUNCE_MS = 1_000;
const FAREWELL_MS = 2_000;
const CLOSE_SWEEP_MS = 50;
/** How long the end waits for a collector to take the last spans. */
const TRACES_LAST_MS = 2_000;
/** Connections the kernel keeps while nobody accepts; it takes no more than net.core.somaxconn. */
const BACKLOG = 4_096;

export const runGateway = async (options: GatewayOptions): Promise<Gateway> => {
  const { clock, logger, timer = systemTimer, gatewayId, tls = null } = options;
  const table = new Table({ timer, monotonicMs: () => clock.monotonicMs() });
  const metrics = new Metrics({ table, clock });
  const tracer = await openTracer(options.tracing ?? null, "gateway", {
    clock,
    random: Math.random,
    onExport: (state, error) => logger.warn({ state, error }, "export of traces"),
  });
  metrics.spans = tracer.isOn ? tracer.counts : null;
  const control = createControlClient({ socketPath: options.controlSocket, timer });
  const accessLog = new AccessLog({ destination: options.accessLog, metrics, timer });
  const usage = new Usage({ control, clock, gatewayId });
  const stop = new AbortController();
  let isClosing = false;
  const proxy = createControlProxy({
    socketPath: options.controlSocket,
    accessLog,
    clock,
    timer,
  });
  const listener = new Listener({
    table,
    authenticator: new Authenticator(() => clock.now(), TOKENS_PER_GENERATION),
    metrics,
    accessLog,
    usage,
    held: new HeldBytes(),
    tracer,
    metricsToken: options.metricsToken ?? null,
    clock,
    timer,
    bodyBytesMax: options.bodyBytesMax,
    predictTimeoutMs: options.predictTimeoutMs,
    isClosing: () => isClosing,
    certificate: tls?.certificate ?? null,
    control: proxy,
    controlMetrics: async () => {
      try {
        const answer = await control.send({
          method: "GET",
          path: "/internal/metrics",
          timeoutMs: CONTROL_METRICS_MS,
        });
        return answer.status === 200 ? answer.text : "";
      } catch {
        // Control is down: the scrape tells of the gateway, and that it cannot reach control.
        return "";
      }
    },
    logger,
  });

  const { server } = listener;
  metrics.connections = () => listener.connectionCount;
  const { tableFile, replaces = [] } = options;
  const follow = { table, control, clock, logger, metrics, tableFile, gatewayId, replaces };
  await loadTable(follow);
  await announce(follow, ANNOUNCE_MS, stop.signal);
  // The second argument, because node ignores `backlog` beside `fd`.
  server.listen(options.listen, BACKLOG);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const certificateWatch =
    tls === null
      ? null
      : followCertificate(tls.files, tls.certificate, {
          timer,
          now: () => clock.now(),
          onChange: (certificate) => {
            listener.useCertificate(certificate);
            logger.info({ expires: new Date(certificate.expiresAt).toISOString() }, "certificate reloaded");
          },
          onProblems: (problems) =>
            logger.error(
              { problems: describeProblems(problems) },
              "new certificate not taken, the old one stays",
            ),
        });
  const following = followTable(follow, stop.signal);
  const reporting = usage.run(stop.signal);
  logger.info({ ...options.listen, port, table: table.version }, "gateway listens");

  const close = async (idleGraceMs: number): Promise<void> => {
    isClosing = true;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    // A connection whose last answer had begun before the close turns idle later, and nothing tells when.
    const isOver = { value: false };
    const sweep = (): void => {
      if (isOver.value) return;
      listener.closeIdle();
      timer.after(CLOSE_SWEEP_MS, sweep);
    };
    if (idleGraceMs === 0) sweep();
    else timer.after(idleGraceMs, sweep);
    const limit = timer.after(options.predictTimeoutMs + 1_000, () => listener.closeAll());
    await closed;
    isOver.value = true;
    certificateWatch?.stop();
    limit.cancel();
    stop.abort();
    await Promise.all([following, reporting]);
    accessLog.flush();
    await usage.flush();
    // Without this control would wait for a gateway that is gone before it ends an instance.
    await control
      .send({
        method: "DELETE",
        path: `/internal/gateways/${encodeURIComponent(gatewayId)}`,
        timeoutMs: FAREWELL_MS,
      })
      .catch(() => undefined);
    await Promise.race([tracer.close(), clock.sleep(TRACES_LAST_MS)]);
    proxy.close();
    control.close();
    table.close();
    metrics.close();
    logger.info("gateway closed");
  };
  let closing: Promise<void> | null = null;
  return {
    port,
    close: (how) => (closing ??= close(how?.idleGraceMs ?? 0)),
  };
};

/**
 * The gateway process's composition: the first thread's front, the further threads, what follows control, probes and
 * reports. Starts serving with the last good table, whether control is there or not, and ends without losing an answer,
 * a record or a count.
 */
import type { Writable } from "node:stream";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../telemetry/logger.ts";
import { describeProblems, followCertificate } from "./certificate.ts";
import type { Certificate, CertificateFiles } from "./certificate.ts";
import { prepareSpoolDir } from "./answer-spool.ts";
import { createControlClient } from "./control-client.ts";
import { Crew } from "./crew.ts";
import { announce, followTable, loadTable } from "./follow.ts";
import { openFront } from "./front.ts";
import type { FrontSettings, Where } from "./front.ts";
import { lineSink } from "./record.ts";
import { Shared } from "./shared.ts";
import { systemTimer } from "./timer.ts";
import type { Timer } from "./timer.ts";
import { Usage } from "./usage.ts";

export interface GatewayOptions extends FrontSettings {
  /**
   * An address (port 0: the kernel's choice; the answer names it) and how many threads share it, or sockets inherited as
   * descriptors, one for each thread.
   */
  readonly listen:
    | { readonly host: string; readonly port: number; readonly threads?: number }
    | { readonly fds: readonly number[] };
  /** TLS on the listener: the files that are followed, and what they held at the start. */
  readonly tls?: { readonly files: CertificateFiles; readonly certificate: Certificate } | null;
  /** Where the last good table is kept. */
  readonly tableFile: string;
  /** This process's own: never used by another gateway, before or after. */
  readonly gatewayId: string;
  /** Ids of gateways that are dead: control need not wait for them once this one has spoken. */
  readonly replaces?: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
  /** Gets the access records, JSON lines. Not closed by the gateway. */
  readonly accessLog: Writable;
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

/** Where each thread listens. With several at one address the kernel spreads the connections over them. */
const placesOf = (listen: GatewayOptions["listen"]): readonly Where[] => {
  if ("fds" in listen) return listen.fds.map((fd) => ({ fd }));
  const { host, port, threads = 1 } = listen;
  return Array.from({ length: threads }, () => ({ host, port, reusePort: threads > 1 }));
};

export const runGateway = async (options: GatewayOptions): Promise<Gateway> => {
  const { clock, logger, timer = systemTimer, gatewayId, tls = null } = options;
  const [place, ...further] = placesOf(options.listen);
  if (place === undefined) throw new Error("a gateway needs a place to listen");
  const threads = 1 + further.length;
  const shared = new Shared({ threads, thread: 0 });
  const control = createControlClient({ socketPath: options.controlSocket, timer });
  const usage = new Usage({ control, clock, gatewayId });
  const stop = new AbortController();
  const controlMetrics = async (): Promise<string> => {
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
  };
  const scrape = async (): Promise<string> => {
    const [others, ofControl] = await Promise.all([crew.snapshots(), controlMetrics()]);
    return front.metrics.render(others) + ofControl;
  };
  const { controlSocket, spoolDir, bodyBytesMax, predictTimeoutMs } = options;
  const { metricsToken = null, tracing = null } = options;
  const settings: FrontSettings = {
    controlSocket,
    spoolDir,
    bodyBytesMax,
    predictTimeoutMs,
    metricsToken,
    tracing,
  };
  // Where it cannot be had, answers wait in memory alone.
  await prepareSpoolDir(spoolDir).catch((error: unknown) =>
    logger.warn({ err: error }, "no spool for answers"),
  );
  const certificate = tls?.certificate ?? null;
  const sink = lineSink(options.accessLog, (count) => (front.metrics.recordsDropped += count));
  const front = await openFront(settings, {
    certificate,
    shared,
    clock,
    timer,
    logger,
    sink,
    tally: usage.tally,
    scrape,
    learning: { onHealth: ({ key, health }) => crew.believe(key, health) },
  });
  const { table, metrics } = front;
  const crew = new Crew({
    threads,
    seat: { memory: shared.memory, settings, certificate, logLevel: logger.level },
    timer,
    sink,
    onInvocations: (counted) => usage.tally.merge(counted),
    onSignal: (key, signal) => table.hear(key, signal),
    scrape,
  });

  const { tableFile, replaces = [] } = options;
  const apply = async (next: Parameters<typeof table.apply>[0]): Promise<void> => {
    // This thread last: its version is what control is told, and speaks for all.
    await crew.apply(next);
    table.apply(next);
  };
  const follow = { table, apply, control, clock, logger, metrics, tableFile, gatewayId, replaces };
  await loadTable(follow);
  await announce(follow, ANNOUNCE_MS, stop.signal);
  const port = await front.listen(place);
  await crew.listen(further.map((where) => ("fd" in where ? where : { ...where, port })));
  const certificateWatch =
    tls === null
      ? null
      : followCertificate(tls.files, tls.certificate, {
          timer,
          now: () => clock.now(),
          onChange: (renewed) => {
            front.useCertificate(renewed);
            crew.useCertificate(renewed);
            logger.info({ expires: new Date(renewed.expiresAt).toISOString() }, "certificate reloaded");
          },
          onProblems: (problems) =>
            logger.error(
              { problems: describeProblems(problems) },
              "new certificate not taken, the old one stays",
            ),
        });
  const following = followTable(follow, stop.signal);
  const reporting = usage.run(stop.signal);
  logger.info({ ...options.listen, port, threads, table: table.version }, "gateway listens");

  const close = async (idleGraceMs: number): Promise<void> => {
    await Promise.all([front.close(idleGraceMs), crew.close(idleGraceMs)]);
    certificateWatch?.stop();
    stop.abort();
    await Promise.all([following, reporting]);
    await usage.flush();
    // Without this control would wait for a gateway that is gone before it ends an instance.
    await control
      .send({
        method: "DELETE",
        path: `/internal/gateways/${encodeURIComponent(gatewayId)}`,
        timeoutMs: FAREWELL_MS,
      })
      .catch(() => undefined);
    await Promise.all([front.end(), crew.end()]);
    control.close();
    logger.info("gateway closed");
  };
  let closing: Promise<void> | null = null;
  return {
    port,
    close: (how) => (closing ??= close(how?.idleGraceMs ?? 0)),
  };
};

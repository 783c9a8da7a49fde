/**
 * What every thread of a gateway runs: a table, the door, and what requests leave behind. The first thread (main.ts)
 * follows control, probes instances and writes; the others (worker.ts) are told and tell.
 */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import type { Clock } from "../core/clock.ts";
import type { TracingSettings } from "../core/tracing.ts";
import type { Logger } from "../telemetry/logger.ts";
import { openTracer } from "../telemetry/tracing.ts";
import type { GroupDeps } from "./admit.ts";
import { SpoolBudget } from "./answer-spool.ts";
import { Authenticator, TOKENS_PER_GENERATION } from "./authenticate.ts";
import type { Certificate } from "./certificate.ts";
import { createControlProxy } from "./control-proxy.ts";
import { HeldBytes } from "./held-bytes.ts";
import { Listener } from "./listener.ts";
import { Metrics } from "./metrics.ts";
import { AccessLog } from "./record.ts";
import type { LineSink } from "./record.ts";
import type { Shared } from "./shared.ts";
import { Table } from "./table.ts";
import type { Timer } from "./timer.ts";
import type { Tally } from "./usage.ts";

/** The same for all threads; may be sent to another thread. */
export interface FrontSettings {
  /** Control's private Unix socket. */
  readonly controlSocket: string;
  /** Where answers wait that are larger than memory; of this gateway and those that replace it. */
  readonly spoolDir: string;
  readonly bodyBytesMax: number;
  /** Longest prediction, waiting and answering included. */
  readonly predictTimeoutMs: number;
  /** Who scrapes /metrics sends it; null or absent: only callers on this machine may. */
  readonly metricsToken?: string | null;
  /** Null or absent: no traces. */
  readonly tracing?: TracingSettings | null;
}

export interface FrontDeps {
  /** Who probes instances, and who hears what is learnt of them. */
  readonly learning: Partial<Pick<GroupDeps, "watch" | "onHealth" | "onSignal">>;
  readonly certificate: Certificate | null;
  readonly shared: Shared;
  readonly clock: Clock;
  readonly timer: Timer;
  readonly logger: Logger;
  /** Where access records go, as lines. */
  readonly sink: LineSink;
  /** Where invocations are counted. */
  readonly tally: Tally;
  /** The whole gateway's metrics. Never rejects. */
  readonly scrape: () => Promise<string>;
}

/** One of the gateway's listening sockets: inherited, or an address of its own (port 0: the kernel's choice). */
export type Where =
  | { readonly fd: number }
  | { readonly host: string; readonly port: number; readonly reusePort?: boolean };

const CLOSE_SWEEP_MS = 50;
/** How long the end waits for a collector to take the last spans. */
const TRACES_LAST_MS = 2_000;
/** Connections the kernel keeps while nobody accepts; it takes no more than net.core.somaxconn. */
const BACKLOG = 4_096;

export interface Front {
  readonly table: Table;
  readonly metrics: Metrics;
  useCertificate(certificate: Certificate): void;
  /** The port. */
  listen(where: Where): Promise<number>;
  /**
   * Stops accepting and lets what is in flight finish, at most the prediction timeout. Idle connections are closed after
   * `idleGraceMs`. Every record has been handed on when this resolves.
   */
  close(idleGraceMs: number): Promise<void>;
  /** After close, and after the last use of the rest. */
  end(): Promise<void>;
}

export const openFront = async (settings: FrontSettings, deps: FrontDeps): Promise<Front> => {
  const { clock, logger, timer, shared } = deps;
  const table = new Table({ timer, monotonicMs: () => clock.monotonicMs(), shared, ...deps.learning });
  const metrics = new Metrics({ table, clock, shared });
  const tracer = await openTracer(settings.tracing ?? null, "gateway", {
    clock,
    random: Math.random,
    onExport: (state, error) => logger.warn({ state, error }, "export of traces"),
  });
  metrics.spans = tracer.isOn ? tracer.counts : null;
  const accessLog = new AccessLog({ sink: deps.sink, timer });
  const proxy = createControlProxy({ socketPath: settings.controlSocket, accessLog, clock, timer });
  let isClosing = false;
  const listener = new Listener({
    table,
    authenticator: new Authenticator(() => clock.now(), TOKENS_PER_GENERATION),
    metrics,
    accessLog,
    usage: deps.tally,
    held: new HeldBytes(shared),
    spool: { dir: settings.spoolDir, budget: new SpoolBudget(shared) },
    tracer,
    metricsToken: settings.metricsToken ?? null,
    clock,
    timer,
    bodyBytesMax: settings.bodyBytesMax,
    predictTimeoutMs: settings.predictTimeoutMs,
    isClosing: () => isClosing,
    certificate: deps.certificate,
    control: proxy,
    scrape: deps.scrape,
    logger,
    shared,
  });
  metrics.connections = () => listener.connectionCount;
  const stop = new AbortController();
  // Nobody rings a thread that is alone.
  if (shared.threads > 1) void shared.listen(() => table.wake(), stop.signal);
  const { server } = listener;
  return {
    table,
    metrics,
    useCertificate: (certificate) => listener.useCertificate(certificate),
    listen: async (where) => {
      // The second argument, because node ignores `backlog` beside `fd`.
      server.listen(where, BACKLOG);
      await once(server, "listening");
      return (server.address() as AddressInfo).port;
    },
    close: async (idleGraceMs) => {
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
      const limit = timer.after(settings.predictTimeoutMs + 1_000, () => listener.closeAll());
      await closed;
      isOver.value = true;
      limit.cancel();
      accessLog.flush();
    },
    end: async () => {
      stop.abort();
      await Promise.race([tracer.close(), clock.sleep(TRACES_LAST_MS)]);
      proxy.close();
      table.close();
      metrics.close();
    },
  };
};

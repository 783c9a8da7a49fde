/**
 * A further thread of a gateway (crew.ts starts it): a front of its own over shared limits. What needs to be known or
 * written once is the first thread's business; this one is told, and tells.
 */
import { parentPort, workerData } from "node:worker_threads";
import { clockSince } from "../telemetry/clock.ts";
import { createLogger } from "../telemetry/logger.ts";
import type { FromWorker, Order, Seat, ToWorker } from "./crew.ts";
import { openFront } from "./front.ts";
import type { MetricsSnapshot } from "./metrics.ts";
import { Shared } from "./shared.ts";
import { systemTimer } from "./timer.ts";
import { Tally } from "./usage.ts";

/** As often as the first thread reports to control, or oftener: what is counted here waits for both. */
const TELL_MS = 500;

if (parentPort === null) throw new Error("worker.ts is a thread of the gateway and nothing by itself");
const port = parentPort;
const { thread, memory, settings, certificate, logLevel, moment } = workerData as Seat;
const tell = (message: FromWorker): void => port.postMessage(message);

const tally = new Tally();
const scrapes = new Map<number, (text: string) => void>();
let lastScrape = 0;

const opening = openFront(settings, {
  certificate,
  shared: new Shared({ threads: memory.threads, thread, memory }),
  clock: clockSince(moment),
  timer: systemTimer,
  logger: createLogger("gateway", logLevel as Parameters<typeof createLogger>[1]).child({ thread }),
  sink: (lines, count) => tell({ told: "records", lines, count }),
  tally,
  scrape: () =>
    new Promise((resolve) => {
      lastScrape += 1;
      scrapes.set(lastScrape, resolve);
      tell({ told: "scrape", id: lastScrape });
    }),
  // The first thread probes, and believes on behalf of all; here belief only runs ahead of it.
  learning: {
    watch: () => ({ hurry: () => undefined, stop: () => undefined }),
    onSignal: (instance, signal) => tell({ told: "signal", key: instance.key, signal }),
  },
});

const tellInvocations = (): void => {
  const counted = tally.empty();
  if (counted.size > 0) tell({ told: "invocations", counted });
};
const tellLater = (): void => {
  systemTimer.after(TELL_MS, () => {
    tellInvocations();
    tellLater();
  });
};
tellLater();

const obey = async (order: Order): Promise<MetricsSnapshot | undefined> => {
  const front = await opening;
  switch (order.order) {
    case "apply":
      front.table.apply(order.table);
      front.metrics.prune();
      return;
    case "listen":
      await front.listen(order.where);
      return;
    case "snapshot":
      return front.metrics.snapshot();
    case "close":
      await front.close(order.idleGraceMs);
      tellInvocations();
      await front.end();
  }
};

const onOrder = async (message: Order & { readonly id: number }): Promise<void> => {
  try {
    const snapshot = await obey(message);
    tell({ done: message.id, ...(snapshot === undefined ? {} : { snapshot }) });
  } catch (error) {
    tell({ done: message.id, failure: (error as Error).message });
  }
};

const onNews = async (message: Exclude<ToWorker, Order>): Promise<void> => {
  const front = await opening;
  switch (message.news) {
    case "health":
      front.table.instance(message.key)?.believe(message.health);
      return;
    case "certificate":
      front.useCertificate(message.certificate);
      return;
    case "scraped":
      scrapes.get(message.id)?.(message.text);
      scrapes.delete(message.id);
  }
};

// In the order they come: an instance is known from the table before anything is said of it.
port.on("message", (message: ToWorker) => void ("order" in message ? onOrder(message) : onNews(message)));

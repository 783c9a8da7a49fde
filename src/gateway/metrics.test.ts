/** What /metrics says, and to whom. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Clock } from "../core/clock.ts";
import { instant } from "../core/ids.ts";
import type { RoutingTable } from "../core/routing-table.ts";
import { refuseScrape } from "./metrics-access.ts";
import { Metrics } from "./metrics.ts";
import { Table } from "./table.ts";
import { systemTimer } from "./timer.ts";
import { group, service } from "./world.fixture.ts";

let ms = 0;
const clock: Clock = { now: () => instant(ms), monotonicMs: () => ms, sleep: async () => undefined };
const tableOf = (services: RoutingTable["services"]): Table => {
  const table = new Table({ timer: systemTimer, monotonicMs: () => ms });
  table.apply({ version: 1, identity: { keys: {}, revokedTokens: [], refusedUsers: {} }, services });
  return table;
};
/** Names with labels, without values. */
const seriesOf = (text: string): string[] =>
  text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.slice(0, line.lastIndexOf(" ")));
const valueOf = (text: string, series: string): number =>
  Number(
    text
      .split("\n")
      .find((line) => line.startsWith(`${series} `))
      ?.slice(series.length + 1),
  );

describe("the gateway's metrics", () => {
  test("have no more series than deployed versions allow, whatever is counted", () => {
    const known = service([group([], { modelVersion: "1.0.0" }), group([], { modelVersion: "2.0.0" })]);
    const anything = fc.oneof(
      fc.string({ maxLength: 20 }),
      fc.uuid(),
      fc.constant(known.id),
      fc.constant(null),
    );
    const request = fc.record({
      service: anything,
      version: fc.constantFrom("", "1.0.0", "2.0.0"),
      outcome: fc.constantFrom("2xx", "4xx", "5xx", "aborted"),
      owner: fc.constantFrom("none", "client", "route", "upstream", "platform"),
      ms: fc.double({ min: 0, max: 1e6, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(request, { maxLength: 200 }), (requests) => {
        const metrics = new Metrics({ table: tableOf([known]), clock });
        const before = seriesOf(metrics.render()).length;
        for (const one of requests) {
          metrics.count(one.service, one.version, one.outcome as "2xx", one.owner as "none", one.ms);
        }
        const text = metrics.render();
        metrics.close();
        const series = seriesOf(text);
        const labels = new Set([...text.matchAll(/service="([^"]*)"/g)].map(([, value]) => value));
        expect([...labels].every((label) => label === known.id || label === "other")).toBe(true);
        // Three versions of one service: 35 counters and a histogram of 17 lines for each.
        expect(series.length - before).toBeLessThanOrEqual(3 * (35 + 17) + 35);
        expect(new Set(series).size).toBe(series.length);
        // Nothing is lost by going into "other".
        const counts = [...text.matchAll(/^modelport_gateway_requests_total\{.*\} (\d+)$/gm)];
        expect(counts.reduce((sum, [, count]) => sum + Number(count), 0)).toBe(requests.length);
      }),
      { numRuns: 50 },
    );
  });

  test("keep their sums when a version leaves the table", () => {
    const table = tableOf([service([group([])], { id: "a" })]);
    const metrics = new Metrics({ table, clock });
    metrics.count("a", "1.0.0", "2xx", "none", 3);
    table.apply({ version: 2, identity: { keys: {}, revokedTokens: [], refusedUsers: {} }, services: [] });
    metrics.prune();
    const text = metrics.render();
    metrics.close();
    expect(text).not.toContain('service="a"');
    expect(
      valueOf(
        text,
        'modelport_gateway_requests_total{service="other",version="",outcome="2xx",owner="none"}',
      ),
    ).toBe(1);
  });

  test("write names as labels that no name can break out of", () => {
    const name = 'a"b\\c\nd';
    const metrics = new Metrics({ table: tableOf([service([group([])], { name })]), clock });
    expect(metrics.render()).toContain(String.raw`name="a\"b\\c\nd"`);
    metrics.close();
  });

  test("tell the event loop's delay of a recent window, to every scraper", async () => {
    const metrics = new Metrics({ table: tableOf([]), clock });
    const worst = (): number =>
      valueOf(metrics.render(), 'modelport_gateway_event_loop_delay_seconds{quantile="1"}');
    const block = async (): Promise<void> => {
      // The monitor has to have looked once before and once after.
      const looks = (): number =>
        valueOf(metrics.render(), "modelport_gateway_event_loop_delay_seconds_count");
      const moreLooks = async (): Promise<void> => {
        const wanted = looks() + 2;
        while (looks() < wanted) await new Promise((resolve) => setImmediate(resolve));
      };
      await moreLooks();
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
      await moreLooks();
    };
    await block();
    expect(worst()).toBeGreaterThan(0.2);
    ms += 31_000;
    expect(worst()).toBeGreaterThan(0.2);
    expect(worst(), "the window before is still told").toBeGreaterThan(0.2);
    ms += 31_000;
    worst();
    expect(worst(), "two windows later it is forgotten").toBeLessThan(0.2);
    metrics.close();
  });
});

describe("who may read them", () => {
  const from = (peer: string, ...fields: string[]) => ({ peer, fields });
  const token = "a-token-of-the-operator";

  test("without a token: callers on this machine, and nobody a proxy here stands in for", () => {
    for (const peer of ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"]) {
      expect(refuseScrape(from(peer, "Host", "x"), null)).toBeNull();
      expect(refuseScrape(from(peer, "X-Forwarded-For", "1.2.3.4"), null)?.code).toBe("METRICS_NOT_HERE");
    }
    for (const peer of ["10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "127.0.0.1.evil", ""]) {
      expect(refuseScrape(from(peer), null)?.code).toBe("METRICS_NOT_HERE");
    }
  });

  test("with a token: whoever sends it, from anywhere, and nobody else", () => {
    expect(refuseScrape(from("10.0.0.1", "authorization", `Bearer ${token}`), token)).toBeNull();
    for (const value of ["", "Bearer", `Bearer ${token}x`, `Basic ${token}`, token]) {
      expect(refuseScrape(from("127.0.0.1", "Authorization", value), token)?.code).toBe(
        "METRICS_TOKEN_WRONG",
      );
    }
    // A field whose value happens to be a name of a field.
    expect(refuseScrape(from("127.0.0.1", "X-A", "authorization"), token)?.code).toBe("METRICS_TOKEN_WRONG");
  });
});

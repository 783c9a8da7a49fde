/** Usage reports across processes and clocks, against control's rule: of one gateway, only higher numbers count. */
import { expect, test } from "vitest";
import { instant } from "../core/ids.ts";
import type { UsageReport } from "../core/routing-table.ts";
import { Usage } from "./usage.ts";

/** Counts as the store does (store/services.ts). */
const createControl = () => {
  const last = new Map<string, number>();
  const control = { invocations: 0, isAnswerLost: false };
  return {
    control,
    client: {
      send: ({ json }: { json?: unknown }) => {
        const report = json as UsageReport;
        if (report.sequence > (last.get(report.gateway) ?? 0)) {
          last.set(report.gateway, report.sequence);
          for (const { invocations } of report.services) control.invocations += invocations;
        }
        return control.isAnswerLost
          ? Promise.reject(new Error("lost"))
          : Promise.resolve({ status: 204, text: "" });
      },
      close: () => undefined,
    },
  };
};

test("counts every report of every process, whichever way the clock went between them", async () => {
  const { control, client } = createControl();
  let now = Date.UTC(2026, 0, 1);
  const clock = { now: () => instant(now), monotonicMs: () => 0, sleep: () => Promise.resolve() };
  for (const [gatewayId, hours] of [
    ["a", 0],
    ["b", -1],
    ["c", 1],
    ["d", -24],
  ] as const) {
    now += hours * 3_600_000;
    const usage = new Usage({ control: client, clock, gatewayId });
    usage.tally.count("svc", false);
    expect(await usage.flush()).toBe(true);
    // Taken, and the answer lost: sent again under the same number.
    control.isAnswerLost = true;
    usage.tally.count("svc", false);
    expect(await usage.flush()).toBe(false);
    control.isAnswerLost = false;
    expect(await usage.flush()).toBe(true);
  }
  expect(control.invocations).toBe(8);
});

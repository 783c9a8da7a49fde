/**
 * Ten times what the instances can do: how much good work is left, what a refusal takes, what the gateway keeps in
 * memory, how soon everything is as before, and whether the time told in Retry-After is true.
 */
import { cpuNs, nowMs, quantile, rssKb, sleep, waitedNs } from "../support/bench.ts";
import type { Bench } from "../support/bench.ts";
import { NOT_SENT, RUN, dueWithin, failures, isGood, latency, startCalls } from "../support/caller.ts";
import type { Call } from "../support/caller.ts";
import { SMALL_BODY } from "../support/gateway.ts";
import { wrk } from "../support/wrk.ts";

export interface Target {
  readonly pid: number;
  readonly port: number;
  readonly path: string;
  readonly token: string;
}

const TIMES_CAPACITY = 10;
/** The quiet rate before, during and after, as a share of the capacity. */
const QUIET_SHARE = 0.25;
const SAMPLE_EVERY_MS = 200;
/** In the storm this share of the refused does as it is told; too few to count as load. */
const OBEDIENT_SHARE = 0.01;
const RECOVERY_MS = 4_000;
/** As before: no later than this above the quiet p95. */
const RECOVERED_WITHIN_MS = 10;

const percent = (part: number, whole: number): string =>
  whole === 0 ? "-" : `${((part / whole) * 100).toFixed(1)} %`;
const ms = (value: number): string => `${value.toFixed(1)} ms`;
const refused = (calls: readonly Call[]): readonly Call[] => calls.filter(({ status }) => status === 429);

/** Resident memory while something goes on, in MB. */
const watchMemory = (pid: number): (() => readonly number[]) => {
  const samples: number[] = [];
  const timer = setInterval(() => samples.push(rssKb(pid) / 1024), SAMPLE_EVERY_MS);
  return () => {
    clearInterval(timer);
    return samples;
  };
};

export const storm = async (bench: Bench, target: Target, seconds: number): Promise<readonly string[]> => {
  const { pid, port, path, token } = target;
  const request = { port, path, token, body: SMALL_BODY };
  const peak = (await wrk(bench, { ...request, connections: 64, seconds: Math.min(seconds, 5) })).perSecond;
  const steady = await startCalls(bench, { ...RUN, ...request, perSecond: peak * QUIET_SHARE });
  await sleep(1_000);

  const quietFrom = nowMs();
  const quietMemory = watchMemory(pid);
  await sleep(seconds * 500);
  const before = quietMemory();
  const stormRun = await startCalls(bench, {
    ...RUN,
    ...request,
    perSecond: peak * TIMES_CAPACITY,
    seconds,
    obedient: OBEDIENT_SHARE,
  });
  const stormFrom = nowMs();
  const [cpuBefore, waitedBefore] = [cpuNs(pid), waitedNs(pid)];
  const stormMemory = watchMemory(pid);
  await sleep(seconds * 1000);
  const during = stormMemory();
  const stormTo = nowMs();
  const [cpuMs, waitedMs] = [(cpuNs(pid) - cpuBefore) / 1e6, (waitedNs(pid) - waitedBefore) / 1e6];
  const afterMemory = watchMemory(pid);
  await sleep(Math.max(RECOVERY_MS, seconds * 500));
  const after = afterMemory();
  const steadyCalls = await steady.stop();
  const stormCalls = dueWithin(await stormRun.calls, stormFrom, stormTo);

  const all = [...stormCalls, ...dueWithin(steadyCalls, stormFrom, stormTo)];
  const good = all.filter(isGood);
  const inTime = good.filter(({ dueMs, latencyMs }) => dueMs + latencyMs < stormTo);
  const goodput = inTime.length / ((stormTo - stormFrom) / 1000);
  const no = refused(all);
  const quiet = dueWithin(steadyCalls, quietFrom, stormFrom);
  const later = dueWithin(steadyCalls, stormTo, Number.POSITIVE_INFINITY);
  const limit = latency(quiet, 0.95) + RECOVERED_WITHIN_MS;
  const lastBad = later.findLast((call) => !isGood(call) || call.latencyMs > limit);
  const settled = later.filter(({ dueMs }) => lastBad === undefined || dueMs > lastBad.dueMs);
  const others = all.filter((call) => !isGood(call) && call.status !== 429 && call.failure !== NOT_SENT);
  const notSent = all.filter(({ failure }) => failure === NOT_SENT);
  const first = stormCalls.filter(({ attempt }) => attempt === 1);
  const returned = stormCalls.filter(({ attempt }) => attempt > 1);
  const waiting = all.filter(({ dueMs, latencyMs }) => dueMs + latencyMs >= stormTo).length;
  const workOffMs = (waiting / (peak * (1 - QUIET_SHARE))) * 1000;
  const half = during.slice(Math.floor(during.length / 2));
  return [
    `Storm: ${(peak * TIMES_CAPACITY).toFixed(0)} requests/s offered for ${seconds} s, open loop, beside ${(peak * QUIET_SHARE).toFixed(0)}/s that go on all the time.`,
    "",
    `  peak, closed loop of 64 connections      ${peak.toFixed(0)}/s answered with 2xx`,
    `  goodput in the storm                     ${goodput.toFixed(0)}/s = ${percent(goodput, peak)} of the peak (goal ≥ 90 %)`,
    `  latency of those let in                  p50 ${ms(latency(good, 0.5))}, p99 ${ms(latency(good, 0.99))}; quiet: p50 ${ms(latency(quiet, 0.5))}, p95 ${ms(latency(quiet, 0.95))}`,
    `  refused with 429                         ${no.length}, ${no.filter(({ retryAfterS }) => retryAfterS === null).length} of them without Retry-After`,
    `  latency of a refusal                     p50 ${ms(latency(no, 0.5))} (goal < 20 ms), p95 ${ms(latency(no, 0.95))}, p99 ${ms(latency(no, 0.99))}`,
    `    of which the load generator's own delay  p50 ${ms(
      quantile(
        no.map(({ lateMs }) => lateMs),
        0.5,
      ),
    )}, p95 ${ms(
      quantile(
        no.map(({ lateMs }) => lateMs),
        0.95,
      ),
    )}`,
    `  not sent: all the generator's sockets busy  ${notSent.length}`,
    `  any other end                            ${others.length}${others.length === 0 ? "" : `: ${failures(others)}`}`,
    `  gateway's process in the storm            CPU ${percent(cpuMs, stormTo - stormFrom)}, ready but without a processor ${percent(waitedMs, stormTo - stormFrom)}`,
    `  gateway memory, MB                       quiet ${quantile(before, 0.5).toFixed(1)}; storm median ${quantile(during, 0.5).toFixed(1)}, most ${Math.max(...during).toFixed(1)}, second half ${Math.min(...half).toFixed(1)}–${Math.max(...half).toFixed(1)}; after ${(after.at(-1) ?? 0).toFixed(1)}`,
    `  last disturbed call after the storm      ${lastBad === undefined ? "none" : `due ${(lastBad.dueMs - stormTo).toFixed(0)} ms after its end`}; ${waiting} waited then, which takes ${workOffMs.toFixed(0)} ms beside the quiet calls; from then on p50 ${ms(latency(settled, 0.5))}, p95 ${ms(latency(settled, 0.95))}`,
    `  back after the told time, in the storm   ${returned.length}: ${percent(returned.filter(isGood).length, returned.length)} got in; of those who came for the first time ${percent(first.filter(isGood).length, first.length)}`,
  ];
};

/** One second of ten times the capacity, then nobody but those who do as they were told. */
export const burst = async (bench: Bench, target: Target): Promise<readonly string[]> => {
  const { port, path, token } = target;
  const request = { port, path, token, body: SMALL_BODY };
  const peak = (await wrk(bench, { ...request, connections: 64, seconds: 2 })).perSecond;
  await sleep(1_000);
  const run = {
    ...RUN,
    ...request,
    perSecond: peak * TIMES_CAPACITY,
    seconds: 1,
    obedient: 1,
    connectionsMax: 4_000,
  };
  const calls = await (await startCalls(bench, run)).calls;
  const told = refused(calls).map(({ retryAfterS }) => retryAfterS ?? 0);
  const lines = [
    `Retry-After: ${(peak * TIMES_CAPACITY).toFixed(0)} requests within one second, then only the refused, each back after exactly the time it was told.`,
    `  told: ${quantile(told, 0)}–${quantile(told, 1)} s, median ${quantile(told, 0.5)} s`,
    "",
    "  attempt    came   let in    share",
  ];
  for (let attempt = 1; ; attempt += 1) {
    const came = calls.filter((call) => call.attempt === attempt);
    if (came.length === 0) break;
    const good = came.filter(isGood).length;
    lines.push(
      `  ${String(attempt).padStart(7)}${String(came.length).padStart(8)}${String(good).padStart(9)}${percent(good, came.length).padStart(9)}`,
    );
  }
  const others = calls.filter((call) => !isGood(call) && call.status !== 429);
  if (others.length > 0) lines.push(`  any other end: ${failures(others)}`);
  return lines;
};

/**
 * How hops are compared: in every round each hop does the same work once, the one that begins changes from round to
 * round, and a hop is set beside nginx in the same round. Medians over the rounds, with the least and the greatest.
 */
import { cpuNs, median, peakKb, resetPeak, rssKb } from "../support/bench.ts";
import { NGINX } from "./hops.ts";
import type { Hop } from "./hops.ts";

/** What one hop did in one round. `units` is what its CPU time is divided by. */
export interface Work {
  readonly units: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

interface Sample extends Work {
  /** Nanoseconds of CPU per unit. */
  readonly cost: number;
  readonly beforeKb: number;
  readonly peakKb: number;
  readonly afterKb: number;
}

export type Samples = ReadonlyMap<string, readonly Sample[]>;

export const takeTurns = async (
  hops: readonly Hop[],
  rounds: number,
  work: (hop: Hop) => Promise<Work>,
): Promise<Samples> => {
  const samples = new Map<string, Sample[]>(hops.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    const first = round % hops.length;
    for (const hop of [...hops.slice(first), ...hops.slice(0, first)]) {
      resetPeak(hop.pid);
      const beforeKb = rssKb(hop.pid);
      const before = cpuNs(hop.pid);
      const done = await work(hop);
      const cost = (cpuNs(hop.pid) - before) / done.units;
      samples
        .get(hop.name)
        ?.push({ ...done, cost, beforeKb, peakKb: peakKb(hop.pid), afterKb: rssKb(hop.pid) });
    }
  }
  return samples;
};

/** The median, and from where to where the rounds went. */
const withSpread = (values: readonly number[], digits: number): string =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)})`;

const milliseconds = (values: readonly number[]): string => {
  const value = median(values);
  return Number.isNaN(value) ? "-" : value.toFixed(2);
};

const MB = 1024;

/** One line per hop. `perUnit` scales nanoseconds to the unit of the heading. */
export const costLines = (label: string, samples: Samples, perUnit: number): readonly string[] => {
  const base = samples.get(NGINX);
  return [...samples].map(([name, all]) => {
    const costs = all.map(({ cost }) => cost / perUnit);
    const ratios = base?.map((one, round) => (all[round]?.cost ?? Number.NaN) / one.cost);
    return [
      label.padStart(11),
      ` ${name.padEnd(15)}`,
      withSpread(costs, 1).padStart(23),
      (ratios === undefined ? "-" : withSpread(ratios, 2)).padStart(19),
      median(all.map((one) => one.perSecond))
        .toFixed(0)
        .padStart(10),
      milliseconds(all.map((one) => one.p50Ms)).padStart(9),
      milliseconds(all.map((one) => one.p99Ms)).padStart(9),
    ].join("");
  });
};

/** Memory over all rounds of one hop, in MB: before the first, the most in any, after the last. */
export const memoryLines = (samples: Samples): readonly string[] =>
  [...samples].map(([name, all]) => {
    const figures = [
      all[0]?.beforeKb ?? 0,
      Math.max(...all.map((one) => one.peakKb)),
      all.at(-1)?.afterKb ?? 0,
    ];
    return `            ${name.padEnd(15)}${figures.map((kb) => (kb / MB).toFixed(1).padStart(10)).join("")}`;
  });

/**
 * Where a process's CPU time goes: reads a V8 CPU profile and sums self time by function and by kind of code.
 *
 *   node bench/hop/profile.ts FILE.cpuprofile        prints the summary of any profile (`node --cpu-prof`)
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const TOP = 25;
const ROOT = new URL("../../", import.meta.url);
/** V8's own names for time that is in no function. */
const IDLE = "(idle)";
const NATIVE = "(program)";
const COLLECTOR = "(garbage collector)";

const kindOf = (name: string, url: string): string => {
  if (name === COLLECTOR) return "garbage collector";
  if (name === NATIVE || url === "") return "native code: system calls, sockets, V8";
  if (url.startsWith("node:internal/streams") || url.startsWith("node:stream")) return "node: streams";
  if (url.startsWith("node:net") || url.startsWith("node:internal/stream_base")) return "node: sockets";
  if (url.startsWith("node:_http") || url.startsWith("node:http")) return "node: http";
  if (url.startsWith("node:")) return "node: rest";
  if (url.includes("/node_modules/")) return "dependencies";
  return `ours: ${fileOf(url).split("/").slice(0, 2).join("/")}`;
};

const fileOf = (url: string): string => {
  const root = ROOT.href;
  return url.startsWith(root) ? url.slice(root.length) : url.startsWith("file:") ? fileURLToPath(url) : url;
};

const table = (sums: ReadonlyMap<string, number>, total: number, perRequest: number, top: number): string =>
  [...sums]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, top)
    .map(([name, us]) => {
      const share = `${((us / total) * 100).toFixed(1)} %`.padStart(8);
      const each = Number.isNaN(perRequest) ? "" : (us / perRequest).toFixed(1).padStart(8);
      return `${share}${each}  ${name}`;
    })
    .join("\n");

/** `requests`: how many were answered meanwhile; times are then given per request too. */
export const summarise = (profile: CpuProfile, requests = Number.NaN): string => {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
  const functions = new Map<string, number>();
  const kinds = new Map<string, number>();
  let busy = 0;
  let idle = 0;
  for (const [index, id] of profile.samples.entries()) {
    const us = profile.timeDeltas[index] ?? 0;
    const frame = frames.get(id);
    // The profiler's own start and stop are none of the process's work.
    if (frame === undefined || frame.url === "node:inspector") continue;
    const { functionName, url, lineNumber } = frame;
    if (functionName === IDLE) {
      idle += us;
      continue;
    }
    busy += us;
    const where = url === "" ? "" : `  ${fileOf(url)}:${lineNumber + 1}`;
    const name = `${functionName === "" ? "(anonymous)" : functionName}${where}`;
    functions.set(name, (functions.get(name) ?? 0) + us);
    const kind = kindOf(functionName, url);
    kinds.set(kind, (kinds.get(kind) ?? 0) + us);
  }
  const each = Number.isNaN(requests) ? "" : `, ${(busy / requests).toFixed(1)} µs per request`;
  const columns = Number.isNaN(requests) ? "   share" : "   share  µs/req";
  return `busy ${(busy / 1e6).toFixed(2)} s, idle ${(idle / 1e6).toFixed(2)} s${each}

${columns}  kind of code (self time)
${table(kinds, busy, requests, TOP)}

${columns}  function (self time), the first ${TOP}
${table(functions, busy, requests, TOP)}
`;
};

export const readProfile = (file: string): CpuProfile => JSON.parse(readFileSync(file, "utf8")) as CpuProfile;

const [, script, file] = process.argv;
if (script === import.meta.filename && file !== undefined) process.stdout.write(summarise(readProfile(file)));

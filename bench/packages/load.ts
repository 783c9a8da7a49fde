/** The load: wrk with one thread, which sends a server's requests in turn over connections that are kept. */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { PredictRequest } from "./subject.ts";

export interface Loaded {
  readonly requests: number;
  /** Of those that were answered with 2xx. */
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errors: number;
}

interface Target {
  readonly url: string;
  readonly token: string;
  readonly requests: readonly PredictRequest[];
}

/** Requests are put together once: what wrk spends on them would be missing elsewhere. */
const scriptOf = (dir: string, { requests, token }: Target): string => {
  const bodies = requests.map(({ body }, n) => {
    const file = join(dir, `body-${n}`);
    writeFileSync(file, body);
    return `"${file}"`;
  });
  return `
    local files = {${bodies.join(",")}}
    local ready, n = {}, 0
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "${requests[0]?.contentType ?? ""}"
    wrk.headers["X-Auth-Token"] = "${token}"
    init = function()
      for at, name in ipairs(files) do
        local file = assert(io.open(name, "rb"))
        ready[at] = wrk.format(nil, nil, nil, file:read("*a"))
        file:close()
      end
    end
    request = function()
      n = n + 1
      return ready[n % #ready + 1]
    end
  `;
};

const UNIT: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000 };

const read = (text: string): Loaded => {
  const [, requests = "0", took = "1"] = /(\d+) requests in ([\d.]+)s/.exec(text) ?? [];
  const latency = (percent: string): number => {
    const [, value, unit = ""] = new RegExp(`\\n\\s+${percent}%\\s+([\\d.]+)(us|ms|s)`).exec(text) ?? [];
    return Number(value) * (UNIT[unit] ?? Number.NaN);
  };
  const refused = Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0);
  const broken = [...(/Socket errors: (.*)/.exec(text)?.[1] ?? "").matchAll(/\d+/g)];
  return {
    requests: Number(requests),
    perSecond: (Number(requests) - refused) / Number(took),
    p50Ms: latency("50"),
    p99Ms: latency("99"),
    errors: refused + broken.reduce((sum, [digits]) => sum + Number(digits), 0),
  };
};

/** Loads a target; `dir` takes the script and the bodies. */
export const load = (dir: string, target: Target, connections: number, seconds: number): Promise<Loaded> =>
  new Promise((done, reject) => {
    const script = join(dir, "post.lua");
    writeFileSync(script, scriptOf(dir, target));
    const counts = ["-t1", `-c${connections}`, `-d${seconds}s`];
    const child = spawn("wrk", [...counts, "--latency", "--timeout", "30s", "-s", script, target.url]);
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    child.once("error", reject);
    child.once("close", () => done(read(text)));
  });

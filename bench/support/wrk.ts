/** wrk as the load: closed loop, so many connections, each sends its next request when the last one is answered. */
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Bench } from "./bench.ts";

export interface WrkLoad {
  readonly port: number;
  readonly path: string;
  readonly token: string;
  readonly body: string;
  readonly connections: number;
  readonly seconds: number;
}

export interface WrkResult {
  readonly requests: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const UNIT_MS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000 };

const latencyMs = (text: string, percent: string): number => {
  const [, value, unit = ""] = new RegExp(`\\n\\s+${percent}%\\s+([\\d.]+)(us|ms|s)`).exec(text) ?? [];
  return Number(value) * (UNIT_MS[unit] ?? Number.NaN);
};

/** What the gateway's access log says of the requests that were not answered with 2xx, to explain a failed run. */
const refusals = (bench: Bench): string => {
  const file = join(bench.dir, "access.log");
  if (!existsSync(file)) return "";
  const bad = readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.includes('"outcome":"2xx"') && !line.includes('"status":499'));
  return `${bad.length} records of other outcomes, the last: ${bad.slice(-3).join("\n")}`;
};

/** Rejects when any request was not answered with 2xx or a connection broke. */
export const wrk = (bench: Bench, load: WrkLoad): Promise<WrkResult> => {
  const script = join(bench.dir, "post.lua");
  writeFileSync(
    script,
    `wrk.method = "POST"\nwrk.body = [[${load.body}]]\nwrk.headers["Content-Type"] = "application/json"\nwrk.headers["X-Auth-Token"] = "${load.token}"\n`,
  );
  const url = `http://127.0.0.1:${load.port}${load.path}`;
  const options = [
    "-t1",
    `-c${load.connections}`,
    `-d${load.seconds}s`,
    "--timeout",
    "30s",
    "--latency",
    "-s",
    script,
  ];
  return new Promise((resolve, reject) => {
    const child = spawn("wrk", [...options, url]);
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    child.once("error", reject);
    child.once("close", (code) => {
      const [, requests, seconds] = /(\d+) requests in ([\d.]+)s/.exec(text) ?? [];
      if (code !== 0 || requests === undefined || /Non-2xx|Socket errors/.test(text))
        return reject(new Error(`wrk ${url}: ${text}${refusals(bench)}`));
      resolve({
        requests: Number(requests),
        perSecond: Number(requests) / Number(seconds),
        p50Ms: latencyMs(text, "50"),
        p99Ms: latencyMs(text, "99"),
      });
    });
  });
};

/**
 * The hops that are compared: the gateway with everything on, nginx and HAProxy as plain proxies with kept-alive
 * connections to the instance, and what a few lines of node:http cost. One process each, one instance behind all.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort, sleep, versionOf } from "../support/bench.ts";
import type { Bench } from "../support/bench.ts";
import { startGateway } from "../support/gateway.ts";
import type { GatewayUnderTest } from "../support/gateway.ts";

export interface Hop {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
}

export interface Hops {
  readonly forSmall: readonly Hop[];
  /** The same processes, told to stream bodies through instead of collecting them first. */
  readonly forLarge: readonly Hop[];
  readonly gateway: GatewayUnderTest;
}

/** What the others are set beside, in every table. */
export const NGINX = "nginx";
export const VERSIONS = {
  nginx: versionOf("nginx", "-v", /nginx\/(\S+)/),
  haproxy: versionOf("haproxy", "-v", /version (\S+)/),
  wrk: versionOf("wrk", "-v", /wrk (\S+)/),
};

export const startHops = async (bench: Bench): Promise<Hops> => {
  const instance = await bench.fork(join(import.meta.dirname, "../support/instance-process.ts"));
  const gateway = await startGateway(bench, [{ ports: [instance.port], concurrency: 256, queueMax: 256 }]);
  const pipe = await bench.fork(join(import.meta.dirname, "pipe-process.ts"), [String(instance.port)]);
  const nginx = VERSIONS.nginx === null ? null : await startNginx(bench, instance.port);
  const others: Hop[] = [
    ...(VERSIONS.haproxy === null ? [] : [await startHaproxy(bench, instance.port)]),
    { name: "gateway", pid: gateway.pid, port: gateway.port },
    { name: "node:http pipe", pid: pipe.pid, port: pipe.port },
  ];
  const { collecting = [], streaming = [] } = nginx ?? {};
  return { forSmall: [...collecting, ...others], forLarge: [...streaming, ...others], gateway };
};

/**
 * For small bodies its defaults. For large ones two ways to stream, the first being the one others are set beside:
 * nothing collected in either direction; and answers through larger buffers, in memory alone, which costs it less.
 */
const startNginx = async (
  bench: Bench,
  upstream: number,
): Promise<{ readonly collecting: readonly Hop[]; readonly streaming: readonly Hop[] }> => {
  const { dir } = bench;
  const [collecting, streaming, buffered] = [await freePort(), await freePort(), await freePort()];
  const file = join(dir, "nginx.conf");
  const server = (port: number, more: string): string =>
    `server { listen 127.0.0.1:${port} backlog=1024; location / { proxy_pass http://instance; proxy_http_version 1.1; proxy_set_header Connection ""; ${more} } }`;
  writeFileSync(
    file,
    `worker_processes 1; daemon off; pid ${dir}/nginx.pid; error_log ${dir}/nginx.log;
events { worker_connections 4096; }
http {
  access_log off; client_max_body_size 20m; keepalive_requests 10000000; keepalive_timeout 65s;
  client_body_temp_path ${dir}/b; proxy_temp_path ${dir}/p; fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
  upstream instance { server 127.0.0.1:${upstream}; keepalive 128; keepalive_requests 10000000; }
  ${server(collecting, "")}
  ${server(streaming, "proxy_request_buffering off; proxy_buffering off;")}
  ${server(buffered, "proxy_request_buffering off; proxy_max_temp_file_size 0; proxy_buffers 16 64k; proxy_busy_buffers_size 512k;")}
}`,
  );
  const master = bench.spawn("nginx", ["-c", file, "-e", join(dir, "nginx.log")]);
  for (let n = 0; n < 100; n += 1) {
    await sleep(50);
    const worker = readFileSync(`/proc/${master.pid}/task/${master.pid}/children`, "utf8").trim();
    if (worker === "") continue;
    const pid = Number(worker.split(" ")[0]);
    return {
      collecting: [{ name: NGINX, pid, port: collecting }],
      streaming: [
        { name: NGINX, pid, port: streaming },
        { name: "nginx, buffers", pid, port: buffered },
      ],
    };
  }
  throw new Error("nginx did not start");
};

/** It never collects bodies. */
const startHaproxy = async (bench: Bench, upstream: number): Promise<Hop> => {
  const port = await freePort();
  const file = join(bench.dir, "haproxy.cfg");
  writeFileSync(
    file,
    `global
  nbthread 1
  maxconn 4096
defaults
  mode http
  option http-keep-alive
  timeout connect 5s
  timeout client 65s
  timeout server 65s
  timeout http-keep-alive 65s
frontend callers
  bind 127.0.0.1:${port} backlog 1024
  default_backend instance
backend instance
  http-reuse always
  server one 127.0.0.1:${upstream} pool-max-conn 128
`,
  );
  const { pid = 0 } = bench.spawn("haproxy", ["-db", "-f", file]);
  return { name: "haproxy", pid, port };
};

/**
 * CPU per request of one hop: the gateway with everything on, a naive node:http pipe, and nginx's plain proxy_pass when
 * it is installed. The three take turns in the same run, so that a busy machine disturbs all of them alike; what is
 * reported is the median over the rounds of the CPU time of the hop's own process, threads included, per request.
 *
 *   node bench/hop/run.ts [seconds per load] [rounds]        needs Linux (/proc) and wrk; writes results.txt beside itself
 */
import { execFileSync, fork, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
import type { AddressInfo } from "node:net";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { join } from "node:path";
import type { RoutingTable } from "../../src/core/routing-table.ts";
import { encodeToken, tokenToSign } from "../../src/core/token.ts";

const seconds = Number(process.argv[2] ?? 4);
const rounds = Number(process.argv[3] ?? 3);
const here = import.meta.dirname;
const dir = mkdtempSync(join(tmpdir(), "mp-bench-hop-"));
const children: ChildProcess[] = [];

const start = (file: string, args: readonly string[]): Promise<{ child: ChildProcess; port: number }> =>
  new Promise((resolve, reject) => {
    const child = fork(join(here, file), [...args]);
    children.push(child);
    child.once("message", (message) => resolve({ child, port: (message as { port: number }).port }));
    child.once("exit", (code) => reject(new Error(`${file} ended with ${code}`)));
  });

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createTcpServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });

/** CPU nanoseconds of a process so far, all threads. */
const cpuNs = (pid: number): number =>
  readdirSync(`/proc/${pid}/task`)
    .map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[0]))
    .reduce((sum, ns) => sum + ns, 0);

const version = (command: string, args: readonly string[], pattern: RegExp): string | null => {
  try {
    const text = execFileSync("sh", ["-c", `${command} ${args.join(" ")} 2>&1 || true`], {
      encoding: "utf8",
    });
    return pattern.exec(text)?.[1] ?? null;
  } catch {
    return null;
  }
};

const serviceId = randomUUID();
const project = "0".repeat(32);
const keys = generateKeyPairSync("ed25519");
const publicKey = keys.publicKey.export({ type: "spki", format: "der" }).toString("base64url");
const unsigned = tokenToSign({
  jti: randomUUID(),
  kid: "k",
  user: "u",
  domain: "d",
  project,
  iat: Date.now(),
  exp: Date.now() + 3_600_000,
});
const token = encodeToken(unsigned, sign(null, Buffer.from(unsigned), keys.privateKey));
const body = JSON.stringify({
  data: { req_data: [{ sepal_length: 5.1, sepal_width: 3.5, petal_length: 1.4, petal_width: 0.2 }] },
});

const startNginx = async (upstream: number): Promise<{ pid: number; port: number } | null> => {
  if (version("nginx", ["-v"], /nginx\/(\S+)/) === null) return null;
  const port = await freePort();
  const file = join(dir, "nginx.conf");
  writeFileSync(
    file,
    `worker_processes 1; daemon off; pid ${dir}/nginx.pid; error_log ${dir}/nginx.log;
events { worker_connections 1024; }
http { access_log off; client_body_temp_path ${dir}/b; proxy_temp_path ${dir}/p; fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
  keepalive_requests 10000000;
  upstream instance { server 127.0.0.1:${upstream}; keepalive 128; keepalive_requests 10000000; }
  server { listen 127.0.0.1:${port}; location / { proxy_pass http://instance; proxy_http_version 1.1; proxy_set_header Connection ""; } } }`,
  );
  const master = spawn("nginx", ["-c", file, "-e", join(dir, "nginx.log")], { stdio: "ignore" });
  children.push(master);
  for (let n = 0; n < 100; n += 1) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const text = readFileSync(`/proc/${master.pid}/task/${master.pid}/children`, "utf8").trim();
    if (text !== "") return { pid: Number(text.split(" ")[0]), port };
  }
  throw new Error("nginx did not start");
};

const load = (
  port: number,
  connections: number,
  forSeconds: number,
): Promise<{ requests: number; latency: string }> =>
  new Promise((resolve, reject) => {
    const wrk = spawn("wrk", [
      "-t1",
      `-c${connections}`,
      `-d${forSeconds}s`,
      "--latency",
      "-s",
      join(dir, "post.lua"),
      `http://127.0.0.1:${port}/v1/infers/${serviceId}`,
    ]);
    let text = "";
    wrk.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    wrk.once("error", reject);
    wrk.once("close", () => {
      if (text.includes("Non-2xx")) return reject(new Error(text));
      const requests = Number(/(\d+) requests in/.exec(text)?.[1] ?? 0);
      resolve({ requests, latency: /\n\s+50%\s+(\S+)/.exec(text)?.[1] ?? "?" });
    });
  });

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

/** Resident memory of a process, as the kernel words it. */
const memory = (pid: number | undefined): string =>
  /VmRSS:\s+(.*)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "?";

const main = async (): Promise<void> => {
  writeFileSync(
    join(dir, "post.lua"),
    `wrk.method = "POST"\nwrk.body = [[${body}]]\nwrk.headers["Content-Type"] = "application/json"\nwrk.headers["X-Auth-Token"] = "${token}"\n`,
  );
  const upstream = await start("upstream-process.ts", []);
  const url = `http://127.0.0.1:${upstream.port}`;
  const table: RoutingTable = {
    version: 1,
    identity: { keys: { k: publicKey }, revokedTokens: [], refusedUsers: {} },
    services: [
      {
        id: serviceId,
        projectId: project,
        name: "bench",
        state: "serving",
        groups: [
          {
            id: "g",
            modelId: randomUUID(),
            modelName: "iris",
            modelVersion: "1.0.0",
            weight: 100,
            concurrency: 256,
            queueMax: 256,
            instances: [{ id: "i", url }],
          },
        ],
      },
    ],
  };
  const control = createServer((request, response) => {
    if (request.method === "POST")
      return void request.resume().on("end", () => response.writeHead(204).end());
    if (request.url?.includes("applied=1")) return;
    response.end(JSON.stringify(table));
  });
  await new Promise<void>((resolve) => control.listen(join(dir, "control.sock"), resolve));
  const gateway = await start("gateway-process.ts", [dir]);
  const pipe = await start("pipe-process.ts", ["127.0.0.1", String(upstream.port)]);
  const nginx = await startNginx(upstream.port);
  const hops: { name: string; port: number; pid: number }[] = [
    ...(nginx === null ? [] : [{ name: "nginx proxy_pass", ...nginx }]),
    { name: "gateway", port: gateway.port, pid: gateway.child.pid ?? 0 },
    { name: "node:http pipe", port: pipe.port, pid: pipe.child.pid ?? 0 },
  ];
  const busyBefore = loadavg()[0] ?? 0;
  const idleMemory = memory(gateway.child.pid);
  // Compilers need some requests to settle; four seconds each, not counted.
  for (const hop of hops) await load(hop.port, 8, 4);
  const lines = [
    "CPU per request of one hop (see run.ts): POST, about 100 bytes of JSON each way, keep-alive, one process per hop.",
    "The gateway has token check, limits, metrics and access records (to a file) on; nginx logs nothing.",
    `${cpus().length} × ${cpus()[0]?.model ?? "?"}, Linux ${release()}, Node ${process.version}, nginx ${version("nginx", ["-v"], /nginx\/(\S+)/) ?? "not installed"}, wrk ${version("wrk", ["-v"], /wrk (\S+)/) ?? "?"}`,
    `${rounds} rounds of ${seconds} s, hops taking turns; median of the rounds. Upstream and load generator share the machine.`,
    `Load average of the machine before the run: ${busyBefore.toFixed(1)} on ${cpus().length} CPUs.${
      busyBefore > 0.5
        ? " It was shared with other work: compare the rows of one block, not the absolute numbers."
        : ""
    }`,
    "",
    "connections  hop                 CPU µs/request  × nginx   requests/s   median latency",
  ];
  for (const connections of [1, 8, 64]) {
    const results = new Map(
      hops.map((hop) => [hop.name, { us: [] as number[], rps: [] as number[], latency: "" }]),
    );
    for (let round = 0; round < rounds; round += 1) {
      for (const hop of hops) {
        const before = cpuNs(hop.pid);
        const { requests, latency } = await load(hop.port, connections, seconds);
        const result = results.get(hop.name);
        result?.us.push((cpuNs(hop.pid) - before) / 1000 / requests);
        result?.rps.push(requests / seconds);
        if (result !== undefined) result.latency = latency;
      }
    }
    const base = median(results.get("nginx proxy_pass")?.us ?? []);
    for (const [name, { us, rps, latency }] of results) {
      const ratio = Number.isNaN(base) ? "-" : (median(us) / base).toFixed(2);
      lines.push(
        `${String(connections).padStart(11)}  ${name.padEnd(18)}${median(us).toFixed(1).padStart(16)}${ratio.padStart(9)}${median(rps).toFixed(0).padStart(13)}${latency.padStart(17)}`,
      );
      console.log(lines.at(-1));
    }
  }
  lines.push(
    "",
    `gateway memory (VmRSS, with 15 MB of type stripper that start.js avoids) before the first request: ${idleMemory}; after the run: ${memory(gateway.child.pid)}`,
  );
  writeFileSync(join(here, "results.txt"), `${lines.join("\n")}\n`);
  console.log(lines.join("\n"));
};

try {
  await main();
} finally {
  for (const child of children) child.kill();
  rmSync(dir, { recursive: true, force: true });
}
process.exit(0);

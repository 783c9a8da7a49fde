/**
 * Items of a streamed answer: how many a second one connection gets, and how much later than a plain answer its first
 * item comes, from an instance and through the gateway, by turns in the same run. Writes stream.txt beside itself.
 *
 *   node bench/packages/stream.ts --python PYTHON [--items 20000] [--rounds 5]
 */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { describeMachine, median, nowMs, runBench, sleep } from "../support/bench.ts";
import { startGateway } from "../support/gateway.ts";

const { values: options } = parseArgs({
  options: {
    python: { type: "string", default: "python3" },
    items: { type: "string", default: "20000" },
    rounds: { type: "string", default: "5" },
  },
});
const PROBES = 40;
const SERVICE = `
import json
from model_service.python_model_service import XgSklServingBaseService

class Service(XgSklServingBaseService):
    def __init__(self, model_path):
        pass
    def _preprocess(self, data):
        return json.loads(data)["count"]
    def _inference(self, count):
        return count
    def _postprocess(self, count):
        return ({"token": n} for n in range(count))
`;

const agent = new Agent({ keepAlive: true, maxSockets: 1 });

interface Target {
  readonly name: string;
  readonly port: number;
  readonly path: string;
  readonly token: string;
}

/** Milliseconds to the first byte of the body and to its end, and how many events there were. */
const ask = (target: Target, count: number, accept: string) =>
  new Promise<{ firstMs: number; allMs: number; events: number }>((resolve, reject) => {
    const began = nowMs();
    let firstMs = Number.NaN;
    let events = 0;
    const headers = { Accept: accept, "Content-Type": "application/json", "X-Auth-Token": target.token };
    const sent = request(
      { host: "127.0.0.1", port: target.port, path: target.path, method: "POST", agent, headers },
      (answer) => {
        if (answer.statusCode !== 200) reject(new Error(`${target.name}: ${answer.statusCode}`));
        answer.on("data", (chunk: Buffer) => {
          if (Number.isNaN(firstMs)) firstMs = nowMs() - began;
          for (let at = chunk.indexOf("data: "); at >= 0; at = chunk.indexOf("data: ", at + 1)) events += 1;
        });
        answer.on("end", () => resolve({ firstMs, allMs: nowMs() - began, events }));
      },
    );
    sent.on("error", reject);
    sent.end(JSON.stringify({ count }));
  });

await runBench(async (bench) => {
  const packageDir = join(bench.dir, "model");
  const scratchDir = join(bench.dir, "scratch");
  mkdirSync(packageDir);
  mkdirSync(scratchDir);
  writeFileSync(join(packageDir, "customize_service.py"), SERVICE);
  writeFileSync(join(packageDir, "model.m"), "");
  const addressFile = join(bench.dir, "address.json");
  const spec = join(bench.dir, "spec.json");
  writeFileSync(
    spec,
    JSON.stringify({
      instanceId: "bench-1",
      engine: "Scikit_Learn",
      modelName: "stream",
      modelVersion: "1.0.0",
      packageDir,
      modelFile: "model.m",
      python: options.python,
      envs: {},
      workers: 1,
      predictTimeoutMs: 40_000,
      startTimeoutMs: 60_000,
      drainTimeoutMs: 1000,
      errorInfo: true,
      host: "127.0.0.1",
      addressFile,
      scratchDir,
    }),
  );
  const machine = describeMachine();
  const child = spawn(process.execPath, [
    join(import.meta.dirname, "../../src/main.ts"),
    "modelserver",
    "--spec",
    spec,
  ]);
  try {
    const port = async (): Promise<number> => {
      for (;;) {
        try {
          return (JSON.parse(readFileSync(addressFile, "utf8")) as { port: number }).port;
        } catch {
          await sleep(50);
        }
      }
    };
    const instance: Target = { name: "instance", port: await port(), path: "/", token: "" };
    while (!(await fetch(`http://127.0.0.1:${instance.port}/health`)).ok) await sleep(50);
    const {
      port: front,
      paths,
      token,
    } = await startGateway(bench, [{ ports: [instance.port], concurrency: 64, queueMax: 256 }], {
      dir: "gateway",
    });
    const targets = [instance, { name: "through the gateway", port: front, path: paths[0] ?? "", token }];
    const count = Number(options.items);
    const rates = targets.map((): number[] => []);
    const first = targets.map((): number[] => []);
    const plain = targets.map((): number[] => []);
    for (let round = 0; round < Number(options.rounds); round += 1)
      for (const [at, target] of targets.entries()) {
        const { allMs, events } = await ask(target, count, "text/event-stream");
        if (events < count * 0.999) throw new Error(`${target.name}: ${events} of ${count} items`);
        rates[at]?.push((count / allMs) * 1000);
        for (let probe = 0; probe < PROBES; probe += 1) {
          first[at]?.push((await ask(target, 1, "text/event-stream")).firstMs);
          plain[at]?.push((await ask(target, 1, "application/json")).firstMs);
        }
      }
    const text = [
      `One connection, ${count} items of about 12 bytes, one worker, ${options.rounds} rounds, medians. Node's client counts the items.`,
      machine,
      "",
      `${" ".repeat(22)}items/s   first item ms   plain answer ms   first item later by ms`,
      ...targets.map(({ name }, at) => {
        const [rate, early, whole] = [rates[at], first[at], plain[at]].map((values) => median(values ?? []));
        return `${name.padEnd(20)} ${rate?.toFixed(0).padStart(8)} ${early?.toFixed(2).padStart(15)} ${whole?.toFixed(2).padStart(17)} ${((early ?? 0) - (whole ?? 0)).toFixed(2).padStart(24)}`;
      }),
      "",
    ].join("\n");
    writeFileSync(join(import.meta.dirname, "stream.txt"), text);
    console.log(text);
  } finally {
    child.kill();
  }
});

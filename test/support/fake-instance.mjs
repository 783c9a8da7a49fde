// An instance program for tests of the process runner: obeys core/launch.ts, and misbehaves as the variable BEHAVE says.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";

const spec = JSON.parse(readFileSync(process.argv[process.argv.indexOf("--spec") + 1], "utf8"));
const behave = spec.envs.BEHAVE ?? "ready";
const say = (line) => process.stdout.write(`${line}\n`);

say(`start ${spec.instanceId}`);
if (behave === "exit") {
  process.stderr.write(
    'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: no such model\n',
  );
  process.exit(3);
}

let status = behave === "hang" || behave === "slow" ? "starting" : behave === "fail" ? "failed" : "OK";
let isDeaf = false;
let decided = {};
if (behave === "slow") setTimeout(() => (status = "OK"), 400);
if (behave === "crash-later") setTimeout(() => process.exit(9), 600);

const server = createServer((request, response) => {
  if (isDeaf) return;
  if (request.url === "/deaf") isDeaf = true;
  if (request.url === "/pause") status = "starting";
  if (request.url === "/resume") status = "OK";
  if (request.url === "/decide") decided = { batching: { state: "off", text: "they differ" } };
  if (request.url === "/env") return response.end(JSON.stringify(process.env));
  if (request.url === "/say") say("asked");
  if (request.url === "/work") return setTimeout(() => response.end("done"), 500);
  const failure = { reason: "load-failed", message: "ModuleNotFoundError: No module named 'nope'" };
  response.writeHead(status === "OK" ? 200 : 503, { "content-type": "application/json" });
  response.end(JSON.stringify(status === "failed" ? { status, failure } : { status, ...decided }));
});
server.listen(0, spec.host, () => {
  const beside = `${spec.addressFile}.tmp`;
  writeFileSync(beside, JSON.stringify({ pid: process.pid, port: server.address().port }));
  renameSync(beside, spec.addressFile);
});
process.on("SIGTERM", () => {
  say("SIGTERM");
  if (behave === "stubborn") return;
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});

/**
 * The instance program: reads its launch spec, listens, tells its address, runs the workers, and ends cleanly on
 * SIGTERM. It imports as little as it can: an instance should listen in well under a second.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { NO_BATCHING } from "../core/batching.ts";
import type { AddressFile, LaunchSpec } from "../core/launch.ts";
import type { Failure } from "../core/service.ts";
import { systemClock } from "../telemetry/clock.ts";
import { sayTo } from "../telemetry/log-file.ts";
import { openTracer } from "../telemetry/tracing.ts";
import { Door } from "./door.ts";
import { Front } from "./front.ts";
import type { FrontDeps } from "./front.ts";
import { Pool } from "./pool.ts";
import { PROTOCOL_VERSION } from "./protocol.ts";
import { systemTimers } from "./timers.ts";
import { confine } from "./confinement.ts";
import { workerEnv } from "./worker-env.ts";
import { startWorkerWith } from "./worker.ts";

/** How long the end of an instance waits for a collector to take the last spans. */
const TRACES_LAST_MS = 1_000;

/** Runs an instance until it is told to end; resolves never: the process exits. */
export const runModelserver = async (specPath: string): Promise<void> => {
  const spec = JSON.parse(readFileSync(specPath, "utf8")) as LaunchSpec;
  const log = (text: string): void => {
    sayTo(2, `${new Date(systemClock.now()).toISOString()} modelserver: ${text}\n`);
  };
  const tracer = await openTracer(spec.tracing ?? null, "instance", {
    clock: systemClock,
    random: Math.random,
    onExport: (state, error) => log(`export of traces: ${state}${error === "" ? "" : `, ${error}`}`),
  });
  const pythonDir = findPythonDir(import.meta.dirname);
  const workDir = join(spec.scratchDir, "work");
  mkdirSync(workDir, { recursive: true });
  const confinementOf = confine(spec, { pythonDir, workDir }, log);
  const env = workerEnv(spec, pythonDir, workDir);
  const batching = spec.batching ?? NO_BATCHING;
  const pool = new Pool(
    { clock: systemClock, timers: systemTimers, startWorker: startWorkerWith(systemTimers), log },
    {
      workers: spec.workers,
      batching,
      startTimeoutMs: spec.startTimeoutMs,
      start: (index) => ({
        python: spec.python,
        env,
        workDir,
        confinement: confinementOf(index),
        faultFile: join(spec.scratchDir, `worker-${index + 1}.fault`),
        load: {
          t: "load",
          protocol: PROTOCOL_VERSION,
          engine: spec.engine,
          packageDir: spec.packageDir,
          modelFile: spec.modelFile,
          modelName: spec.modelName,
          modelVersion: spec.modelVersion,
          batching: batching.mode,
        },
      }),
    },
  );
  const checks = await openChecks(spec, log);
  const failure = "failure" in checks ? checks.failure : null;
  if (failure !== null) log(failure.message);
  const front = new Front(
    {
      // An instance that cannot check what it was asked to check must not serve.
      pool: failure === null ? pool : failedPool(pool, failure),
      tracer,
      clock: systemClock,
      checkRequest: "failure" in checks ? null : checks.request,
      checkAnswer: "failure" in checks ? null : checks.answer,
      log,
    },
    spec,
  );
  const door = new Door(systemClock, systemTimers, spec.predictTimeoutMs, (exchange) =>
    front.handle(exchange),
  );

  const end = async (): Promise<void> => {
    log("ending: no new connections, predictions in flight finish");
    await Promise.race([door.drain(), systemClock.sleep(spec.drainTimeoutMs)]);
    await pool.stop();
    await Promise.race([tracer.close(), systemClock.sleep(TRACES_LAST_MS)]);
    log("ended");
    process.exit(0);
  };
  let ending = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (ending) return;
      ending = true;
      void end();
    });
  }
  // Started with a channel (`modelport run`): whoever started us has ended, cleanly or not.
  process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
  process.on("uncaughtException", (error) => {
    log(`internal error: ${error.stack ?? error.message}`);
    pool.killAll();
    process.exit(1);
  });

  if (failure === null) pool.start();
  await new Promise<void>((resolve, reject) => {
    door.server.once("error", reject);
    door.server.listen(0, spec.host, 1024, resolve);
  });
  const address = door.server.address();
  if (address === null || typeof address === "string")
    throw new TypeError("the front does not listen on a port");
  writeAddress(spec.addressFile, { pid: process.pid, port: address.port });
};

type Checks =
  | { readonly request: FrontDeps["checkRequest"]; readonly answer: FrontDeps["checkAnswer"] }
  | { readonly failure: Failure };

/** Loads what checks requests and answers only where a service wants that: an instance should listen soon. */
const openChecks = async (
  { requestRule, answerRule, engine }: LaunchSpec,
  log: (text: string) => void,
): Promise<Checks> => {
  let side = "request";
  try {
    const request =
      requestRule === undefined
        ? null
        : (await import("./request-check.ts")).compileRequestCheck(requestRule, engine);
    side = "response";
    const answer =
      answerRule === undefined
        ? null
        : (await import("./answer-check.ts")).compileAnswerCheck(answerRule, { clock: systemClock, log });
    return { request, answer };
  } catch (error) {
    const [what, variable] =
      side === "request"
        ? ["Requests", "MODELPORT_VALIDATE_REQUESTS"]
        : ["Answers", "MODELPORT_VALIDATE_ANSWERS"];
    const reason = error instanceof Error ? error.message : String(error);
    const message = `${what} cannot be checked: apis[0].${side}.data of config.json is no JSON Schema: ${reason}. Correct it in a new version, or set ${variable}=off.`;
    return { failure: { reason: "api-schema", message } };
  }
};

/** A pool that is never started, and says why. */
const failedPool = (pool: Pool, failure: Failure): FrontDeps["pool"] => ({
  submit: (input, settle) => pool.submit(input, settle),
  health: () => ({ state: "failed", failure }),
  stats: () => pool.stats(),
  counters: () => pool.counters(),
  decision: () => pool.decision(),
});

/** By rename, so that whoever watches for the file never reads half of it. */
const writeAddress = (file: string, address: AddressFile): void => {
  const unfinished = `${file}.${process.pid}`;
  writeFileSync(unfinished, JSON.stringify(address));
  renameSync(unfinished, file);
};

/** `python/` of this installation: beside `src` in a checkout, one level further up from the built form. */
const findPythonDir = (from: string): string => {
  for (let dir = from; dir !== dirname(dir); dir = dirname(dir)) {
    const candidate = join(dir, "python");
    if (existsSync(join(candidate, "modelport_worker", "__main__.py"))) return candidate;
  }
  throw new Error(`the folder python/ with the worker was not found above ${from}`);
};

/** The modelserver as it runs: a real front, real Python workers, real packages. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import type { IncomingMessage } from "node:http";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { CALLER_LIMITS, INSTANCE_LIMITS } from "../http/request-head.ts";
import { isAlive, removeInstances, startInstance } from "../../test/support/instance.ts";
import type { Instance } from "../../test/support/instance.ts";
import { until } from "../../test/support/until.ts";
import { plainPython, sklearnPython, xgboostPython } from "../../test/support/python-env.ts";

const EXAMPLES = join(import.meta.dirname, "../../examples");
const request = readFileSync(join(EXAMPLES, "iris/request.json"), "utf8");

/** A package whose steps do what the request says: `{"do": "…"}`. */
const SCRIPTED = `
import ctypes, json, os, sys, time
from model_service.python_model_service import XgSklServingBaseService

class Service(XgSklServingBaseService):
    def __init__(self, model_path):
        super().__init__(model_path)
    def _preprocess(self, data):
        request = json.loads(data)
        if request.get("do") == "raise-preprocess": raise ValueError("bad preprocess")
        return request
    def _inference(self, request):
        do = request.get("do")
        if do == "raise-inference": raise RuntimeError("bad inference")
        if do == "key": return {}["missing"]
        if do == "sys.exit": sys.exit(3)
        if do == "os._exit": os._exit(5)
        if do == "segfault": ctypes.string_at(0)
        if do == "loop":
            while True: pass
        if do == "sleep": time.sleep(request["seconds"])
        if do == "print":
            for _ in range(20000): print("x" * 100)
        if do == "close": os.close(1); os.close(2); sys.stdout.close()
        if do == "env": return [dict(os.environ)]
        if do == "big": return ["y" * request["size"]]
        if do == "wait":
            # Answers only when a second worker is in here at the same time.
            mine = os.path.join(request["dir"], str(os.getpid()))
            open(mine, "w").close()
            until = time.time() + 20
            while time.time() < until and len(os.listdir(request["dir"])) < 2: time.sleep(0.005)
            return [len(os.listdir(request["dir"]))]
        return [request]
    def _postprocess(self, result):
        if result and result[0] == {"do": "raise-postprocess"}: raise OSError("bad postprocess")
        if result and result[0] == {"do": "unserialisable"}: return [object()]
        if result and result[0] == {"do": "nan"}: return [float("nan")]
        return result
`;

const scripted = async (
  more: Omit<Parameters<typeof startInstance>[0], "python"> = {},
): Promise<Instance> => {
  const instance = await startInstance({
    python: await plainPython(),
    files: { "customize_service.py": SCRIPTED, "model.m": "" },
    ...more,
  });
  await instance.ready();
  return instance;
};

const broken = async (code: string, more: Omit<Parameters<typeof startInstance>[0], "python"> = {}) =>
  startInstance({
    python: await plainPython(),
    files: { "customize_service.py": code, "model.m": "" },
    ...more,
  });

const failure = async (instance: Instance) => {
  await until("the failure", async () => (await instance.health()).answer.status === "failed");
  const { status, answer } = await instance.health();
  expect(status).toBe(503);
  if (answer.status !== "failed") throw new Error("not failed");
  return answer.failure;
};

afterEach(() => removeInstances());

describe("a scikit-learn package", () => {
  it("answers as its code says, from a real model", async () => {
    const instance = await startInstance({
      python: await sklearnPython(),
      packageDir: join(EXAMPLES, "iris/model"),
      modelFile: "sklearn.m",
    });
    await instance.ready();
    const answer = await instance.predict(request);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(answer.headers.get("x-modelserver-timing")).toMatch(/^queue=\d+\.\d\d,worker=\d+\.\d\d$/);
    expect(answer.json()).toEqual({
      data: {
        resp_data: [
          { predictresult: "setosa" },
          { predictresult: "versicolor" },
          { predictresult: "virginica" },
        ],
      },
    });
    const withMeta = await instance.predict({ meta: { uuid: "u-1" }, ...JSON.parse(request) });
    expect(withMeta.json()).toMatchObject({ meta: { uuid: "u-1" } });
  });

  it("is served by the default service when it brings no code", async () => {
    const instance = await startInstance({
      python: await sklearnPython(),
      modelFile: "",
      files: { "sklearn.m": readFileSync(join(EXAMPLES, "iris/model/sklearn.m")) },
    });
    await instance.ready();
    expect((await instance.predict(request)).json()).toEqual({
      data: {
        resp_data: [
          { predictresult: "setosa" },
          { predictresult: "versicolor" },
          { predictresult: "virginica" },
        ],
      },
    });
    expect((await instance.predict({ data: { req_data: [{ a: "x" }] } })).status).toBe(500);
    expect((await instance.predict({ data: {} })).status).toBe(400);
  });

  it("that holds neither code nor a model fails and says what is missing", async () => {
    const instance = await startInstance({ python: await sklearnPython(), modelFile: "", files: {} });
    expect((await failure(instance)).message).toContain("exactly one model *.m");
  });
});

describe("an XGBoost package without code", () => {
  it("is served by the default service", async () => {
    const instance = await startInstance({
      python: await xgboostPython(),
      engine: "XGBoost",
      files: { "xgboost.m": readFileSync(join(EXAMPLES, "iris-xgboost/model/xgboost.m")) },
      modelFile: "xgboost.m",
    });
    await instance.ready();
    expect((await instance.predict(request)).json()).toEqual({
      data: { resp_data: [{ predictresult: 0 }, { predictresult: 1 }, { predictresult: 2 }] },
    });
  });
});

describe("the front", () => {
  it("serves one API at / and refuses everything else with a JSON body", async () => {
    const instance = await scripted();
    for (const [method, path, status] of [
      ["GET", "/", 405],
      ["PUT", "/", 405],
      ["POST", "/other", 404],
      ["POST", "/health", 404],
      ["POST", "/?a=1", 200],
      ["GET", "/stats", 200],
    ] as const) {
      const response = await fetch(`${instance.url}${path}`, {
        method,
        ...(method === "GET" ? {} : { body: "{}" }),
      });
      expect([method, path, response.status]).toEqual([method, path, status]);
      expect(response.headers.get("content-type")).toBe("application/json");
      expect(await response.json()).toBeTypeOf("object");
    }
  });

  it("carries bodies of 12 MB both ways and refuses more than its own limit", async () => {
    const instance = await scripted();
    const text = "z".repeat(12 * 1024 * 1024 - 100);
    const echoed = await instance.predict({ text });
    expect((echoed.json() as { data: { resp_data: { text: string }[] } }).data.resp_data[0]?.text).toBe(text);
    // Declared too large: refused before a byte of it is sent.
    const declared = httpRequest(instance.url, {
      method: "POST",
      headers: { "Content-Length": 16 * 1024 * 1024 + 1 },
    });
    declared.flushHeaders();
    const [refused] = (await once(declared, "response")) as [IncomingMessage];
    expect(refused.statusCode).toBe(413);
    declared.destroy();
    // Not declared: refused when it has become too large.
    const streamed = httpRequest(instance.url, { method: "POST" });
    streamed.on("error", () => {});
    streamed.write(Buffer.alloc(16 * 1024 * 1024 + 1));
    const [cut] = (await once(streamed, "response")) as [IncomingMessage];
    expect(cut.statusCode).toBe(413);
    streamed.destroy();
    expect((await instance.predict({})).status).toBe(200);
  });

  it("answers 408 to a body that does not come within the time of a prediction", async () => {
    const instance = await scripted({ predictTimeoutMs: 1000 });
    const slow = httpRequest(instance.url, { method: "POST", headers: { "Content-Length": 10 } });
    slow.on("error", () => {});
    slow.write("{");
    const [late] = (await once(slow, "response")) as [IncomingMessage];
    expect(late.statusCode).toBe(408);
    slow.destroy();
    expect((await instance.predict({})).status).toBe(200);
  });

  it("reads whatever head passes the gateway, with the gateway's own fields on top", async () => {
    const instance = await scripted();
    const post = (headers: Record<string, string>): Promise<number> =>
      fetch(instance.url, { method: "POST", body: "{}", headers }).then(({ status }) => status);
    const fields = (count: number): Record<string, string> =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`x-field-${n}`, "a"]));
    // fetch adds its own ten.
    expect(await post(fields(CALLER_LIMITS.fields))).toBe(200);
    expect(await post({ "x-large": "a".repeat(CALLER_LIMITS.bytes) })).toBe(200);
    expect(await post({ "x-large": "a".repeat(INSTANCE_LIMITS.bytes) })).toBe(494);
    expect(await post(fields(INSTANCE_LIMITS.fields))).toBe(400);
  });

  it("gives user code the user's variables and nothing of the platform's", async () => {
    const instance = await scripted({
      envs: { GREETING: "hello", OMP_NUM_THREADS: "2" },
      hostEnv: { OPENBLAS_CORETYPE: "Haswell" },
    });
    const { data } = (await instance.predict({ do: "env" })).json() as {
      data: { resp_data: [Record<string, string>] };
    };
    const env = data.resp_data[0];
    expect(env).toMatchObject({
      GREETING: "hello",
      OMP_NUM_THREADS: "2",
      OPENBLAS_NUM_THREADS: "1",
      OPENBLAS_CORETYPE: "Haswell",
      HOME: join(instance.dir, "scratch/work"),
    });
    expect(Object.keys(env).filter((name) => /MODELPORT|VITEST|NODE|npm/i.test(name))).toEqual([]);
  });

  it("hides the traceback from callers when told to, and still logs it", async () => {
    const instance = await scripted({ errorInfo: false });
    const answer = await instance.predict({ do: "raise-inference" });
    expect(answer.json()).toMatchObject({ error_info: "RuntimeError: bad inference" });
    await until("the traceback in the log", () => instance.log().includes("Traceback"));
  });
});

describe("user code that misbehaves", () => {
  it.each([
    ["{not json", 500, "PY.0101", "Input data is invalid", "JSONDecodeError"],
    ["", 500, "PY.0101", "Input data is invalid", "JSONDecodeError"],
    ['{"do":"raise-preprocess"}', 500, "PY.0105", "Inference failed", "ValueError: bad preprocess"],
    ['{"do":"raise-inference"}', 500, "PY.0105", "Inference failed", "RuntimeError: bad inference"],
    ['{"do":"raise-postprocess"}', 500, "PY.0105", "Inference failed", "OSError: bad postprocess"],
    ['{"do":"key"}', 400, "PY.0105", "Inference failed", "KeyError: 'missing'"],
    ['{"do":"unserialisable"}', 500, "PY.0105", "Inference failed", "resp_data[0]"],
  ])("gets the documented answer for %s, is logged, and serves on", async (body, status, erno, msg, info) => {
    const instance = await scripted();
    const answer = await instance.predict(body);
    expect(answer.status).toBe(status);
    expect(answer.json()).toMatchObject({ erno, msg, error_info: expect.stringContaining(info) });
    await until("the traceback in the log", () => instance.log().includes(info));
    expect((await instance.predict({})).status).toBe(200);
    expect((await instance.stats()).restarts).toBe(0);
  });

  it.each([
    ["sys.exit", "SystemExit: 3", "exited with code 3"],
    ["os._exit", "exited with code 5", "exited with code 5"],
    ["segfault", "was ended by SIGSEGV", "in _inference"],
  ])("is answered for and replaced after %s", async (what, info, logged) => {
    const instance = await scripted();
    const answer = await instance.predict({ do: what });
    expect(answer.status).toBe(500);
    expect(answer.json()).toMatchObject({
      erno: "PY.0105",
      msg: "Inference failed",
      error_info: expect.stringContaining(info),
    });
    // A prediction that comes meanwhile waits for the new worker.
    expect((await instance.predict({ n: 1 })).status).toBe(200);
    expect(instance.log()).toContain(logged);
    expect((await instance.stats()).restarts).toBe(1);
  });

  it("is ended at the deadline, its caller told, its stack logged, and the next prediction answered", async () => {
    const instance = await scripted({ predictTimeoutMs: 700 });
    const looping = (await instance.stats()).workers[0]?.pid ?? 0;
    const answer = await instance.predict({ do: "loop" });
    expect(answer.status).toBe(504);
    expect(answer.json()).toMatchObject({ erno: "PY.0105", msg: "Inference timed out" });
    await until("the worker to be gone", () => !isAlive(looping));
    await instance.ready();
    expect((await instance.predict({})).status).toBe(200);
    expect(instance.log()).toContain("in _inference");
  });

  it("keeps the deadline its caller names, also while waiting for a worker", async () => {
    const instance = await scripted();
    const running = instance.predict({ do: "sleep", seconds: 2 });
    await until("the first to run", async () => (await instance.stats()).inFlight === 1);
    const waiting = await instance.predict({}, { headers: { "X-Request-Deadline-Ms": "100" } });
    expect(waiting.status).toBe(504);
    expect(waiting.json()).toMatchObject({ error_info: expect.stringContaining("No worker was free") });
    expect((await running).status).toBe(200);
    expect((await instance.stats()).restarts).toBe(0);
  });

  it("may flood or close its output without harm", async () => {
    const instance = await scripted();
    expect((await instance.predict({ do: "print" })).status).toBe(200);
    expect(instance.log().length).toBeGreaterThan(2_000_000);
    expect((await instance.predict({ do: "close" })).status).toBe(200);
    expect((await instance.predict({ n: 2 })).status).toBe(200);
    expect((await instance.stats()).restarts).toBe(0);
  });

  it("sends NaN as null", async () => {
    const instance = await scripted();
    expect((await instance.predict({ do: "nan" })).text).toBe('{"data": {"resp_data": [null]}}');
  });
});

describe("a package that does not load", () => {
  it("fails with the traceback's last line, and predictions are told", async () => {
    const instance = await broken("import json\nraise ValueError('no label file')\n");
    expect(await failure(instance)).toMatchObject({
      reason: "load-failed",
      message: "The model could not be loaded: ValueError: no label file",
      detail: expect.stringMatching(/customize_service\.py", line 2[\s\S]*ValueError: no label file/),
    });
    const answer = await instance.predict({});
    expect(answer.status).toBe(503);
    expect(answer.json()).toMatchObject({ error_info: expect.stringContaining("no label file") });
    expect(instance.log()).toContain("ValueError: no label file");
    const { workers } = await instance.stats();
    expect(workers.map((w) => w.state)).toEqual(["stopped"]);
  });

  it("fails with the exit code or signal when the process dies while loading", async () => {
    const exits = await broken("import os\nos._exit(9)\n");
    expect(await failure(exits)).toMatchObject({ reason: "load-failed", exitCode: 9 });
    const crashes = await broken("import ctypes\nctypes.string_at(0)\n");
    expect(await failure(crashes)).toMatchObject({
      reason: "load-failed",
      message: expect.stringContaining("SIGSEGV"),
      detail: expect.stringContaining("customize_service.py"),
    });
  });

  it("fails when loading takes longer than allowed, naming where it hung", async () => {
    const instance = await broken("import threading\nthreading.Event().wait()\n", { startTimeoutMs: 1000 });
    expect((await instance.health()).answer).toMatchObject({ status: "starting" });
    expect(await failure(instance)).toMatchObject({
      reason: "start-timeout",
      message: "The model was not loaded within 1 s.",
      detail: expect.stringContaining("customize_service.py"),
    });
  });

  it("fails when it shall check requests by a schema that is none, saying where", async () => {
    const instance = await broken("", {
      requestRule: { contentType: "application/json", schema: { properties: { age: { type: "int" } } } },
    });
    expect(await failure(instance)).toMatchObject({
      reason: "api-schema",
      message: expect.stringContaining(
        'apis[0].request.data of config.json is no JSON Schema: properties.age.type is "int"; use one of',
      ),
    });
  });

  it("fails when the interpreter does not exist", async () => {
    const instance = await startInstance({ python: "/no/such/python", files: {} });
    expect(await failure(instance)).toMatchObject({ reason: "not-found" });
  });

  it("lets predictions wait while it loads slowly", async () => {
    // Until somebody writes to it.
    const gate = join(mkdtempSync(join(tmpdir(), "modelserver-gate-")), "gate");
    execFileSync("mkfifo", [gate]);
    try {
      const instance = await broken(`open(${JSON.stringify(gate)}).read()\n${SCRIPTED}`);
      expect((await instance.health()).answer).toMatchObject({ status: "starting" });
      const answer = instance.predict({ n: 1 });
      await until("it to wait", async () => (await instance.stats()).queued === 1);
      await writeFile(gate, "");
      expect((await answer).status).toBe(200);
    } finally {
      rmSync(dirname(gate), { recursive: true, force: true });
    }
  });
});

describe("workers", () => {
  it("answer in parallel", async () => {
    const instance = await scripted({ workers: 2 });
    await until("both workers", async () =>
      (await instance.stats()).workers.every((worker) => worker.state === "idle"),
    );
    const body = { do: "wait", dir: join(instance.dir, "scratch", "meeting") };
    mkdirSync(body.dir);
    const answers = await Promise.all([instance.predict(body), instance.predict(body)]);
    expect(answers.map((a) => a.json())).toEqual([
      { data: { resp_data: [2] } },
      { data: { resp_data: [2] } },
    ]);
  });

  it("that crash do not disturb the others' predictions", async () => {
    const instance = await scripted({ workers: 2 });
    await until("both workers", async () =>
      (await instance.stats()).workers.every((worker) => worker.state === "idle"),
    );
    const steady = instance.predict({ do: "sleep", seconds: 1 });
    await until("it to run", async () => (await instance.stats()).inFlight === 1);
    expect((await instance.predict({ do: "os._exit" })).status).toBe(500);
    expect((await instance.health()).status).toBe(200);
    expect((await steady).status).toBe(200);
  });

  it("skip waiting predictions whose callers are gone", async () => {
    const instance = await scripted();
    const running = instance.predict({ do: "sleep", seconds: 1 });
    await until("it to run", async () => (await instance.stats()).inFlight === 1);
    const caller = new AbortController();
    const left = instance.predict({ do: "os._exit" }, { signal: caller.signal }).catch(() => "gone");
    await until("it to wait", async () => (await instance.stats()).queued === 1);
    caller.abort();
    expect(await left).toBe("gone");
    await until("it to be dropped", async () => (await instance.stats()).queued === 0);
    expect((await running).status).toBe(200);
    expect((await instance.predict({})).status).toBe(200);
    expect((await instance.stats()).restarts).toBe(0);
  });

  it("end with the front, however it ends", async () => {
    const instance = await scripted({ workers: 2 });
    await until("both workers", async () =>
      (await instance.stats()).workers.every((worker) => worker.state === "idle"),
    );
    const pids = (await instance.stats()).workers.map((worker) => worker.pid ?? 0);
    // One idle in its loop, one that never comes back from user code.
    void instance.predict({ do: "loop" }).catch(() => {});
    await until("it to run", async () => (await instance.stats()).inFlight === 1);
    instance.signal("SIGKILL");
    expect((await instance.ended()).signal).toBe("SIGKILL");
    await until("the workers to be gone", () => pids.every((pid) => !isAlive(pid)));
  });
});

describe("draining", () => {
  it("answers every prediction that was accepted, under load, and leaves nothing behind", async () => {
    const instance = await scripted({ workers: 2 });
    const pids = (await instance.stats()).workers.map((worker) => worker.pid ?? 0);
    const inFlight = Array.from({ length: 40 }, () => instance.predict({ do: "sleep", seconds: 0.05 }));
    // What the gateway does first: it sends no new ones. Those it sent have all arrived, and most still wait.
    await until("all of them to have arrived", async () => {
      const { queued, inFlight: running, workers } = await instance.stats();
      return queued + running + workers.reduce((sum, worker) => sum + worker.predictions, 0) === 40;
    });
    instance.signal("SIGTERM");
    const answers = await Promise.all(inFlight);
    expect(answers.map((a) => a.status)).toEqual(answers.map(() => 200));
    expect((await instance.ended()).code).toBe(0);
    await expect(fetch(`${instance.url}/health`)).rejects.toThrow();
    expect(pids.filter(isAlive)).toEqual([]);
  });

  it("sends a large answer to its end before it exits", async () => {
    const instance = await scripted();
    const size = 64 * 1024 * 1024;
    const answer = instance.predict({ do: "big", size });
    await until("it to run", async () => {
      const { inFlight, workers } = await instance.stats();
      return inFlight === 1 || workers[0]?.state === "idle";
    });
    instance.signal("SIGTERM");
    expect((await answer).text.length).toBeGreaterThan(size);
    expect((await instance.ended()).code).toBe(0);
  });

  it("ends after the drain timeout even if a prediction never does", async () => {
    const instance = await scripted({ drainTimeoutMs: 500 });
    const pid = (await instance.stats()).workers[0]?.pid ?? 0;
    const answer = instance.predict({ do: "loop" }).catch(() => null);
    await until("it to run", async () => (await instance.stats()).inFlight === 1);
    instance.signal("SIGTERM");
    expect((await instance.ended()).code).toBe(0);
    expect(isAlive(pid)).toBe(false);
    await answer;
  });

  it("ends at once while it is still loading", async () => {
    const instance = await broken("import time\ntime.sleep(600)\n");
    await until("the worker", async () => (await instance.stats()).workers[0]?.pid !== null);
    const pid = (await instance.stats()).workers[0]?.pid ?? 0;
    instance.signal("SIGTERM");
    expect((await instance.ended()).code).toBe(0);
    expect(isAlive(pid)).toBe(false);
  });
});

/** Values of the real frameworks: what they become in answers, and predictions of theirs that are joined. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, expect, it } from "vitest";
import type { EngineName } from "../../src/core/engines.ts";
import { engineEnvironment } from "../support/engine-environments.ts";
import { removeInstances, startInstance } from "../support/instance.ts";
import { until } from "../support/until.ts";

const scratch = mkdtempSync(join(tmpdir(), "modelport-values-"));
afterEach(() => removeInstances());
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

// The oldest release that has the values, and one whose torch.load wants weights only.
it.for([
  { engine: "TensorFlow", runtime: "tf2.1-python3.7", file: "values_of_tensorflow.py" },
  { engine: "TensorFlow", runtime: "python3.11", file: "values_of_tensorflow.py" },
  {
    engine: "PyTorch",
    runtime: "pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64",
    file: "values_of_torch.py",
  },
  { engine: "PyTorch", runtime: "python3.13", file: "values_of_torch.py" },
] as const)("$file holds for $engine on $runtime", async ({ engine, runtime, file }, { signal }) => {
  const { python } = await engineEnvironment(engine, runtime, signal);
  const tests = join(import.meta.dirname, "../../python/tests", file);
  const { stderr } = await promisify(execFile)(python, ["-W", "ignore", tests], {
    env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: "2" },
  });
  expect(stderr).toMatch(/Ran 8 tests in .*\n\nOK\n$/);
});

it.for([
  {
    engine: "PyTorch",
    runtime: "python3.13",
    count: "import torch; count = torch.cuda.device_count",
    base: "from model_service.pytorch_model_service import PTServingBaseService as Base",
  },
  {
    engine: "TensorFlow",
    runtime: "python3.11",
    count: 'import tensorflow as tf; count = lambda: len(tf.config.list_physical_devices("GPU"))',
    base: "from model_service.tfserving_model_service import TfServingBaseService as Base",
  },
] as const)(
  "$engine sees no device that was not granted, whatever the service's variables say",
  async ({ engine, runtime, count, base }, { signal }) => {
    const { python } = await engineEnvironment(engine, runtime, signal);
    const source = `
import os
${base}
${count}
class Service(Base):
    def __init__(self, model_name, model_path):
        pass
    def _inference(self, data):
        return {"granted": os.environ["CUDA_VISIBLE_DEVICES"], "seen": count()}
`;
    const files = { "customize_service.py": source, "net.pth": "" };
    const modelFile = engine === "PyTorch" ? "net.pth" : "";
    const envs = { CUDA_VISIBLE_DEVICES: "0" };
    const given = { engine, python, modelFile, files, envs, startTimeoutMs: 300_000 };
    const granted = ["GPU-00000000-0000-0000-0000-000000000000"];
    const none = await startInstance({ ...given, devices: [] });
    const unknown = await startInstance({ ...given, devices: granted });
    await Promise.all([none.ready(), unknown.ready()]);
    expect((await none.predict({})).json(), none.log()).toEqual({ granted: "", seen: 0 });
    // No machine has this one, so granting it is granting none that exists.
    expect((await unknown.predict({})).json(), unknown.log()).toEqual({ granted: granted[0], seen: 0 });
  },
);

/** Multiplies rows, one tensor or in a dict by name, by how many they are inferred with; a row that begins with `-1` waits for GO. */
const service = (base: string, framework: string): string => `
import os, time
import numpy as np
${base}
${framework}

class Service(Base):
    def __init__(self, model_name, model_path):
        pass
    def _preprocess(self, data):
        rows = np.array(data["rows"], "float32")
        return {"tensor": tensor, "dict": lambda rows: {"rows": tensor(rows), "plain": rows}}[data["as"]](rows)
    def _inference(self, data):
        named = isinstance(data, dict)
        rows = data["rows"] if named else data
        assert type(rows) is type(tensor(np.zeros(1, "float32"))), type(rows)
        while float(rows[0][0]) < 0 and not os.path.exists(os.environ["GO"]): time.sleep(0.005)
        return {"rows": rows * len(rows), "plain": data["plain"] * len(rows)} if named else rows * len(rows)
    def _postprocess(self, result):
        return result if isinstance(result, dict) else {"rows": result}
`;

it.for([
  {
    engine: "PyTorch",
    runtime: "python3.13",
    source: service(
      "from model_service.pytorch_model_service import PTServingBaseService as Base",
      "import torch\ntensor = lambda rows: torch.from_numpy(rows).to(torch.bfloat16)",
    ),
  },
  {
    engine: "TensorFlow",
    runtime: "python3.11",
    source: service(
      "from model_service.tfserving_model_service import TfServingBaseService as Base",
      "import tensorflow as tf\ntensor = lambda rows: tf.cast(tf.constant(rows), tf.bfloat16)",
    ),
  },
] satisfies readonly { engine: EngineName; runtime: string; source: string }[])(
  "tensors and dicts of tensors and arrays of $engine that wait are joined, each kind by itself, and answered as alone",
  async ({ engine, runtime, source }, { signal }) => {
    const { python } = await engineEnvironment(engine, runtime, signal);
    const go = join(scratch, engine);
    const instance = await startInstance({
      engine,
      python,
      modelFile: engine === "PyTorch" ? "net.pth" : "",
      files: { "customize_service.py": source, "net.pth": "" },
      envs: { GO: go },
      batching: { mode: "on", maxSize: 8, maxDelayMs: 0 },
      startTimeoutMs: 300_000,
    });
    await instance.ready();
    const first = instance.predict({ as: "tensor", rows: [[-1, 0]] });
    await until("it to run", async () => ((await instance.stats()).inFlight === 1 ? true : null));
    const ask = (as: string, rows: number[][]) => instance.predict({ as, rows });
    const waiting = [
      ask("tensor", [[1, 2]]),
      ask("dict", [[1, 2]]),
      ask("tensor", [
        [3, 4],
        [5, 6],
      ]),
      ask("dict", [
        [3, 4],
        [5, 6],
      ]),
    ];
    await until("the others to wait", async () => ((await instance.stats()).queued === 4 ? true : null));
    writeFileSync(go, "");
    await first;
    const answers = (await Promise.all(waiting)).map((answer) => answer.json());
    const [one, two] = [
      [[3, 6]],
      [
        [9, 12],
        [15, 18],
      ],
    ];
    expect(answers, instance.log()).toEqual([
      { rows: one },
      { rows: one, plain: one },
      { rows: two },
      { rows: two, plain: two },
    ]);
  },
);

/** Predictions that wait together, through a real front and real workers: joined, and each answered as by itself. */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, expect, it } from "vitest";
import { removeInstances, startInstance } from "../../test/support/instance.ts";
import { plainPython, sklearnPython } from "../../test/support/python-env.ts";
import { until } from "../../test/support/until.ts";

afterEach(() => removeInstances());

/** Answers each row doubled with the number of rows it was inferred with; the row `file` waits for that file. */
const SERVICE = `
import json, os, time
from model_service.python_model_service import XgSklServingBaseService

class Service(XgSklServingBaseService):
    def __init__(self, model_path):
        pass
    def _preprocess(self, data):
        return json.loads(data)["rows"]
    def _inference(self, rows):
        if "die" in rows: os._exit(5)
        while isinstance(rows[0], str) and not os.path.exists(rows[0]): time.sleep(0.005)
        return [[row * 2, len(rows)] for row in rows]
    def _postprocess(self, results):
        return results
`;

it("what waits while a prediction runs is joined, and what ends the worker ends alone", async () => {
  const instance = await startInstance({
    python: await plainPython(),
    files: { "customize_service.py": SERVICE, "model.m": "" },
    batching: { mode: "on", maxSize: 8, maxDelayMs: 0 },
  });
  await instance.ready();
  const file = join(instance.dir, "go");
  const queued = async (count: number): Promise<void> => {
    await until(`${count} to wait`, async () => ((await instance.stats()).queued === count ? true : null));
  };
  const first = instance.predict({ rows: [file] });
  await until("it to run", async () => ((await instance.stats()).inFlight === 1 ? true : null));
  const others = [1, 2, 3, 4, 5].map((row) => instance.predict({ rows: [row] }));
  await queued(5);
  writeFileSync(file, "");
  expect((await first).json()).toEqual({ data: { resp_data: [[file + file, 1]] } });
  const answers = await Promise.all(others);
  expect(answers.map((answer) => answer.json())).toEqual(
    [1, 2, 3, 4, 5].map((row) => ({ data: { resp_data: [[row * 2, 5]] } })),
  );

  const second = join(instance.dir, "go-on");
  const holds = instance.predict({ rows: [second] });
  await until("it to run", async () => ((await instance.stats()).inFlight === 1 ? true : null));
  const mixed = [1, "die", 2].map((row) => instance.predict({ rows: [row] }));
  await queued(3);
  writeFileSync(second, "");
  await holds;
  const [one, culprit, two] = await Promise.all(mixed);
  expect([one?.status, culprit?.status, two?.status]).toEqual([200, 500, 200]);
  expect([one?.json(), two?.json()]).toEqual([1, 2].map((row) => ({ data: { resp_data: [[row * 2, 1]] } })));
});

it("real arrays and frames come apart as they were put together, and have one outcome each in answers", async () => {
  const tests = join(import.meta.dirname, "../../python/tests/values_of_arrays.py");
  const { stderr } = await promisify(execFile)(await sklearnPython(), [tests]);
  expect(stderr).toMatch(/Ran 7 tests in .*\n\nOK\n$/);
});

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

it("callers that leave while they wait, while their batch runs or past their deadline take nobody's answer with them", async () => {
  const instance = await startInstance({
    python: await plainPython(),
    files: { "customize_service.py": SERVICE, "model.m": "" },
    batching: { mode: "on", maxSize: 8, maxDelayMs: 0 },
  });
  await instance.ready();
  const stats = (what: Partial<{ queued: number; inFlight: number }>): Promise<unknown> =>
    until(JSON.stringify(what), async () => {
      const now = await instance.stats();
      return Object.entries(what).every(([name, count]) => now[name as keyof typeof what] === count);
    });
  const ask = (row: number | string, options: Parameters<typeof instance.predict>[1] = {}) => {
    const leaving = new AbortController();
    const answer = instance.predict({ rows: [row] }, { signal: leaving.signal, ...options });
    // Whoever leaves gets no answer; that is no error of the test.
    return {
      answer,
      gone: answer.then(
        () => "answered",
        () => "gone",
      ),
      leave: () => leaving.abort(),
    };
  };
  /** Holds the only worker until `go`. */
  const hold = async (name: string): Promise<{ go: () => void; answer: Promise<unknown> }> => {
    const file = join(instance.dir, name);
    const { answer } = ask(file);
    await stats({ inFlight: 1 });
    return { go: () => writeFileSync(file, ""), answer };
  };
  const answered = async (asked: readonly { answer: Promise<{ json(): unknown }> }[]): Promise<unknown> =>
    (await Promise.all(asked.map((one) => one.answer))).map((answer) => answer.json());
  const of = (row: number, among: number) => ({ data: { resp_data: [[row * 2, among]] } });

  // While they wait: those that are left are joined without them.
  const first = await hold("first");
  const waiting = [1, 2, 3, 4].map((row) => ask(row));
  await stats({ queued: 4 });
  waiting[0]?.leave();
  waiting[2]?.leave();
  await stats({ queued: 2 });
  first.go();
  expect(await answered([1, 3].map((at) => waiting[at]).filter((one) => one !== undefined))).toEqual([
    of(2, 2),
    of(4, 2),
  ]);

  // While their batch runs: it goes on as it is.
  const second = await hold("second");
  const file = join(instance.dir, "batch");
  const batch = [ask(file), ...[5, 6, 7].map((row) => ask(row))];
  await stats({ queued: 4 });
  second.go();
  await stats({ inFlight: 4, queued: 0 });
  batch[0]?.leave();
  batch[2]?.leave();
  expect(await Promise.all([batch[0]?.gone, batch[2]?.gone])).toEqual(["gone", "gone"]);
  writeFileSync(file, "");
  expect(await answered([1, 3].map((at) => batch[at]).filter((one) => one !== undefined))).toEqual([
    of(5, 4),
    of(7, 4),
  ]);

  // Past the deadline of one of them: its worker is replaced, and the others are asked again.
  const third = await hold("third");
  const late = [
    ask(join(instance.dir, "never"), { headers: { "X-Request-Deadline-Ms": "1500" } }),
    ask(8),
    ask(9),
  ];
  await stats({ queued: 3 });
  third.go();
  expect((await late[0]?.answer)?.status).toBe(504);
  expect(await answered(late.slice(1))).toEqual([of(8, 1), of(9, 1)]);
  expect(await instance.stats()).toMatchObject({ queued: 0, inFlight: 0, restarts: 1 });
});

it("what a worker decides under `auto`, and what it saw, is in the instance's health and its log", async () => {
  const slow = SERVICE.replace("    def _inference(self, rows):\n", "$&        time.sleep(0.005)\n");
  const depends = SERVICE.replace("row * 2, len(rows)", "len(rows)");
  const joins = slow.replace("[row * 2, len(rows)]", "row * 2");
  for (const [service, state, evidence] of [
    [joins, "on", /joined from now on: \d+ requests in \d+ batches gave the same answers/],
    [depends, "off", /one by one: joined, a request was answered .* that is answered .* by itself/],
  ] as const) {
    const instance = await startInstance({
      python: await plainPython(),
      files: { "customize_service.py": service, "model.m": "" },
      batching: { mode: "auto", maxSize: 8, maxDelayMs: 0 },
    });
    await instance.ready();
    expect((await instance.health()).answer).not.toHaveProperty("batching");
    const batching = await until("a decision", async () => {
      const answers = await Promise.all([1, 2, 3, 4, 5, 6].map((row) => instance.predict({ rows: [row] })));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200]);
      const { answer } = await instance.health();
      return ("batching" in answer && answer.batching) || null;
    });
    expect(batching).toEqual({ state, text: expect.stringMatching(evidence) });
    expect(instance.log()).toContain(batching.text);
  }
});

it("real arrays and frames come apart as they were put together, and have one outcome each in answers", async () => {
  const tests = join(import.meta.dirname, "../../python/tests/values_of_arrays.py");
  const { stderr } = await promisify(execFile)(await sklearnPython(), [tests]);
  expect(stderr).toMatch(/Ran 7 tests in .*\n\nOK\n$/);
});

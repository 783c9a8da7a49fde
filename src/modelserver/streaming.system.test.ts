/** Answers that are iterators, item by item: a real front, a real Python worker. */
import { request as httpRequest } from "node:http";
import type { IncomingMessage } from "node:http";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { removeInstances, startInstance } from "../../test/support/instance.ts";
import type { Instance } from "../../test/support/instance.ts";
import { plainPython } from "../../test/support/python-env.ts";
import { until } from "../../test/support/until.ts";

afterEach(() => removeInstances());

const SERVICE = `
import json, os, time
from model_service.python_model_service import XgSklServingBaseService

class Service(XgSklServingBaseService):
    def __init__(self, model_path):
        pass
    def _preprocess(self, data):
        return json.loads(data)
    def _inference(self, request):
        return request
    def _postprocess(self, request):
        if "list" in request:
            return request["list"]
        return self.items(request)
    def items(self, request):
        try:
            n = 0
            while n != request.get("count"):
                if n == request.get("fails"): raise ValueError("no more")
                if n == request.get("waits"):
                    while not os.path.exists(request["file"]): time.sleep(0.01)
                if n == request.get("hangs"):
                    while True: time.sleep(1)
                yield {"n": n, "text": "x" * request.get("size", 1)}
                n += 1
        finally:
            print("the iterator ended at", n, flush=True)
`;

const start = async (more: object = {}): Promise<Instance> => {
  const instance = await startInstance({
    python: await plainPython(),
    files: { "customize_service.py": SERVICE, "model.m": "" },
    ...more,
  });
  await instance.ready();
  return instance;
};

const open = (instance: Instance, body: object, accept = "text/event-stream"): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const options = {
      method: "POST",
      agent: false,
      headers: { Accept: accept, "Content-Type": "application/json" },
    };
    const sent = httpRequest(`${instance.url}/`, options, resolve);
    sent.on("error", reject);
    sent.end(JSON.stringify(body));
  });
const text = async (answer: IncomingMessage): Promise<string> => {
  let all = "";
  for await (const chunk of answer) all += String(chunk);
  return all;
};
const data = (events: string): unknown[] =>
  events
    .split("\n\n")
    .filter((event) => event.startsWith("data: "))
    .map((event) => JSON.parse(event.slice("data: ".length)) as unknown);

it("sends each item as an event, and nothing else", async () => {
  const instance = await start();
  const answer = await open(instance, { count: 3 });
  expect([answer.statusCode, answer.headers["content-type"]]).toEqual([200, "text/event-stream"]);
  const events = await text(answer);
  expect(data(events)).toEqual([0, 1, 2].map((n) => ({ n, text: "x" })));
  expect(events.endsWith('"}\n\n')).toBe(true);
  expect(await text(await open(instance, { count: 0 }))).toBe("");
});

it("sends an item as soon as there is one", async () => {
  const instance = await start();
  const file = join(instance.dir, "go");
  const answer = await open(instance, { count: 2, waits: 1, file });
  const first = await new Promise<string>((resolve) =>
    answer.once("data", (chunk) => resolve(String(chunk))),
  );
  expect(data(first)).toHaveLength(1);
  writeFileSync(file, "");
  expect(data(await text(answer))).toHaveLength(1);
});

it("answers callers that do not ask for events, and answers that are no iterators, as a whole", async () => {
  const instance = await start();
  const whole = await open(instance, { count: 2 }, "*/*");
  expect(whole.headers["content-type"]).toBe("application/json");
  expect(JSON.parse(await text(whole))).toEqual({
    data: { resp_data: [0, 1].map((n) => ({ n, text: "x" })) },
  });
  const list = await open(instance, { list: [1] });
  expect(JSON.parse(await text(list))).toEqual({ data: { resp_data: [1] } });
});

it("says in an event of its own what ended the items too early, and in the status what came before the first", async () => {
  const instance = await start();
  const late = await text(await open(instance, { fails: 2 }));
  expect(data(late)).toHaveLength(2);
  expect(late).toMatch(/\n\nevent: error\ndata: {"erno":"PY.0105".*ValueError: no more.*}\n\n$/);
  const early = await open(instance, { fails: 0 });
  expect([early.statusCode, early.headers["content-type"]]).toEqual([500, "application/json"]);
  expect(data(await text(await open(instance, { count: 1 })))).toHaveLength(1);
});

it("ends the items at the deadline of the prediction and replaces the worker", async () => {
  const instance = await start({ predictTimeoutMs: 1000 });
  const events = await text(await open(instance, { hangs: 1 }));
  expect(events).toMatch(/event: error\ndata: {"erno":"PY.0105","msg":"Inference timed out"/);
  await instance.ready();
  expect(data(await text(await open(instance, { count: 1 })))).toHaveLength(1);
});

it("ends the iterator when its caller leaves, and serves the next caller with the same worker", async () => {
  const instance = await start();
  const answer = await open(instance, { size: 1000 });
  await new Promise((resolve) => answer.once("data", resolve));
  answer.destroy();
  await until("the iterator to end", () => (instance.log().includes("the iterator ended at") ? true : null));
  expect(data(await text(await open(instance, { count: 1 })))).toHaveLength(1);
  expect(instance.log()).not.toContain("another starts");
});

it("holds the iterator back as long as its caller reads nothing", async () => {
  const instance = await start();
  const answer = await open(instance, { count: 3000, size: 10_000 });
  answer.pause();
  // While it is held back the worker waits in a write: another prediction waits with it until the caller reads on.
  let isAnswered = false;
  const other = open(instance, { list: [1] }).then((done) => ((isAnswered = true), text(done)));
  await until("the other to wait", async () => {
    return (await instance.stats()).queued === 1 ? true : null;
  });
  expect(isAnswered).toBe(false);
  expect(data(await text(answer))).toHaveLength(3000);
  expect(JSON.parse(await other)).toEqual({ data: { resp_data: [1] } });
});

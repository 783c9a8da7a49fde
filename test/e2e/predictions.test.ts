/** Predictions through the real gateway to real user code: what comes back when code, caller or instance misbehaves. */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomUUID,
  sign,
} from "node:crypto";
import type { KeyObject } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TokenPayload } from "../../src/core/routing-table.ts";
import { encodeToken, parseToken, tokenToSign } from "../../src/core/token.ts";
import { deploy, entry, eventsOf, importModel, predict, scripted } from "../support/packages.ts";
import { Platform, processesOf, until } from "../support/platform.ts";
import type { Answer } from "../support/platform.ts";

const PREDICT_TIMEOUT_MS = 2_000;
const CONCURRENCY = 2;
const QUEUE_MAX = 2;
const platform = new Platform({
  MODELPORT_PREDICT_TIMEOUT_MS: String(PREDICT_TIMEOUT_MS),
  MODELPORT_INSTANCE_CONCURRENCY: String(CONCURRENCY),
  MODELPORT_QUEUE_MAX: String(QUEUE_MAX),
});

/** Does what the request says; with HOLD set, its start waits while that file exists. */
const obedient = scripted(`
def __init__(self, model_path):
    hold = os.environ.get("HOLD", "")
    while hold and os.path.exists(hold):
        time.sleep(0.02)
    XgSklServingBaseService.__init__(self, model_path)
def _preprocess(self, data):
    return json.loads(data)
def _inference(self, data):
    do = data.get("do")
    if do == "key":
        return data["missing"]
    if do == "type":
        return 1 + "1"
    if do == "raise":
        raise ValueError("asked to raise")
    if do == "exit":
        os._exit(3)
    time.sleep(data.get("sleep", 0))
    return [{"pid": os.getpid()}]
def _postprocess(self, data):
    return data
`);

let model = "";
let id = "";
beforeAll(async () => {
  await platform.start();
  const imported = await importModel(platform, "obedient", "1.0.0", obedient);
  expect(imported.status, JSON.stringify(imported.events)).toBe("published");
  model = imported.id;
  id = await deploy(platform, "obedient", [entry(model)]);
});
afterAll(() => platform.stop());

const pidOf = (answer: Answer): number =>
  (answer.body as { data: { resp_data: [{ pid: number }] } }).data.resp_data[0].pid;
/** The next good answer, however many attempts it takes: its worker's process. */
const answered = (service = id): Promise<number> =>
  until("a good answer", async () => {
    const now = await predict(platform, service, {});
    return now.status === 200 ? pidOf(now) : null;
  });
const metrics = async (): Promise<readonly string[]> =>
  (await (await fetch(`${platform.state.url}/metrics`)).text()).split("\n");
const gauge = async (name: string, service = id): Promise<number> => {
  const line = (await metrics()).find(
    (one) => one.startsWith(`modelport_gateway_${name}{`) && one.includes(`service="${service}"`),
  );
  return Number(line?.split(" ").at(-1) ?? Number.NaN);
};

describe("failing user code", () => {
  it.each([
    ["a KeyError", { do: "key" }, 400, "PY.0105", "Inference failed", /KeyError: 'missing'/],
    ["a TypeError", { do: "type" }, 400, "PY.0105", "Inference failed", /TypeError: unsupported operand/],
    ["another exception", { do: "raise" }, 500, "PY.0105", "Inference failed", /ValueError: asked to raise/],
    [
      "a body that is not JSON",
      new TextEncoder().encode("{no json"),
      500,
      "PY.0101",
      "Input data is invalid",
      /JSONDecodeError/,
    ],
  ])("%s is answered in the engine's own words", async (_what, body, status, erno, msg, why) => {
    const before = await answered();
    const answer = await predict(platform, id, body);
    expect(answer).toMatchObject({ status, body: { erno, msg, error_info: expect.stringMatching(why) } });
    expect(answer.headers.get("content-type")).toMatch(/^application\/json/);
    // An exception is no reason to start the worker anew.
    expect(await answered()).toBe(before);
  });

  it("that ends its process is answered for, and replaced", async () => {
    const before = await answered();
    const answer = await predict(platform, id, { do: "exit" });
    expect(answer).toMatchObject({
      status: 500,
      body: { erno: "PY.0105", error_info: expect.stringMatching(/3/) },
    });
    expect(await answered()).not.toBe(before);
  });

  it("that exceeds the deadline is answered with 504, and replaced", async () => {
    const before = await answered();
    const answer = await predict(platform, id, { sleep: 60 });
    expect(answer).toMatchObject({
      status: 504,
      body: { error_code: "APIG.0203", error_msg: expect.stringContaining(`${PREDICT_TIMEOUT_MS} ms`) },
    });
    expect(await answered()).not.toBe(before);
  });
});

describe("a caller", () => {
  it("with a body above 12 MB gets 413 ModelArts.4104, announced or streamed", async () => {
    const refused = { status: 413, body: { error_code: "ModelArts.4104", request_id: expect.any(String) } };
    expect(await predict(platform, id, new Uint8Array(13 * 1024 * 1024))).toMatchObject(refused);
    const chunk = new Uint8Array(1024 * 1024).fill(32);
    let sent = 0;
    const streamed = await fetch(`${platform.state.url}/v1/infers/${id}`, {
      method: "POST",
      headers: { "x-auth-token": await platform.token() },
      duplex: "half",
      body: new ReadableStream({
        pull: (controller) => {
          if (sent++ < 13) controller.enqueue(chunk);
          else controller.close();
        },
      }),
    });
    expect({ status: streamed.status, body: await streamed.json() }).toMatchObject(refused);
    await answered();
  });

  it("beyond the queue gets 429 with Retry-After; callers that leave free their places", async () => {
    await answered();
    const leaving = new AbortController();
    const url = `${platform.state.url}/v1/infers/${id}`;
    const sleepers = Array.from({ length: CONCURRENCY + QUEUE_MAX }, async () =>
      fetch(url, {
        method: "POST",
        headers: { "x-auth-token": await platform.token(), "content-type": "application/json" },
        body: JSON.stringify({ sleep: 1 }),
        signal: leaving.signal,
      }).then((answer) => answer.status),
    );
    const outcomes = Promise.allSettled(sleepers);
    await until("all places to be taken", async () =>
      (await gauge("in_flight")) === CONCURRENCY && (await gauge("queue_length")) === QUEUE_MAX ? true : null,
    );
    const refused = await predict(platform, id, {});
    expect(refused).toMatchObject({ status: 429, body: { error_code: "ModelArts.4206" } });
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    leaving.abort();
    expect((await outcomes).filter((one) => one.status === "rejected").length).toBeGreaterThan(0);
    await until("the places to be free", async () =>
      (await gauge("in_flight")) === 0 && (await gauge("queue_length")) === 0 ? true : null,
    );
    // What waited inside the instance left with its caller: only the one that ran is still in the way.
    expect((await predict(platform, id, {})).status).toBe(200);
  });

  it("is told by the engine which paths and methods it serves", async () => {
    const at = `/v1/infers/${id}`;
    expect(await platform.call("POST", `${at}/predict/more?x=1`, {})).toMatchObject({
      status: 404,
      body: { error_info: expect.stringContaining("/predict/more") },
    });
    const wrong = await platform.call("PUT", at, {});
    expect(wrong.status).toBe(405);
    expect(wrong.headers.get("allow")).toBe("POST");
    expect((await platform.call("POST", `${at}/?x=1`, {})).status).toBe(200);
    expect(await platform.call("GET", `${at}/health`)).toMatchObject({ status: 200, body: { status: "OK" } });
    expect(await platform.call("POST", "/v1/infers/", {})).toMatchObject({
      status: 400,
      body: { error_code: "ModelArts.4201" },
    });
    expect(await platform.call("POST", `${at}/%zz`, {})).toMatchObject({
      status: 400,
      body: { error_code: "APIG.0201" },
    });
  });

  it("finds its request id, and where the time went, in every answer", async () => {
    const timing = /auth;dur=[\d.]+, queue;dur=[\d.]+, upstream;dur=[\d.]+, total;dur=[\d.]+/;
    for (const body of [{}, { do: "key" }]) {
      const mine = `mine-${randomUUID()}`;
      const answer = await platform.call("POST", `/v1/infers/${id}`, body, { "x-request-id": mine });
      expect(answer.headers.get("x-request-id")).toBe(mine);
      expect(answer.headers.get("server-timing")).toMatch(timing);
    }
    const unknown = await platform.call("POST", `/v1/infers/${randomUUID()}`, {});
    expect(unknown.headers.get("x-request-id")).toMatch(/^[0-9a-f]{32}$/);
    expect(unknown.body).toMatchObject({ request_id: unknown.headers.get("x-request-id") });
    expect(unknown.headers.get("server-timing")).toMatch(timing);
  });
});

describe("health", () => {
  it("is true: an instance without a worker leaves the traffic and comes back with one", async () => {
    const hold = join(platform.dataDir, "hold");
    const service = await deploy(platform, "two", [
      entry(model, { instance_count: 2, envs: { HOLD: hold } }),
    ]);
    await until("two instances", async () => ((await gauge("instances", service)) === 2 ? true : null));
    const victim = await answered(service);
    writeFileSync(hold, "");
    process.kill(victim, "SIGKILL");
    await until("one instance", async () => ((await gauge("instances", service)) === 1 ? true : null));
    for (let i = 0; i < 10; i++) {
      const answer = await predict(platform, service, {});
      expect(answer.status).toBe(200);
      expect(pidOf(answer)).not.toBe(victim);
    }
    rmSync(hold);
    await until("two instances", async () => ((await gauge("instances", service)) === 2 ? true : null));
    const pids = new Set<number>();
    await until("answers of both", async () => {
      pids.add(await answered(service));
      return pids.size === 2 ? true : null;
    });
    expect(pids).not.toContain(victim);
    await platform.call("DELETE", `/v1/{project_id}/services/${service}`);
  });
});

describe("counts", () => {
  const counts = async (service: string) => {
    const { body } = await platform.call("GET", `/v1/{project_id}/services/${service}`);
    const { invocation_times, failed_times } = body as Record<string, number>;
    return { invocation_times, failed_times };
  };

  it("of a service equal the calls made", async () => {
    const service = await deploy(platform, "counted", [entry(model)]);
    for (let i = 0; i < 7; i++) expect((await predict(platform, service, {})).status).toBe(200);
    for (let i = 0; i < 3; i++) expect((await predict(platform, service, { do: "key" })).status).toBe(400);
    for (let i = 0; i < 2; i++) expect((await predict(platform, service, { do: "raise" })).status).toBe(500);
    await expect
      .poll(() => counts(service), { timeout: 15_000 })
      .toEqual({ invocation_times: 12, failed_times: 5 });
    const ofService = (await metrics()).filter(
      (line) => line.startsWith("modelport_gateway_requests_total{") && line.includes(service),
    );
    const of = (labels: string) =>
      ofService
        .find((line) => line.includes(labels))
        ?.split(" ")
        .at(-1);
    expect(ofService).toHaveLength(3);
    expect(of('version="1.0.0",outcome="2xx",owner="none"')).toBe("7");
    expect(of('version="1.0.0",outcome="4xx",owner="client"')).toBe("3");
    expect(of('version="1.0.0",outcome="5xx",owner="upstream"')).toBe("2");
    await platform.call("DELETE", `/v1/{project_id}/services/${service}`);
    await until("the service to leave the metrics", async () =>
      (await metrics()).some((line) => line.includes(service)) ? null : true,
    );
  });

  it("have bounded labels: requests to a thousand unknown ids add no series", async () => {
    const before = (await metrics()).length;
    const ids = Array.from({ length: 1_000 }, () => randomUUID());
    for (let at = 0; at < ids.length; at += 50) {
      const answers = await Promise.all(
        ids.slice(at, at + 50).map((unknown) => predict(platform, unknown, {})),
      );
      expect(new Set(answers.map((a) => a.status))).toEqual(new Set([404]));
    }
    const after = await metrics();
    expect(after.length - before).toBeLessThan(10);
    expect(ids.filter((unknown) => after.some((line) => line.includes(unknown)))).toEqual([]);
    // What is counted there: these, and whatever the services deleted before had counted.
    const others = after.filter((line) =>
      line.startsWith('modelport_gateway_requests_total{service="other"'),
    );
    const sum = others.reduce((total, line) => total + Number(line.split(" ").at(-1)), 0);
    expect(sum).toBeGreaterThanOrEqual(1_000);
  });
});

describe("a token that is not good is refused by both planes in the documented words:", () => {
  const signed = (change: Partial<TokenPayload>, key: KeyObject, kid?: string): string => {
    const text = tokenToSign({
      ...payload,
      jti: randomUUID(),
      ...(kid === undefined ? {} : { kid }),
      ...change,
    });
    return encodeToken(text, sign(null, Buffer.from(text), key));
  };
  let payload: TokenPayload;
  let ours: KeyObject;
  const tokens: Record<string, string> = {};
  beforeAll(async () => {
    const parsed = parseToken(await platform.token());
    if (parsed === null) throw new Error("the platform's own token is not one");
    payload = parsed.payload;
    ours = createPrivateKey(readFileSync(join(platform.dataDir, "secrets", "token-key.pem")));
    const spki = createPublicKey(ours).export({ type: "spki", format: "der" });
    expect(createHash("sha256").update(spki).digest("hex").slice(0, 16)).toBe(payload.kid);
    const past = payload.iat - 3_600_000;
    const { domain, user, password } = platform.profile;
    const { project: _project, ...withoutProject } = payload;
    const text = tokenToSign({ ...withoutProject, jti: randomUUID() });
    await platform.call("POST", "/v3/projects", { project: { name: "elsewhere" } });
    const foreign = generateKeyPairSync("ed25519").privateKey;
    Object.assign(tokens, {
      garbage: "no-token-at-all",
      altered: `${(await platform.token()).slice(0, -4)}AAAA`,
      expired: signed({ iat: past - 1_000, exp: past }, ours),
      foreign: signed({}, foreign),
      "unknown key": signed({}, foreign, "0123456789abcdef"),
      domain: encodeToken(text, sign(null, Buffer.from(text), ours)),
      "other project": await platform.login({ domain, user, password, project: "elsewhere" }),
    });
    // The signature is what counts: made with the platform's key, an unexpired payload of ours is good.
    const good = await platform.call("GET", "/v1/{project_id}/models", undefined, {
      "x-auth-token": signed({}, ours),
    });
    expect(good.status).toBe(200);
  });

  const IAM = "Incorrect IAM authentication information: ";
  it.each([
    ["none", 401, "APIGW.0301", `${IAM}x-auth-token not found`, 401, "APIG.0301"],
    ["garbage", 401, "APIGW.0301", `${IAM}decrypt token fail`, 401, "APIG.0301"],
    ["altered", 401, "APIGW.0301", `${IAM}Unauthorized`, 401, "APIG.0301"],
    ["expired", 401, "APIGW.0301", `${IAM}Unauthorized`, 401, "APIG.0301"],
    ["foreign", 401, "APIGW.0301", `${IAM}Unauthorized`, 401, "APIG.0301"],
    ["unknown key", 401, "APIGW.0301", `${IAM}Unauthorized`, 401, "APIG.0301"],
    ["domain", 400, "ModelArts.0204", "Token must contain projectId info.", 403, "APIG.0302"],
    [
      "other project",
      403,
      "ModelArts.0210",
      "The project id in the request URL does not match the token.",
      404,
      "APIG.0101",
    ],
  ])("%s", async (kind, status, code, text, inferStatus, inferCode) => {
    const headers = kind === "none" ? {} : { "x-auth-token": tokens[kind] ?? "" };
    const { url } = platform.state;
    const send = async (method: string, path: string) => {
      const answer = await fetch(url + path, { method, headers });
      return { status: answer.status, body: (await answer.json()) as Record<string, string> };
    };
    const control = await send("GET", `/v1/${platform.profile.project.id}/services`);
    expect(control).toMatchObject({ status, body: { error_code: code } });
    expect(control.body["error_msg"]).toContain(text);
    const inference = await send("POST", `/v1/infers/${id}`);
    expect(inference).toMatchObject({ status: inferStatus, body: { error_code: inferCode } });
    if (status === inferStatus) expect(inference.body["error_msg"]).toContain(text);
  });
});

it("leaves one worker and no complaint behind after all of this", async () => {
  await answered();
  expect(
    processesOf(join(platform.dataDir, "instances")).filter((line) => line.includes("modelserver")),
  ).toHaveLength(1);
  const abnormal = (await eventsOf(platform, "services", id)).filter(
    (event) => event.event_type === "abnormal",
  );
  // Workers come and go inside an instance; the instance itself never failed.
  expect(abnormal.filter((event) => /is replaced/.test(event.event_info))).toEqual([]);
});

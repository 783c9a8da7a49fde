/**
 * Every part of one running platform is killed and stopped while callers go on; its disk is filled and its clock is set.
 * Each test says which requests may fail, tells by the access log whose hands they were in, and leaves the platform as
 * whole as it found it: all share one data directory, one environment and one service of two instances with two workers.
 */
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { RoleName } from "../../src/supervisor/state.ts";
import { isAlive, self } from "../../src/telemetry/process-identity.ts";
import { outcomes, startLoad as startCallers } from "../support/callers.ts";
import { canMount, smallDisk } from "../support/full-disk.ts";
import { Load } from "../support/load.ts";
import type { Outcome } from "../support/load.ts";
import { deploy, entry, eventsOf, importModel, predict, scripted, service } from "../support/packages.ts";
import { Platform, processesOf, until } from "../support/platform.ts";

/** Short, so that a worker that never answers is given up while a test can wait for it. */
const PREDICT_TIMEOUT_MS = 8_000;
const WORKERS = 2;
const LANES = 4;

const disk = smallDisk(96);
/** Python environments are larger than a disk one would want to fill. */
const elsewhere = mkdtempSync(join(tmpdir(), "modelport-elsewhere-"));
let platform: Platform;
let id = "";
let load: Load;

beforeAll(async () => {
  platform = new Platform(
    {
      MODELPORT_WORKERS_PER_INSTANCE: String(WORKERS),
      MODELPORT_PREDICT_TIMEOUT_MS: String(PREDICT_TIMEOUT_MS),
    },
    { parent: disk.dir },
  );
  for (const name of ["environments", "tools"]) {
    mkdirSync(join(elsewhere, name));
    symlinkSync(join(elsewhere, name), join(platform.dataDir, name));
  }
  await platform.start();
  const model = await importModel(
    platform,
    "echo",
    "1.0.0",
    scripted(`
def _preprocess(self, data):
    return json.loads(data)
def _inference(self, data):
    print("asked")
    time.sleep(0.03)
    return data
def _postprocess(self, data):
    return data
`),
  );
  id = await deploy(platform, "echo", [entry(model.id, { instance_count: 2 })]);
});
afterAll(async () => {
  await platform.stop();
  disk.remove();
  rmSync(elsewhere, { recursive: true, force: true });
});
afterEach(() => load.end());

const startLoad = async (): Promise<void> => {
  load = await Load.on(platform, id, { lanes: LANES, body: { n: 1 } });
};

interface Instance {
  readonly id: string;
  readonly pid: number;
  readonly workers: readonly number[];
}

/** The instances that run, by their command lines. */
const instances = (): readonly Instance[] => {
  const lines = processesOf(join(platform.dataDir, "instances"));
  return lines
    .flatMap((line) => {
      const [, pid, group, n] =
        /^(\d+) .*modelserver --spec \S*\/instances\/([^/]+)\/(\d+)\//.exec(line) ?? [];
      if (pid === undefined) return [];
      const workers = lines.flatMap((other) => {
        const found = /^(\d+) .*modelport_worker (\d+) /.exec(other);
        return found?.[2] === pid ? [Number(found[1])] : [];
      });
      return [{ id: `${group}-${n}`, pid: Number(pid), workers }];
    })
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
};
const oneInstance = (): Instance => {
  const [first] = instances();
  if (first === undefined) throw new Error("no instance runs");
  return first;
};
const workerOf = (instance: Instance): number => {
  const [first] = instance.workers;
  if (first === undefined) throw new Error("the instance has no worker");
  return first;
};
const role = (name: RoleName): number => {
  const found = platform.state.roles[name];
  if (found === undefined) throw new Error(`no ${name}`);
  return found.pid;
};
const anotherRole = (name: RoleName, than: number): Promise<number> =>
  until(`another ${name}`, () => {
    const now = platform.state.roles[name];
    return now !== undefined && now.pid !== than ? now.pid : null;
  });

/** Two instances with all their workers, a service that says so, and an API that answers. */
const whole = async (): Promise<void> => {
  await until("everything to be whole", async () => {
    const now = instances();
    if (now.length !== 2 || now.some((i) => i.workers.length !== WORKERS)) return null;
    return (await service(platform, id)).status === "running" ? true : null;
  });
  await load.answers(LANES * 4);
};
/** Where a request was that failed, once the gateway has written it down. */
const heldBy = (outcome: Outcome): Promise<string | null> =>
  until(`the access record of ${outcome.id}`, () => load.held(outcome.id)).then((held) => held.instance);
const told = (outcome: Outcome): string => `${outcome.status ?? outcome.error} ${outcome.text}`;

describe("kill -9", () => {
  it("of a worker costs at most the one request it had; the others wait for another worker", async () => {
    await startLoad();
    const victim = oneInstance();
    process.kill(workerOf(victim), "SIGKILL");
    await until("another worker", () => {
      const now = instances().find((i) => i.id === victim.id);
      return now?.workers.length === WORKERS && !now.workers.includes(workerOf(victim)) ? true : null;
    });
    await whole();
    await load.end();
    expect(load.failures.length).toBeLessThanOrEqual(1);
    for (const failure of load.failures) {
      expect(failure.status, told(failure)).toBe(500);
      expect(failure.text).toContain("worker process");
      expect(await heldBy(failure)).toBe(victim.id);
    }
    expect(instances().map((i) => i.pid)).toContain(victim.pid);
  });

  it("of an instance costs the requests it had in hand and no other; it is replaced", async () => {
    await startLoad();
    const victim = oneInstance();
    process.kill(victim.pid, "SIGKILL");
    await until("its end", () => (instances().some((i) => i.id === victim.id) ? null : true));
    await whole();
    await load.end();
    expect(load.failures.length).toBeLessThanOrEqual(LANES);
    for (const failure of load.failures) {
      expect(failure.status, told(failure)).toBe(502);
      expect(failure.text).toContain("ModelArts.4505");
      expect(await heldBy(failure)).toBe(victim.id);
    }
    const events = (await eventsOf(platform, "services", id)).map((event) => event.event_info);
    expect(events.some((info) => info.includes("SIGKILL"))).toBe(true);
  });

  it("of the gateway costs the requests on their way through it; the next one listens on the same port", async () => {
    await startLoad();
    const before = role("gateway");
    const pids = instances();
    process.kill(before, "SIGKILL");
    await anotherRole("gateway", before);
    await whole();
    await load.end();
    // No answer is wrong: a connection was cut, or none was to be had until the next gateway listened.
    for (const failure of load.failures) expect(["ECONNRESET", "ECONNREFUSED"]).toContain(failure.error);
    expect(load.failures.filter((f) => f.error === "ECONNRESET").length).toBeLessThanOrEqual(LANES * 2);
    expect(instances()).toEqual(pids);
  });

  it("of control fails no prediction; the API answers again, and nothing was restarted", async () => {
    await startLoad();
    const before = role("control");
    const pids = instances();
    process.kill(before, "SIGKILL");
    await anotherRole("control", before);
    await whole();
    await load.end();
    expect(load.failures.map(told)).toEqual([]);
    expect(instances()).toEqual(pids);
  });
});

it("control away for long, the gateway killed meanwhile: it serves from its last good table", async () => {
  await startLoad();
  const control = role("control");
  const gateway = role("gateway");
  const pids = instances();
  // A control that finds another living process at work in its directory does not run.
  const lock = join(platform.dataDir, "instances", "runner.lock");
  process.kill(control, "SIGKILL");
  writeFileSync(lock, JSON.stringify(self()));
  await load.answers(100);
  await load.end();
  expect(load.failures.map(told)).toEqual([]);
  process.kill(gateway, "SIGKILL");
  await anotherRole("gateway", gateway);
  await until("an answer", async () => ((await predict(platform, id, {})).status === 200 ? true : null));
  const refused = await platform.call("GET", `/v1/{project_id}/services/${id}`);
  expect(refused.status).toBe(503);
  expect(refused.body).toMatchObject({ error_code: "APIGW.0202" });
  await startLoad();
  await load.answers(100);
  rmSync(lock);
  await whole();
  await load.end();
  expect(load.failures.map(told)).toEqual([]);
  expect(instances()).toEqual(pids);
});

describe("SIGSTOP", () => {
  it("of a worker costs the request it had, answered at the deadline; it is replaced", async () => {
    await startLoad();
    const victim = oneInstance();
    process.kill(workerOf(victim), "SIGSTOP");
    await until("another worker", () => {
      const now = instances().find((i) => i.id === victim.id);
      return now?.workers.length === WORKERS && !now.workers.includes(workerOf(victim)) ? true : null;
    });
    await whole();
    await load.end();
    expect(load.failures.length).toBeLessThanOrEqual(1);
    for (const failure of load.failures) {
      expect(failure.status, told(failure)).toBe(504);
      expect(await heldBy(failure)).toBe(victim.id);
    }
    expect(instances().map((i) => i.pid)).toContain(victim.pid);
  });

  it("and SIGCONT of an instance fail nothing: others answer, and what it had in hand goes on", async () => {
    await startLoad();
    const pids = instances();
    const victim = oneInstance();
    process.kill(victim.pid, "SIGSTOP");
    await load.answers(50);
    process.kill(victim.pid, "SIGCONT");
    await whole();
    await load.end();
    expect(load.failures.map(told)).toEqual([]);
    expect(instances()).toEqual(pids);
  });

  it("of an instance for good costs the requests it had in hand; it is replaced", async () => {
    await startLoad();
    const victim = oneInstance();
    process.kill(victim.pid, "SIGSTOP");
    await until("its end", () => (instances().some((i) => i.id === victim.id) ? null : true));
    await whole();
    await load.end();
    expect(load.failures.length).toBeLessThanOrEqual(LANES);
    for (const failure of load.failures) {
      expect([502, 504], told(failure)).toContain(failure.status);
      expect(await heldBy(failure)).toBe(victim.id);
    }
  });

  it("and SIGCONT of the gateway fail nothing: callers wait, those that come new too", async () => {
    await startLoad();
    const gateway = role("gateway");
    process.kill(gateway, "SIGSTOP");
    await until("it to stand", () => (stateOf(gateway) === "T" ? true : null));
    const known = load.outcomes.length;
    const late = predict(platform, id, {});
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    // What a lane was just reading may still be counted; nobody is served while it stands.
    expect(load.outcomes.length - known).toBeLessThanOrEqual(LANES);
    process.kill(gateway, "SIGCONT");
    expect((await late).status).toBe(200);
    await whole();
    await load.end();
    expect(load.failures.map(told)).toEqual([]);
    expect(role("gateway")).toBe(gateway);
  });

  it("and SIGCONT of control: predictions go on; an API call waits or is told that control is away", async () => {
    await startLoad();
    const control = role("control");
    process.kill(control, "SIGSTOP");
    await until("it to stand", () => (stateOf(control) === "T" ? true : null));
    const call = platform.call("GET", `/v1/{project_id}/services/${id}`);
    await load.answers(100);
    process.kill(control, "SIGCONT");
    expect([200, 502, 503, 504]).toContain((await call).status);
    await whole();
    await load.end();
    expect(load.failures.map(told)).toEqual([]);
    expect(role("control")).toBe(control);
  });

  it("and SIGCONT of the supervisor: nobody notices, `status` answers", async () => {
    await startLoad();
    const { pid } = platform.state.supervisor;
    process.kill(pid, "SIGSTOP");
    await until("it to stand", () => (stateOf(pid) === "T" ? true : null));
    const status = await platform.cli("status");
    expect(status.code, status.output).toBe(0);
    process.kill(pid, "SIGCONT");
    await whole();
    await load.end();
    expect(load.failures.map(told)).toEqual([]);
  });
});

/** R, S, T (stopped) …, as the kernel has it. */
const stateOf = (pid: number): string | undefined => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[0];
};

// Only root may make a file system to fill. In CI and wherever this runs as root, it must work.
it.skipIf(!canMount)(
  "a full disk: predictions go on, writes are refused, and with room all is well again",
  async () => {
    await startLoad();
    const roles = platform.state.roles;
    const pids = instances();
    disk.fill();
    await load.answers(50);
    const object = `/v1/{project_id}/buckets/test/objects/big`;
    const put = await platform.call("PUT", object, new Uint8Array(1 << 20), {
      "content-type": "application/octet-stream",
    });
    expect(put.status, JSON.stringify(put.body)).toBe(507);
    expect(put.body).toMatchObject({
      error_code: "ModelArts.0010",
      hint: expect.stringContaining("Free room"),
    });
    const descriptions = await until("a write that is refused", async () => {
      const text = "x".repeat(100);
      const answer = await platform.call("PUT", `/v1/{project_id}/services/${id}`, { description: text });
      return answer.status === 200 ? null : answer;
    });
    expect(descriptions.status, JSON.stringify(descriptions.body)).toBe(507);
    // An instance that dies now cannot be started anew before there is room.
    const victim = oneInstance();
    process.kill(victim.pid, "SIGKILL");
    await until("its end", () => (instances().some((i) => i.id === victim.id) ? null : true));
    await load.answers(100);
    expect(platform.state.roles).toEqual(roles);
    disk.free();
    await whole();
    const again = await platform.call("PUT", `/v1/{project_id}/services/${id}`, { description: "room" });
    expect(again.status, JSON.stringify(again.body)).toBe(200);
    const kept = await predict(platform, id, {});
    await until("access records again", () => load.held(kept.headers.get("x-request-id") ?? "none"));
    await whole();
    await load.end();
    expect(load.failures.length).toBeLessThanOrEqual(LANES);
    for (const failure of load.failures) expect(failure.status, told(failure)).toBe(502);
    expect(platform.state.roles).toEqual(roles);
    expect(instances().map((i) => i.pid)).toContain(pids.find((i) => i.id !== victim.id)?.pid);
  },
);

/** What the platform started from the next start on believes the time to be. */
const clockFile = (): string => join(elsewhere, "clock");
const setClock = (text: string): void => writeFileSync(clockFile(), `${text}\n`);

it("kill -9 of the supervisor: requests in hand and kept connections end well; the next start adopts the instances", async () => {
  await startLoad();
  // The gateway answers these itself, so that at any moment most of their connections are idle for microseconds.
  const url = new URL(`/v1/infers/${id}`, platform.state.url);
  const kept = startCallers({ url, token: "not a token", kept: 8, fresh: 0 });
  await until("answers on kept connections", () => kept.sent.length >= 40);
  const pids = instances();
  const roles = Object.values(platform.state.roles);
  const { port } = platform.state;
  await platform.kill();
  await until("the roles to end by themselves", () => (roles.some(isAlive) ? null : true), 20_000).catch(
    () => {
      const left = roles.filter(isAlive).map(({ pid }) => `${pid}`);
      expect(
        processesOf(platform.dataDir).filter((line) => left.some((pid) => line.startsWith(pid))),
      ).toEqual([]);
    },
  );
  // A kept connection says with its last answer that it ends, so none is closed under its caller's next request.
  const { "kept 401": answered, "kept ECONNREFUSED": refused, ...lost } = outcomes(await kept.stop());
  expect(lost).toEqual({});
  expect(answered).toBeGreaterThan(40);
  expect(refused).toBeGreaterThan(0);
  expect(instances()).toEqual(pids);
  setClock("+0");
  await platform.start({ ...fakeClock(), MODELPORT_PORT: String(port) });
  await whole();
  await load.end();
  expect(instances()).toEqual(pids);
  // Whoever came while nobody listened was refused a connection; no request that had begun was lost.
  for (const failure of load.failures) {
    expect(["ECONNREFUSED", "ECONNRESET"], told(failure)).toContain(failure.error);
    expect(load.held(failure.id)).toBeNull();
  }
});

/** libfaketime, for the platform but not for its instances, which ask no wall clock; monotonic time stays true. */
const fakeClock = (): Record<string, string> => {
  if (process.platform !== "linux") return {};
  const [triplet] = readdirSync("/usr/lib").filter((name) => /-linux-gnu/.test(name));
  return {
    LD_PRELOAD: `/usr/lib/${triplet}/faketime/libfaketimeMT.so.1`,
    FAKETIME_TIMESTAMP_FILE: clockFile(),
    FAKETIME_CACHE_DURATION: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    NO_FAKE_STAT: "1",
  };
};

it.skipIf(process.platform !== "linux").each(["+3600", "-3600"])(
  "a clock set by %s s: nothing fails or restarts, updates and counts go on",
  async (by) => {
    await startLoad();
    const roles = platform.state.roles;
    const pids = instances();
    const view = async (): Promise<{ invocation_times: number; operation_time: number }> =>
      (await platform.call("GET", `/v1/{project_id}/services/${id}`)).body as never;
    setClock(by);
    await until("control to see it", async () => {
      const description = `${by} ${Math.random()}`;
      const changed = await platform.call("PUT", `/v1/{project_id}/services/${id}`, { description });
      expect(changed.status, JSON.stringify(changed.body)).toBe(200);
      return Math.abs((await view()).operation_time - Date.now() - Number(by) * 1000) < 60_000 ? true : null;
    });
    const before = (await view()).invocation_times;
    await load.answers(100);
    await until("the counts to go on", async () => (await view()).invocation_times > before);
    await whole();
    await load.end();
    expect(load.failures.map(told)).toEqual([]);
    expect(platform.state.roles).toEqual(roles);
    expect(instances()).toEqual(pids);
    setClock("+0");
  },
);

it("`down` ends a platform whose supervisor stands still: no process, port, socket or lock stays", async () => {
  const { supervisor, port } = platform.state;
  process.kill(supervisor.pid, "SIGSTOP");
  const down = await platform.cli("down");
  expect(down.code, down.output).toBe(0);
  await until("the end", () => (processesOf(platform.dataDir).length === 0 ? true : null), 20_000);
  await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow();
  expect(readdirSync(join(platform.dataDir, "run")).filter((name) => name !== "gateway-table.json")).toEqual(
    [],
  );
  // Which user a service had is remembered, where services have users.
  const left = readdirSync(join(platform.dataDir, "instances")).filter((name) => name !== "users.json");
  expect(left).toEqual([]);
});

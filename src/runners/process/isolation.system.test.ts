/** What user code sees and may do on this machine, started by the runner as the platform starts it. */
import { spawn } from "node:child_process";
import {
  accessSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import pino from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { plainPython } from "../../../test/support/python-env.ts";
import { until } from "../../../test/support/until.ts";
import type { GroupId, ServiceId } from "../../core/ids.ts";
import { systemClock } from "../../telemetry/clock.ts";
import { membersOf, putInto, subgroupOf } from "../../telemetry/control-groups.ts";
import { identify } from "../../telemetry/process-identity.ts";
import type { GroupSpec, Runner } from "../runner.ts";
import { openIsolation } from "./isolation.ts";
import { openProcessRunner } from "./runner.ts";

const MAIN = resolve(import.meta.dirname, "../../start.js");
const USERS = { first: 2_000_000_000, last: 2_000_000_999 };

const CURIOUS = `
import json, os
from model_service.python_model_service import XgSklServingBaseService

class Service(XgSklServingBaseService):
    def _preprocess(self, data):
        return json.loads(data)
    def _inference(self, code):
        answer = {}
        for name, expression in code.items():
            try:
                answer[name] = eval(expression)
            except OSError as error:
                answer[name] = type(error).__name__
        return [answer]
    def _postprocess(self, data):
        return data
`;

let dataDir: string;
let packageDir: string;
let runner: Runner | null;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "isolation-"));
  packageDir = join(dataDir, "packages", "a".repeat(64));
  mkdirSync(join(dataDir, "packages"), { mode: 0o700 });
  mkdirSync(packageDir);
  mkdirSync(join(dataDir, "secrets"), { mode: 0o755 });
  writeFileSync(join(dataDir, "secrets/master.key"), "secret", { mode: 0o644 });
  writeFileSync(join(dataDir, "modelport.db"), "rows", { mode: 0o644 });
  writeFileSync(join(packageDir, "customize_service.py"), CURIOUS);
  writeFileSync(join(packageDir, "model.m"), "");
  runner = null;
});
afterEach(async () => {
  await runner?.close({ stopInstances: true });
  rmSync(dataDir, { recursive: true, force: true });
});

const open = async (): Promise<Runner> => {
  runner = await openProcessRunner({
    dataDir,
    nodePath: process.execPath,
    mainPath: MAIN,
    host: "127.0.0.1",
    errorInfo: true,
    clock: systemClock,
    logger: pino({ level: "silent" }),
    hostEnv: { PATH: "/usr/bin:/bin" },
    devices: null,
    serviceUsers: USERS,
  });
  return runner;
};

const group = (id: string, service: string, python: string): GroupSpec => ({
  id: id as GroupId,
  serviceId: service as ServiceId,
  replicas: 1,
  instance: {
    engine: "Scikit_Learn",
    modelName: "m",
    modelVersion: "1.0.0",
    packageDir,
    modelFile: "model.m",
    python,
    envs: {},
    workers: 1,
    cpu: 1,
    memoryMb: 500,
    predictTimeoutMs: 10_000,
    startTimeoutMs: 60_000,
    drainTimeoutMs: 1000,
  },
});

const urlOf = (of: Runner, id: string): Promise<string> =>
  until("the instance to be ready", async () => {
    const found = (await of.observe()).find((one) => one.id === id);
    const first = found?.instances[0];
    return first?.state === "ready" ? first.url : null;
  });

const ask = async (url: string, code: Readonly<Record<string, string>>): Promise<Record<string, unknown>> => {
  const answer = await fetch(url, { method: "POST", body: JSON.stringify(code) });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(text);
  return (JSON.parse(text) as { data: { resp_data: [Record<string, unknown>] } }).data.resp_data[0];
};

/** An interpreter that everybody on this machine may run. */
const sharedPython = (): string | null => {
  try {
    accessSync("/usr/bin/python3");
    return "/usr/bin/python3";
  } catch {
    return null;
  }
};

describe("user code", () => {
  it("is a user of its service's own and sees nothing of the platform", async (context) => {
    const python = sharedPython();
    const { noUsers } = openIsolation(dataDir, USERS).facts;
    if (noUsers !== null || python === null)
      return context.skip(`no own users here: ${noUsers ?? "no /usr/bin/python3"}`);
    const platform = await open();
    await platform.apply(group("one", "service-1", python));
    await platform.apply(group("two", "service-2", python));
    await platform.apply(group("three", "service-1", python));
    const [one, two, three] = await Promise.all(["one", "two", "three"].map((id) => urlOf(platform, id)));
    const read = (path: string): string => `open(${JSON.stringify(join(dataDir, path))}).read()`;
    const seen = await ask(one ?? "", {
      ids: "[os.getresuid(), os.getresgid(), os.getgroups()]",
      list: `os.listdir(${JSON.stringify(dataDir)})`,
      packages: `os.listdir(${JSON.stringify(join(dataDir, "packages"))})`,
      key: read("secrets/master.key"),
      database: read("modelport.db"),
      spec: read("instances/one/1/spec.json"),
      neighbour: `os.listdir(${JSON.stringify(join(dataDir, "instances/two/1/scratch/work"))})`,
      platform: `open("/proc/%d/environ" % os.getppid()).read()`,
      write: `open(${JSON.stringify(join(packageDir, "model.m"))}, "w")`,
      own: `open(${JSON.stringify(join(packageDir, "model.m"))}).read()`,
      scratch: `open(os.path.join(os.environ["HOME"], "kept"), "w").write("x")`,
      descriptors: `[os.readlink("/proc/self/fd/" + fd).split(":")[0] for fd in os.listdir("/proc/self/fd") if os.path.lexists("/proc/self/fd/" + fd)]`,
      rights: `[line.split()[1] for line in open("/proc/self/status") if line.split(":")[0] in ("NoNewPrivs", "CapEff")]`,
      names: "sorted(os.environ)",
    });
    const uid = (seen["ids"] as number[][])[0]?.[0] ?? 0;
    expect(uid).toBeGreaterThanOrEqual(USERS.first);
    expect(seen).toMatchObject({
      ids: [[uid, uid, uid], [uid, uid, uid], []],
      list: "PermissionError",
      packages: "PermissionError",
      key: "PermissionError",
      database: "PermissionError",
      spec: "PermissionError",
      neighbour: "PermissionError",
      platform: "PermissionError",
      write: "PermissionError",
      own: "",
      scratch: 1,
      rights: ["0000000000000000", "1"],
    });
    expect((seen["names"] as string[]).filter((name) => /MODELPORT|NODE|VITEST/i.test(name))).toEqual([]);
    // Input, output, the connection to the front, the file for crashes, and the list that is being read.
    const known = /^(?:\/dev\/null|socket|\/proc\/\d+\/fd|.*\/one-1\.log|.*\/worker-1\.fault)$/;
    expect((seen["descriptors"] as string[]).filter((name) => !known.test(name))).toEqual([]);
    expect((seen["descriptors"] as string[]).filter((name) => name === "socket")).toHaveLength(1);
    const others = await Promise.all([two, three].map((url) => ask(url ?? "", { uid: "os.getuid()" })));
    expect(others[0]?.["uid"]).not.toBe(uid);
    expect(others[1]?.["uid"]).toBe(uid);
  });

  it("runs as the platform's user, with a line in the log, where its own could not reach the interpreter", async (context) => {
    const { noUsers } = openIsolation(dataDir, USERS).facts;
    if (noUsers !== null) return context.skip(`no own users here: ${noUsers}`);
    const closed = join(dataDir, "closed");
    mkdirSync(closed);
    const python = join(closed, "python");
    writeFileSync(python, `#!/bin/sh\nexec ${await plainPython()} "$@"\n`, { mode: 0o755 });
    chmodSync(closed, 0o700);
    const platform = await open();
    await platform.apply(group("one", "service-1", python));
    const seen = await ask(await urlOf(platform, "one"), { uid: "os.getuid()" });
    expect(seen).toEqual({ uid: process.getuid?.() });
    expect(readFileSync(join(dataDir, "logs/one/one-1.log"), "utf8")).toContain(`cannot enter ${closed}`);
  });

  it("has the memory of its specification, and its group is gone with it", async (context) => {
    const isolation = openIsolation(dataDir, USERS);
    if (!isolation.facts.cgroup.includes("memory"))
      return context.skip("this machine lets us make no control groups");
    isolation.close();
    const platform = await open();
    await platform.apply(group("one", "service-1", sharedPython() ?? (await plainPython())));
    await urlOf(platform, "one");
    const spec = JSON.parse(readFileSync(join(dataDir, "instances/one/1/spec.json"), "utf8")) as {
      confinement: { cgroups: string[] };
    };
    const limits = spec.confinement.cgroups
      .flatMap((one) => ["memory.max", "memory.limit_in_bytes"].map((name) => join(one, name)))
      .filter(existsSync);
    expect(limits.map((file) => readFileSync(file, "utf8").trim())).toEqual([String(500 * 1024 * 1024)]);
    for (const one of spec.confinement.cgroups) expect(membersOf([join(one, "w1")])).toHaveLength(1);
    await platform.remove("one" as GroupId);
    await until("the groups to be gone", () => !spec.confinement.cgroups.some(existsSync));
  });
});

describe("what an earlier platform left in control groups", () => {
  it("is ended and removed at the next start, and nothing else is", async (context) => {
    const isolation = openIsolation(dataDir, null);
    if (isolation.facts.cgroup.length === 0)
      return context.skip("this machine lets us make no control groups");
    const spec = group("left", "service-1", "python");
    const left = isolation.confine(spec, "left-1").cgroups;
    const kept = isolation.confine(spec, "kept-1").cgroups;
    const [dead, living] = [left, kept].map((cgroups) => {
      const child = spawn("sleep", ["600"], { detached: true, stdio: "ignore" });
      putInto(subgroupOf(cgroups, "w1"), child.pid ?? 0);
      return child;
    });
    const again = openIsolation(dataDir, null);
    await until("the group to be gone", () => {
      again.sweep(new Set(["kept-1"]));
      return !left.some(existsSync);
    });
    expect(identify(dead?.pid ?? 0)).toBeNull();
    expect(identify(living?.pid ?? 0)).not.toBeNull();
    await until("the other to be gone too", () => {
      again.sweep(new Set());
      return !kept.some(existsSync);
    });
    again.close();
  });
});

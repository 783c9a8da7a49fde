/**
 * The public port outlives the processes behind it: what callers see while a gateway is killed or asked to end, while
 * `modelport upgrade` replaces everything, and while an upgrade fails. One platform for all, run from a copy of the program, which
 * the tests change under it. HANDOVER_REQUESTS=10000 makes each part last for that many requests (default 300).
 */
import {
  cpSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { isAlive } from "../../src/telemetry/process-identity.ts";
import { asBefore, census } from "../support/census.ts";
import { outcomes, startLoad } from "../support/callers.ts";
import type { Load } from "../support/callers.ts";
import { deploy, echo, entry, importModel } from "../support/packages.ts";
import { Platform, REPO, processesOf, until } from "../support/platform.ts";

const REQUESTS = Number(process.env["HANDOVER_REQUESTS"] ?? "300");

const program = mkdtempSync(join(tmpdir(), "modelport-program-"));
const platform = new Platform({}, { program });
let service = "";

beforeAll(async () => {
  cpSync(join(REPO, "src"), join(program, "src"), { recursive: true });
  for (const name of ["node_modules", "package.json", "python", "examples"])
    symlinkSync(join(REPO, name), join(program, name));
  // Two threads: each has a listening socket that outlives it.
  await platform.start({ MODELPORT_GATEWAY_THREADS: "2" });
  const model = await importModel(platform, "echo", "1.0.0", echo("1"));
  service = await deploy(platform, "echo", [entry(model.id)]);
});
afterAll(async () => {
  await platform.stop();
  rmSync(program, { recursive: true, force: true });
});

const load = async (): Promise<Load> => {
  const url = new URL(`/v1/infers/${service}`, platform.state.url);
  const running = startLoad({ url, token: await platform.token(), kept: 4, fresh: 4 });
  await more(running, 20);
  return running;
};

const more = async (running: Load, requests: number): Promise<void> => {
  const wanted = running.sent.length + requests;
  await until(`${requests} more answers`, () => running.sent.length >= wanted, 600_000);
};

const instances = (): readonly string[] =>
  processesOf(join(platform.dataDir, "instances")).map((line) => line.split(" ")[0] ?? "");

/** Processes that hold the public listening socket, found by its inode as the kernel lists it. */
const holders = (): readonly number[] => {
  const port = platform.state.port.toString(16).toUpperCase().padStart(4, "0");
  const line = readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .map((text) => text.trim().split(/\s+/))
    .find((fields) => fields[1]?.endsWith(`:${port}`) && fields[3] === "0A");
  const target = `socket:[${line?.[9]}]`;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === target);
      } catch {
        return false;
      }
    })
    .map(Number)
    .sort((a, b) => a - b);
};

/** Gateways that control would wait for. */
const knownGateways = (): readonly string[] => {
  const db = new DatabaseSync(join(platform.dataDir, "modelport.db"), { readOnly: true });
  const rows = db.prepare("select id from gateways").all();
  db.close();
  return rows.map(({ id }) => String(id));
};

const pids = (): readonly number[] => {
  const { supervisor, roles } = platform.state;
  return [supervisor.pid, roles.gateway?.pid ?? 0, roles.control?.pid ?? 0];
};

/** Breaks or changes a file of the running program for the time of `act`. */
const withProgram = async (
  file: string,
  change: (text: string) => string,
  act: () => Promise<void>,
): Promise<void> => {
  const path = join(program, "src", file);
  const before = readFileSync(path, "utf8");
  const after = change(before);
  expect(after).not.toBe(before);
  writeFileSync(path, after);
  try {
    await act();
  } finally {
    writeFileSync(path, before);
  }
};

test("a killed gateway refuses no connection: what comes after its death waits for the next one", async () => {
  const before = instances();
  const running = await load();
  for (let kills = 0; kills < 3; kills++) {
    const gateway = await until("a gateway", () => platform.state.roles.gateway ?? null);
    await more(running, REQUESTS / 3);
    process.kill(gateway.pid, "SIGKILL");
    await until("its death", () => !isAlive(gateway));
    const deadAt = performance.now();
    const already = running.sent.length;
    await more(running, 20);
    // What was in its hands may fail; a kept connection was, whenever its caller notices.
    const later = running.sent.slice(already).filter((one) => one.startedAt > deadAt && one.kind === "fresh");
    expect(outcomes(later)).toEqual({ "fresh 200": later.length });
    expect(later.length).toBeGreaterThan(0);
  }
  const all = await running.stop();
  expect(all.filter(({ outcome }) => outcome === "ECONNREFUSED")).toEqual([]);
  expect(all.filter(({ outcome }) => typeof outcome === "number" && outcome !== 200)).toEqual([]);
  // Each death costs at most what each caller had under way.
  expect(all.filter(({ outcome }) => outcome !== 200).length).toBeLessThanOrEqual(3 * 8);
  expect(instances()).toEqual(before);
  // The dead are not waited for by the next update.
  await until("control to forget the dead", () => knownGateways().length === 1);
});

test("a gateway that is asked to end serves until the next one does: no request fails, none is refused", async () => {
  const before = { gateway: platform.state.roles.gateway, instances: instances() };
  const held = census(platform);
  const running = await load();
  await more(running, REQUESTS / 2);
  process.kill(before.gateway?.pid ?? 0, "SIGTERM");
  const after = await until("another gateway", () => {
    const { gateway } = platform.state.roles;
    return gateway !== undefined && gateway.pid !== before.gateway?.pid ? gateway : null;
  });
  await more(running, REQUESTS / 2);
  await until("the end of the one that left", () => platform.state.beside === undefined);
  const all = await running.stop();
  expect(all.filter(({ outcome }) => outcome !== 200)).toEqual([]);
  expect(isAlive(after)).toBe(true);
  expect(instances()).toEqual(before.instances);
  expect(holders()).toEqual([platform.state.supervisor.pid, after.pid].sort((a, b) => a - b));
  await until("one gateway to wait for", () => knownGateways().length === 1);
  await asBefore(platform, { ...held, roles: platform.state.roles });
});

test("an upgrade replaces every process of the platform and fails no request; instances go on", async () => {
  const before = { pids: pids(), instances: instances(), url: platform.state.url };
  expect(holders()).toEqual([before.pids[0], before.pids[1]].sort((a, b) => Number(a) - Number(b)));
  const held = census(platform);
  const running = await load();
  await more(running, REQUESTS / 2);
  const upgraded = await platform.cli("upgrade", "--json");
  expect(upgraded).toMatchObject({ code: 0 });
  await more(running, REQUESTS / 2);
  const all = await running.stop();
  expect(outcomes(all)).toEqual({
    "kept 200": all.filter(({ kind }) => kind === "kept").length,
    "fresh 200": all.filter(({ kind }) => kind === "fresh").length,
  });

  const [supervisor, gateway, control] = pids();
  expect(JSON.parse(upgraded.stdout)).toEqual({
    url: before.url,
    supervisor: { before: before.pids[0], after: supervisor },
  });
  for (const pid of [supervisor, gateway, control]) expect(before.pids).not.toContain(pid);
  expect(instances()).toEqual(before.instances);
  expect(holders()).toEqual([supervisor, gateway].sort((a, b) => Number(a) - Number(b)));
  await until("one gateway to wait for", () => knownGateways().length === 1);
  // The process that was started on the terminal is still there, so that Ctrl-C in it ends the platform.
  await asBefore(platform, { ...held, processes: held.processes + 1, roles: platform.state.roles });
});

test("an upgrade that cannot be says why, and everything goes on as before", async () => {
  const running = await load();
  const before = pids();
  await withProgram(
    "control.ts",
    (text) => `import { gone } from "./gone.ts";\nvoid gone;\n${text}`,
    async () => {
      const { code, stderr } = await platform.cli("upgrade");
      expect([code, stderr]).toEqual([1, expect.stringMatching(/does not load: .*gone\.ts/)]);
    },
  );
  expect(pids()).toEqual(before);

  await withProgram(
    "gateway.ts",
    (text) => text.replace("const run =", 'throw new Error("no gateway today");\n  const run ='),
    async () => {
      const { code, stderr } = await platform.cli("upgrade");
      expect([code, stderr]).toEqual([1, expect.stringContaining("The gateway process ended at its start")]);
    },
  );
  expect(pids()).toEqual(before);

  // The worst case: control loads and does not run. The old code is nowhere any more, so control is away until the
  // program is in order; predictions go on, and nobody has to start anything.
  await withProgram(
    "control.ts",
    (text) =>
      text.replace(
        "const clock = systemClock;",
        'throw new Error("no control today");\n  const clock = systemClock;',
      ),
    async () => {
      const { code, stderr } = await platform.cli("upgrade");
      expect([code, stderr]).toEqual([1, expect.stringContaining("The control process ended at its start")]);
      await more(running, 50);
    },
  );
  await until("control again", async () => {
    const { roles } = platform.state;
    return (
      roles.control !== undefined && (await platform.call("GET", "/v1/{project_id}/services")).status === 200
    );
  });
  expect(pids().slice(0, 2)).toEqual(before.slice(0, 2));
  const all = await running.stop();
  expect(all.filter(({ outcome }) => outcome !== 200)).toEqual([]);
});

test("two upgrades at once are one, and `up` finds the platform throughout", async () => {
  const [first, second, up] = await Promise.all([
    platform.cli("upgrade"),
    platform.cli("upgrade"),
    platform.cli("up", "--json"),
  ]);
  expect([first.code, second.code].sort((a, b) => a - b)).toEqual([0, 1]);
  expect(first.stderr + second.stderr).toContain("An upgrade is under way already.");
  expect(JSON.parse(up.stdout)).toMatchObject({ url: platform.state.url, already_running: true });
});

test("a supervisor that is killed in the middle of an upgrade leaves a platform that starts again with its instances", async () => {
  const before = instances();
  const { supervisor, roles } = platform.state;
  const upgrading = platform.cli("upgrade");
  const left = await until("the successor's gateway", () => {
    const { successor = [] } = platform.state;
    return successor.length > 1 ? successor : null;
  });
  process.kill(supervisor.pid, "SIGKILL");
  expect((await upgrading).code).toBe(1);
  await platform.start();
  for (const gone of [supervisor, ...left, ...Object.values(roles)]) expect(isAlive(gone)).toBe(false);
  expect(instances()).toEqual(before);
  const running = await load();
  expect((await running.stop()).filter(({ outcome }) => outcome !== 200)).toEqual([]);
});

test("Ctrl-C where `up` was started ends the upgraded platform, and leaves no file, socket or process", async () => {
  expect((await platform.cli("upgrade")).code).toBe(0);
  const { port } = platform.state;
  await platform.stopButKeepFiles();
  await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow();
  expect(processesOf(platform.dataDir)).toEqual([]);
  expect(readdirSync(join(platform.dataDir, "run")).filter((name) => name !== "gateway-table.json")).toEqual(
    [],
  );
});

/** What `modelport doctor` looks at on this machine: each probe finds one thing and says what to do about it. */
import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { accessSync, constants, existsSync, statSync, statfsSync } from "node:fs";
import { createServer } from "node:net";
import { freemem, totalmem } from "node:os";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { DoctorFinding, DoctorProbe } from "./cli/platform-control.ts";
import type { Config } from "./config.ts";
import { readCertificate } from "./gateway/certificate.ts";
import { systemClock } from "./telemetry/clock.ts";
import { closedOnTheWay } from "./telemetry/reach.ts";
import { OLDEST_PYTHON_MINOR } from "./core/engines.ts";
import { probeIsolation } from "./runners/process/isolation.ts";
import { runningState } from "./supervise.ts";

const run = promisify(execFile);
const GIB = 2 ** 30;
/** A scikit-learn environment with its downloads takes about half a GiB; a few versions must fit. */
const DISK_GIB_MIN = 2;
const MEMORY_GIB_MIN = 1;

/** Every worker imports from there. */
const PYTHON_DIR = fileURLToPath(new URL("../python", import.meta.url));

const ok = (found: string): DoctorFinding => ({ state: "ok", found });

const node = async (): Promise<DoctorFinding> =>
  Number(process.versions.node.split(".")[0]) >= 26
    ? ok(`${process.version} at ${process.execPath}`)
    : { state: "failed", found: process.version, fix: "Run `npm ci`: it brings Node 26." };

const python = async (config: Config): Promise<DoctorFinding> => {
  const name = config.python ?? "python3";
  try {
    const { stdout } = await run(
      name,
      ["-c", "import sys, platform; print(platform.python_version(), sys.executable)"],
      { timeout: 20_000 },
    );
    const [version = "", path = ""] = stdout.trim().split(" ");
    const [major = 0, minor = 0] = version.split(".").map(Number);
    return major === 3 && minor >= OLDEST_PYTHON_MINOR
      ? ok(`${version} at ${path}`)
      : {
          state: "failed",
          found: `${version} at ${path}`,
          fix: `Packages need Python 3.${OLDEST_PYTHON_MINOR} or newer: install one and name it in MODELPORT_PYTHON.`,
        };
  } catch {
    return {
      state: "failed",
      found: `${name} does not run`,
      fix: `Install Python 3.${OLDEST_PYTHON_MINOR} or newer (Debian: apt-get install python3 python3-pip), or name one in MODELPORT_PYTHON.`,
    };
  }
};

const pip = async (config: Config): Promise<DoctorFinding> => {
  try {
    const { stdout } = await run(config.python ?? "python3", ["-m", "pip", "--version"], { timeout: 20_000 });
    return ok(stdout.trim().split(" from ")[0] ?? "");
  } catch {
    return {
      state: "failed",
      found: "python3 -m pip does not run",
      fix: "Install pip (Debian: apt-get install python3-pip): it fetches uv, which builds the environments.",
    };
  }
};

/** The directory, or where it would be made: looking makes nothing. */
const whereItIsOrWillBe = (dir: string): string => {
  const parent = dirname(dir);
  return existsSync(dir) || parent === dir ? dir : whereItIsOrWillBe(parent);
};

const dataDirectory = async (config: Config): Promise<DoctorFinding> => {
  const there = whereItIsOrWillBe(config.dataDir);
  try {
    if (!statSync(there).isDirectory()) throw new Error(`${there} is not a directory`);
    accessSync(there, constants.W_OK | constants.X_OK);
  } catch (error) {
    return {
      state: "failed",
      found: `${config.dataDir}: ${error instanceof Error ? error.message : String(error)}`,
      fix: "Choose another MODELPORT_DATA, or make it writable.",
    };
  }
  const { bavail, bsize } = statfsSync(there);
  const freeGib = (bavail * bsize) / GIB;
  const found = `${config.dataDir}${there === config.dataDir ? "" : " (made by the first start)"}, ${freeGib.toFixed(1)} GiB free`;
  return freeGib >= DISK_GIB_MIN
    ? ok(found)
    : { state: "warning", found, fix: `Free some space: environments need about ${DISK_GIB_MIN} GiB.` };
};

const memory = async (): Promise<DoctorFinding> => {
  const found = `${(freemem() / GIB).toFixed(1)} of ${(totalmem() / GIB).toFixed(1)} GiB free`;
  return freemem() / GIB >= MEMORY_GIB_MIN
    ? ok(found)
    : {
        state: "warning",
        found,
        fix: "Stop something: the platform and one scikit-learn instance take about 0.6 GiB.",
      };
};

const port = (config: Config): Promise<DoctorFinding> => {
  const state = runningState(config.dataDir);
  if (state !== null) return Promise.resolve(ok(`Modelport runs at ${state.url}`));
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", (error) =>
      resolve({
        state: "failed",
        found: error.message,
        fix: `Choose another: MODELPORT_PORT=${config.port + 1} modelport up`,
      }),
    );
    probe.listen({ host: config.host, port: config.port, exclusive: true }, () =>
      probe.close(() => resolve(ok(`${config.host}:${config.port} is free`))),
    );
  });
};

/** Renewed by hand as well as by a program: early enough for either. */
const RENEW_DAYS = 14;

const certificate = async (config: Config): Promise<DoctorFinding> => {
  if (config.tls === null) return ok("none: the gateway speaks plain HTTP");
  const read = readCertificate(config.tls, systemClock.now());
  if (!read.ok) {
    return {
      state: "failed",
      found: read.problems.map((one) => `${one.path}: ${one.message}`).join("; "),
      fix: `${[...new Set(read.problems.map((one) => one.fix))].join("; ")}.`,
    };
  }
  const { expiresAt, cert } = read.certificate;
  const found = `${config.tls.certificateFile}, until ${new Date(expiresAt).toISOString().slice(0, 10)}`;
  if (expiresAt - systemClock.now() < RENEW_DAYS * 86_400_000) {
    return { state: "warning", found, fix: "Renew it; a running platform takes the new files by itself." };
  }
  const host = config.publicUrl === null ? config.host : new URL(config.publicUrl).hostname;
  const leaf = new X509Certificate(cert);
  return leaf.checkHost(host) !== undefined || leaf.checkIP(host) !== undefined
    ? ok(found)
    : {
        state: "warning",
        found: `${found}, does not name ${host}`,
        fix: "Set MODELPORT_PUBLIC_URL to an address that it names: callers and this command line check that.",
      };
};

const NO_USERS = {
  off: "MODELPORT_SERVICE_USERS is off",
  "not-root": "only root can give services users of their own",
  unmapped: "MODELPORT_SERVICE_USERS names users that this container does not have",
  capabilities: "the platform is root without the rights to change users",
} as const;

/** The closed directory that a service's user would have to pass to the worker, its files or its interpreter. */
const whatStandsInTheWay = async (config: Config): Promise<string | null> => {
  const number = config.serviceUsers?.first ?? 0;
  const interpreter = await run(config.python ?? "python3", ["-c", "import sys; print(sys.executable)"], {
    timeout: 20_000,
  }).then(
    ({ stdout }) => [stdout.trim()],
    () => [],
  );
  for (const path of [config.dataDir, PYTHON_DIR, ...interpreter]) {
    const closed = closedOnTheWay({ uid: number, gid: number }, path);
    if (closed !== null && closed !== config.dataDir) return `${closed}, where ${path} is`;
  }
  return null;
};

/** What user code is held to here, and what is not to be had without a machine of its own for each instance. */
const isolation = async (config: Config): Promise<DoctorFinding> => {
  const { noUsers, cgroup, cgroupVersion, rlimits } = probeIsolation(config.dataDir, config.serviceUsers);
  const held = [
    noUsers === null ? "a user per service" : `the platform's user (${NO_USERS[noUsers]})`,
    cgroup.length > 0
      ? `${cgroup.join(", ")} by control groups v${cgroupVersion}`
      : `no control groups${rlimits.length > 0 ? `, ${rlimits.join(" and ")} by limits of the process` : ""}`,
  ];
  const obstacle = noUsers === null ? await whatStandsInTheWay(config) : null;
  if (obstacle !== null) held.push(`but it cannot enter ${obstacle}, so the platform's user stands in`);
  const found = `${held.join("; ")}. A container per instance would add a file system and a network of its own`;
  if (noUsers === null && obstacle === null && cgroup.includes("memory") && cgroup.includes("pids"))
    return ok(found);
  return {
    state: "warning",
    found,
    fix: "docs/user-code.md says what each part needs; run only packages you trust until then.",
  };
};

export const createProbes = (config: Config): readonly DoctorProbe[] => [
  { name: "Node", run: node },
  { name: "Python", run: () => python(config) },
  { name: "pip", run: () => pip(config) },
  { name: "data directory", run: () => dataDirectory(config) },
  { name: "memory", run: memory },
  { name: "isolation", run: () => isolation(config) },
  { name: "port", run: () => port(config) },
  { name: "certificate", run: () => certificate(config) },
];

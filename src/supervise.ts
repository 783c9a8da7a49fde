/**
 * The supervisor: starts control and the gateway as processes of their own (supervisor/role.ts), restarts what dies with
 * back-off, hands over to a successor when asked to (supervisor/successor.ts), and ends everything on a clean stop. It
 * keeps nothing but run/supervisor.json, which says who runs here, and holds run/supervisor.lock, so that of two starts
 * at once only one touches that file, and the public listening socket, so that the gateway's death closes no door.
 *
 * Roles end themselves when their channel closes (the supervisor was killed) and leave the instances running; the
 * next start finds the dead supervisor's file, waits for its roles to be gone and adopts the instances. Only a
 * {stop} from a living supervisor ends instances.
 */
import { fork } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { getCompileCacheDir } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Config } from "./config.ts";
import type { Clock } from "./core/clock.ts";
import { VERSION } from "./core/version.ts";
import { GatewayIds } from "./supervisor/gateway-ids.ts";
import type { GatewaySeat } from "./supervisor/gateway-ids.ts";
import { GatewayPlace } from "./supervisor/gateway-place.ts";
import { bindListeningSocket, inheritedFds, inheritListeningSocket } from "./supervisor/listening-socket.ts";
import type { ListeningSocket } from "./supervisor/listening-socket.ts";
import { takeOrders } from "./supervisor/orders.ts";
import type { Orders } from "./supervisor/orders.ts";
import { NODE_OPTIONS, Role } from "./supervisor/role.ts";
import { readState, removeState, runningState, StartRefused, writeState } from "./supervisor/state.ts";
import type { PlatformState, RoleName, SupervisorEvent } from "./supervisor/state.ts";
import { awaitEnd, startSuccessor } from "./supervisor/successor.ts";
import type { FromSuccessor, Successor, ToSuccessor } from "./supervisor/successor.ts";
import { self } from "./telemetry/process-identity.ts";
import { receiveLock, tryLock } from "./telemetry/process-lock.ts";
import type { HeldLock } from "./telemetry/process-lock.ts";

export { runningState } from "./supervisor/state.ts";
export type { PlatformState } from "./supervisor/state.ts";

interface SupervisorDeps {
  readonly clock: Clock;
  readonly onEvent: (event: SupervisorEvent) => void;
}

export interface Supervisor {
  readonly url: string;
  /** Resolves when everything of this supervisor has ended; `succeeded`: the platform goes on under its successor. */
  readonly ended: Promise<"stopped" | "succeeded">;
  stop(): Promise<void>;
}

const MAIN = fileURLToPath(new URL("./start.js", import.meta.url));

/** One process per role: compiled code is good only under the options it was compiled under. */
const loads = (role: RoleName): Promise<{ ok: true } | { ok: false; reason: string }> =>
  new Promise((resolve) => {
    let printed = "";
    const child = fork(MAIN, ["compile", role], {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      execArgv: [...NODE_OPTIONS[role]],
    });
    child.stderr
      ?.setEncoding("utf8")
      .on("data", (text: string) => (printed = (printed + text).slice(-4_000)));
    child.once("error", (error) => resolve({ ok: false, reason: error.message }));
    child.once("close", (code) => {
      const line = /^\w*Error\b.*$/m.exec(printed)?.[0] ?? printed.trim().split("\n")[0] ?? "";
      resolve(code === 0 ? { ok: true } : { ok: false, reason: line });
    });
  });

/**
 * Compiles what the roles will load, once per installation: without it the first run of all weighs what later ones do
 * not (control 159 instead of 140 MB, the gateway 94 instead of 74), because each role loads the type stripper.
 * Nothing depends on it, so a failure (an installation that cannot be written) is no failure.
 */
const compileOnce = async (): Promise<void> => {
  const cache = getCompileCacheDir();
  if (cache === undefined) return;
  const marker = join(cache, `complete-${VERSION}`);
  if (existsSync(marker)) return;
  const done = await Promise.all([loads("control"), loads("gateway")]);
  try {
    if (done.every(({ ok }) => ok)) writeFileSync(marker, "");
  } catch {
    // Not writable: the next start tries again.
  }
};

const lockFile = (dataDir: string): string => join(dataDir, "run", "supervisor.lock");

/** Both roles over one listening socket; who owns the data directory is the business of the caller. */
class Platform {
  readonly #config: Config;
  readonly #deps: SupervisorDeps;
  readonly #socket: ListeningSocket;
  readonly #ids: GatewayIds;
  readonly #onChange: () => void;
  readonly #since: number;
  readonly gateway: GatewayPlace;
  control: Role;
  successor: Successor | null = null;

  constructor(
    config: Config,
    deps: SupervisorDeps & {
      readonly socket: ListeningSocket;
      readonly ids: GatewayIds;
      readonly onChange: () => void;
    },
  ) {
    this.#config = config;
    this.#deps = deps;
    this.#socket = deps.socket;
    this.#ids = deps.ids;
    this.#onChange = deps.onChange;
    this.#since = deps.clock.now();
    this.control = this.#role("control");
    this.gateway = new GatewayPlace({
      create: (onLeaving) => this.#role("gateway", onLeaving),
      graceMs: this.gatewayGraceMs,
      onStep: (text) => deps.onEvent({ type: "step", text }),
      onChange: deps.onChange,
    });
  }

  get state(): PlatformState {
    const { control, gateway } = this;
    const roles: Partial<Record<RoleName, NonNullable<Role["identity"]>>> = {};
    for (const role of [control, gateway]) {
      const { identity } = role;
      if (identity !== null) roles[role.name] = identity;
    }
    return {
      supervisor: self(),
      roles,
      restarts: { control: control.restarts, gateway: gateway.restarts },
      gateways: this.#ids.known,
      ...(gateway.beside.length === 0 ? {} : { beside: gateway.beside }),
      ...(this.successor === null ? {} : { successor: this.successor.processes }),
      since: this.#since,
      url: this.#config.publicUrl ?? "",
      port: this.#config.port,
    };
  }

  /** After the predictions a gateway may have in hand. */
  get gatewayGraceMs(): number {
    return this.#config.predictTimeoutMs + 10_000;
  }

  get controlGraceMs(): number {
    return this.#config.drainTimeoutMs + 10_000;
  }

  /** Control again, after its process was retired for a successor that did not come. */
  resumeControl(): Promise<void> {
    this.control = this.#role("control");
    return this.control.startInTheEnd();
  }

  #role(name: RoleName, onLeaving: () => void = () => undefined): Role {
    const { fds } = this.#socket;
    const seats = {
      next: () => this.#ids.next(fds === null ? null : inheritedFds(fds.length)),
      ended: (seat: GatewaySeat) => this.#ids.ended(seat.id),
    };
    return new Role({
      name,
      main: MAIN,
      config: this.#config,
      logFile: join(this.#config.dataDir, "logs", "platform", `${name}.log`),
      clock: this.#deps.clock,
      emit: this.#deps.onEvent,
      onChange: this.#onChange,
      onLeaving,
      seats: name === "gateway" ? seats : null,
      fds: name === "gateway" ? (fds ?? []) : [],
    });
  }
}

/** The owner of a data directory: keeps its state file, takes orders, stops, hands over. */
const own = async (
  config: Config,
  url: string,
  deps: SupervisorDeps & {
    readonly platform: Platform;
    readonly socket: ListeningSocket;
    readonly lock: HeldLock;
    readonly record: { write(): void; later(): void; isOurs: boolean };
  },
): Promise<Supervisor> => {
  const { clock, onEvent, platform, socket, lock, record } = deps;
  const { dataDir } = config;
  const settled = Promise.withResolvers<"stopped" | "succeeded">();
  let stopping: Promise<void> | null = null;
  let upgrading: Promise<unknown> | null = null;
  let isSucceeded = false;
  let orders: Orders | null = null;

  const leave = async (how: "stopped" | "succeeded"): Promise<void> => {
    await orders?.close();
    settled.resolve(how);
  };

  const stop = (): Promise<void> => {
    stopping ??= (async () => {
      if (upgrading !== null) {
        void platform.successor?.end(platform.gatewayGraceMs);
        await upgrading;
      }
      // The platform is another's: its files are, too.
      if (isSucceeded) return;
      // First of all, so that the port is closed the moment the gateway stops listening.
      socket.close();
      // The gateway before control: it finishes what it has admitted while the instances are still there.
      await platform.gateway.end("stop", platform.gatewayGraceMs);
      await platform.control.end("stop", platform.controlGraceMs);
      await orders?.close();
      removeState(dataDir);
      lock.release();
      await leave("stopped");
    })();
    return stopping;
  };

  /** Brings the successor to the point where the platform is its own. */
  const lead = async (successor: Successor): Promise<void> => {
    let isControlOurs = true;
    let isLockOurs = true;
    try {
      const sockets = socket.fds?.length ?? 0;
      successor.send({ type: "succeed", port: config.port, sockets, url });
      await successor.said("gatewayReady");
      isControlOurs = false;
      await platform.control.end("retire", platform.controlGraceMs);
      successor.send({ type: "controlEnded" });
      await successor.said("running");
      await orders?.close();
      record.isOurs = false;
      isLockOurs = false;
      lock.passTo(successor.identity);
      successor.send({ type: "yours" });
      await successor.said("taken");
    } catch (error) {
      const { controlGone, gone } = successor.end(platform.gatewayGraceMs);
      await controlGone;
      if (!isLockOurs) {
        await gone;
        // Its holder is dead: whoever comes first gets it, and nobody but us has roles here.
        if (!tryLock(lockFile(dataDir)).isHeld) throw error;
        record.isOurs = true;
        record.write();
        orders = await takeOrders(dataDir, upgrade);
      }
      if (!isControlOurs && stopping === null) void platform.resumeControl();
      await gone;
      throw error;
    }
  };

  const upgrade = (onStep: (text: string) => void): Promise<number> => {
    if (upgrading !== null || stopping !== null) {
      const what = stopping === null ? "An upgrade is under way already." : "The platform is being stopped.";
      return Promise.reject(new StartRefused(what, "Look again with `modelport status`."));
    }
    const { fds } = socket;
    if (fds === null) {
      return Promise.reject(
        new StartRefused(
          "This system cannot hand a listening socket over.",
          "Use `modelport down`, then `modelport up`.",
        ),
      );
    }
    const run = async (): Promise<number> => {
      const logFile = join(dataDir, "logs", "platform", "supervisor.log");
      const successor = startSuccessor({
        main: MAIN,
        fds,
        logFile,
        clock,
        onStep,
        onProcesses: () => record.later(),
      });
      platform.successor = successor;
      await lead(successor);
      isSucceeded = true;
      successor.release();
      // Ours alone by now: while we held it, the port would stay open after the successor's end.
      socket.close();
      onStep("the former gateway finishes what it has in hand");
      await platform.gateway.end("retire", platform.gatewayGraceMs);
      return successor.identity.pid;
    };
    const running = run();
    const over = running.then(
      (pid) => {
        onEvent({ type: "step", text: `handed over to process ${pid}` });
      },
      () => undefined,
    );
    upgrading = over;
    return running.finally(() => {
      upgrading = null;
      platform.successor = null;
      record.later();
      // After the order's answer is on its way.
      if (isSucceeded) void clock.sleep(0).then(() => leave("succeeded"));
    });
  };

  record.isOurs = true;
  record.write();
  orders = await takeOrders(dataDir, upgrade);
  return { url, ended: settled.promise, stop };
};

/** The address callers are told. */
const urlOf = (config: Config, port: number): string => {
  if (config.publicUrl !== null) return config.publicUrl;
  const reachable = config.host === "0.0.0.0" || config.host === "::" ? "127.0.0.1" : config.host;
  const scheme = config.tls === null ? "http" : "https";
  return `${scheme}://${reachable.includes(":") ? `[${reachable}]` : reachable}:${port}`;
};

/** Writes the state file while it is ours to write. */
const recorder = (dataDir: string, state: () => PlatformState, isOurs: boolean) => {
  const record = {
    isOurs,
    write: (): void => {
      if (record.isOurs) writeState(dataDir, state());
    },
    later: (): void => {
      try {
        record.write();
      } catch {
        // A full disk: what the file says is old until the next change, and the platform runs on.
      }
    },
  };
  return record;
};

/**
 * Starts the platform of a data directory and keeps it running.
 * Throws StartRefused: it runs already, the port is taken, a role cannot run.
 */
export const startSupervisor = async (wanted: Config, deps: SupervisorDeps): Promise<Supervisor> => {
  const { clock, onEvent } = deps;
  for (const dir of ["run", "logs/platform"])
    mkdirSync(join(wanted.dataDir, dir), { recursive: true, mode: 0o700 });
  const lock = tryLock(lockFile(wanted.dataDir));
  if (!lock.isHeld) {
    const running = runningState(wanted.dataDir);
    const where = running === null ? "" : `, at ${running.url}`;
    throw new StartRefused(
      `Modelport already runs on this data directory${where} (process ${lock.holder?.pid ?? "unknown"}).`,
      "Use it, or stop it with `modelport down`.",
    );
  }
  try {
    const previous = readState(wanted.dataDir);
    if (previous !== null) {
      onEvent({ type: "recovered", previous: previous.supervisor });
      // Roles of a supervisor that was killed end by themselves; their port and locks are free once they have.
      const { roles, beside = [], successor = [] } = previous;
      await awaitEnd([...Object.values(roles), ...beside, ...successor], clock);
    }
    await compileOnce();
    const socket = await bindListeningSocket(wanted.host, wanted.port, wanted.gatewayThreads);
    const url = urlOf(wanted, socket.port);
    const config: Config = { ...wanted, port: socket.port, publicUrl: url };
    const record = recorder(config.dataDir, () => platform.state, true);
    const ids = new GatewayIds(previous?.gateways ?? []);
    const platform = new Platform(config, { ...deps, socket, ids, onChange: record.later });
    record.write();
    try {
      await platform.control.start();
      await platform.gateway.start();
      return await own(config, url, { ...deps, platform, socket, lock, record });
    } catch (error) {
      socket.close();
      await platform.gateway.end("stop", platform.gatewayGraceMs);
      await platform.control.end("stop", platform.controlGraceMs);
      removeState(config.dataDir);
      throw error;
    }
  } catch (error) {
    lock.release();
    throw error;
  }
};

/**
 * Takes the platform over from the supervisor that started this process (supervisor/successor.ts). Throws StartRefused
 * when it cannot, and leaves everything to the predecessor.
 */
export const succeedSupervisor = async (
  readSettings: () => Config,
  deps: SupervisorDeps,
): Promise<Supervisor> => {
  const tell = (message: FromSuccessor): void => {
    if (process.connected) process.send?.(message);
  };
  const told = {
    succeed: Promise.withResolvers<Extract<ToSuccessor, { type: "succeed" }>>(),
    controlEnded: Promise.withResolvers<unknown>(),
    yours: Promise.withResolvers<unknown>(),
  };
  let isOwn = false;
  const giveUp = (why: string): void => {
    if (isOwn) return;
    const reason = new StartRefused(why, "");
    for (const step of Object.values(told)) {
      step.promise.catch(() => undefined);
      step.reject(reason);
    }
  };
  process.on("message", (message: ToSuccessor) => {
    if (message.type === "giveUp") giveUp("The upgrade was given up.");
    else if (message.type === "succeed") told.succeed.resolve(message);
    else told[message.type].resolve(null);
  });
  process.once("disconnect", () => giveUp("The former supervisor is gone."));

  const { port, sockets, url } = await told.succeed.promise;
  const onEvent = (event: SupervisorEvent): void => {
    deps.onEvent(event);
    if (event.type === "starting") tell({ type: "step", text: `starting the new ${event.role}` });
  };
  let platform: Platform | null = null;
  try {
    const config: Config = { ...readSettings(), port, publicUrl: url };
    tell({ type: "step", text: "checking the program on disk" });
    const control = await loads("control");
    if (!control.ok) {
      throw new StartRefused(
        `The program on disk does not load: ${control.reason}`,
        "Put it in order, or the former one back, and try again.",
      );
    }
    const socket = inheritListeningSocket(port, sockets);
    if (config.gatewayThreads !== sockets) {
      const text = `MODELPORT_GATEWAY_THREADS stays ${sockets} until the platform is stopped and started`;
      tell({ type: "step", text });
    }
    const record = recorder(config.dataDir, () => running.state, false);
    const ids = new GatewayIds([]);
    const onChange = (): void => {
      tell({ type: "roles", roles: running.state.roles });
      record.later();
    };
    const running = new Platform(config, { ...deps, onEvent, socket, ids, onChange });
    platform = running;
    await running.gateway.start();
    tell({ type: "gatewayReady" });
    await told.controlEnded.promise;
    await running.control.start();
    tell({ type: "running" });
    await told.yours.promise.catch((error: unknown) => {
      // The lock may have been passed in the last moment of a predecessor that was killed.
      if (receiveLock(lockFile(config.dataDir)) === null) throw error;
    });
    const lock = receiveLock(lockFile(config.dataDir));
    if (lock === null) throw new StartRefused("The lock was not passed on.", "");
    isOwn = true;
    const supervisor = await own(config, url, { ...deps, platform: running, socket, lock, record });
    tell({ type: "taken" });
    return supervisor;
  } catch (error) {
    // Control first: the predecessor waits for its end to take it up again.
    if (platform !== null) await platform.control.end("retire", platform.controlGraceMs);
    const { message } = error as Error;
    tell({ type: "refused", message, hint: error instanceof StartRefused ? error.hint : "" });
    if (platform !== null) await platform.gateway.end("retire", platform.gatewayGraceMs);
    throw error;
  }
};

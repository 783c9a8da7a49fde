/**
 * What runs inside a role's process (started by supervisor/role.ts): waits for the configuration, runs the role, and ends
 * when told to or left alone. A role that is left alone, because its supervisor was killed, leaves the instances running.
 */
import { flushCompileCache } from "node:module";
import type { Config } from "./config.ts";
import type { GatewaySeat } from "./supervisor/gateway-ids.ts";
import type { FromRole, ToRole } from "./supervisor/role.ts";
import { StartRefused } from "./supervisor/state.ts";
import type { RoleName } from "./supervisor/state.ts";

/** What a role's process runs, and how it ends. */
interface RunningRole {
  close(how: { readonly stopInstances: boolean; readonly isReplaced: boolean }): Promise<void>;
}
/** Each role's modules are loaded in its own process only. */
const startRole: Record<RoleName, (config: Config, seat: GatewaySeat | null) => Promise<RunningRole>> = {
  control: async (config) => (await import("./control.ts")).startControl(config),
  gateway: async (config, seat) => {
    if (seat === null) throw new Error("a gateway needs a seat");
    return (await import("./gateway.ts")).startGateway(config, seat);
  },
};

/** Runs inside a role's process: waits for the configuration, runs, and ends when told to or left alone. */
export const runRole = async (name: RoleName): Promise<void> => {
  if (process.send === undefined) {
    process.stderr.write(`modelport ${name} is started by \`modelport up\`.\n`);
    process.exitCode = 2;
    return;
  }
  const tell = (message: FromRole): void => {
    if (process.connected) process.send?.(message);
  };
  // The supervisor decides when a role ends; a signal meant for the whole terminal must not get ahead of it.
  process.on("SIGINT", () => undefined);
  // Listened to from the first moment: what comes while the role still starts is done once it runs.
  const told = Promise.withResolvers<Extract<ToRole, { type: "start" }>>();
  const ended = Promise.withResolvers<Parameters<RunningRole["close"]>[0]>();
  process.on("message", (message: ToRole) => {
    if (message.type === "start") told.resolve(message);
    else ended.resolve({ stopInstances: message.type === "stop", isReplaced: message.type === "retire" });
  });
  process.on("disconnect", () => {
    told.reject(new Error("the supervisor is gone"));
    ended.resolve({ stopInstances: false, isReplaced: false });
  });
  const { config, seat } = await told.promise;
  let running: RunningRole;
  try {
    running = await startRole[name](config, seat);
  } catch (error) {
    if (error instanceof StartRefused) {
      tell({ type: "refused", message: error.message, hint: error.hint });
      process.exitCode = 1;
      process.disconnect?.();
      return;
    }
    throw error;
  }
  process.on("SIGTERM", () => {
    // With an inherited socket another gateway can serve beside this one: it goes on until that is ready.
    if (seat !== null && seat.fds !== null && process.connected) tell({ type: "leaving" });
    else ended.resolve({ stopInstances: false, isReplaced: false });
  });
  tell({ type: "ready" });
  // Else node writes it at a clean end only, and a role that gets killed leaves its successor nothing (start.js).
  flushCompileCache();
  await running.close(await ended.promise);
  process.exit(0);
};

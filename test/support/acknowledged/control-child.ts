/**
 * The control role as a process of its own that can be killed at any moment: the real store, objects, API and
 * reconcilers on a data directory, with instances that exist in memory only. It loads everything first and waits for
 * its parent's word to start, so that a test can have the next one ready while this one still lives.
 */
import { enableCompileCache, flushCompileCache } from "node:module";
import type { Config } from "../../../src/config.ts";
import type { Behaviour } from "../../../src/runners/fake.ts";

enableCompileCache(new URL("../../../node_modules/.cache/modelport-compiled", import.meta.url).pathname);

export type ToChild = { readonly type: "start"; readonly config: Config };
export type FromChild = { readonly type: "loaded" } | { readonly type: "ready" };

const READY: Behaviour = { kind: "ready", afterMs: 15 };
const BROKEN: Behaviour = {
  kind: "fail",
  afterMs: 5,
  failure: { reason: "load-failed", message: "The model could not be loaded." },
};

const { startControl } = await import("../../../src/control.ts");
const { createFakeRunner } = await import("../../../src/runners/fake.ts");
// PostgreSQL's driver is loaded by the store only where it is used; here it may be needed at once.
await import("pg");

const tell = (message: FromChild): void => {
  if (process.connected) process.send?.(message);
};

process.on("disconnect", () => process.exit(0));
process.on("message", ({ config }: ToChild) => {
  void startControl(config, ({ clock, logger }) =>
    Promise.resolve(
      createFakeRunner({
        clock,
        logger,
        script: (group) => (group.instance.envs["BREAK"] === "yes" ? BROKEN : READY),
      }),
    ),
  ).then(
    () => tell({ type: "ready" }),
    (error: unknown) => {
      process.stderr.write(`control did not start: ${String(error)}\n`);
      process.exit(1);
    },
  );
});
// It is written at a clean end only, and this process will not have one.
flushCompileCache();
tell({ type: "loaded" });

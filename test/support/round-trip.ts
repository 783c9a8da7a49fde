/**
 * An engine from training to an answer: a tiny model trained by the environment that the platform itself builds for a
 * runtime, served from a package by a real instance.
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, expect, it } from "vitest";
import type { EngineName } from "../../src/core/engines.ts";
import { engineEnvironment } from "./engine-environments.ts";
import { removeInstances, startInstance } from "./instance.ts";
import type { TinyModel } from "./tiny-models.ts";

const run = promisify(execFile);

export interface RoundTrip extends TinyModel {
  readonly engine: EngineName;
  readonly runtime: string;
  /** What the environment is known by: a module and its version. */
  readonly release: readonly [module: string, version: string];
}

/** One test for each; skipped where the runtime's own interpreter or release is not on this machine. */
export const testRoundTrips = (cases: readonly RoundTrip[]): void => {
  const scratch = mkdtempSync(join(tmpdir(), "modelport-engines-"));
  afterEach(() => removeInstances());
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  it.for(cases)(
    "$engine on runtime $runtime answers what it was trained for",
    { timeout: 600_000 },
    async (one, { signal, skip }) => {
      const { python, standIn } = await engineEnvironment(one.engine, one.runtime, signal);
      if (standIn !== null) return skip(standIn);
      const model = join(mkdtempSync(join(scratch, "package-")), "model");
      mkdirSync(model);
      const options = {
        cwd: model,
        maxBuffer: 2 ** 26,
        env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: "2" },
      };
      const [module, version] = one.release;
      const ask = `import ${module}; print(${module}.__version__)`;
      const { stdout } = await run(python, ["-W", "ignore", "-c", ask], options);
      expect(stdout.trim().split("\n").at(-1)).toBe(version);
      await run(python, ["-W", "ignore", "-c", one.train], options);
      if (one.service !== undefined) writeFileSync(join(model, "customize_service.py"), one.service);
      const instance = await startInstance({
        engine: one.engine,
        python,
        packageDir: model,
        modelFile: one.modelFile,
        startTimeoutMs: 300_000,
      });
      await instance.ready();
      const answer = await instance.predict(one.request);
      expect({ status: answer.status, body: answer.json() }, instance.log()).toEqual({
        status: 200,
        body: one.answer,
      });
    },
  );
};

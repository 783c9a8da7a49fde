import { expect, test } from "vitest";
import { workerEnv } from "./worker-env.ts";

const env = (more: Partial<Parameters<typeof workerEnv>[0]>): Record<string, string> =>
  workerEnv({ python: "/envs/one/bin/python", envs: {}, ...more }, "/modelport/python", "/scratch");

test.each([
  ["none are granted", { devices: [] }, ""],
  ["one is granted", { devices: ["1"] }, "1"],
  ["several are granted", { devices: ["GPU-8932f937", "GPU-0fc1a2b3"] }, "GPU-8932f937,GPU-0fc1a2b3"],
])("frameworks see exactly the devices granted where %s", (_, spec, visible) => {
  expect(env(spec)["CUDA_VISIBLE_DEVICES"]).toBe(visible);
  const asking = { CUDA_VISIBLE_DEVICES: "0,1,2", CUDA_DEVICE_ORDER: "FASTEST_FIRST" };
  expect(env({ ...spec, envs: asking, hostEnv: asking })).toEqual(env(spec));
});

test("where nothing is restricted, a service may choose among the devices by itself", () => {
  expect(env({})).not.toHaveProperty("CUDA_VISIBLE_DEVICES");
  expect(env({ envs: { CUDA_VISIBLE_DEVICES: "1" } })).toMatchObject({ CUDA_VISIBLE_DEVICES: "1" });
});

test("the service's variables win over the machine's and the defaults, and packages are found after the worker", () => {
  const given = env({
    envs: { OMP_NUM_THREADS: "4", HOME: "/mine", PYTHONPATH: "/theirs" },
    hostEnv: { HOME: "/host" },
  });
  expect(given).toMatchObject({
    OMP_NUM_THREADS: "4",
    HOME: "/mine",
    PYTHONPATH: "/modelport/python:/theirs",
  });
  expect(given["PATH"]).toMatch(/^\/envs\/one\/bin:/);
});

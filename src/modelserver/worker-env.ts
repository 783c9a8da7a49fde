/** The environment user code sees: a small clean one, the user's variables, and nothing of the platform's. Pure. */
import type { LaunchSpec } from "../core/launch.ts";

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** `pythonDir` holds the worker's and the packages' modules; `workDir` is the user code's HOME and TMPDIR. */
export const workerEnv = (
  spec: Pick<LaunchSpec, "devices" | "envs" | "hostEnv" | "python">,
  pythonDir: string,
  workDir: string,
): Record<string, string> => {
  const binDir = spec.python.slice(0, Math.max(0, spec.python.lastIndexOf("/")));
  const theirs = spec.envs["PYTHONPATH"];
  return {
    PATH: binDir === "" ? PATH : `${binDir}:${PATH}`,
    LANG: "C.UTF-8",
    PYTHONUNBUFFERED: "1",
    PYTHONDONTWRITEBYTECODE: "1",
    // One prediction at a time per worker: more threads than that fight over the cores of N workers.
    OMP_NUM_THREADS: "1",
    OPENBLAS_NUM_THREADS: "1",
    ...spec.hostEnv,
    // A user of a service's own has no entry in the machine's list; libraries ask these first.
    USER: "modelport",
    LOGNAME: "modelport",
    HOME: workDir,
    TMPDIR: workDir,
    ...spec.envs,
    ...visibleDevices(spec.devices),
    PYTHONPATH: theirs === undefined || theirs === "" ? pythonDir : `${pythonDir}:${theirs}`,
  };
};

/**
 * Exactly what was granted, whatever the service's variables ask for. Empty: frameworks see no device at all. Numbers are
 * those of the machine's own tools, not of the driver's guess at which device is the fastest.
 */
const visibleDevices = (devices: LaunchSpec["devices"]): Record<string, string> =>
  devices === undefined ? {} : { CUDA_DEVICE_ORDER: "PCI_BUS_ID", CUDA_VISIBLE_DEVICES: devices.join(",") };

/** Why a worker did not become ready or ended, in words for the service's events. Pure. */
import type { Failure } from "../core/service.ts";
import type { WorkerExit } from "./worker.ts";

/** User code raised while the model was loaded. */
export const loadFailure = (frame: { readonly exception: string; readonly traceback: string }): Failure => ({
  reason: "load-failed",
  message: `The model could not be loaded: ${frame.exception}`,
  detail: frame.traceback,
});

/** The worker process ended while it loaded. */
export const exitFailure = (exit: WorkerExit): Failure => {
  if (exit.spawnError !== null) {
    const missing = exit.spawnError.code === "ENOENT" || exit.spawnError.code === "EACCES";
    return {
      reason: missing ? "not-found" : "environment",
      message: missing
        ? "The Python interpreter of the package's environment does not exist or cannot be executed."
        : `The Python interpreter could not be started: ${exit.spawnError.message}`,
      detail: exit.spawnError.message,
    };
  }
  return {
    reason: "load-failed",
    message: `The model could not be loaded: the worker process ${describeExit(exit)} while loading it.`,
    exitCode: exit.code,
  };
};

export const startTimeoutFailure = (startTimeoutMs: number): Failure => ({
  reason: "start-timeout",
  message: `The model was not loaded within ${startTimeoutMs / 1000} s.`,
});

/** Adds the Python stack at the process's end where nothing better is known. */
export const withDetail = (failure: Failure, fault: string): Failure =>
  failure.detail === undefined && fault !== "" ? { ...failure, detail: fault } : failure;

/** "exited with code 3", "was ended by SIGSEGV". */
export const describeExit = (exit: WorkerExit): string => {
  if (exit.spawnError !== null) return `could not be started (${exit.spawnError.message})`;
  if (exit.signal === null) return `exited with code ${exit.code ?? "unknown"}`;
  if (exit.outOfMemoryMb !== undefined)
    return `was ended by the kernel because the instance used more than its ${exit.outOfMemoryMb} MB of memory`;
  // The kernel's out-of-memory killer leaves no other trace where the instance has no group of its own.
  return exit.signal === "SIGKILL"
    ? "was ended by SIGKILL (often because memory ran out)"
    : `was ended by ${exit.signal}`;
};

/**
 * Runs one program of a build (pip, uv, python) to its end: its output line by line while it lasts, its whole process
 * group ended when the signal aborts, so no half-finished build goes on writing behind our back.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { sendSignal } from "../telemetry/process-identity.ts";

export interface Finished {
  /** Exit status; 127 when the program does not exist, null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Whom it runs as, without further groups; absent: the platform's user. */
  readonly user?: { readonly uid: number; readonly gid: number };
  readonly signal: AbortSignal;
  readonly input?: string;
  /** Each line of both streams as it comes. */
  readonly onLine?: (line: string) => void;
  /** The pid, as soon as there is one. */
  readonly onStart?: (pid: number) => void;
}

const OUTPUT_CHARS_MAX = 4 * 1024 * 1024;

/** Rejects with the signal's reason when it aborts; every other end is an answer. */
export const runCommand = (
  program: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<Finished> =>
  new Promise((resolve, reject) => {
    const { signal } = options;
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.env,
      detached: process.platform !== "win32",
      ...options.user,
      stdio: ["pipe", "pipe", "pipe"],
    });
    const { pid } = child;
    const stop = (): void => {
      if (pid !== undefined) sendSignal(pid, "SIGKILL", "group");
    };
    const texts = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      createInterface({ input: child[name], crlfDelay: Number.POSITIVE_INFINITY }).on("line", (line) => {
        if (texts[name].length < OUTPUT_CHARS_MAX) texts[name] += `${line}\n`;
        options.onLine?.(line);
      });
    }
    signal.addEventListener("abort", stop, { once: true });
    // A program that does not read its input closes the pipe early; its exit status says what happened.
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.input ?? "");
    if (pid !== undefined) options.onStart?.(pid);
    child.once("error", (error: NodeJS.ErrnoException) => {
      signal.removeEventListener("abort", stop);
      if (error.code === "ENOENT" || error.code === "EACCES")
        resolve({ code: 127, stdout: "", stderr: `${program} cannot be run (${error.code})` });
      else reject(error);
    });
    child.once("close", (code) => {
      signal.removeEventListener("abort", stop);
      if (signal.aborted) reject(signal.reason as Error);
      else resolve({ code, ...texts });
    });
  });

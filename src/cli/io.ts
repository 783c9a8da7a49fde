/**
 * Everything the CLI takes from the process it runs in. main.ts builds one from the real process; tests build one
 * from strings and a clock of their own, so a command never reaches for `process` itself.
 */
import type { Readable } from "node:stream";
import type { Clock } from "../core/clock.ts";
import type { RuntimeState } from "../core/runtimes.ts";
import type { PackageRun } from "./package-run.ts";
import type { PlatformControl } from "./platform-control.ts";

export interface Sink {
  write(chunk: string | Uint8Array): void;
}

export interface CliIo {
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly stdin: Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown };
  /** Whether stdout is a terminal: tables are fitted to it and long work is shown live. */
  readonly isTty: boolean;
  /** Whether stderr, where progress goes, is a terminal. */
  readonly isStderrTty: boolean;
  /** False without a terminal and under NO_COLOR. */
  readonly colour: boolean;
  readonly columns: number;
  readonly dataDir: string;
  /** The CLI profile, `<dataDir>/cli.json`. */
  readonly profilePath: string;
  /** The folder that holds `iris/` and the other examples, which `modelport init` writes. */
  readonly examplesDir: string;
  readonly clock: Clock;
  /** Aborts on Ctrl-C, SIGTERM, and when the terminal is closed. */
  readonly interrupt: AbortSignal;
  readonly platform: PlatformControl;
  packageRun(): Promise<PackageRun>;
  /** What becomes of every runtime on this machine, without a platform. */
  runtimes(): Promise<readonly RuntimeState[]>;
}

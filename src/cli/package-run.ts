/**
 * What `modelport run` asks of this machine: serve a package from its folder, or run a program in its environment.
 * Implemented by src/package-run.ts. What is refused throws a CliError with the sentence to show.
 */
import type { ConfigApi } from "../core/config-json.ts";
import type { Problem } from "../core/errors.ts";

export type RunEvent =
  /** What is going on, until the next one. */
  | { readonly kind: "step"; readonly text: string }
  | { readonly kind: "warning"; readonly text: string }
  /** A line that the package printed, or the instance told of it. */
  | { readonly kind: "output"; readonly stream: "stdout" | "stderr"; readonly line: string }
  | {
      readonly kind: "request";
      readonly method: string;
      readonly path: string;
      /** Null: the caller went away before its answer. */
      readonly status: number | null;
      readonly ms: number;
    }
  | { readonly kind: "changed" }
  /** `ms`: since the start, or since the change was seen. */
  | {
      readonly kind: "ready";
      readonly url: string;
      readonly isFirst: boolean;
      /** The same version as before, started again. */
      readonly isAgain: boolean;
      readonly ms: number;
      readonly home: string;
      readonly api: ConfigApi | null;
    }
  /**
   * It does not serve, or what has changed does not. What answers from then on: the version before still (`before`), itself
   * when it has been started again (`again`), the changed one that is being loaded (`next`), nothing until a change (`change`).
   */
  | {
      readonly kind: "failed";
      readonly message: string;
      readonly problems: readonly Problem[];
      readonly answers: "before" | "again" | "next" | "change";
      /** The pause before it is started again. */
      readonly inMs?: number;
    };

export interface ServeOptions {
  readonly folder: string;
  readonly host: string;
  readonly port: number;
  readonly envs: Readonly<Record<string, string>>;
  readonly onEvent: (event: RunEvent) => void;
  readonly signal: AbortSignal;
}

export interface CommandOptions {
  readonly folder: string;
  readonly command: readonly string[];
  /** Where the program's standard output goes: this process's own, or its standard error. */
  readonly stdout: "stdout" | "stderr";
  readonly envs: Readonly<Record<string, string>>;
  readonly onEvent: (event: RunEvent) => void;
  readonly signal: AbortSignal;
}

/** How a program ended: `signal` is the name of what ended it (`SIGKILL`), and `code` then what a shell reports. */
export interface CommandEnd {
  readonly code: number;
  readonly signal: string | null;
}

export interface PackageRun {
  /** Serves until the signal aborts; nothing is left behind when it resolves. */
  serve(options: ServeOptions): Promise<void>;
  /** Runs a program in the environment, in the package's folder, on this terminal; resolves when it has ended. */
  command(options: CommandOptions): Promise<CommandEnd>;
}

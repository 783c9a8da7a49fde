/**
 * Python environments: one per content hash of interpreter + engine + dependencies, shared by all versions with the
 * same set. Built with uv in a scratch folder and made visible by one rename, so what is visible is complete.
 */
import type { EngineName } from "../core/engines.ts";
import type { Problem } from "../core/errors.ts";
import type { RuntimeState } from "../core/runtimes.ts";

/** A package's own requirement (config.json table 4-7), in the order given. */
export interface Dependency {
  readonly name: string;
  readonly version: string | null;
  readonly restraint: "EXACT" | "ATLEAST" | "ATMOST" | null;
}

export interface EnvironmentRequest {
  readonly engine: EngineName;
  /** `runtime` of config.json, as written; null when absent. */
  readonly runtime: string | null;
  readonly dependencies: readonly Dependency[];
  /** Absolute paths of the *.whl files in the package's folder; a dependency may name one (by file or by project). */
  readonly wheels: readonly string[];
  /** The package's Python files, relative to its folder: looked at where the runtime is Python 2. */
  readonly code: { readonly dir: string; readonly files: readonly string[] };
  /** True: a pin that has no build for the interpreter is refused. False: the nearest release that works stands in. So for runtimes. */
  readonly strict: boolean;
}

/** A requirement that was replaced by the nearest one that can be had. Shown to the user as a warning event. */
export interface Substitution {
  readonly asked: string;
  readonly got: string;
  readonly reason: string;
}

export type EnvironmentOutcome =
  | {
      readonly kind: "ready";
      readonly key: string;
      /** Absolute path of the interpreter. */
      readonly python: string;
      /** True when nothing had to be built. */
      readonly reused: boolean;
      readonly durationMs: number;
      readonly substitutions: readonly Substitution[];
      /** Anything else the user should know: the runtime that stands in for the one named, deprecations. */
      readonly warnings: readonly string[];
    }
  | {
      readonly kind: "refused";
      /** One sentence naming the requirement that failed and why. */
      readonly message: string;
      readonly problems: readonly Problem[];
      /** The end of the build's log. */
      readonly logTail: string;
    };

export interface Environments {
  /** Finds or builds. `onLog` gets each line of the live build log. Concurrent calls for one key build once. */
  ensure(
    request: EnvironmentRequest,
    onLog: (line: string) => void,
    signal: AbortSignal,
  ): Promise<EnvironmentOutcome>;
  /** The interpreter of an environment that was built before; null when it is gone. */
  python(key: string): Promise<string | null>;
  /** Every runtime of every engine and what becomes of it on this machine. */
  runtimes(): Promise<readonly RuntimeState[]>;
  /** Deletes environments that are not in `used` and unfinished leftovers of killed builds. Returns freed keys. */
  reclaim(used: ReadonlySet<string>): Promise<readonly string[]>;
}

/** Environments of a directory that several processes use: the platform, and whoever runs a package beside it. */
export interface SharedEnvironments extends Environments {
  /** Keeps an environment from being reclaimed by any process, until it is let go or this process ends, and a week more. */
  hold(key: string): Promise<() => Promise<void>>;
}

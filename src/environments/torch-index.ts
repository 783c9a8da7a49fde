/**
 * Where torch comes from: its vendor's index of CPU builds, whose wheels are a tenth of those on the package index, where
 * torch is wanted and no accelerator is here. Where that index is out of reach, or has not what is asked for, from the
 * package index, with a warning that names the size.
 */
import type { Clock } from "../core/clock.ts";
import type { Plan } from "./plan.ts";
import { projectOf } from "./requirements.ts";
import { inWords, totalOf } from "./sizes.ts";

/** An index that was out of reach is not asked again for this long. */
const AGAIN_AFTER_MS = 3_600_000;
const CPU = ["--torch-backend", "cpu"];
/** What that index has releases of. Other pins are replaced alike whichever index torch comes from. */
const OF_VENDOR = new Set(["torch", "torchvision", "torchaudio"]);

/** Whether a set asks for what that index has. */
export const wantsTorch = (projects: readonly string[]): boolean =>
  projects.some((project) => OF_VENDOR.has(project));

export interface TorchPlan {
  readonly plan: Plan;
  /** Further arguments for the install. */
  readonly options: readonly string[];
  readonly warnings: readonly string[];
}

export class TorchIndex {
  readonly #clock: Clock;
  #failedAt: number | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async plan(deps: {
    readonly planWith: (options: readonly string[]) => Promise<Plan>;
    /** Bytes to download by project. */
    readonly sizesOf: (plan: Extract<Plan, { kind: "planned" }>) => Promise<ReadonlyMap<string, number>>;
    readonly onLog: (line: string) => void;
  }): Promise<TorchPlan> {
    const failedAt = this.#failedAt;
    if (failedAt === null || this.#clock.monotonicMs() - failedAt > AGAIN_AFTER_MS) {
      deps.onLog("resolving with the index of torch's CPU builds");
      const plan = await deps.planWith(CPU);
      if (plan.kind === "planned" && !plan.substitutions.some(({ asked }) => OF_VENDOR.has(projectOf(asked))))
        return { plan, options: CPU, warnings: [] };
      if (plan.kind === "refused" && plan.isIndexAtFault) this.#failedAt = this.#clock.monotonicMs();
    }
    const plan = await deps.planWith([]);
    if (plan.kind === "refused") return { plan, options: [], warnings: [] };
    const bytes = totalOf(await deps.sizesOf(plan));
    const size = bytes === 0 ? "up to 3 GB" : inWords(bytes);
    const warning = `The index of torch's CPU builds cannot be reached or has not this release: torch comes from the package index with the libraries of its accelerators, ${size} to download.`;
    return { plan, options: [], warnings: [warning] };
  }
}

/**
 * Decides what to install: the engine's set and the package's own requirements, resolved together. What cannot be had for
 * this interpreter gets the nearest release that works, in the order of the package (the first named keep their pins
 * first), and every such change is reported. Knows no process: `compile` answers what can be resolved.
 *
 * Order of giving way: the engine's bound on the very project → the engine's bounds on its companions → a build from
 * source (only of projects without any wheel) → another release. Strict stops before the last.
 */
import type { Problem } from "../core/errors.ts";
import type { Substitution } from "./environments.ts";
import type { Requirement } from "./requirements.ts";
import { parseWheel, projectOf, versionIn, withoutBound } from "./requirements.ts";
import { lacksVersion } from "./resolution.ts";
import type { CompileInput, Compiled } from "./uv.ts";

export type Plan =
  | {
      readonly kind: "planned";
      /** Exact lines for the install. */
      readonly lines: readonly string[];
      readonly fromSource: readonly string[];
      readonly neededBy: ReadonlyMap<string, readonly string[]>;
      readonly substitutions: readonly Substitution[];
      readonly warnings: readonly string[];
    }
  | {
      readonly kind: "refused";
      readonly message: string;
      readonly problems: readonly Problem[];
      /** True where the index is to blame and no requirement. */
      readonly isIndexAtFault: boolean;
    };

interface State {
  readonly engine: readonly string[];
  readonly accepted: readonly string[];
  readonly fromSource: readonly string[];
  readonly set: Extract<Compiled, { ok: true }>;
}

class Refusal extends Error {
  readonly problems: readonly Problem[];
  readonly isIndexAtFault: boolean;
  constructor(message: string, problems: readonly Problem[], isIndexAtFault = false) {
    super(message);
    this.problems = problems;
    this.isIndexAtFault = isIndexAtFault;
  }
}

/** No wheel at all, or none that this machine can use. */
const NO_WHEEL = /no usable wheels|has wheels for /;

const refuse = (requirement: Requirement, reason: string, fix: string): never => {
  throw new Refusal(
    `Dependency ${requirement.asked} cannot be installed: ${reason.replace(/\.+$/, "")}; ${fix}.`,
    [{ path: `dependencies (${requirement.asked})`, message: reason, fix }],
  );
};

/** uv does not say what a wheel that it was given is for; its name does. */
const ofWheel = ({ asked }: Requirement, reason: string): string =>
  reason.replace(
    /^.* has wheels for others only, and/,
    `it is a wheel for ${parseWheel(asked)?.tag ?? "others"}, and`,
  );

type NotCompiled = Extract<Compiled, { ok: false }>;
const NOTHING_WRONG: NotCompiled = { ok: false, reason: "", failure: null, missing: null };

/** Projects with the same modules: the light one that engines bring, the plain one that packages ask for. */
const TWINS = [
  ["xgboost-cpu", "xgboost"],
  ["tensorflow-cpu", "tensorflow"],
  ["opencv-python-headless", "opencv-python"],
] as const;

class Planner {
  private readonly compile: (input: CompileInput) => Promise<Compiled>;
  private readonly input: PlanInput;
  private readonly substitutions: Substitution[] = [];
  private readonly warnings: string[] = [];
  private last: NotCompiled = NOTHING_WRONG;

  constructor(compile: (input: CompileInput) => Promise<Compiled>, input: PlanInput) {
    this.compile = compile;
    this.input = input;
  }

  private async ask(
    input: Partial<CompileInput> & { requirements: readonly string[] },
  ): Promise<Extract<Compiled, { ok: true }> | null> {
    const compiled = await this.compile({
      constraints: [],
      lowest: false,
      ...input,
      fromSource: [...this.input.fromSource, ...(input.fromSource ?? [])],
    });
    if (compiled.ok) return compiled;
    const { failure } = compiled;
    if (failure !== null && failure.kind !== "package")
      throw new Refusal(failure.sentence, [], failure.kind === "index");
    this.last = compiled;
    return null;
  }

  /** The state with one more line, when that resolves. */
  private async add(
    state: State,
    line: string,
    engine = state.engine,
    fromSource = state.fromSource,
  ): Promise<State | null> {
    const accepted = [...state.accepted, line];
    const set = await this.ask({ requirements: [...engine, ...accepted], fromSource });
    return set === null ? null : { engine, accepted, fromSource, set };
  }

  async run(): Promise<Plan> {
    const { engine, requirements } = await this.oneOfTwins();
    const all = requirements.map(({ line }) => line);
    const together = await this.ask({ requirements: [...engine, ...all] });
    let state: State;
    if (together === null) {
      const alone = await this.ask({ requirements: engine });
      if (alone === null)
        throw new Refusal(`The AI engine's own packages cannot be installed: ${this.lastReason()}.`, []);
      state = { engine, accepted: [], fromSource: [], set: alone };
      for (const requirement of requirements) state = await this.place(state, requirement);
    } else state = { engine, accepted: all, fromSource: [], set: together };
    return {
      kind: "planned",
      lines: state.set.lines,
      neededBy: state.set.neededBy,
      fromSource: [...this.input.fromSource, ...state.fromSource],
      substitutions: this.substitutions,
      warnings: this.warnings,
    };
  }

  /**
   * The engine brings `xgboost-cpu`, packages ask for `xgboost`: the same module, and side by side they would overwrite
   * each other's files. The light one is taken in the version asked for where there is one, else the asked one alone.
   */
  private async oneOfTwins(): Promise<Pick<PlanInput, "engine" | "requirements">> {
    let { engine, requirements } = this.input;
    for (const [lightName, plainName] of TWINS) {
      const light = engine.find((line) => projectOf(line) === lightName);
      if (light === undefined || !requirements.some(({ project }) => project === plainName)) continue;
      const asked = requirements.find(({ project, isWheel }) => project === plainName && !isWheel);
      const line = asked?.line.replace(/^[A-Za-z0-9._-]+/, lightName);
      if (asked !== undefined && line !== undefined && (await this.ask({ requirements: [line] })) !== null)
        requirements = requirements.map((one) =>
          one === asked ? { ...one, line, project: lightName } : one,
        );
      else engine = engine.filter((one) => one !== light);
    }
    return { engine, requirements };
  }

  /** Finds a place for one requirement, or throws the refusal. */
  private async place(state: State, requirement: Requirement): Promise<State> {
    const asIs = await this.add(state, requirement.line);
    if (asIs !== null) return asIs;
    const conflict = this.last;
    // Asked alone, the reason is the requirement's own; only what can be had alone is a matter of the engine's bounds.
    const alone = await this.ask({ requirements: [requirement.line] });
    const why = alone === null ? this.last : conflict;
    const { reason } = why;
    if (why.missing !== null) return this.refuseMissing(requirement, why.missing);
    const relaxed = alone === null ? null : await this.relaxEngine(state, requirement);
    if (relaxed !== null) return relaxed;
    if (requirement.isWheel) return refuse(requirement, ofWheel(requirement, reason), "bring one that fits");
    const built = await this.fromSource(state, requirement, reason);
    if (built !== null) return built;
    if (requirement.restraint !== "ATMOST" && lacksVersion(reason, requirement.project)) {
      const newest = versionIn(
        (await this.ask({ requirements: [requirement.project] }))?.lines ?? [],
        requirement.project,
      );
      if (newest !== null)
        return refuse(
          requirement,
          "the package index has no such version",
          `the newest for this Python is ${newest}`,
        );
    }
    if (this.input.strict)
      return refuse(
        requirement,
        reason,
        "choose a version that has a build for this Python, or allow the nearest one",
      );
    return (
      (await this.substitute(state, requirement, reason)) ??
      refuse(requirement, reason, "choose another version")
    );
  }

  private refuseMissing(
    requirement: Requirement,
    { project, refusal }: NonNullable<NotCompiled["missing"]>,
  ): never {
    const needs = project === requirement.project ? "" : `it needs ${project}, and `;
    if (refusal !== null)
      return refuse(
        requirement,
        `${needs}the package index answers ${refusal} for ${project}`,
        "correct the name, or the user and password in PIP_INDEX_URL",
      );
    return refuse(
      requirement,
      `${needs}the package index has no package of this name`,
      needs === ""
        ? "correct the name, or put its wheel beside the model file"
        : "choose another version, or put a wheel of the missing one beside the model file",
    );
  }

  private lastReason(): string {
    const { missing, reason } = this.last;
    return missing === null ? reason : `the package index has no package named ${missing.project}`;
  }

  /** What a package asks for goes before what the engine is tested with. */
  private async relaxEngine(state: State, requirement: Requirement): Promise<State | null> {
    const [core] = this.input.engine;
    const replaced = state.engine.filter((line) => projectOf(line) === requirement.project);
    const others = state.engine.filter((line) => projectOf(line) !== requirement.project);
    const bounded = others.filter((line) => line !== core && withoutBound(line) !== line);
    for (const engine of [
      ...(replaced.length > 0 ? [others] : []),
      ...(bounded.length > 0 ? [others.map((line) => (line === core ? line : withoutBound(line)))] : []),
    ]) {
      const next = await this.add(state, requirement.line, engine);
      if (next !== null) {
        const given = state.engine.filter((line) => !engine.includes(line) && withoutBound(line) !== line);
        if (given.length > 0)
          this.warnings.push(
            `Dependency ${requirement.asked} does not fit ${given.join(", ")}, which the AI engine is tested with; the dependency was kept.`,
          );
        return next;
      }
    }
    return null;
  }

  /** Projects that publish no wheel at all are built, as pip would; those that do are not: old releases fail to. */
  private async fromSource(state: State, requirement: Requirement, reason: string): Promise<State | null> {
    if (!NO_WHEEL.test(reason)) return null;
    if ((await this.ask({ requirements: [requirement.project] })) !== null) return null;
    const next = await this.add(state, requirement.line, state.engine, [
      ...state.fromSource,
      requirement.project,
    ]);
    if (next !== null)
      this.warnings.push(
        `Dependency ${requirement.asked} has no ready-made build and is built from its source.`,
      );
    else if (this.last.failure !== null)
      return refuse(requirement, this.last.failure.reason, "choose another version");
    return next;
  }

  private async substitute(state: State, requirement: Requirement, reason: string): Promise<State | null> {
    const { project, version, restraint } = requirement;
    const free = state.engine.filter((line) => projectOf(line) !== project);
    const floor =
      version === null || restraint === "ATMOST" ? project : `${project}>=${version.replace(/\.\*$/, "")}`;
    for (const engine of [state.engine, free]) {
      const lowest = versionIn(
        (await this.ask({ requirements: [floor], constraints: engine, lowest: true }))?.lines ?? [],
        project,
      );
      const next = lowest === null ? null : await this.add(state, `${project}==${lowest}`, engine);
      if (next !== null) return this.replaced(next, requirement, reason);
    }
    // Beside what was accepted before it: the lowest that fits there, which is the nearest.
    const beside = [...state.engine, ...state.accepted, floor];
    const near = versionIn((await this.ask({ requirements: beside, lowest: true }))?.lines ?? [], project);
    for (const line of [
      ...(near === null ? [] : [`${project}==${near}`]),
      ...(floor === project ? [project] : [floor, project]),
    ]) {
      const next = await this.add(state, line);
      if (next !== null) return this.replaced(next, requirement, reason);
    }
    return null;
  }

  private replaced(state: State, requirement: Requirement, reason: string): State {
    const version = versionIn(state.set.lines, requirement.project);
    const got = version === null ? requirement.project : `${requirement.project}==${version}`;
    this.substitutions.push({ asked: requirement.asked, got, reason });
    return state;
  }
}

export interface PlanInput {
  /** The engine's requirement lines; the first is the engine itself. */
  readonly engine: readonly string[];
  /** Projects of the engine that are built from source wherever they are needed. */
  readonly fromSource: readonly string[];
  /** The package's own, in its order. */
  readonly requirements: readonly Requirement[];
  readonly strict: boolean;
}

/** Resolves; throws only what `compile` throws. */
export const planRequirements = async (
  compile: (input: CompileInput) => Promise<Compiled>,
  input: PlanInput,
): Promise<Plan> => {
  try {
    return await new Planner(compile, input).run();
  } catch (error) {
    if (error instanceof Refusal)
      return {
        kind: "refused",
        message: error.message,
        problems: error.problems,
        isIndexAtFault: error.isIndexAtFault,
      };
    throw error;
  }
};

/**
 * From a package's dependencies to requirement lines, and from an engine's lines to bounds. Pure.
 */
import type { Dependency } from "./environments.ts";

export interface Requirement {
  /** As shown to users: `numpy==1.15.0`. */
  readonly asked: string;
  /** Normalised project name. */
  readonly project: string;
  /** What pip and uv read. */
  readonly line: string;
  readonly version: string | null;
  readonly restraint: Dependency["restraint"];
  /** A wheel of the package: there is nothing that could stand in for it. */
  readonly isWheel: boolean;
}

/** Project names compare by PEP 503. */
export const normalise = (name: string): string => name.toLowerCase().replaceAll(/[-_.]+/g, "-");

/** The project of a requirement line. */
export const projectOf = (line: string): string => normalise(/^[A-Za-z0-9._-]*/.exec(line.trim())?.[0] ?? "");

/** What a wheel's file name says (PEP 427). */
export interface WheelName {
  readonly project: string;
  readonly version: string;
  /** `cp311-cp311-manylinux_2_17_x86_64`: Pythons, ABIs, platforms; several of each are divided by dots. */
  readonly tag: string;
}

/** `name-version(-build)-python-abi-platform.whl` taken apart; null for other names. */
export const parseWheel = (file: string): WheelName | null => {
  const parts =
    file
      .split("/")
      .at(-1)
      ?.replace(/\.whl$/, "")
      .split("-") ?? [];
  const [name, version] = parts;
  if (name === undefined || version === undefined || parts.length < 5 || parts.length > 6) return null;
  return { project: normalise(name), version, tag: parts.slice(-3).join("-") };
};

/**
 * Whether a wheel may be for CPython 3.`minor` on a platform (`linux-x86_64`). Chooses among the wheels of a package only:
 * what uv thinks of the one chosen (its libc, above all) counts.
 */
const mayFit = ({ tag }: WheelName, { minor, platform }: Host): boolean => {
  const [pythons = [], abis = [], platforms = []] = tag.split("-").map((one) => one.split("."));
  const [system = "", machine = ""] = platform.replaceAll(/[-.]/g, "_").split(/_(.*)/);
  const isOurs = pythons.some((one) => {
    const [, kind, version] = /^(py|cp)3(\d*)$/.exec(one) ?? [];
    if (kind === undefined) return false;
    if (version === "" || Number(version) === minor) return true;
    return Number(version) < minor && (kind === "py" || abis.includes("abi3"));
  });
  return (
    isOurs &&
    platforms.some(
      (one) =>
        one === "any" ||
        (/linux/.test(one) === (system === "linux") && !one.startsWith("musl") && one.endsWith(machine)),
    )
  );
};

const OPERATORS = { EXACT: "==", ATLEAST: ">=", ATMOST: "<=" } as const;

/** What decides about names on this machine. */
export interface Host {
  readonly hasDisplay: boolean;
  readonly hasAccelerator: boolean;
  /** Of the interpreter: 3.`minor`, and its platform as sysconfig has it, `linux-x86_64`. */
  readonly minor: number;
  readonly platform: string;
}

/** The project to take for one that was renamed, or that does not work here; why, for the user. */
const otherName = (project: string, host: Host): { name: string; why: string } | null => {
  if (project === "sklearn")
    return { name: "scikit-learn", why: "is called scikit-learn on the package index" };
  if (/^opencv(?:-contrib)?-python$/.test(project) && !host.hasDisplay)
    return {
      name: `${project}-headless`,
      why: `needs the libraries of a display, which this machine has not; ${project}-headless is taken instead`,
    };
  if (project === "tensorflow-gpu" && !host.hasAccelerator)
    return {
      name: "tensorflow",
      why: "is for accelerators, and there is none here; tensorflow is taken instead",
    };
  return null;
};

/** The line a dependency becomes; a wheel of the package goes before the index. */
export const requirementOf = (
  dependency: Dependency,
  wheels: readonly string[],
  fileUrl: (path: string) => string,
  host: Host,
): { requirement: Requirement; warning: string | null } => {
  const written = dependency.name.trim();
  const specifier =
    dependency.version === null || dependency.restraint === null
      ? ""
      : `${OPERATORS[dependency.restraint]}${dependency.version}`;
  const candidates = wheels.filter((path) => {
    const file = path.split("/").at(-1) ?? path;
    if (file === written) return true;
    const parsed = parseWheel(file);
    return (
      parsed !== null &&
      parsed.project === normalise(written) &&
      (dependency.restraint !== "EXACT" || dependency.version === parsed.version)
    );
  });
  // Packages bring one wheel per platform; where none fits, the first is refused with what it is for.
  const wheel =
    candidates.find((path) => {
      const parsed = parseWheel(path);
      return parsed !== null && mayFit(parsed, host);
    }) ?? candidates[0];
  if (wheel !== undefined) {
    const parsed = parseWheel(wheel);
    const project = parsed?.project ?? normalise(written);
    return {
      requirement: {
        asked: wheel.split("/").at(-1) ?? wheel,
        project,
        line: `${project} @ ${fileUrl(wheel)}`,
        version: parsed?.version ?? null,
        restraint: null,
        isWheel: true,
      },
      warning: null,
    };
  }
  const project = projectOf(written);
  const other = otherName(project, host);
  // The stand-in `sklearn` on the index only ever had versions 0.0.*, which say nothing.
  const bare = project === "sklearn" && (dependency.version?.startsWith("0.0") ?? true);
  const line = other === null ? `${written}${specifier}` : `${other.name}${bare ? "" : specifier}`;
  return {
    requirement: {
      asked: `${written}${specifier}`,
      project: other?.name ?? project,
      line,
      version: bare ? null : dependency.version,
      restraint: bare ? null : dependency.restraint,
      isWheel: false,
    },
    warning: other === null ? null : `Dependency ${written} ${other.why}.`,
  };
};

/** The version a compiled set has of a project; null when it has none. */
export const versionIn = (lines: readonly string[], project: string): string | null => {
  const line = lines.find((candidate) => projectOf(candidate) === project);
  return line === undefined ? null : (/==\s*([^\s;]+)/.exec(line)?.[1] ?? null);
};

/** The same requirement without its version. */
export const withoutBound = (line: string): string => /^[A-Za-z0-9._-]*/.exec(line)?.[0] ?? "";

import { describe, expect, test } from "vitest";
import type { Dependency } from "./environments.ts";
import { planRequirements } from "./plan.ts";
import { parseWheel, requirementOf } from "./requirements.ts";
import { reasonOf } from "./resolution.ts";
import type { CompileInput, Compiled } from "./uv.ts";

type Version = readonly number[];
const parse = (text: string): Version => text.split(".").map(Number);
const compare = (a: Version, b: Version): number => {
  for (let i = 0; i < Math.max(a.length, b.length); i += 1)
    if ((a[i] ?? 0) !== (b[i] ?? 0)) return (a[i] ?? 0) - (b[i] ?? 0);
  return 0;
};

interface Release {
  readonly version: string;
  readonly wheel?: boolean;
  /** What it needs of another project. */
  readonly needs?: string;
}
const INDEX: Readonly<Record<string, readonly Release[]>> = {
  "scikit-learn": [
    { version: "1.2.2", needs: "numpy>=1.17" },
    { version: "1.9.1", needs: "numpy>=2.0" },
  ],
  numpy: [
    { version: "1.15.0", wheel: false },
    { version: "1.23.2" },
    { version: "1.23.5" },
    { version: "2.4.6" },
  ],
  pillow: [{ version: "5.2.0", wheel: false }, { version: "9.2.0" }, { version: "13.0.0" }],
  "xgboost-cpu": [{ version: "3.0.5" }],
  xgboost: [{ version: "0.80" }, { version: "3.0.5" }],
  jieba: [{ version: "0.42", wheel: false }],
  brittle: [{ version: "1.0", needs: "numpy<=1.23.2" }],
};

const no = (reason: string, missing: Extract<Compiled, { ok: false }>["missing"] = null): Promise<Compiled> =>
  Promise.resolve({ ok: false, reason, failure: null, missing });

/** A resolver over the index above; enough of uv's manners to plan with. */
const index = () => {
  const asked: CompileInput[] = [];
  const compile = (input: CompileInput): Promise<Compiled> => {
    asked.push(input);
    const bounds = new Map<string, string[]>();
    const direct = new Set<string>();
    const bind = (line: string): string => {
      const [, name = "", bound = ""] = /^([A-Za-z0-9-]+)\s*(.*)$/.exec(line) ?? [];
      const project = name.toLowerCase();
      bounds.set(project, [...(bounds.get(project) ?? []), ...(bound === "" ? [] : [bound])]);
      return project;
    };
    for (const line of input.requirements) direct.add(bind(line));
    for (const line of input.constraints) bind(line);
    const fits = (version: string, bound: string): boolean => {
      const [, operator, than = ""] = /^(==|>=|<=|<)(.*)$/.exec(bound) ?? [];
      const order = compare(parse(version), parse(than));
      return operator === "=="
        ? order === 0
        : operator === ">="
          ? order >= 0
          : operator === "<="
            ? order <= 0
            : order < 0;
    };
    const lines: string[] = [];
    const chosen = new Map<string, Release>();
    for (const project of direct) {
      const releases = INDEX[project];
      if (releases === undefined) return no(`${project} was not found`, { project, refusal: null });
      const bound = (bounds.get(project) ?? []).join(",");
      const inBounds = releases.filter(({ version }) =>
        (bounds.get(project) ?? []).every((one) => fits(version, one)),
      );
      if (inBounds.length === 0) return no(`there is no version of ${project}${bound}`);
      const usable = inBounds.filter(({ wheel }) => wheel !== false || input.fromSource.includes(project));
      const release = input.lowest ? usable[0] : usable.at(-1);
      if (release === undefined) return no(`${project}${bound} has no usable wheels`);
      chosen.set(project, release);
      lines.push(`${project}==${release.version}`);
    }
    for (const [project, { needs }] of chosen) {
      const [, other = "", bound = ""] = /^([a-z-]+)(.*)$/.exec(needs ?? "") ?? [];
      const version = chosen.get(other)?.version;
      if (version !== undefined && !fits(version, bound)) return no(`${project} depends on ${needs}`);
    }
    return Promise.resolve({ ok: true, lines, neededBy: new Map() });
  };
  return { asked, compile };
};

const LINUX = { minor: 11, platform: "linux-x86_64" };
const HOST = { hasDisplay: true, hasAccelerator: false, ...LINUX };
const SKLEARN = ["scikit-learn==1.2.2", "numpy<1.24"];
const need = (name: string, version: string | null = null, restraint: Dependency["restraint"] = "EXACT") =>
  requirementOf({ name, version, restraint: version === null ? null : restraint }, [], (path) => path, HOST)
    .requirement;
const plan = (
  requirements: ReturnType<typeof need>[],
  more: { strict?: boolean; engine?: readonly string[] } = {},
) =>
  planRequirements(index().compile, {
    engine: more.engine ?? SKLEARN,
    fromSource: [],
    requirements,
    strict: more.strict ?? false,
  });
const planned = async (...args: Parameters<typeof plan>) => {
  const result = await plan(...args);
  if (result.kind === "refused") throw new Error(result.message);
  return result;
};

describe("planRequirements", () => {
  test("asks once when everything fits", async () => {
    const { asked, compile } = index();
    const result = await planRequirements(compile, {
      engine: SKLEARN,
      requirements: [need("Pillow")],
      strict: false,
      fromSource: [],
    });
    expect(asked).toHaveLength(1);
    expect(result).toMatchObject({ kind: "planned", substitutions: [], warnings: [] });
  });

  test("replaces each pin without a build by the lowest later release that has one", async () => {
    const { substitutions, lines } = await planned([need("numpy", "1.15.0"), need("Pillow", "5.2.0")]);
    expect(substitutions).toEqual([
      { asked: "numpy==1.15.0", got: "numpy==1.23.2", reason: "numpy==1.15.0 has no usable wheels" },
      { asked: "Pillow==5.2.0", got: "pillow==9.2.0", reason: "pillow==5.2.0 has no usable wheels" },
    ]);
    expect(lines).toContain("numpy==1.23.2");
  });

  test("refuses instead when strict", async () => {
    expect(await plan([need("numpy", "1.15.0")], { strict: true })).toMatchObject({
      kind: "refused",
      message:
        "Dependency numpy==1.15.0 cannot be installed: numpy==1.15.0 has no usable wheels; choose a version that has a build for this Python, or allow the nearest one.",
    });
  });

  test("takes the lowest release within the engine's bounds for an ATMOST without a build", async () => {
    const { substitutions } = await planned([need("numpy", "1.16.4", "ATMOST")]);
    expect(substitutions).toEqual([
      expect.objectContaining({ asked: "numpy<=1.16.4", got: "numpy==1.23.2" }),
    ]);
  });

  test("keeps ATLEAST within the engine's bounds", async () => {
    expect((await planned([need("numpy", "1.15.0", "ATLEAST")])).lines).toContain("numpy==1.23.5");
  });

  test("lets a pin win over the engine's bound, with a warning", async () => {
    const { lines, warnings, substitutions } = await planned([need("numpy", "2.4.6")]);
    expect(lines).toEqual(["scikit-learn==1.2.2", "numpy==2.4.6"]);
    expect(substitutions).toEqual([]);
    expect(warnings[0]).toContain("numpy<1.24");
  });

  test("lets a pin of the engine itself free its companions", async () => {
    expect((await planned([need("scikit-learn", "1.9.1")])).lines).toEqual([
      "numpy==2.4.6",
      "scikit-learn==1.9.1",
    ]);
  });

  test("keeps the pins named first when two do not fit together", async () => {
    const result = await plan([need("numpy", "1.23.5"), need("brittle", "1.0")]);
    expect(result).toMatchObject({
      kind: "refused",
      message: expect.stringContaining("brittle==1.0") as string,
    });
  });

  test("builds from source only what has no wheel at all", async () => {
    const { fromSource, warnings } = await planned([need("jieba"), need("numpy", "1.15.0")]);
    expect(fromSource).toEqual(["jieba"]);
    expect(warnings).toEqual([expect.stringContaining("jieba")]);
  });

  test("refuses names and versions that do not exist", async () => {
    expect(await plan([need("nope")])).toMatchObject({
      kind: "refused",
      message: expect.stringContaining("no package of this name") as string,
    });
    expect(await plan([need("numpy", "99.0")])).toMatchObject({
      kind: "refused",
      problems: [{ path: "dependencies (numpy==99.0)", fix: "the newest for this Python is 2.4.6" }],
    });
  });

  test("puts a package's xgboost in the place of the engine's", async () => {
    const engine = ["xgboost-cpu==3.0.5", "numpy<2"];
    const { lines } = await planned([need("xgboost", "0.80")], { engine });
    expect(lines).toContain("xgboost==0.80");
    expect(lines.join()).not.toContain("xgboost-cpu");
    for (const same of [need("xgboost"), need("xgboost", "3.0.5"), need("xgboost", "1.0", "ATLEAST")])
      expect((await planned([same], { engine })).lines.filter((line) => line.startsWith("xgboost"))).toEqual(
        expect.arrayContaining(["xgboost-cpu==3.0.5"]),
      );
  });

  test("says that the index cannot be reached, and blames no package", async () => {
    const result = await planRequirements(
      () =>
        Promise.resolve({
          ok: false,
          reason: "gone",
          failure: { kind: "index", sentence: "The package index is gone.", reason: "gone", mayPass: true },
          missing: null,
        }),
      { engine: SKLEARN, requirements: [need("numpy")], strict: false, fromSource: [] },
    );
    expect(result).toEqual({
      kind: "refused",
      message: "The package index is gone.",
      problems: [],
      isIndexAtFault: true,
    });
  });
});

describe("requirements", () => {
  test("find a wheel by file and by project, and only in the version asked for", () => {
    const wheels = ["/p/our_tool-1.0-py3-none-any.whl"];
    const line = (name: string, version: string | null = null) =>
      requirementOf(
        { name, version, restraint: version === null ? null : "EXACT" },
        wheels,
        (path) => `file://${path}`,
        HOST,
      ).requirement.line;
    expect(line("our_tool-1.0-py3-none-any.whl")).toBe("our-tool @ file:///p/our_tool-1.0-py3-none-any.whl");
    expect(line("Our.Tool", "1.0")).toContain("file://");
    expect(line("our-tool", "2.0")).toBe("our-tool==2.0");
    expect(parseWheel("a-1-2-py3-none-any.whl")).toEqual({
      project: "a",
      version: "1",
      tag: "py3-none-any",
    });
    expect(parseWheel("nonsense.whl")).toBeNull();
  });

  test("know sklearn by its name on the index", () => {
    const { requirement, warning } = requirementOf(
      { name: "sklearn", version: "0.0", restraint: "EXACT" },
      [],
      (path) => path,
      HOST,
    );
    expect(requirement.line).toBe("scikit-learn");
    expect(warning).toContain("scikit-learn");
  });

  test.each([
    ["opencv-python", { hasDisplay: false, hasAccelerator: false }, "opencv-python-headless==1.0"],
    [
      "opencv_contrib_python",
      { hasDisplay: false, hasAccelerator: false },
      "opencv-contrib-python-headless==1.0",
    ],
    ["opencv-python", { hasDisplay: true, hasAccelerator: false }, "opencv-python==1.0"],
    ["tensorflow-gpu", { hasDisplay: true, hasAccelerator: false }, "tensorflow==1.0"],
    ["tensorflow-gpu", { hasDisplay: true, hasAccelerator: true }, "tensorflow-gpu==1.0"],
  ])("take what works on this machine for %s", (name, host, line) => {
    const found = requirementOf({ name, version: "1.0", restraint: "EXACT" }, [], (path) => path, {
      ...host,
      ...LINUX,
    });
    expect(found.requirement.line).toBe(line);
    expect(found.requirement.asked).toBe(`${name}==1.0`);
    expect(found.warning === null).toBe(line.startsWith(`${name}==`));
  });
});

describe("requirements", () => {
  test.each([
    ["linux-x86_64", 11, "tool-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"],
    ["linux-x86_64", 12, "tool-1.0-cp37-abi3-manylinux_2_17_x86_64.whl"],
    ["linux-aarch64", 11, "tool-1.0-cp311-cp311-manylinux_2_17_aarch64.whl"],
    ["macosx-11.0-arm64", 11, "tool-1.0-cp311-cp311-macosx_11_0_arm64.whl"],
    ["linux-x86_64", 13, "tool-1.0-cp37-abi3-manylinux_2_17_x86_64.whl"],
    ["linux-x86_64", 6, "tool-1.0-cp311-cp311-win_amd64.whl"],
  ])("choose the wheel of a package that is for %s and 3.%i, else the first", (platform, minor, file) => {
    const wheels = [
      "/p/tool-1.0-cp311-cp311-win_amd64.whl",
      "/p/tool-1.0-cp311-cp311-musllinux_1_2_x86_64.whl",
      "/p/tool-1.0-cp311-cp311-macosx_11_0_arm64.whl",
      "/p/tool-1.0-cp311-cp311-manylinux_2_17_aarch64.whl",
      "/p/tool-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
      "/p/tool-1.0-cp37-abi3-manylinux_2_17_x86_64.whl",
    ];
    const dependency = { name: "tool", version: null, restraint: null };
    const found = requirementOf(dependency, wheels, (path) => path, { ...HOST, platform, minor });
    expect(found.requirement.asked).toBe(file);
  });
});

describe("the reason why nothing fits", () => {
  /** As uv 0.13 writes it. */
  const proof = (...steps: string[]): string =>
    `error: No solution found when resolving dependencies\n  cause: ${steps.join("\n         ")}\n`;
  const END = "we can conclude that your requirements are unsatisfiable.";

  test.each([
    [
      "keeps what no release has",
      proof(`Because numpy==1.15.0 has no usable wheels and you require numpy==1.15.0, ${END}`),
      "numpy==1.15.0 has no usable wheels",
    ],
    [
      "names both ends of a conflict and the way between them",
      proof(
        "Because all versions of right depend on shared>=2 and all versions of left depend on shared<2, we can conclude that all versions of left and all versions of right are incompatible.",
        "And because all versions of deep depend on left, we can conclude that all versions of deep and all versions of right are incompatible.",
        `And because all versions of deep depend on right and you require deep, ${END}`,
      ),
      "all versions of right depend on shared>=2 and all versions of left depend on shared<2; all versions of deep depend on left; all versions of deep depend on right",
    ],
    [
      "says what wheels there are for and what is needed here",
      `${proof(`Because winonly==1.0 has no wheels with a matching platform tag (e.g., \`manylinux_2_36_x86_64\`) and only winonly==1.0 is available, we can conclude that all versions of winonly cannot be used.`, `And because you require winonly, ${END}`)}\nhint: Wheels are available for \`winonly\` (v1.0) on the following platform: \`win_amd64\`\n`,
      "winonly==1.0 has wheels for win_amd64 only, and what runs here needs manylinux_2_36_x86_64",
    ],
    [
      "says which Python is needed and which is here",
      proof(
        "Because the current Python version (3.11.7) does not satisfy Python>=3.12 and late==1.0 depends on Python>=3.12, we can conclude that late==1.0 cannot be used.",
        `And because only late==1.0 is available and you require late, ${END}`,
      ),
      "late==1.0 needs Python>=3.12, and what runs here is Python 3.11.7",
    ],
    [
      "tells what was withdrawn",
      proof(
        "Because gone==1.0 was yanked (reason: broken) and only gone==1.0 is available, we can conclude that all versions of gone cannot be used.",
        `And because you require gone, ${END}`,
      ),
      "gone==1.0 was withdrawn by its authors (broken)",
    ],
    [
      "tells what is available where that is all there is to say",
      proof(`Because only shared<=2.0 is available and you require shared>=9, ${END}`),
      "only shared<=2.0 is available and you require shared>=9",
    ],
  ])("%s", (_, stderr, expected) => {
    expect(reasonOf(stderr)).toBe(expected);
  });
});

/** What can go wrong between a package's dependencies and an environment, with the real uv: one sentence each, and nothing left. */
import { mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { extensionSource, sdist, wheel } from "../../test/support/archives.ts";
import type { Artifact } from "../../test/support/archives.ts";
import { FakeClock } from "../../test/support/clock.ts";
import { canMount, smallDisk } from "../../test/support/full-disk.ts";
import { IndexWorld, MACHINE, openBench, pin } from "../../test/support/index-world.ts";
import type { Bench } from "../../test/support/index-world.ts";
import { until } from "../../test/support/until.ts";
import { runCommand } from "./command.ts";
import { hasAccelerator, hasDisplayLibraries } from "./machine.ts";

let bench: Bench;
let world: IndexWorld;
beforeAll(async () => {
  bench = await openBench();
});
afterAll(() => bench.remove());
beforeEach(async () => {
  world = await IndexWorld.open(bench);
});
afterEach(async () => {
  await world.close();
});

/** More than what uv fetches without a word. */
const BALLAST = 3_000_000;
const addBig = (): void => world.index.add(wheel({ name: "big", version: "1.0", ballast: BALLAST }));

const expectNothingLeft = async (root = world.root): Promise<void> => {
  expect(await readdir(root)).toEqual([".scratch"]);
  expect(await readdir(join(root, ".scratch"))).toEqual([]);
};

/** A wheel in the package's folder. */
const bring = async ({ file, bytes }: Pick<Artifact, "file" | "bytes">): Promise<string> => {
  const dir = join(world.home, "package");
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, file), bytes);
  return join(dir, file);
};

describe("requirements that do not go together", () => {
  beforeEach(() => {
    world.index.add(wheel({ name: "left", version: "1.0", requires: ["shared<2"] }));
    world.index.add(wheel({ name: "right", version: "1.0", requires: ["shared>=2"] }));
    world.index.add(wheel({ name: "shared", version: "1.0" }));
    world.index.add(wheel({ name: "shared", version: "2.0" }));
    world.index.add(wheel({ name: "deep", version: "1.0", requires: ["left", "right"] }));
  });

  test.each([true, false])("are named, both of them (strict: %s)", async (strict) => {
    const said = await world.refused([pin("left", "1.0"), pin("right", "1.0")], { request: { strict } });
    expect(said).toMatch(
      /^Dependency right==1\.0 cannot be installed: .*right.* shared>=2 .*left.* shared<2; [^.]*\.$/,
    );
    await expectNothingLeft();
  });

  test("are named with what they come from, where they are not the package's own", async () => {
    const said = await world.refused([pin("deep")]);
    expect(said).toMatch(
      /^Dependency deep cannot be installed: .*right.* shared>=2 .*left.* shared<2; .*deep/,
    );
  });

  test("give way to the nearest release that fits, with both named", async () => {
    for (const version of ["1.1", "1.2", "9.0"])
      world.index.add(wheel({ name: "right", version, requires: ["shared"] }));
    const { substitutions } = await world.ready([pin("left", "1.0"), pin("right", "1.0")]);
    expect(substitutions).toMatchObject([{ asked: "right==1.0", got: "right==1.1" }]);
    expect(substitutions[0]?.reason).toMatch(/shared>=2 .*shared<2/);
  });
});

describe("what the index has not", () => {
  test("a package, a version, a package that another one needs: each by its name", async () => {
    world.index.add(wheel({ name: "here", version: "2.0" }));
    world.index.add(wheel({ name: "needy", version: "1.0", requires: ["gone-for-good"] }));
    world.index.add(wheel({ name: "picky", version: "1.0", requires: ["here>=9"] }));
    expect(await world.refused([pin("nothing")])).toBe(
      "Dependency nothing cannot be installed: the package index has no package of this name; correct the name, or put its wheel beside the model file.",
    );
    for (const restraint of ["EXACT", "ATLEAST"] as const)
      expect(await world.refused([pin("here", "9.0", restraint)])).toBe(
        `Dependency here${restraint === "EXACT" ? "==" : ">="}9.0 cannot be installed: the package index has no such version; the newest for this Python is 2.0.`,
      );
    expect(await world.refused([pin("needy", "1.0")])).toMatch(
      /^Dependency needy==1\.0 cannot be installed: it needs gone-for-good, and the package index has no package of this name; [^.]*\.$/,
    );
    expect(await world.refused([pin("picky")])).toMatch(/^Dependency picky cannot be installed: .*here>=9.*/);
    await expectNothingLeft();
  });

  test("what was withdrawn is told apart, and still had by its exact version", async () => {
    world.index.add(wheel({ name: "gone", version: "1.0" }), { yanked: "broken on Tuesdays" });
    expect(await world.refused([pin("gone")])).toContain(
      "Dependency gone cannot be installed: gone==1.0 was withdrawn by its authors (broken on Tuesdays);",
    );
    const { python } = await world.ready([pin("gone", "1.0")]);
    expect(await world.prints(python, "import gone; print(gone.VERSION)")).toBe("1.0");
  });

  test("what it refuses is not called missing", async () => {
    world.index.misbehave(/simple\/secret\//, { kind: "status", status: 403 });
    expect(await world.refused([pin("secret")])).toBe(
      "Dependency secret cannot be installed: the package index answers 403 Forbidden for secret; correct the name, or the user and password in PIP_INDEX_URL.",
    );
  });

  test("its own engine is told as such", async () => {
    world.index.misbehave(/simple\/scikit-learn\//, { kind: "status", status: 404 });
    expect(await world.refused([])).toBe(
      "The AI engine's own packages cannot be installed: the package index has no package named scikit-learn.",
    );
  });
});

describe("renamed and removed packages", () => {
  test("are taken by the name that works here, with a warning", async () => {
    for (const name of ["opencv-python", "opencv-python-headless", "tensorflow", "tensorflow-gpu"])
      world.index.add(wheel({ name, version: "1.0" }));
    const { python, warnings } = await world.ready([
      pin("sklearn", "0.0"),
      pin("opencv-python", "1.0"),
      pin("tensorflow-gpu", "1.0"),
    ]);
    const installed = await world.prints(
      python,
      "import importlib.util as u; print([n for n in ('sklearn', 'scikit_learn', 'opencv_python', 'opencv_python_headless', 'tensorflow', 'tensorflow_gpu') if u.find_spec(n)])",
    );
    const hasDisplay = await hasDisplayLibraries();
    const accelerated = await hasAccelerator(null);
    const [cv, tf] = [
      hasDisplay ? "opencv_python" : "opencv_python_headless",
      accelerated ? "tensorflow_gpu" : "tensorflow",
    ];
    expect(installed).toBe(`['scikit_learn', '${cv}', '${tf}']`);
    expect(warnings).toEqual([
      "Dependency sklearn is called scikit-learn on the package index.",
      ...(hasDisplay ? [] : [expect.stringContaining("opencv-python-headless is taken instead") as string]),
      ...(accelerated ? [] : [expect.stringContaining("tensorflow is taken instead") as string]),
    ]);
  });
});

describe("a wheel", () => {
  test("for another platform, another Python, a later Python: says which, and what is needed here", async () => {
    const { minor } = bench.interpreter;
    world.index.add(wheel({ name: "winonly", version: "1.0", tag: `cp3${minor}-cp3${minor}-win_amd64` }));
    world.index.add(wheel({ name: "ancient", version: "1.0", tag: "cp35-cp35m-manylinux1_x86_64" }));
    world.index.add(wheel({ name: "later", version: "1.0", requiresPython: ">=3.99" }));
    expect(await world.refused([pin("winonly", "1.0")])).toMatch(
      /^Dependency winonly==1\.0 cannot be installed: winonly==1\.0 has wheels for win_amd64 only, and what runs here needs (?:manylinux|linux)\S+; [^.]*\.$/,
    );
    expect(await world.refused([pin("ancient")])).toContain(
      `Dependency ancient cannot be installed: ancient==1.0 has wheels for cp35m only, and what runs here needs cp3${minor};`,
    );
    expect(await world.refused([pin("later")])).toContain(
      `Dependency later cannot be installed: later==1.0 needs Python>=3.99, and what runs here is Python ${bench.interpreter.version};`,
    );
  });

  test("of the package goes before the index, with what it needs from there", async () => {
    world.index.add(wheel({ name: "ours", version: "1.0" }));
    world.index.add(wheel({ name: "theirs", version: "3.1" }));
    const path = await bring(wheel({ name: "ours", version: "1.0", requires: ["theirs>=3"], ballast: 10 }));
    const { python } = await world.ready([pin("ours", "1.0")], { request: { wheels: [path] } });
    const code = "import ours, theirs, os; print(theirs.VERSION, os.path.exists(ours.__file__[:-2] + 'bin'))";
    expect(await world.prints(python, code)).toBe("3.1 True");
  });

  test("of the package is chosen among those for several platforms", async () => {
    const { minor } = bench.interpreter;
    const wheels = [
      await bring(wheel({ name: "ours", version: "1.0", tag: `cp3${minor}-cp3${minor}-win_amd64` })),
      await bring(wheel({ name: "ours", version: "1.0", tag: "cp35-cp35m-linux_x86_64" })),
      await bring(wheel({ name: "ours", version: "1.0" })),
    ];
    const { python } = await world.ready([pin("ours")], { request: { wheels } });
    expect(await world.prints(python, "import ours; print(ours.VERSION)")).toBe("1.0");
  });

  test.each([
    ["another platform", "win_amd64", /it is a wheel for win_amd64, and what runs here needs \w+\.$/],
    [
      "another Python",
      "cp35",
      /it is a wheel for cp35-cp35m-linux_x86_64, and what runs here needs cp3\d+; bring one that fits\.$/,
    ],
  ])("of the package that is for %s is refused by its file's name", async (_, tag, expected) => {
    const { minor } = bench.interpreter;
    const full = tag === "cp35" ? "cp35-cp35m-linux_x86_64" : `cp3${minor}-cp3${minor}-${tag}`;
    const made = wheel({ name: "ours", version: "1.0", tag: full });
    const said = await world.refused([pin(made.file)], { request: { wheels: [await bring(made)] } });
    expect(said).toContain(`Dependency ${made.file} cannot be installed: `);
    expect(said).toMatch(expected);
    await expectNothingLeft();
  });

  test("that is damaged, no wheel, or another package's is refused by its name", async () => {
    const made = wheel({ name: "ours", version: "1.0", ballast: 5_000 });
    for (const bytes of [
      made.bytes.subarray(0, 3_000),
      Buffer.from("hello"),
      wheel({ name: "other", version: "1.0" }).bytes,
    ]) {
      const path = await bring({ file: made.file, bytes });
      expect(await world.refused([pin("ours")], { request: { wheels: [path] } })).toMatch(
        /^Dependency ours-1\.0-py3-none-any\.whl cannot be installed: its file is damaged or is no wheel \(.*\); [^.]*\.$/,
      );
    }
    await expectNothingLeft();
  });

  test("that is not what the index promised is refused by its name", async () => {
    world.index.add(wheel({ name: "swapped", version: "1.0" }), { sha256: "0".repeat(64) });
    const made = wheel({ name: "torn", version: "1.0", ballast: 5_000 });
    world.index.add({ ...made, bytes: made.bytes.subarray(0, 3_000) });
    world.index.add(wheel({ name: "nofile", version: "1.0" }));
    world.index.misbehave(/nofile.*\.whl$/, { kind: "status", status: 404 });
    expect(await world.refused([pin("swapped", "1.0")])).toBe(
      "Dependency swapped==1.0 cannot be installed: its file is not the one the package index promises (the SHA-256 differs).",
    );
    expect(await world.refused([pin("torn")])).toMatch(
      /^Dependency torn cannot be installed: its file is damaged or is no wheel \(.*\)\.$/,
    );
    expect(await world.refused([pin("nofile")])).toBe(
      "Dependency nofile cannot be installed: the package index lists it but has not its file (HTTP 404 Not Found).",
    );
    await expectNothingLeft();
  });
});

/** Whether C can be compiled here. */
const canCompile =
  (await runCommand("cc", ["--version"], { cwd: "/", env: MACHINE, signal: new AbortController().signal }))
    .code === 0;

describe("a package that is published as source only", () => {
  beforeEach(() => {
    world.index.add(sdist({ name: "modelport-cext", version: "1.0", c: extensionSource("modelport_cext") }));
    world.index.add(wheel({ name: "modelport-user", version: "1.0", requires: ["modelport-cext"] }));
  });

  /** The machine's index has the build backend; ours has the package. */
  const beside = (env: Record<string, string> = {}) => ({
    environment: world.settings(env, true),
  });

  test("with parts in C says that a compiler is missing, where one is", async () => {
    const bin = join(world.home, "bin");
    await mkdir(bin);
    await symlink(bench.interpreter.executable, join(bin, "python3"));
    const said = await world.refused([pin("modelport-cext", "1.0")], { open: beside({ PATH: bin }) });
    expect(said).toMatch(
      /^Dependency modelport-cext==1\.0 cannot be installed: it is published as source only, with parts in C, and this machine has no compiler \(\S+\); install one \(.*\), or put a wheel of it beside the model file\.$/,
    );
    await expectNothingLeft();
  });

  test.skipIf(!canCompile)("is built where there is one, with a warning", async () => {
    const { python, warnings } = await world.ready([pin("modelport-cext")], { open: beside() });
    expect(await world.prints(python, "import modelport_cext; print(modelport_cext.VERSION)")).toBe("built");
    expect(warnings).toEqual([
      "Dependency modelport-cext has no ready-made build and is built from its source.",
    ]);
    expect(world.log.join("\n")).toMatch(/Built modelport-cext==1\.0/);
  });

  test("says what it is built with where the index has not that", async () => {
    expect(await world.refused([pin("modelport-cext")])).toMatch(
      /^Dependency modelport-cext cannot be installed: it is published as source only, and the package index has not setuptools, which it is built with; [^.]*\.$/,
    );
    await expectNothingLeft();
  });

  test("and does not build says by which error", async () => {
    world.index.add(
      sdist({ name: "modelport-broken", version: "1.0", setup: "raise RuntimeError('not today')" }),
    );
    expect(await world.refused([pin("modelport-broken")], { open: beside() })).toMatch(
      /^Dependency modelport-broken cannot be installed: it could not be built from its source: RuntimeError: not today; [^.]*\.$/,
    );
    await expectNothingLeft();
  });
});

const thePause = (): Promise<boolean> =>
  until("the pause", () => world.log.some((line) => line.startsWith("waiting 10 s")));
/** Lets the pause before the second attempt pass. */
const afterPause = async (clock: FakeClock): Promise<void> => {
  await thePause();
  await clock.advance(10_000);
};
const IMPATIENT = { UV_HTTP_TIMEOUT: "1" };

describe("an index", () => {
  test.each([
    ["answers errors", { kind: "status", status: 503 }, "answers HTTP 503 Service Unavailable for big"],
    ["is slow", { kind: "late", ms: 120_000 }, "does not answer in time for big"],
    [
      "falls silent in the middle of a page",
      { kind: "stall", share: 0.5 },
      "does not answer in time for big",
    ],
    ["breaks off in the middle of a page", { kind: "cut", share: 0.5 }, "broke off in the middle of big"],
  ] as const)(
    "that %s is asked again once, and then told with the requirement it failed at",
    async (_, fault, words) => {
      addBig();
      world.index.misbehave(/simple\/big\//, fault);
      const clock = new FakeClock();
      const open = { clock, environment: world.settings(IMPATIENT) };
      const outcome = world.refused([pin("big")], { open });
      await afterPause(clock);
      const said = await outcome;
      expect(said).toContain(`The package index ${words}: try again later, or set `);
      expect(world.log.filter((line) => line.startsWith("waiting"))).toEqual([
        expect.stringContaining("waiting 10 s before asking again (2 of 2): The package index"),
      ]);
      expect(world.index.asked.filter((path) => path === "/simple/big/")).toHaveLength(2);
      await expectNothingLeft();
    },
  );

  test.each([
    ["answers errors for", { kind: "status", status: 502 }, "answers HTTP 502 Bad Gateway for big==1.0"],
    ["falls silent in", { kind: "stall", share: 0.5 }, "does not answer in time for big==1.0"],
    ["breaks off in", { kind: "cut", share: 0.5 }, "broke off in the middle of big==1.0"],
  ] as const)(
    "that %s the middle of a download is told by it, and a second attempt may do",
    async (_, fault, words) => {
      addBig();
      world.index.misbehave(/big.*\.whl$/, fault);
      const open = () => ({ clock: new FakeClock(), environment: world.settings(IMPATIENT) });
      const first = open();
      const refused = world.refused([pin("big", "1.0")], { open: first });
      await afterPause(first.clock);
      expect(await refused).toContain(`The package index ${words}: `);
      await expectNothingLeft();
      const second = open();
      const ready = world.ready([pin("big", "1.0")], { open: second });
      await thePause();
      world.index.behave();
      await second.clock.advance(10_000);
      const { python } = await ready;
      expect(await world.prints(python, "import big; print(big.VERSION)")).toBe("1.0");
    },
  );

  test("that is gone in the middle of a build is told with what was missing still", async () => {
    addBig();
    world.index.misbehave(/big.*\.whl$/, { kind: "stall", share: 0.5 });
    const clock = new FakeClock();
    const outcome = world.refused([pin("big", "1.0")], { open: { clock } });
    await until("the download", () => world.log.some((line) => /Downloading big/.test(line)));
    await world.index.close();
    await afterPause(clock);
    expect(await outcome).toMatch(/^The package index cannot be reached for big==1\.0: check [^.]*\.$/);
    await expectNothingLeft();
  });

  test("that only drips ends the build when its time is over, told with what it was at", async () => {
    addBig();
    world.index.misbehave(/big.*\.whl$/, { kind: "drip", everyMs: 100 });
    const clock = new FakeClock();
    const outcome = world.refused([pin("big", "1.0")], { open: { clock, buildTimeoutMs: 1_800_000 } });
    await until("the download", () => world.log.some((line) => /Downloading big/.test(line)));
    await clock.advance(1_800_000);
    expect(await outcome).toBe(
      "The environment was not ready within 30 minutes, which is all it may take (MODELPORT_ENVIRONMENT_TIMEOUT_MS): it was at big==1.0.",
    );
    await expectNothingLeft();
  });

  test("names what there is to download beforehand", async () => {
    addBig();
    await world.ready([pin("big")]);
    expect(world.log).toContainEqual(
      expect.stringMatching(
        /^downloading 3\.0 MB at most \(big 3\.0 MB, .*\), less what was downloaded before$/,
      ),
    );
  });
});

describe("a build whose import is deleted", () => {
  test("ends its download at once and leaves nothing", async () => {
    addBig();
    world.index.misbehave(/big.*\.whl$/, { kind: "stall", share: 0.5 });
    const leave = new AbortController();
    const outcome = world.ensure([pin("big")], {}, leave.signal);
    await until("the download", () => world.log.some((line) => /Downloading big/.test(line)));
    leave.abort(new Error("deleted"));
    await expect(outcome).rejects.toThrow("deleted");
    await until(
      "the scratch to be empty",
      async () => (await readdir(join(world.root, ".scratch"))).length === 0,
    );
    await expectNothingLeft();
  });
});

describe.skipIf(!canMount)("a full disk", () => {
  test("is told with the requirement it was full at, holds nothing half-made, and a build with room works", async () => {
    addBig();
    const disk = smallDisk(8);
    try {
      const root = join(disk.dir, "environments");
      const open = { root, environment: world.settings({ UV_CACHE_DIR: join(disk.dir, "cache") }) };
      await world.ready([], { open });
      const before = await readdir(root);
      const ballast = join(disk.dir, "more");
      await writeFile(ballast, Buffer.alloc(5_500_000));
      expect(await world.refused([pin("big")], { open })).toBe(
        "The disk that holds the environments is full: free some space, or delete AI applications that are not used, and import again (it was full at big).",
      );
      expect((await readdir(root)).toSorted()).toEqual(before.toSorted());
      expect(await readdir(join(root, ".scratch"))).toEqual([]);
      // What was half downloaded went as well: most of what was free is free again.
      await writeFile(join(disk.dir, "room"), Buffer.alloc(1_000_000));

      disk.fill();
      expect(await world.refused([pin("big")], { open })).toMatch(
        /^The disk that holds the environments is full: [^.]*\.$/,
      );
      expect(await readdir(join(root, ".scratch"))).toEqual([]);
      disk.free();
      await writeFile(ballast, "");
      const { python } = await world.ready([pin("big")], { open });
      expect(await world.prints(python, "import big; print(big.VERSION)")).toBe("1.0");
    } finally {
      disk.remove();
    }
  });
});

test("an environment whose torch was taken for processors is another than one with that of the package index", async () => {
  // Of a release that the vendor's own index has not, wherever that can be reached.
  world.index.add(wheel({ name: "torch", version: "0.0.1" }));
  const open = { torchCpuIndex: true, devices: [] };
  const keys = async (name: string): Promise<number> => {
    const wanted = [pin(name, "0.0.1")];
    const both = [await world.ready(wanted, { open }), await world.ready(wanted)];
    return new Set(both.map(({ key }) => key)).size;
  };
  world.index.add(wheel({ name: "modelport-user", version: "0.0.1" }));
  expect([await keys("torch"), await keys("modelport-user")]).toEqual([2, 1]);
});

describe("a machine with one interpreter", () => {
  const code = async (text: string) => {
    const dir = join(world.home, "code");
    await mkdir(dir, { recursive: true });
    await writeFile(join(dir, "customize_service.py"), text);
    return { dir, files: ["customize_service.py"] };
  };

  test("runs another runtime's package on it, with a warning that names both; strict refuses", async () => {
    const { version } = bench.interpreter;
    const ready = await world.ready([], { request: { runtime: "python3.6" } });
    expect(ready.warnings).toEqual([
      expect.stringMatching(
        new RegExp(
          `^Runtime python3\\.6 is not available here; Python ${version} with scikit-learn==\\S+ stands in for it\\.$`,
        ),
      ),
    ]);
    expect(await world.prints(ready.python, "import platform; print(platform.python_version())")).toBe(
      version,
    );
    const said = await world.refused([], { request: { runtime: "python3.6", strict: true } });
    expect(said).toMatch(
      new RegExp(
        `^Runtime python3\\.6 is not available here, and nothing may stand in for it; Python ${version} with scikit-learn==\\S+ would\\.$`,
      ),
    );
    const unknown = `sklearn-python3.${bench.interpreter.minor}`;
    const isNone = `Runtime ${unknown} is none that Scikit_Learn is known to have`;
    expect((await world.ready([], { request: { runtime: unknown } })).warnings).toEqual([
      expect.stringContaining(`${isNone}; Python ${version} with scikit-learn==`),
    ]);
    expect(await world.refused([], { request: { runtime: unknown, strict: true } })).toContain(isNone);
  });

  test("refuses Python 2 by its lines, and runs what is Python 3 too", async () => {
    const two = await code('import os\nprint "loading"\n');
    expect(await world.refused([], { request: { runtime: "python2.7", code: two } })).toContain(
      'customize_service.py:2 is not Python 3: print "loading"',
    );
    const both = await code('from __future__ import print_function\nprint("loading")\n');
    const { warnings } = await world.ready([], { request: { runtime: "python2.7", code: both } });
    expect(warnings).toEqual([
      expect.stringMatching(/^Runtime python2\.7 is Python 2, .* stands in for it\.$/),
    ]);
  });
});

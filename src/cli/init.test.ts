/** What `modelport init` writes, and that it harms nothing. */
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CliHarness } from "../../test/support/cli-harness.ts";
import { checkConfig } from "../core/config-json.ts";
import { AVAILABLE_ENGINES } from "../core/engines.ts";
import { checkLayout } from "../core/package-layout.ts";
import { SKELETONS } from "./init.ts";

const EXAMPLES = resolve(import.meta.dirname, "../../examples");
const filesOf = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((name) =>
    statSync(join(dir, name)).isFile(),
  );

let cli: CliHarness;
beforeEach(async () => {
  cli = await new CliHarness().start();
  cli.examplesDir = EXAMPLES;
});
afterEach(() => cli.stop());

describe("modelport init", () => {
  test.each(AVAILABLE_ENGINES)("writes a package of %s that an import would take", async (engine) => {
    const dir = join(cli.dir, "new");
    const { code, stdout } = await cli.run(["init", "--engine", engine, dir, "--json"]);
    expect([code, JSON.parse(stdout)]).toMatchObject([0, { engine, folder: dir }]);
    const model = join(dir, "model");
    const checked = checkConfig(readFileSync(join(model, "config.json"), "utf8"), { modelType: engine });
    const files = filesOf(model).map((path) => ({ path, size: statSync(join(model, path)).size }));
    expect([...checked.problems, ...checked.warnings, ...checkLayout(files, engine).problems]).toEqual([]);
    const names = filesOf(dir);
    // What an author edits is there, also where the engine could do without.
    const edited = ["README.md", "model/customize_service.py", "test_service.py", "train.py"];
    expect(names).toEqual(expect.arrayContaining(edited));
    expect(names.filter((name) => name.startsWith("request."))).toHaveLength(1);
    expect(files.reduce((sum, { size }) => sum + size, 0)).toBeLessThan(300_000);
    expect(names.filter((name) => name.includes("__pycache__"))).toEqual([]);
  });

  test("keeps every example readable for Python 3.6", () => {
    const scripts = Object.values(SKELETONS).flatMap((name) =>
      filesOf(join(EXAMPLES, name))
        .filter((path) => path.endsWith(".py"))
        .map((path) => join(EXAMPLES, name, path)),
    );
    expect(scripts.length).toBeGreaterThan(16);
    const program =
      "import ast, sys\nfor path in sys.argv[1:]: ast.parse(open(path).read(), path, feature_version=(3, 6))";
    execFileSync("python3", ["-c", program, ...scripts]);
  });

  test("quotes the folder in the commands it suggests", async () => {
    const { stdout } = await cli.run(["init", "--engine", "XGBoost", join(cli.dir, "a b", "ü")]);
    expect(stdout).toContain(`modelport run '${join(cli.dir, "a b", "ü")}' `);
  });

  test("never overwrites: a folder with something in it is refused, an empty one is used", async () => {
    const dir = join(cli.dir, "mine");
    await mkdir(dir);
    expect((await cli.run(["init", "--engine", "xgboost", dir])).code).toBe(0);
    await writeFile(join(dir, "train.py"), "mine");
    const again = await cli.run(["init", "--engine", "XGBoost", dir]);
    expect([again.code, again.stderr.includes("not empty")]).toEqual([5, true]);
    expect(readFileSync(join(dir, "train.py"), "utf8")).toBe("mine");
    await writeFile(join(cli.dir, "file"), "mine");
    expect((await cli.run(["init", "--engine", "XGBoost", join(cli.dir, "file")])).code).toBe(5);
    expect(readdirSync(cli.dir).filter((name) => name.endsWith(".new"))).toEqual([]);
  });

  test.each([
    ["torch", "Did you mean PyTorch?"],
    ["Tensorflw", "Did you mean TensorFlow?"],
    ["onnx", "The engines are TensorFlow, PyTorch"],
  ])("says what %s was probably meant to be", async (word, words) => {
    const { code, stderr } = await cli.run(["init", "--engine", word, join(cli.dir, "new")]);
    expect([code, stderr.includes(words)]).toEqual([2, true]);
  });

  test("names the engines when none is given", async () => {
    const { code, stderr } = await cli.run(["init"]);
    expect([code, stderr.includes("Spark_MLlib")]).toEqual([2, true]);
  });
});

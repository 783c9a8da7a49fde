import fc from "fast-check";
import { expect, test } from "vitest";
import { checkLayout } from "./package-layout.ts";

const files = (...paths: string[]) => paths.map((path) => ({ path, size: 10 }));
const problems = (...paths: string[]) => checkLayout(files(...paths), "Scikit_Learn").problems;

test("finds model file, inference code and wheels", () => {
  const { layout, problems: none } = checkLayout(
    files(
      "config.json",
      "iris.m",
      "customize_service.py",
      "own/__init__.py",
      "own/config.json",
      "z-1.whl",
      "a-1.whl",
    ),
    "Scikit_Learn",
  );
  expect(none).toEqual([]);
  expect(layout).toEqual({
    modelFile: "iris.m",
    hasCustomService: true,
    wheels: ["a-1.whl", "z-1.whl"],
    sizeBytes: 70,
  });
});

test("warns of code under a name that makes it none", () => {
  const warnings = (...paths: string[]) => checkLayout(files(...paths), "Scikit_Learn").warnings;
  expect(
    warnings("config.json", "iris.m", "custom_service.py", "helpers.py").map(({ path }) => path),
  ).toEqual(["model/custom_service.py"]);
  expect(warnings("config.json", "iris.m", "customize_service.py", "other_service.py")).toEqual([]);
});

test("refuses no model file and several, naming them", () => {
  expect(problems("config.json", "a.m", "b.m")[0]?.message).toBe("holds 2 model files: a.m, b.m");
  expect(problems("config.json")[0]?.message).toContain("holds no model file");
  expect(problems("config.json", "model.pkl")[0]?.fix).toContain("rename it to sklearn_model.m");
  expect(problems("config.json", "sub/a.m")[0]?.fix).toContain("move sub/a.m");
});

test("refuses a package without config.json, unless it came with the request", () => {
  expect(problems("a.m", "Config.json")).toEqual([
    {
      path: "model/config.json",
      message: "is missing; Config.json was found",
      fix: "name it model/config.json",
    },
  ]);
  expect(problems("a.m", "sub/config.json")[0]?.message).toContain("sub/config.json was found");
  expect(
    checkLayout(files("a.m"), "XGBoost", { configElsewhere: true, serviceElsewhere: true }),
  ).toMatchObject({ problems: [], layout: { hasCustomService: true } });
});

test("refuses links and paths that leave the package", () => {
  const paths = ["config.json", "a.m", "../x", "a//b", "/abs", "c\\d", "e\u0000"];
  expect(problems(...paths).map((problem) => problem.path)).toEqual([
    "../x",
    "a//b",
    "/abs",
    "c\\d",
    "e\u0000",
  ]);
  expect(
    checkLayout([...files("config.json", "a.m"), { path: "l", size: 0, kind: "link" }], "XGBoost").problems,
  ).toEqual([expect.objectContaining({ path: "l", message: "is a symbolic link" })]);
});

test("refuses more than 20 GB and files of more than 5 GB", () => {
  const found = checkLayout(
    [...files("config.json"), ...[1, 2, 3, 4, 5].map((n) => ({ path: `${n}.m`, size: 5.1 * 1024 ** 3 }))],
    "XGBoost",
  ).problems.map((problem) => problem.message);
  expect(found[0]).toBe("has 25.5 GB, more than 20 GB");
  expect(found.filter((message) => message === "has 5.1 GB, more than 5 GB")).toHaveLength(5);
});

test("never throws", () => {
  fc.assert(
    fc.property(fc.array(fc.record({ path: fc.string(), size: fc.nat() })), (some) => {
      checkLayout(some, "XGBoost");
    }),
  );
});

test.each([
  ["TensorFlow", ["saved_model.pb", "variables/variables.index"], ""],
  ["PyTorch", ["net.pth", "label.json"], "net.pth"],
  ["PyTorch", ["net.pt"], "net.pt"],
  ["Caffe", ["deploy.prototxt", "net.caffemodel"], ""],
  ["MXNet", ["net-symbol.json", "net-0000.params"], ""],
  ["MindSpore", ["net.mindir"], "net.mindir"],
  ["Spark_MLlib", ["spark_model/metadata/part-00000", "spark_model/data/part-0.parquet"], "spark_model"],
  ["Spark_MLlib", ["metadata/part-00000"], ""],
] as const)("%s takes %j", (engine, model, modelFile) => {
  const { layout, problems: found } = checkLayout(
    files("config.json", "customize_service.py", ...model),
    engine,
  );
  expect(found).toEqual([]);
  expect(layout.modelFile).toBe(modelFile);
});

test.each([
  ["TensorFlow", ["1/saved_model.pb", "1/variables/v"], "move 1/saved_model.pb"],
  ["Caffe", ["net.prototxt"], "add a *.caffemodel"],
  ["MXNet", ["net-0.params"], "add a *-symbol.json"],
  ["MindSpore", ["net.om"], "export the model as *.mindir"],
  ["Spark_MLlib", ["a/metadata/p", "b/metadata/p"], "keep one"],
  ["Spark_MLlib", ["part-00000"], "metadata/ in it"],
  ["PyTorch", ["a.pth", "b.pt"], "keep one *.pth or *.pt"],
] as const)("%s refuses %j", (engine, model, fix) => {
  const found = checkLayout(files("config.json", "customize_service.py", ...model), engine).problems;
  expect(found.map((problem) => problem.fix).join()).toContain(fix);
});

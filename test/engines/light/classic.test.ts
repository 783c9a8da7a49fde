/** The guide's own scripts for Caffe, XGBoost and scikit-learn, as printed, served by a real modelserver. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, expect, test } from "vitest";
import { lenet } from "../../support/caffemodel.ts";
import { removeInstances, startInstance } from "../../support/instance.ts";
import { engineEnvironment } from "../../support/engine-environments.ts";
import { sklearnPython, xgboostPython } from "../../support/python-env.ts";

const run = promisify(execFile);
const printed = (name: string): string => readFileSync(join(import.meta.dirname, "../guide", name), "utf8");

afterEach(() => removeInstances());

/** Runs code in a fresh folder, which it may write to as DIR, and returns the file it made there. */
const made = async (python: string, code: string, file: string): Promise<Uint8Array> => {
  const dir = mkdtempSync(join(tmpdir(), "modelport-train-"));
  try {
    const setup = `import sys; sys.path.insert(0, ${JSON.stringify(join(import.meta.dirname, "../../../python"))})
from modelport_worker import compat; compat.install()
DIR = ${JSON.stringify(dir)}
`;
    await run(python, [
      "-c",
      setup + code.replaceAll("/tmp/", `${dir}/`).replaceAll("/home/ma-user/work/", `${dir}/`),
    ]);
    return new Uint8Array(readFileSync(join(dir, file)));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
};

/** The data set that the guide has its readers download; `label` is what stands in its column `variety`. */
const irisCsv = (label: "name" | "number"): string => `
from sklearn.datasets import load_iris
with open(DIR + "/iris.csv", "w") as file:
    file.write("sepal.length,sepal.width,petal.length,petal.width,variety\\n")
    bunch = load_iris()
    for row, kind in zip(bunch.data, bunch.target):
        file.write(",".join(map(str, row)) + ",%s\\n" % ${label === "name" ? "bunch.target_names[kind]" : "kind"})
`;
const flower = { data: { req_data: [{ a: 5.1, b: 3.5, c: 1.4, d: 0.2 }] } };

test("serves 4.3.7, trained by the script printed beside it", async () => {
  const python = await sklearnPython();
  const model = await made(python, irisCsv("name") + printed("4.3.7/train.py"), "sklearn.m");
  const instance = await startInstance({
    python,
    files: { "model.m": model, "customize_service.py": printed("4.3.7/customize_service.py") },
  });
  await instance.ready();
  expect((await instance.predict(flower)).json()).toEqual({
    data: { resp_data: [{ predictresult: "setosa" }] },
  });
});

test.each([
  ["4.3.5", "predictresult"],
  ["4.1.3-xgboost", "predict_result"],
])("serves %s, trained by the script of 4.3.5", async (section, name) => {
  const python = await xgboostPython();
  const model = await made(python, irisCsv("number") + printed("4.3.5/train.py"), "xgboost.m");
  const instance = await startInstance({
    engine: "XGBoost",
    python,
    files: { "model.m": model, "customize_service.py": printed(`${section}/customize_service.py`) },
  });
  await instance.ready();
  expect((await instance.predict(flower)).json()).toEqual({ data: { resp_data: [{ [name]: 0 }] } });
});

/** How many trees a model calls its best, and which of its rounds `ntree_limit` chooses, by the kind of model. */
const LIMITS = `
import json
import numpy as np
import xgboost
rows = np.random.RandomState(1).rand(300, 4)
data = xgboost.DMatrix(rows, label=(rows[:, 0] * 3).astype(int))
def train(rounds, **parameters):
    return xgboost.train(dict(parameters, objective="multi:softprob", num_class=3, max_depth=3, seed=1, silent=1), data, rounds)
kinds = {"trees": {}, "forests": {"num_parallel_tree": 4, "subsample": 0.7}, "linear": {"booster": "gblinear"}}
limits = {}
for kind, parameters in kinds.items():
    model = train(5, **parameters)
    limits[kind] = [model.best_ntree_limit]
    if kind != "linear":
        trees_of_two = 2 * parameters.get("num_parallel_tree", 1)
        answers = [model.predict(data, ntree_limit=limit) for limit in (trees_of_two, model.best_ntree_limit, 0)]
        others = [train(2, **parameters).predict(data), train(5, **parameters).predict(data), train(5, **parameters).predict(data)]
        limits[kind] += [bool(abs(one - other).max() < 1e-6) for one, other in zip(answers, others)]
with open(DIR + "/limits.json", "w") as file:
    json.dump(limits, file)
`;

test("XGBoost counts the trees of a model as releases before 2.0 did, early stopping or not", async ({
  signal,
}) => {
  const limits = async (python: string): Promise<unknown> =>
    JSON.parse(new TextDecoder().decode(await made(python, LIMITS, "limits.json")));
  const expected = { trees: [5, true, true, true], forests: [20, true, true, true], linear: [5] };
  expect(await limits(await xgboostPython())).toEqual(expected);
  const original = await engineEnvironment("XGBoost", "python3.6", signal);
  if (original.standIn === null) expect(await limits(original.python)).toEqual(expected);
});

// Of its four surplus braces two are of the page break and go; the other two stay for the reader to pass over.
test("serves 4.3.4 on the printed prototxt, its page break mended", async () => {
  const { python } = await engineEnvironment("Caffe", "python3.11", new AbortController().signal);
  const instance = await startInstance({
    engine: "Caffe",
    modelFile: "",
    python,
    files: {
      "lenet.prototxt": printed("4.3.4/lenet_deploy.prototxt"),
      "lenet.caffemodel": lenet(),
      "customize_service.py": printed("4.3.4/customize_service.py"),
    },
  });
  await instance.ready();
  const png = await made(
    python,
    `from PIL import Image; Image.new("L", (28, 28), 130).save(DIR + "/grey.png")`,
    "grey.png",
  );
  const form = new FormData();
  form.set("images", new Blob([new Uint8Array(png)]), "grey.png");
  const response = await fetch(instance.url, { method: "POST", body: form });
  expect(await response.json(), instance.log()).toEqual({ predicted: expect.stringMatching(/^\d$/) });
});

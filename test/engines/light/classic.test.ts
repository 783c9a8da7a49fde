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

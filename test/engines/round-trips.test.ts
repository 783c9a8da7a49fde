/**
 * Every engine, from training to an answer: a tiny model trained by the environment that the platform itself builds for a
 * runtime, served from a package by a real instance. The guide's own releases where their interpreter is on this machine.
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, expect, it } from "vitest";
import type { EngineName } from "../../src/core/engines.ts";
import { engineEnvironment } from "../support/engine-environments.ts";
import { removeInstances, startInstance } from "../support/instance.ts";

const run = promisify(execFile);
const scratch = mkdtempSync(join(tmpdir(), "modelport-engines-"));

afterEach(() => removeInstances());
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

interface Case {
  readonly engine: EngineName;
  readonly runtime: string;
  /** What the environment is known by: a module and its version. */
  readonly release: readonly [module: string, version: string];
  /** Writes the model into the folder it runs in. */
  readonly train: string;
  readonly modelFile: string;
  readonly service?: string;
  readonly request: unknown;
  readonly answer: unknown;
}
type Model = Pick<Case, "train" | "modelFile" | "request" | "answer">;

const SKLEARN: Model = {
  train: `
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
try:
    from sklearn.externals import joblib
except ImportError:
    import joblib
data = load_iris()
joblib.dump(LogisticRegression(max_iter=500).fit(data.data, data.target), "iris.m")
`,
  modelFile: "iris.m",
  request: {
    data: {
      req_data: [
        { a: 5.1, b: 3.5, c: 1.4, d: 0.2 },
        { a: 6.9, b: 3.1, c: 5.4, d: 2.1 },
      ],
    },
  },
  answer: { data: { resp_data: [{ predictresult: 0 }, { predictresult: 2 }] } },
};

const XGBOOST: Model = {
  train: `
import numpy as np
import xgboost
rows = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]] * 10)
booster = xgboost.train({"objective": "binary:logistic", "max_depth": 2}, xgboost.DMatrix(rows, label=rows[:, 0]), 30)
booster.save_model("xgboost.m")
`,
  modelFile: "xgboost.m",
  request: {
    data: {
      req_data: [
        { a: 0, b: 1 },
        { a: 1, b: 0 },
      ],
    },
  },
  answer: {
    data: { resp_data: [{ predictresult: expect.closeTo(0, 0) }, { predictresult: expect.closeTo(1, 0) }] },
  },
};

/** 2a + 3b as a SavedModel, in the first TensorFlow's words, which the second has as compat.v1. */
const TENSORFLOW: Model & { service: string } = {
  train: `
import os
import numpy as np
import tensorflow as tf
tf = getattr(getattr(tf, "compat", None), "v1", tf)
graph = tf.Graph()
with graph.as_default(), tf.Session(graph=graph) as session:
    rows = tf.placeholder(tf.float32, [None, 2], name="rows")
    weights = tf.get_variable("weights", initializer=np.array([[2.0], [3.0]], "float32"))
    sums = tf.matmul(rows, weights, name="sums")
    session.run(tf.global_variables_initializer())
    builder = tf.saved_model.builder.SavedModelBuilder("saved")
    signature = tf.saved_model.signature_def_utils.predict_signature_def({"rows": rows}, {"sums": sums})
    builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
    builder.save()
for name in os.listdir("saved"):
    os.rename(os.path.join("saved", name), name)
os.rmdir("saved")
`,
  modelFile: "",
  service: `
import numpy as np
from model_service.tfserving_model_service import TfServingBaseService
class Service(TfServingBaseService):
    def _preprocess(self, data):
        return {"rows": np.array(data["rows"], dtype="float32")}
`,
  request: {
    rows: [
      [1, 1],
      [2, 0],
    ],
  },
  answer: { sums: [[5], [4]] },
};

const PYTORCH: Model & { service: string } = {
  train: `
import torch
layer = torch.nn.Linear(2, 1, bias=False)
with torch.no_grad():
    layer.weight.copy_(torch.tensor([[2.0, 3.0]]))
torch.save(layer.state_dict(), "net.pth")
`,
  modelFile: "net.pth",
  service: `
import torch
from model_service.pytorch_model_service import PTServingBaseService
class Service(PTServingBaseService):
    def __init__(self, model_name, model_path):
        super(Service, self).__init__(model_name, model_path)
        self.model = torch.nn.Linear(2, 1, bias=False)
        self.model.load_state_dict(torch.load(model_path, map_location="cpu"))
        self.model.eval()
    def _preprocess(self, data):
        return {"rows": torch.tensor(data["rows"])}
    def _inference(self, data):
        with torch.no_grad():
            return {"sums": self.model(data["rows"])}
`,
  request: {
    rows: [
      [1.5, 1],
      [2.5, 0],
    ],
  },
  answer: { sums: [[6], [5]] },
};

const MXNET: Model & { service: string } = {
  train: `
import mxnet as mx
net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=1, no_bias=True, name="fc")
mx.model.save_checkpoint("net", 0, net, {"fc_weight": mx.nd.array([[2.0, 3.0]])}, {})
`,
  modelFile: "",
  service: `
import mxnet as mx
from mms.model_service.mxnet_model_service import MXNetBaseService
class Service(MXNetBaseService):
    def _preprocess(self, data):
        return [mx.nd.array(data["rows"])]
`,
  request: {
    rows: [
      [1, 1],
      [2, 0],
    ],
  },
  answer: [[[5], [4]]],
};

const MINDSPORE: Model & { service: string } = {
  train: `
import numpy as np
import mindspore as ms
net = ms.nn.Dense(2, 1, weight_init=ms.Tensor(np.array([[2.0, 3.0]], np.float32)), has_bias=False)
ms.export(net, ms.Tensor(np.zeros([2, 2], np.float32)), file_name="net", file_format="MINDIR")
`,
  modelFile: "net.mindir",
  service: `
import numpy as np
from model_service.model_service import SingleNodeService
class Service(SingleNodeService):
    def _preprocess(self, data):
        return np.array(data["rows"], np.float32)
    def _postprocess(self, sums):
        return {"sums": sums}
`,
  request: {
    rows: [
      [1, 1],
      [2, 0],
    ],
  },
  answer: { sums: [[5], [4]] },
};

/** The guide's 4.3.6 in short, with what it takes for granted: `pd`, `load` of a model by its estimator, lists for vectors. */
const SPARK: Model & { service: string } = {
  train: `
from pyspark.sql import SparkSession
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.linalg import Vectors
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
rows = [(1.0, [0.0, 1.1]), (0.0, [2.0, 1.0]), (0.0, [2.0, 1.3]), (1.0, [0.0, 1.2])]
frame = spark.createDataFrame([(label, Vectors.dense(row)) for label, row in rows], ["label", "features"])
LogisticRegression(maxIter=10, regParam=0.001).fit(frame).save("spark_model")
spark.stop()
`,
  modelFile: "spark_model",
  service: `
import json
from model_service.spark_model_service import SparkServingBaseService
from pyspark.ml.classification import LogisticRegression
class UserService(SparkServingBaseService):
    def _preprocess(self, data):
        return self.spark.createDataFrame(pd.DataFrame(json.loads(data)["data"]["req_data"]))
    def _inference(self, data):
        return LogisticRegression.load(self.model_path).transform(data)
    def _postprocess(self, predicted):
        return [{"prediction": row.prediction} for row in predicted.select("prediction").collect()]
`,
  request: { data: { req_data: [{ features: [0.0, 1.0] }, { features: [2.0, 1.0] }] } },
  answer: { data: { resp_data: [{ prediction: 1 }, { prediction: 0 }] } },
};

const TORCH_18 = "pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64";
const CASES: readonly Case[] = [
  { engine: "Scikit_Learn", runtime: "python3.6", release: ["sklearn", "0.18.1"], ...SKLEARN },
  { engine: "Scikit_Learn", runtime: "python3.11", release: ["sklearn", "1.2.2"], ...SKLEARN },
  { engine: "XGBoost", runtime: "python3.6", release: ["xgboost", "0.80"], ...XGBOOST },
  { engine: "XGBoost", runtime: "python3.11", release: ["xgboost", "3.0.5"], ...XGBOOST },
  { engine: "TensorFlow", runtime: "python3.6", release: ["tensorflow", "1.8.0"], ...TENSORFLOW },
  { engine: "TensorFlow", runtime: "tf1.13-python3.7-cpu", release: ["tensorflow", "1.13.1"], ...TENSORFLOW },
  { engine: "TensorFlow", runtime: "tf2.1-python3.7", release: ["tensorflow", "2.1.0"], ...TENSORFLOW },
  { engine: "TensorFlow", runtime: "python3.11", release: ["tensorflow", "2.15.1"], ...TENSORFLOW },
  { engine: "PyTorch", runtime: TORCH_18, release: ["torch", "1.8.0"], ...PYTORCH },
  { engine: "MXNet", runtime: "python3.6", release: ["mxnet", "1.2.1"], ...MXNET },
  { engine: "MXNet", runtime: "python3.11", release: ["mxnet", "1.9.1"], ...MXNET },
  { engine: "MindSpore", runtime: "python3.11", release: ["mindspore", "2.10.0"], ...MINDSPORE },
  { engine: "Spark_MLlib", runtime: "python3.11", release: ["pyspark", "3.5.9"], ...SPARK },
];

it.for(CASES)(
  "$engine on runtime $runtime answers what it was trained for",
  async (one, { signal, skip }) => {
    const { python, standIn } = await engineEnvironment(one.engine, one.runtime, signal);
    if (standIn !== null) return skip(standIn);
    const dir = mkdtempSync(join(scratch, "package-"));
    const model = join(dir, "model");
    mkdirSync(model);
    const options = { cwd: model, maxBuffer: 2 ** 26, env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: "2" } };
    const [module, version] = one.release;
    const ask = `import ${module}; print(${module}.__version__)`;
    const { stdout } = await run(python, ["-W", "ignore", "-c", ask], options);
    expect(stdout.trim().split("\n").at(-1)).toBe(version);
    writeFileSync(join(dir, "train.py"), one.train);
    await run(python, ["-W", "ignore", join(dir, "train.py")], options);
    if (one.service !== undefined) writeFileSync(join(model, "customize_service.py"), one.service);
    const instance = await startInstance({
      engine: one.engine,
      python,
      packageDir: model,
      modelFile: one.modelFile,
      startTimeoutMs: 300_000,
    });
    await instance.ready();
    const answer = await instance.predict(one.request);
    expect({ status: answer.status, body: answer.json() }, instance.log()).toEqual({
      status: 200,
      body: one.answer,
    });
  },
);

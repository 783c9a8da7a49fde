/** Tiny models of every engine, trained by the engine's own release, for tests that run real frameworks. */
import { expect } from "vitest";

/** A model of numbers that are known: how it is trained, what serves it, and what it answers. */
export interface TinyModel {
  /** Python that writes the model into the folder it runs in. */
  readonly train: string;
  /** As `packages` name it; "" for the folder itself. */
  readonly modelFile: string;
  /** customize_service.py; without it the engine's own way of serving is used. */
  readonly service?: string;
  readonly request: unknown;
  readonly answer: unknown;
}

export const SKLEARN: TinyModel = {
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

export const XGBOOST: TinyModel = {
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
export const TENSORFLOW: TinyModel = {
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

export const PYTORCH: TinyModel = {
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

export const MXNET: TinyModel = {
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

export const MINDSPORE: TinyModel = {
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
export const SPARK: TinyModel = {
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

/** The heavy engines, each from training to an answer; the guide's own releases where their interpreter is on this machine. */
import { testRoundTrips } from "../support/round-trip.ts";
import { MINDSPORE, MXNET, PYTORCH, SPARK, TENSORFLOW } from "../support/tiny-models.ts";

const TORCH_18 = "pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64";

testRoundTrips([
  { engine: "TensorFlow", runtime: "python3.6", release: ["tensorflow", "1.8.0"], ...TENSORFLOW },
  { engine: "TensorFlow", runtime: "tf1.13-python3.7-cpu", release: ["tensorflow", "1.13.1"], ...TENSORFLOW },
  { engine: "TensorFlow", runtime: "tf2.1-python3.7", release: ["tensorflow", "2.1.0"], ...TENSORFLOW },
  { engine: "TensorFlow", runtime: "python3.11", release: ["tensorflow", "2.15.1"], ...TENSORFLOW },
  { engine: "PyTorch", runtime: TORCH_18, release: ["torch", "1.8.0"], ...PYTORCH },
  { engine: "MXNet", runtime: "python3.6", release: ["mxnet", "1.2.1"], ...MXNET },
  { engine: "MXNet", runtime: "python3.11", release: ["mxnet", "1.9.1"], ...MXNET },
  { engine: "MindSpore", runtime: "python3.11", release: ["mindspore", "2.10.0"], ...MINDSPORE },
  { engine: "Spark_MLlib", runtime: "python3.11", release: ["pyspark", "3.5.9"], ...SPARK },
]);

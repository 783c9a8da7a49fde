/**
 * The guide's own scripts for TensorFlow, PyTorch and Spark (4.1.3, 4.3.1, 4.3.2, 4.3.3, 4.3.6), as printed, on models made
 * by the training scripts printed beside them: on the release they were written for, where its interpreter is on this
 * machine, and on what stands in for it today. Repaired in the scripts: what the PDF broke, lines and indentation.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, expect, it } from "vitest";
import type { EngineName } from "../../src/core/engines.ts";
import { engineEnvironment } from "../support/engine-environments.ts";
import { removeInstances, startInstance } from "../support/instance.ts";

const run = promisify(execFile);
const GUIDE = join(import.meta.dirname, "guide");
const printed = (name: string): string => readFileSync(join(GUIDE, name), "utf8");
const scratch = mkdtempSync(join(tmpdir(), "modelport-guide-"));

afterEach(() => removeInstances());
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A training script: what it is, what it reads (guide/run_training.py) and where it leaves its model. */
interface Training {
  readonly script: string;
  readonly data: string;
  readonly model: string;
  /** Its text, where it cannot run as it is printed. */
  readonly mended?: (text: string) => string;
}

const TF1_GRAPH: Training = {
  script: "4.3.1/train_tf.py",
  data: "idx",
  model: "modelarts-mnist-train-save-deploy-example/model",
};
// A string stands between the arguments of a call: a SyntaxError in every Python. It goes, and nothing else.
const STRAY_TEXT = / {4}"""\nsignature_def_map:[^"]*"""\n/;
const TF1_KERAS: Training = {
  script: "4.3.1/train_keras.py",
  data: "keras",
  model: "mnist_keras",
  mended: (text) => text.replace(STRAY_TEXT, ""),
};
const TF2: Training = { script: "4.3.2/train.py", data: "keras", model: "mnist" };
const TORCH: Training = { script: "4.3.3/train.py", data: "torch", model: "pytorch_mnist" };
const SPARK: Training = {
  script: "4.3.6/train.py",
  data: "spark",
  model: "spark_model",
  mended: (text) => text.replace("/tmp/spark_model", "spark_model"),
};

interface Trained {
  /** The folder of the model. */
  readonly model: string;
  /** The picture of a seven, as the model knows sevens; absent for Spark. */
  readonly picture: string;
}
const trained = new Map<string, Promise<Trained>>();

/** The model that one environment trained, once for all tests. */
const modelOf = (python: string, training: Training, form: string): Promise<Trained> => {
  const key = `${python} ${training.script}`;
  const known = trained.get(key) ?? train(python, training, form);
  trained.set(key, known);
  return known;
};

const train = async (python: string, training: Training, form: string): Promise<Trained> => {
  const dir = mkdtempSync(join(scratch, "trained-"));
  const text = printed(training.script);
  writeFileSync(join(dir, "train.py"), training.mended?.(text) ?? text);
  const args = ["-W", "ignore", join(GUIDE, "run_training.py"), "train.py", training.data + form];
  await run(python, args, {
    cwd: dir,
    maxBuffer: 2 ** 26,
    env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: "2" },
  });
  return { model: join(dir, training.model), picture: join(dir, "request.png") };
};

interface Case {
  readonly section: string;
  readonly engine: EngineName;
  readonly training: Training;
  /** The runtime whose environment trains the model, and the one that serves it. */
  readonly on: readonly [trains: string, serves: string];
  /** The release that must serve it; another one that stands in skips the test. Absent: whatever stands in. */
  readonly release?: string;
  readonly modelFile: string;
  readonly answer: unknown;
}

const [TF18, TF113, TF21, TORCH18] = [
  "python3.6",
  "tf1.13-python3.7-cpu",
  "tf2.1-python3.7",
  "pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64",
];
// The newest Pythons with a tested set whose scripts still have their Keras, and whose torch.load wants weights only.
const [TF_NOW, TORCH_NOW, SPARK_NOW] = ["python3.11", "python3.13", "python3.11"];

/** The services of 4.1.3 and 4.3.1 with the model that fits each: the one of tf takes rows of 784, the one of Keras pictures. */
const TF1_SERVICES = [
  { section: "4.1.3-tensorflow", training: TF1_GRAPH, answer: { mnist_result: 7 } },
  { section: "4.1.3-session", training: TF1_KERAS, answer: { mnist_result: [7] } },
  { section: "4.3.1", training: TF1_GRAPH, answer: { mnist_result: [7] } },
];
const tensorflow = { engine: "TensorFlow", modelFile: "" } as const;
const CASES: readonly Case[] = [
  ...TF1_SERVICES.flatMap((service): Case[] => [
    { ...tensorflow, ...service, on: [TF18, TF18], release: "tensorflow 1.8.0" },
    { ...tensorflow, ...service, on: [TF18, TF113], release: "tensorflow 1.13.1" },
    { ...tensorflow, ...service, on: [TF18, TF_NOW] },
    { ...tensorflow, ...service, on: [TF_NOW, TF_NOW] },
  ]),
  ...[
    { on: [TF21, TF21] as const, release: "tensorflow 2.1.0" },
    { on: [TF21, TF_NOW] as const },
    { on: [TF_NOW, TF_NOW] as const },
  ].map((where) => ({ ...tensorflow, section: "4.3.2", training: TF2, answer: { result: 7 }, ...where })),
  ...[
    { on: [TORCH18, TORCH18] as const, release: "torch 1.8.0" },
    { on: [TORCH18, TORCH_NOW] as const },
    { on: [TORCH_NOW, TORCH_NOW] as const },
  ].map((where): Case => ({
    section: "4.3.3",
    engine: "PyTorch",
    training: TORCH,
    modelFile: "mnist_mlp.pt",
    answer: [{ images: 7 }],
    ...where,
  })),
];

it.for(CASES)(
  "serves $section as printed, trained on $on.0, on $on.1",
  async ({ section, engine, training, on, release, modelFile, answer }, { signal, skip }) => {
    const trains = await engineEnvironment(engine, on[0], signal);
    const serves = await engineEnvironment(engine, on[1], signal);
    if (trains.standIn !== null && on[0] !== on[1]) return skip(trains.standIn);
    if (release !== undefined) {
      if (serves.standIn !== null) return skip(serves.standIn);
      const ask =
        "import sys, importlib; print(sys.argv[1], importlib.import_module(sys.argv[1]).__version__)";
      const { stdout } = await run(serves.python, ["-W", "ignore", "-c", ask, release.split(" ")[0] ?? ""]);
      expect(stdout.trim().split("\n").at(-1)).toBe(release);
    }
    // On TensorFlow 2 a script that trains with the first one's default graph needs all of that in its place.
    const form = on[0] === TF_NOW && training !== TF2 && engine === "TensorFlow" ? "+v1" : "";
    const { model, picture } = await modelOf(trains.python, training, form);
    const dir = mkdtempSync(join(scratch, "package-"));
    cpSync(model, dir, { recursive: true });
    cpSync(join(GUIDE, section, "customize_service.py"), join(dir, "customize_service.py"));
    if (engine === "PyTorch") writeFileSync(join(dir, "label.json"), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]");
    const instance = await startInstance({
      engine,
      python: serves.python,
      packageDir: dir,
      modelFile,
      startTimeoutMs: 300_000,
    });
    await instance.ready();
    const body = new FormData();
    body.set("images", new Blob([new Uint8Array(readFileSync(picture))]), "request.png");
    const response = await fetch(instance.url, { method: "POST", body });
    expect({ status: response.status, body: await response.json() }, instance.log()).toEqual({
      status: 200,
      body: answer,
    });
  },
);

it("4.3.1's training with Keras is no Python as it is printed, but for one stray text", async ({
  signal,
}) => {
  const { python } = await engineEnvironment("TensorFlow", TF_NOW, signal);
  const compiles = async (text: string): Promise<boolean> => {
    const code = 'import sys; compile(sys.argv[1], "train.py", "exec")';
    return run(python, ["-c", code, text]).then(
      () => true,
      () => false,
    );
  };
  const text = printed(TF1_KERAS.script);
  expect([await compiles(text), await compiles(text.replace(STRAY_TEXT, ""))]).toEqual([false, true]);
});

it("serves 4.3.6 as printed, trained by the script printed beside it", async ({ signal }) => {
  const { python } = await engineEnvironment("Spark_MLlib", SPARK_NOW, signal);
  const dir = mkdtempSync(join(scratch, "package-"));
  mkdirSync(join(dir, "spark_model"));
  cpSync((await modelOf(python, SPARK, "")).model, join(dir, "spark_model"), { recursive: true });
  cpSync(join(GUIDE, "4.3.6/customize_service.py"), join(dir, "customize_service.py"));
  const instance = await startInstance({
    engine: "Spark_MLlib",
    python,
    packageDir: dir,
    modelFile: "spark_model",
    startTimeoutMs: 300_000,
  });
  await instance.ready();
  // As text, since a number like 2.0 would leave here as 2, and Spark takes no list of both kinds.
  const answer = await instance.predict(
    '{"data": {"req_data": [{"features": [0.0, 1.15, 0.1]}, {"features": [2.0, 1.1, -0.5]}]}}',
  );
  expect({ status: answer.status, body: answer.json() }, instance.log()).toEqual({
    status: 200,
    body: {
      data: {
        resp_data: [expect.objectContaining({ prediction: 1 }), expect.objectContaining({ prediction: 0 })],
      },
    },
  });
});

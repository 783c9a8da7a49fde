/** A scikit-learn model on rows of four numbers as JSON; the package of examples/iris around it. */
import { cpSync, readdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { ours, uvicorn } from "./subject.ts";
import type { Peer, PredictRequest, ProgramOf, Subject } from "./subject.ts";

const REQUESTS = 16;
/** `data`: the guide's form. `list`: the same as a list of one, as BentoML's batches want it. `v2`: KServe's V2 form. */
type Form = "data" | "list" | "v2";

const bodyOf = (form: Form, n: number): string => {
  const row = [4.5 + n * 0.2, 3 + (n % 9) / 10, 1 + n * 0.35, 0.1 + n * 0.15].map((value) =>
    Number(value.toFixed(2)),
  );
  if (form === "v2")
    return JSON.stringify({ inputs: [{ name: "rows", shape: [1, 4], datatype: "FP64", data: row }] });
  const [sepal_length, sepal_width, petal_length, petal_width] = row;
  const data = { req_data: [{ sepal_length, sepal_width, petal_length, petal_width }] };
  return JSON.stringify({ data: form === "list" ? [data] : data });
};

const requestsOf = (form: Form): readonly PredictRequest[] =>
  Array.from({ length: REQUESTS }, (_, n) => ({
    contentType: "application/json",
    body: Buffer.from(bodyOf(form, n)),
  }));

const gunicorn =
  (program: string, ...kind: readonly string[]) =>
  (port: number): readonly string[] => [
    program,
    "-w",
    "1",
    ...kind,
    "-b",
    `127.0.0.1:${port}`,
    "flask_app:app",
  ];

const peersOf = (program: ProgramOf): readonly Peer[] => {
  const requests = requestsOf("data");
  const v2 = { path: "/v2/models/iris/infer", requests: requestsOf("v2") };
  return [
    {
      name: "gunicorn + Flask, sync",
      path: "/",
      requests,
      command: gunicorn(program("wsgi", "gunicorn")),
    },
    {
      name: "gunicorn + Flask, gevent",
      path: "/",
      requests,
      command: gunicorn(program("wsgi", "gunicorn"), "-k", "gevent"),
    },
    {
      name: "FastAPI + uvicorn",
      path: "/",
      requests,
      command: (port) => uvicorn(program("asgi", "uvicorn"), port),
    },
    {
      name: "LitServe",
      path: "/predict",
      requests,
      command: () => [program("litserve", "python"), "litserve_app.py"],
    },
    {
      name: "BentoML",
      path: "/",
      requests: requestsOf("list"),
      command: (port) => [
        program("bentoml", "bentoml"),
        "serve",
        "bentoml_app:Iris",
        "--port",
        `${port}`,
        "--host",
        "127.0.0.1",
      ],
    },
    { name: "MLServer", ...v2, command: () => [program("mlserver", "python"), "mlserver_app.py"] },
    { name: "Ray Serve", path: "/", requests, command: () => [program("ray", "python"), "ray_app.py"] },
    { name: "pytriton", ...v2, command: () => [program("pytriton", "python"), "pytriton_app.py"] },
  ];
};

export const irisSubject = (model: string, program: ProgramOf): Subject => ({
  request: "one row",
  servers: [...ours(requestsOf("data")), ...peersOf(program)],
  programs: join(import.meta.dirname, "peers"),
  modules: [join(import.meta.dirname, "peers")],
  writePackage: (dir) => {
    cpSync(join(import.meta.dirname, "../../examples/iris/model"), dir, { recursive: true });
    for (const name of readdirSync(dir)) if (name.endsWith(".m")) rmSync(join(dir, name));
    const modelFile = basename(model);
    cpSync(model, join(dir, modelFile));
    return { engine: "Scikit_Learn", modelName: "iris", modelFile, python: program("wsgi", "python") };
  },
});

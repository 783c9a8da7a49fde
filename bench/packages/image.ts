/**
 * A PyTorch network on pictures in forms (image/): what image/make.py wrote, the weights with the pictures beside them.
 * Package and peers decode, infer and answer by the same module.
 */
import { cpSync, readFileSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { ours, uvicorn } from "./subject.ts";
import type { Peer, PredictRequest, ProgramOf, Subject } from "./subject.ts";

const BOUNDARY = "----------------bench0123456789";
const HOME = join(import.meta.dirname, "image");
const PACKAGE = join(HOME, "model");

/** The form that `curl -F images=@FILE` sends. */
const formOf = (name: string, picture: Buffer): PredictRequest => ({
  contentType: `multipart/form-data; boundary=${BOUNDARY}`,
  body: Buffer.concat([
    Buffer.from(
      `--${BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="${name}"\r\nContent-Type: image/jpeg\r\n\r\n`,
    ),
    picture,
    Buffer.from(`\r\n--${BOUNDARY}--\r\n`),
  ]),
});

const peersOf = (
  program: ProgramOf,
  forms: readonly PredictRequest[],
  bodies: readonly PredictRequest[],
): readonly Peer[] => {
  const fastapi = (port: number) => uvicorn(program("image", "uvicorn"), port);
  return [
    { name: "FastAPI + uvicorn, form", path: "/", requests: forms, command: fastapi },
    { name: "FastAPI + uvicorn, bare body", path: "/body", requests: bodies, command: fastapi },
    // Each is best somewhere: the short wait at one and eight connections, the long one at 64.
    ...[1, 10].map((waitMs): Peer => ({
      name: `LitServe, batches wait ${waitMs} ms`,
      path: "/predict",
      requests: forms,
      command: () => [program("image", "python"), "litserve_app.py", `${waitMs / 1000}`],
    })),
  ];
};

export const imageSubject = (model: string, program: ProgramOf): Subject => {
  const dir = dirname(model);
  const names = readdirSync(dir).filter((name) => name.endsWith(".jpg"));
  const pictures = names.map((name) => readFileSync(join(dir, name)));
  const forms = pictures.map((picture, n) => formOf(names[n] ?? "", picture));
  const bodies = pictures.map((body): PredictRequest => ({ contentType: "image/jpeg", body }));
  return {
    request: "one picture",
    servers: [...ours(forms), ...peersOf(program, forms, bodies)],
    programs: join(HOME, "peers"),
    modules: [join(HOME, "peers"), PACKAGE],
    writePackage: (to) => {
      cpSync(PACKAGE, to, { recursive: true });
      const modelFile = basename(model);
      cpSync(model, join(to, modelFile));
      return { engine: "PyTorch", modelName: "image", modelFile, python: program("image", "python") };
    },
  };
};

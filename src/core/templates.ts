/**
 * The guide's twelve model templates (§4.2.2): an engine, a runtime and an input and output mode under one id, so that a
 * package needs no config.json. Ids and modes are named by us: no source tells the cloud's own. Pure.
 */
import type { EngineName } from "./engines.ts";
import type { Problem } from "./errors.ts";
import { IO_MODES, ioModeNamed } from "./io-modes.ts";
import type { IoMode, IoModeId } from "./io-modes.ts";
import { INSTALL_TYPES } from "./model.ts";
import { nearest } from "./nearest.ts";

export interface Template {
  readonly id: string;
  readonly name: string;
  /** What the console filters by (guide table 2-6). */
  readonly type: "image classification" | "general";
  readonly engine: EngineName;
  /** The engine's release as the guide names it: `TensorFlow 1.8`. */
  readonly release: string;
  /** `Python 2.7`. */
  readonly environment: string;
  /** As in config.json; null: the engine's own default. */
  readonly runtime: string | null;
  readonly mode: IoModeId;
  /** Whether `infer_format` may name another mode. */
  readonly overridable: boolean;
}

/** The one input every template has: the folder `model`. */
export const TEMPLATE_INPUT = "model";

const general = (
  id: string,
  engine: EngineName,
  release: string,
  python: string,
  runtime: string | null,
): Template => ({
  id,
  name: `general template ${id}`,
  type: "general",
  engine,
  release,
  environment: `Python ${python}`,
  runtime,
  mode: "undefined",
  overridable: true,
});

/** In the guide's order. Its GPU templates of Caffe differ from the CPU ones in where the cloud places them only. */
export const TEMPLATES: readonly Template[] = [
  {
    id: "tensorflow-image-classification",
    name: "TensorFlow-based image classification",
    type: "image classification",
    engine: "TensorFlow",
    release: "TensorFlow 1.8",
    environment: "Python 2.7",
    runtime: "python2.7",
    mode: "image_processing",
    overridable: false,
  },
  general("tensorflow-py27", "TensorFlow", "TensorFlow 1.8", "2.7", "python2.7"),
  general("tensorflow-py36", "TensorFlow", "TensorFlow 1.8", "3.6", "python3.6"),
  general("mxnet-py27", "MXNet", "MXNet 1.2.1", "2.7", "python2.7"),
  general("mxnet-py36", "MXNet", "MXNet 1.2.1", "3.6", "python3.6"),
  general("pytorch-py27", "PyTorch", "PyTorch 1.0", "2.7", "python2.7"),
  general("pytorch-py36", "PyTorch", "PyTorch 1.0", "3.6", "python3.6"),
  general("caffe-cpu-py27", "Caffe", "Caffe 1.0 CPU", "2.7", "python2.7"),
  general("caffe-gpu-py27", "Caffe", "Caffe 1.0 GPU", "2.7", "python2.7"),
  general("caffe-cpu-py36", "Caffe", "Caffe 1.0 CPU", "3.6", "python3.6"),
  general("caffe-gpu-py36", "Caffe", "Caffe 1.0 GPU", "3.6", "python3.6"),
  general("arm-ascend", "MindSpore", "MindSpore", "3.5", null),
];

/** What the create call says of a template (contracts/modelarts.md §1.1). */
export interface TemplateRequest {
  readonly template_id: string;
  readonly template_inputs: readonly { readonly input: string; readonly input_id: string }[];
  readonly infer_format?: string | undefined;
}

type InstallType = (typeof INSTALL_TYPES)[number];

export type TemplateChoice =
  | {
      readonly ok: true;
      readonly template: Template;
      readonly mode: IoMode;
      /** Where the package lies. */
      readonly location: string;
      readonly installTypes: readonly InstallType[];
    }
  | {
      readonly ok: false;
      /** The worst of the problems: there is no such template, it is used wrongly, or only the kinds of services are. */
      readonly kind: "id" | "use" | "install-type";
      readonly problems: readonly Problem[];
    };

const named = (what: string, text: string, known: readonly string[]): string => {
  const meant = nearest(text, known);
  return meant === null
    ? `use one of ${known.join(", ")}`
    : `did you mean ${meant}? ${what}: ${known.join(", ")}`;
};

/** A batch service could not know how to call a model of the undefined mode (guide §4.2.1). */
const WITHOUT_BATCH: readonly InstallType[] = ["real-time", "edge"];

/**
 * Finds the template and its mode, or tells everything that is wrong with the request. `installTypes`: the kinds of services
 * that were asked for; undefined: all that are possible.
 */
export const chooseTemplate = (
  request: TemplateRequest,
  installTypes?: readonly InstallType[],
): TemplateChoice => {
  const problems: Problem[] = [];
  const ids = TEMPLATES.map(({ id }) => id);
  const template = TEMPLATES.find(({ id }) => id === request.template_id);
  if (template === undefined)
    problems.push({
      path: "template.template_id",
      message: `is ${JSON.stringify(request.template_id)}, which is no template`,
      fix: named("Templates", request.template_id, ids),
    });
  const seen = new Set<string>();
  for (const [index, { input_id: id }] of request.template_inputs.entries()) {
    const path = `template.template_inputs[${index}].input_id`;
    if (id !== TEMPLATE_INPUT)
      problems.push({
        path,
        message: `is ${JSON.stringify(id)}, which the template does not have`,
        fix: `use ${JSON.stringify(TEMPLATE_INPUT)}, the folder with the model's files`,
      });
    else if (seen.has(id)) problems.push({ path, message: "is given twice", fix: "keep one of them" });
    seen.add(id);
  }
  const asked = request.infer_format === "" ? undefined : request.infer_format;
  const modes = IO_MODES.map(({ id }) => id as string);
  const mode = ioModeNamed(asked ?? template?.mode ?? "undefined");
  if (mode === null)
    problems.push({
      path: "template.infer_format",
      message: `is ${JSON.stringify(asked)}, which is no input and output mode`,
      fix: named("Modes", asked ?? "", modes),
    });
  else if (template?.overridable === false && mode.id !== template.mode)
    problems.push({
      path: "template.infer_format",
      message: `is ${mode.id}, but the template ${template.id} has ${template.mode} only`,
      fix: "leave infer_format out, or use a general template",
    });
  const location = request.template_inputs.find(({ input_id: id }) => id === TEMPLATE_INPUT)?.input;
  const isUsedRightly = problems.length === 0;
  const hasNoBatch = mode?.id === "undefined" && template !== undefined;
  if (hasNoBatch && installTypes?.includes("batch") === true)
    problems.push({
      path: "install_type",
      message: "has batch, which models of the undefined mode cannot be deployed as",
      fix: "leave it out, or name another mode in template.infer_format",
    });
  if (template === undefined || mode === null || location === undefined || problems.length > 0) {
    const kind = template === undefined ? "id" : isUsedRightly ? "install-type" : "use";
    return { ok: false, kind, problems };
  }
  const possible: readonly InstallType[] = hasNoBatch ? WITHOUT_BATCH : INSTALL_TYPES;
  return { ok: true, template, mode, location, installTypes: installTypes ?? possible };
};

/** The fields of config.json that a template stands for. The undefined mode leaves `apis` to whoever describes them. */
export const templateConfig = (template: Template, mode: IoMode): Readonly<Record<string, unknown>> => ({
  model_type: template.engine,
  model_algorithm: mode.algorithm,
  ...(template.runtime === null ? {} : { runtime: template.runtime }),
  ...(mode.apis.length === 0 ? {} : { apis: mode.apis }),
});

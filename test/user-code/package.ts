/** Makes the customize_service.py that does what a row says. */
import type { LoadRow, PredictionRow } from "./rows.ts";

const indent = (code: string): string =>
  code
    .split("\n")
    .map((line) => `            ${line}`)
    .join("\n");

/** A service that answers 1, and does `python` in one of its steps when it is asked to. */
const service = (step: string, python: string): string => `
import json
from model_service.python_model_service import XgSklServingBaseService

class Service(XgSklServingBaseService):
    def __init__(self, model_path):
        super().__init__(model_path)
        self.bad = False
    def _preprocess(self, data):
        self.bad = json.loads(data).get("bad", False)
        if self.bad and "${step}" == "_preprocess":
${indent(python)}
        return data
    def _inference(self, data):
        if self.bad and "${step}" == "_inference":
${indent(python)}
        return [1]
    def _postprocess(self, data):
        if self.bad and "${step}" == "_postprocess":
${indent(python)}
        return data
`;

export const predictionService = (row: PredictionRow): string =>
  service(row.step ?? "_inference", row.python);

/** Its `bad` prediction ends the worker, so that it is loaded once more. */
export const loadService = (row: LoadRow): string =>
  row.python.replace("SERVICE", service("_inference", "import os; os._exit(1)").trim());

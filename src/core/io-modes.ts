/**
 * The guide's built-in input and output modes (§4.2.3): what a prediction takes and gives, said once for all models that
 * share it. A mode stands for the `apis` of config.json. The schemas are those the guide prints; that a request must have
 * what its table names (`images`, `data.req_data`) is said in them as well. They decide only where a service asks for its
 * requests or answers to be checked.
 */
export type IoModeId = "object_detection" | "image_processing" | "predictive_analysis" | "undefined";

export interface IoMode {
  readonly id: IoModeId;
  readonly name: string;
  /** What `model_algorithm` is called when nobody named one. */
  readonly algorithm: string;
  /** As in config.json; empty: the mode says nothing. */
  readonly apis: readonly Readonly<Record<string, unknown>>[];
}

const ofImage = (protocol: "http" | "https", answer: Readonly<Record<string, unknown>>) => [
  {
    protocol,
    url: "/",
    method: "POST",
    request: {
      "Content-type": "multipart/form-data",
      data: { type: "object", properties: { images: { type: "file" } }, required: ["images"] },
    },
    response: { "Content-type": "application/json", data: answer },
  },
];

/** Rows under `data`, as objects of the scenario's own fields. */
const rows = (name: "req_data" | "resp_data", required: boolean) => ({
  type: "object",
  properties: {
    data: {
      type: "object",
      properties: { [name]: { type: "array", items: [{ type: "object", properties: {} }] } },
      ...(required ? { required: [name] } : {}),
    },
  },
  ...(required ? { required: ["data"] } : {}),
});

export const IO_MODES: readonly IoMode[] = [
  {
    id: "object_detection",
    name: "object detection",
    algorithm: "object_detection",
    apis: ofImage("http", {
      type: "object",
      properties: {
        detection_classes: { type: "array", items: { type: "string" } },
        detection_boxes: {
          type: "array",
          items: { type: "array", minItems: 4, maxItems: 4, items: { type: "number" } },
        },
        // A string in §4.2.3.1's schema, a number in its table, in §4.1.2's schema and in every sample.
        detection_scores: { type: "array", items: { type: ["number", "string"] } },
      },
    }),
  },
  {
    id: "image_processing",
    name: "image processing",
    algorithm: "image_classification",
    apis: ofImage("https", { type: "object" }),
  },
  {
    id: "predictive_analysis",
    name: "predictive analysis",
    algorithm: "predict_analysis",
    apis: [
      {
        protocol: "http",
        url: "/",
        method: "POST",
        request: { "Content-type": "application/json", data: rows("req_data", true) },
        response: { "Content-type": "application/json", data: rows("resp_data", false) },
      },
    ],
  },
  { id: "undefined", name: "undefined", algorithm: "custom", apis: [] },
];

export const ioModeNamed = (id: string): IoMode | null => IO_MODES.find((mode) => mode.id === id) ?? null;

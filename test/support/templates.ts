/** Model templates in tests: a package without config.json imported by one, through the API. */
import { expect } from "vitest";
import { IMPORT_MS } from "./examples.ts";
import { importModel, upload } from "./packages.ts";
import type { Files } from "./packages.ts";
import type { Platform } from "./platform.ts";

/** What the template stands for as the version shows it once it is imported. */
export interface ImportedByTemplate {
  readonly id: string;
  readonly events: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly installTypes: readonly string[];
}

/** Imports `files` without their config.json, and fails with the events unless the version is published. */
export const importByTemplate = async (
  platform: Platform,
  template: string,
  { "config.json": _config, ...files }: Files,
  mode?: string,
): Promise<ImportedByTemplate> => {
  const name = `by-${template}${mode === undefined ? "" : `-${mode}`}`;
  const input = `${await upload(platform, name, files)}model/`;
  const model = await importModel(
    platform,
    name,
    "1.0.0",
    {},
    {
      model_type: "Template",
      template: {
        template_id: template,
        template_inputs: [{ input, input_id: "model" }],
        ...(mode === undefined ? {} : { infer_format: mode }),
      },
    },
    IMPORT_MS,
  );
  const events = model.events.map(({ event_info: info }) => info).join("\n");
  expect(model.status, events).toBe("published");
  const { body } = await platform.call("GET", `/v1/{project_id}/models/${model.id}`);
  const { config, install_type: installTypes } = body as { config: string; install_type: string[] };
  return { id: model.id, events, config: JSON.parse(config) as Record<string, unknown>, installTypes };
};

/** The packages of `examples/` in tests: their files, the request that lies beside each as it goes over the wire, and its answer. */
import { readFileSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SKELETONS } from "../../src/cli/init.ts";
import type { EngineName } from "../../src/core/engines.ts";
import { deploy, entry, importModel } from "./packages.ts";
import type { Files } from "./packages.ts";
import { Platform, REPO } from "./platform.ts";
import type { Answer } from "./platform.ts";

/** Engines whose environments are small enough for `npm test`. */
export const LIGHT_ENGINES: readonly EngineName[] = ["Scikit_Learn", "XGBoost", "Caffe"];

/** How long an import of a heavy engine may take: its environment is some gigabytes, on whatever machine this is. */
export const IMPORT_MS = 500_000;

/** The files of an example's folder `model`. */
export const exampleFiles = (example: string): Files => {
  const dir = join(REPO, "examples", example, "model");
  return Object.fromEntries(
    readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((file) => file.isFile())
      .map((file) => {
        const path = join(file.parentPath, file.name);
        return [relative(dir, path), new Uint8Array(readFileSync(path))];
      }),
  );
};

const requestOf = (example: string): { body: Uint8Array; contentType: string; answer: unknown } => {
  const dir = join(REPO, "examples", example);
  if (example.startsWith("iris")) {
    const species = example === "iris-xgboost" ? [0, 1, 2] : ["setosa", "versicolor", "virginica"];
    return {
      body: new Uint8Array(readFileSync(join(dir, "request.json"))),
      contentType: "application/json",
      answer: { data: { resp_data: species.map((predictresult) => ({ predictresult })) } },
    };
  }
  const head =
    '--edge\r\nContent-Disposition: form-data; name="images"; filename="request.png"\r\n' +
    "Content-Type: image/png\r\n\r\n";
  const parts = [head, readFileSync(join(dir, "request.png")), "\r\n--edge--\r\n"];
  return {
    body: new Uint8Array(Buffer.concat(parts.map((part) => Buffer.from(part)))),
    contentType: "multipart/form-data; boundary=edge",
    answer: { digits: [7] },
  };
};

/** Sends a service the example's request. */
export const callExample = async (
  platform: Platform,
  service: string,
  example: string,
): Promise<{ got: Answer; wanted: unknown }> => {
  const { body, contentType, answer } = requestOf(example);
  const got = await platform.call("POST", `/v1/infers/${service}`, body, { "content-type": contentType });
  return { got, wanted: answer };
};

/** One test for each engine: its example imported, deployed and called, on one platform, which is there for more. */
export const testExamples = (engines: readonly EngineName[]): Platform => {
  const platform = new Platform();
  beforeAll(async () => {
    await platform.start();
  });
  afterAll(() => platform.stop());

  test.each(engines.map((engine) => [engine, SKELETONS[engine]] as const))(
    "the example of %s (%s) is imported, deployed and answers its request",
    { timeout: 600_000 },
    async (model_type, example) => {
      const model = await importModel(
        platform,
        example,
        "1.0.0",
        exampleFiles(example),
        { model_type },
        IMPORT_MS,
      );
      expect(model.status, model.events.map((event) => event.event_info).join("\n")).toBe("published");
      const service = await deploy(platform, example, [entry(model.id)]);
      const { got, wanted } = await callExample(platform, service, example);
      expect([got.status, got.body]).toEqual([200, wanted]);
      await platform.call("DELETE", `/v1/{project_id}/services/${service}`);
    },
  );
  return platform;
};

/** Every example imported, deployed and called with the request that lies beside it, on one platform. */
import { readFileSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SKELETONS } from "../../src/cli/init.ts";
import type { EngineName } from "../../src/core/engines.ts";
import { deploy, entry, importModel } from "../support/packages.ts";
import type { Files } from "../support/packages.ts";
import { Platform, REPO } from "../support/platform.ts";

const platform = new Platform();
beforeAll(async () => {
  await platform.start();
});
afterAll(() => platform.stop());

const filesOf = (dir: string): Files =>
  Object.fromEntries(
    readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((file) => file.isFile())
      .map((file) => {
        const path = join(file.parentPath, file.name);
        return [relative(dir, path), new Uint8Array(readFileSync(path))];
      }),
  );

/** The request of an example as it goes over the wire, and what must come back. */
const callOf = (example: string): { body: Uint8Array; contentType: string; answer: unknown } => {
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

test.each(Object.entries(SKELETONS) as [EngineName, string][])(
  "the example of %s (%s) is imported, deployed and answers its request",
  async (model_type, example) => {
    const files = filesOf(join(REPO, "examples", example, "model"));
    const model = await importModel(platform, example, "1.0.0", files, { model_type });
    expect(model.status, model.events.map((event) => event.event_info).join("\n")).toBe("published");
    const service = await deploy(platform, example, [entry(model.id)]);
    const { body, contentType, answer } = callOf(example);
    const got = await platform.call("POST", `/v1/infers/${service}`, body, { "content-type": contentType });
    expect([got.status, got.body]).toEqual([200, answer]);
    await platform.call("DELETE", `/v1/{project_id}/services/${service}`);
  },
);

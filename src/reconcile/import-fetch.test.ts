import { expect, test } from "vitest";
import { sampleModel } from "../../test/support/store-samples.ts";
import { checkPackage } from "./import-fetch.ts";
import type { PackageSource } from "./package-source.ts";

const holding = (files: Readonly<Record<string, string>>): PackageSource => ({
  files: Object.entries(files).map(([path, text]) => ({ path, size: text.length, kind: "file" as const })),
  head: (path, bytes) => Promise.resolve(Buffer.from((files[path] ?? "").slice(0, bytes))),
  text: (path) => Promise.resolve(files[path] ?? ""),
});

test("a package whose apis hold schemas that are none is taken with a warning: nothing but a check needs them", async () => {
  const config = {
    model_type: "Scikit_Learn",
    model_algorithm: "iris",
    apis: [{ request: { data: { type: "object", required: "age" } } }],
  };
  const verdict = await checkPackage(
    sampleModel({ type: "Scikit_Learn", request: {} }),
    holding({ "config.json": JSON.stringify(config), "iris.m": "weights" }),
  );
  expect(verdict).toMatchObject({
    ok: true,
    package: {
      warnings: [{ path: "apis[0].request.data.required", message: 'is "age"', fix: "give array" }],
    },
  });
});

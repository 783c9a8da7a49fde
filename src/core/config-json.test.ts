import fc from "fast-check";
import { AVAILABLE_ENGINES } from "./engines.ts";
import { describe, expect, test } from "vitest";
import { checkConfig } from "./config-json.ts";

const iris = {
  model_algorithm: "predict_analysis",
  model_type: "Scikit_Learn",
  runtime: "python3.6",
  metrics: { f1: 0.345294, accuracy: 0.462963, precision: 0.338977, recall: 0.351852 },
  apis: [
    {
      url: "/",
      method: "post",
      request: {
        "Content-type": "application/json",
        data: { type: "object", properties: { data: { type: "object" } } },
      },
      response: { "Content-type": "applicaton/json", data: { type: "object" } },
    },
  ],
  dependencies: [
    {
      installer: "pip",
      packages: [
        { restraint: "EXACT", package_version: "1.15.0", package_name: "numpy" },
        { restraint: "", package_version: "", package_name: "Pillow" },
      ],
    },
  ],
};
const check = (change: Record<string, unknown>) => checkConfig(JSON.stringify({ ...iris, ...change }));
const paths = (change: Record<string, unknown>) => check(change).problems.map((problem) => problem.path);

describe("checkConfig", () => {
  test("accepts the guide's sample and fills in the defaults", () => {
    const { config, problems, warnings } = checkConfig(JSON.stringify(iris));
    expect(problems).toEqual([]);
    expect(warnings.map((warning) => warning.path)).toEqual(["apis[0].response.Content-type"]);
    expect(config?.apis[0]).toMatchObject({ url: "/", method: "POST" });
    expect(config?.apis[0]?.response["Content-type"]).toBe("application/json");
    expect(config?.dependencies[0]?.packages).toEqual([
      { package_name: "numpy", package_version: "1.15.0", restraint: "EXACT" },
      { package_name: "Pillow", package_version: null, restraint: null },
    ]);
  });

  test("needs model_algorithm and model_type only", () => {
    const { config } = checkConfig('{"model_algorithm":"a","model_type":"XGBoost"}');
    expect(config).toEqual({
      model_algorithm: "a",
      model_type: "XGBoost",
      runtime: null,
      metrics: {},
      apis: [],
      dependencies: [],
      health: null,
    });
    expect(checkConfig("{}").problems.map((p) => p.path)).toEqual(["model_type", "model_algorithm"]);
  });

  test("names every problem at once, with path and fix", () => {
    const { config, problems } = check({
      model_algorithm: "1&",
      model_type: "scikit-learn",
      metrics: { f1: "0.5" },
      apis: [{ url: "/x", method: "pots", request: { "Content-type": "multipart/form-data", data: 3 } }],
      dependencies: [
        {
          installer: "conda",
          packages: [
            { package_name: "numpy==1.15.0" },
            { package_name: "a", package_version: "1.0" },
            { package_name: "b", restraint: "EXACT" },
            { package_name: "c", package_version: 1.5, restraint: "exact" },
            { package_name: "--index-url http://evil" },
          ],
        },
      ],
    });
    expect(config).toBeNull();
    expect(problems.map((p) => p.path)).toEqual([
      "model_type",
      "model_algorithm",
      "model_algorithm",
      "metrics.f1",
      "apis[0].url",
      "apis[0].method",
      "apis[0].request.Content-type",
      "apis[0].request.data",
      "dependencies[0].installer",
      "dependencies[0].packages[0].package_name",
      "dependencies[0].packages[1].restraint",
      "dependencies[0].packages[2].package_version",
      "dependencies[0].packages[3].package_version",
      "dependencies[0].packages[3].restraint",
      "dependencies[0].packages[4].package_name",
    ]);
    const fix = (path: string) => problems.find((p) => p.path === path)?.fix;
    expect(fix("model_type")).toContain("did you mean Scikit_Learn?");
    expect(fix("metrics.f1")).toBe("write 0.5 without quotes");
    expect(fix("apis[0].method")).toContain("did you mean POST?");
    expect(fix("dependencies[0].packages[0].package_name")).toContain('"package_version": "1.15.0"');
    expect(fix("dependencies[0].packages[3].restraint")).toContain("did you mean EXACT?");
  });

  test.each([
    ["sklearn", "Scikit_Learn"],
    ["xgboost", "XGBoost"],
    ["tensorflow", "TensorFlow"],
    ["Pytorch", "PyTorch"],
  ])("knows which engine %s means", (written, meant) => {
    expect(check({ model_type: written }).problems[0]?.fix).toContain(`did you mean ${meant}?`);
  });

  test("refuses known types that are not available, with those that are", () => {
    expect(check({ model_type: "Image" }).problems[0]).toMatchObject({
      path: "model_type",
      fix: `available: ${AVAILABLE_ENGINES.join(", ")}`,
    });
  });

  test("refuses a file for another engine than the application's", () => {
    const { problems } = checkConfig(JSON.stringify(iris), { modelType: "XGBoost" });
    expect(problems[0]?.message).toContain("created with XGBoost");
  });

  test("lets fields of the create request take the place of the file's", () => {
    const { config } = checkConfig("{}", {
      overrides: { model_type: "XGBoost", model_algorithm: "a", runtime: "python3.11", apis: undefined },
    });
    expect(config).toMatchObject({ model_type: "XGBoost", runtime: "python3.11" });
  });

  test("warns about unknown fields with the nearest known name", () => {
    const { warnings, config } = check({ dependancies: [], runtim: "x" });
    expect(config).not.toBeNull();
    expect(warnings.map((w) => w.fix)).toEqual(
      expect.arrayContaining(["did you mean dependencies?", "did you mean runtime?"]),
    );
  });

  test("warns about a runtime nobody knows, and takes it", () => {
    const { warnings, config } = check({ runtime: "python3.66" });
    expect(warnings[0]).toMatchObject({ path: "runtime" });
    expect(config?.runtime).toBe("python3.66");
  });

  test("notices duplicate keys", () => {
    const { warnings } = checkConfig(
      '{"model_type":"XGBoost","model_algorithm":"a","metrics":{"f1":0.1,"f1":0.2}}',
    );
    expect(warnings).toEqual([expect.objectContaining({ path: "metrics.f1" })]);
  });

  test.each([
    ['{"a": 1,}', 1, 9, "remove the comma before it"],
    ["{\n  'a': 1}", 2, 3, "use double quotes"],
    ['{"a": 1\n "b": 2}', 2, 2, 'add the missing ","'],
    ['{"a": True}', 1, 7, "write true"],
    ['{"a": [1, 2', 1, 12, 'add the missing "]"'],
    ['{"a": "x\n"}', 1, 9, "close the string on its line, or write \\n"],
    ['{"a": 1} // x', 1, 10, "keep one value only"],
    ["", 1, 1, "complete the file; the end seems to be cut off"],
  ])("says line, column and remedy of %j", (text, line, column, fix) => {
    expect(checkConfig(text).problems).toEqual([
      expect.objectContaining({ path: `line ${line}, column ${column}`, fix }),
    ]);
  });

  test("bounds nesting and size", () => {
    const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
    expect(checkConfig(deep).problems[0]?.message).toContain("nested deeper");
    expect(checkConfig(" ".repeat(2_000_000)).problems[0]?.message).toContain("characters");
    expect(checkConfig(`[${"{},".repeat(5000)}{}]`).problems.length).toBeLessThanOrEqual(100);
  });

  test("checks the health rule as table 4-8 has it", () => {
    const health = { check_method: "HTTP", url: "/health", period_seconds: "5", failure_threshold: "10" };
    expect(paths({ health })).toEqual([]);
    expect(check({ health }).config?.health).toMatchObject({ protocol: "http" });
    expect(check({ health: { ...health, period_seconds: 5 } }).warnings).toContainEqual(
      expect.objectContaining({ path: "health.period_seconds" }),
    );
    expect(
      paths({ health: { check_method: "EXEC", period_seconds: "0", failure_threshold: "2147483648" } }),
    ).toEqual(["health.command", "health.period_seconds", "health.failure_threshold"]);
    expect(paths({ health: { check_method: "http", url: "x" } })).toEqual([
      "health.check_method",
      "health.url",
      "health.period_seconds",
      "health.failure_threshold",
    ]);
  });

  test("keeps `protocol` of an API and of the health rule for readers: neither changes anything else", () => {
    const health = { check_method: "HTTP", url: "/health", period_seconds: "5", failure_threshold: "10" };
    const of = (protocol: string) =>
      check({ apis: [{ url: "/", protocol }], health: { ...health, protocol } });
    const [http, https] = [of("http"), of("https")];
    expect([http.problems, https.problems]).toEqual([[], []]);
    expect(https.warnings).toEqual(http.warnings);
    expect(https.config?.apis).toMatchObject([{ url: "/", method: "POST", protocol: "https" }]);
    expect(https.config?.health).toEqual({ ...http.config?.health, protocol: "https" });
    expect({ ...https.config, apis: [], health: null }).toEqual({ ...http.config, apis: [], health: null });
    expect(paths({ health: { ...health, protocol: "ftp" } })).toEqual(["health.protocol"]);
  });

  test("rounds metrics to 17 decimals", () => {
    expect(check({ metrics: { f1: 1e-20 } }).config?.metrics).toEqual({ f1: 0 });
  });

  test("allows several APIs and swr_location to custom images only", () => {
    expect(paths({ apis: [{ url: "/" }, { url: "/" }] })).toEqual(["apis"]);
    expect(paths({ swr_location: "a/b/c:1" })).toEqual(["swr_location"]);
  });

  test("never throws and always explains, whatever the text", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), fc.string({ unit: "binary" })), (text) => {
        const result = checkConfig(text);
        expect(result.config === null).toBe(result.problems.length > 0);
      }),
    );
  });

  test("never throws, whatever stands in the known fields", () => {
    const anything = fc.oneof(
      fc.anything({ withObjectString: true }),
      fc.constantFrom("", "pip", "EXACT", "Scikit_Learn", "/", "HTTP", 1e300, -0),
    );
    const item = fc.dictionary(
      fc.constantFrom("package_name", "package_version", "restraint", "installer", "packages", "__proto__"),
      anything,
    );
    const api = fc.dictionary(
      fc.constantFrom("url", "method", "request", "response", "Content-type", "data"),
      anything,
    );
    const text = fc
      .record(
        {
          model_algorithm: anything,
          model_type: anything,
          runtime: anything,
          metrics: fc.oneof(anything, fc.dictionary(fc.constantFrom("f1", "recall"), anything)),
          apis: fc.oneof(anything, fc.array(fc.oneof(anything, api))),
          dependencies: fc.oneof(
            anything,
            fc.array(fc.oneof(anything, item, fc.record({ packages: fc.array(item) }))),
          ),
          health: fc.oneof(
            anything,
            fc.dictionary(fc.constantFrom("check_method", "url", "period_seconds"), anything),
          ),
        },
        { requiredKeys: [] },
      )
      .map((value) => {
        try {
          return JSON.stringify(value) ?? "";
        } catch {
          return "";
        }
      });
    fc.assert(
      fc.property(text, (json) => {
        const result = checkConfig(json);
        expect(result.config === null).toBe(result.problems.length > 0);
        for (const { message, fix } of [...result.problems, ...result.warnings])
          expect(message.length > 0 && fix.length > 0).toBe(true);
      }),
    );
  });
});

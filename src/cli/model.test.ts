/** Importing packages, as a user meets it. */
import { rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CliHarness } from "../../test/support/cli-harness.ts";

let cli: CliHarness;
beforeEach(async () => {
  cli = await new CliHarness().start();
});
afterEach(() => cli.stop());

const json = (text: string): Record<string, unknown> => JSON.parse(text) as Record<string, unknown>;

describe("model import", () => {
  test("uploads the package without leftovers, creates the next version and follows it", async () => {
    cli.server.addModel("iris", "0.0.9");
    const { code, stdout, stderr } = await cli.run(["model", "import", join(cli.dir, "iris")]);
    expect([code, stderr.includes("uploaded 2 of 2 files")]).toEqual([0, true]);
    expect(stdout).toContain("iris 0.0.10 is published.");
    expect(stderr).toContain("model published");
    expect([...cli.server.objects.keys()].toSorted()).toEqual([
      "modelport/packages/iris/0.0.10/model/config.json",
      "modelport/packages/iris/0.0.10/model/iris.m",
    ]);
    const created = cli.server.requests.find(
      ({ method, path }) => method === "POST" && path.endsWith("/models"),
    );
    expect(json(created?.body ?? "")).toEqual({
      model_name: "iris",
      model_version: "0.0.10",
      model_type: "Scikit_Learn",
      source_location: "obs://modelport/packages/iris/0.0.10/",
    });
  });

  test("sends only what changed when an upload goes on, and removes what the package no longer has", async () => {
    const prefix = "modelport/packages/iris/0.0.1/model/";
    cli.server.objects.set(`${prefix}iris.m`, Buffer.from("weights"));
    cli.server.objects.set(`${prefix}old.m`, Buffer.from("x"));
    const { stderr } = await cli.run(["model", "import", join(cli.dir, "iris"), "--no-wait"]);
    expect(stderr).toContain("uploaded 1 of 2 files");
    expect([...cli.server.objects.keys()].toSorted()).toEqual([`${prefix}config.json`, `${prefix}iris.m`]);
  });

  test("says that nothing had to be sent when all is there", async () => {
    const prefix = "modelport/packages/iris/0.0.1/model/";
    cli.server.objects.set(`${prefix}iris.m`, Buffer.from("weights"));
    const config = '{"model_type":"Scikit_Learn","model_algorithm":"iris"}';
    cli.server.objects.set(`${prefix}config.json`, Buffer.from(config));
    const { stderr } = await cli.run(["model", "import", join(cli.dir, "iris"), "--no-wait"]);
    expect(stderr).toContain("  2 files, all there already\n");
  });

  test("refuses a name or version the platform would not take before anything is uploaded", async () => {
    for (const wrong of [
      ["--name", "x y!"],
      ["--version", "abc"],
    ]) {
      const { code, stderr } = await cli.run(["model", "import", join(cli.dir, "iris"), ...wrong]);
      expect([code, stderr.includes(`${wrong[1]} is not a`)]).toEqual([2, true]);
    }
    expect(cli.server.objects.size).toBe(0);
  });

  test("asks for a template, its mode, a run and dynamic loading in the API's words, without a config.json", async () => {
    rmSync(join(cli.dir, "iris", "model", "config.json"));
    const by = ["--template", "caffe-cpu-py36", "--mode", "image_processing", "--dynamic", "--no-wait"];
    expect((await cli.run(["model", "import", join(cli.dir, "iris"), ...by])).code).toBe(0);
    await cli.run(["model", "import", "obs://jobs/out", ...by, "--run", "V002"]);
    const created = cli.server.requests
      .filter(({ method, path }) => method === "POST" && path.endsWith("/models"))
      .map(({ body }) => json(body));
    const asked = (input: string) => ({
      model_type: "Template",
      template: {
        template_id: "caffe-cpu-py36",
        template_inputs: [{ input, input_id: "model" }],
        infer_format: "image_processing",
      },
      dynamic_loading: true,
    });
    expect(created).toEqual([
      {
        model_name: "iris",
        model_version: "0.0.1",
        ...asked("obs://modelport/packages/iris/0.0.1/"),
      },
      {
        model_name: "out",
        model_version: "0.0.1",
        source_job_version: "V002",
        ...asked("obs://jobs/out"),
      },
    ]);
  });

  test("names everything that is wrong with a template by its option, before anything is uploaded", async () => {
    const wrong = ["--template", "caffe-py36", "--mode", "image"];
    const { code, stdout } = await cli.run(["model", "import", join(cli.dir, "iris"), ...wrong, "--json"]);
    expect([code, json(stdout)["error"]]).toEqual([
      2,
      expect.objectContaining({
        problems: [
          expect.objectContaining({ path: "--template", fix: expect.stringContaining("caffe-cpu-py36") }),
          expect.objectContaining({ path: "--mode" }),
        ],
      }),
    ]);
    expect(cli.server.objects.size).toBe(0);
  });

  test("speaks of a template's mode by its option", async () => {
    const fixed = ["--template", "tensorflow-image-classification", "--mode", "object_detection"];
    const { code, stderr } = await cli.run(["model", "import", join(cli.dir, "iris"), ...fixed]);
    expect([code, stderr.includes("fix: leave --mode out")]).toEqual([2, true]);
    expect(stderr).not.toContain("infer_format");
  });

  test("says at once when there is no model folder, and when its parent was meant", async () => {
    const missing = await cli.run(["model", "import", cli.dir]);
    expect([missing.code, missing.stderr.includes("does not hold a folder named model")]).toEqual([2, true]);
    const inner = await cli.run(["model", "import", join(cli.dir, "iris", "model")]);
    expect(inner.stderr).toContain(`name its parent: modelport model import ${join(cli.dir, "iris")}`);
    expect(cli.server.requests).toEqual([]);
  });

  test("names everything that is wrong with a package before anything is uploaded", async () => {
    const broken = await cli.writePackage("broken", { "model/config.json": '{\n  "model_type": }' });
    const { code, stderr } = await cli.run(["model", "import", broken]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("line 2, column 17")]);
    await cli.writePackage("broken", {
      "model/config.json": JSON.stringify({
        model_type: "XGBost",
        model_algorithm: "1st",
        apis: [{ method: "past" }],
      }),
    });
    const several = await cli.run(["model", "import", broken, "--json"]);
    const { error } = json(several.stdout) as { error: { problems: readonly { path: string }[] } };
    expect([several.code, error.problems.map(({ path }) => path)]).toEqual([
      2,
      ["model_type", "model_algorithm", "apis[0].method"],
    ]);
    const noModel = await cli.writePackage("nothing");
    await rm(join(noModel, "model", "iris.m"));
    expect((await cli.run(["model", "import", noModel])).stderr).toContain("holds no model file");
    expect(cli.server.requests).toEqual([]);
  });

  test("fails with the platform's reason", async () => {
    cli.server.importEnds = { status: "failed", because: "numpy==0.0.1 does not exist" };
    const { code, stderr } = await cli.run(["model", "import", join(cli.dir, "iris")]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/✗ numpy==0\.0\.1 does not exist\nerror: iris 0\.0\.1 could not be imported\./);
    expect(stderr.match(/numpy==0\.0\.1 does not exist/g)).toHaveLength(1);
    const told = await cli.run(["model", "import", join(cli.dir, "iris"), "--json"]);
    expect(json(told.stdout)["error"]).toMatchObject({ detail: "numpy==0.0.1 does not exist" });
  });

  test("shows every problem with path and fix when the request is refused", async () => {
    cli.server.break("POST", /\/models$/, {
      status: 400,
      body: {
        error_code: "ModelArts.3015",
        error_msg: "Two problems.",
        problems: [{ path: "a[0]", message: "m", fix: "f" }],
      },
    });
    const { code, stderr } = await cli.run(["model", "import", join(cli.dir, "iris")]);
    expect(code).toBe(2);
    expect(stderr).toContain("  a[0]\n    m\n    fix: f\n");
  });

  test("takes a package from objects and its engine from there", async () => {
    cli.server.objects.set("b/p/iris/model/config.json", Buffer.from('{"model_type":"XGBoost"}'));
    expect((await cli.run(["model", "import", "obs://b/p/iris", "--no-wait"])).code).toBe(0);
    expect(cli.server.models[0]).toMatchObject({ model_name: "iris", source_location: "obs://b/p/iris" });
    expect((await cli.run(["model", "import", "obs://b/q"])).code).toBe(3);
  });

  test("takes a run of a training job by its own address as well", async () => {
    cli.server.objects.set("b/out/V002/model/config.json", Buffer.from('{"model_type":"XGBoost"}'));
    for (const source of ["obs://b/out", "obs://b/out/V002"])
      expect((await cli.run(["model", "import", source, "--run", "V002", "--no-wait"])).code).toBe(0);
    const other = await cli.run(["model", "import", "obs://b/out", "--run", "V007"]);
    expect([other.code, other.stderr]).toEqual([3, expect.stringContaining("`--run` may name V002.")]);
  });
});

describe("model templates", () => {
  const found = {
    templates: [
      {
        template_id: "caffe-cpu-py36",
        type: "general",
        release: "Caffe 1.0 CPU",
        environment: "Python 3.6",
        infer_format: "undefined",
        overridable: true,
      },
    ],
    infer_formats: [{ infer_format: "undefined" }],
  };

  test.each(["3.6", "python3.6", "Python 3.6"])("asks for the environment %s as 3.6", async (environment) => {
    cli.server.break("GET", /\/models\/templates$/, { status: 200, body: found });
    const { code, stdout } = await cli.run(["model", "templates", "--environment", environment]);
    expect([code, stdout.includes("caffe-cpu-py36")]).toEqual([0, true]);
    expect(cli.server.requests.at(-1)?.query.get("environment")).toBe("3.6");
  });

  test.each([
    ["--type", "special", "general"],
    ["--engine", "XGBoost", "Caffe"],
  ])("says which there are when no template has the %s %s", async (option, word, known) => {
    const { code, stderr } = await cli.run(["model", "templates", option, word]);
    expect([code, stderr.includes(`${word}.`), stderr.includes(known)]).toEqual([2, true, true]);
    expect(cli.server.requests).toEqual([]);
  });

  test("takes an engine and a type in any case", async () => {
    cli.server.break("GET", /\/models\/templates$/, { status: 200, body: found });
    const any = ["model", "templates", "--engine", "caffe", "--type", "General"];
    expect((await cli.run(any)).code).toBe(0);
  });
});

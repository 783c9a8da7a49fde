/** `modelport runtimes` with a platform, without one, and with one elsewhere that does not answer. */
import { rm } from "node:fs/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CliHarness } from "../../test/support/cli-harness.ts";

let cli: CliHarness;
beforeEach(async () => {
  cli = await new CliHarness().start();
});
afterEach(() => cli.stop());

const HERE = /Scikit_Learn +python3\.11 +3\.11 +\S+ +here/;
const STANDS_IN = /Scikit_Learn +python3\.6 .* stand-in +Python 3\.11 with scikit-learn==\S+/;

test("asks the platform", async () => {
  cli.server.break("GET", /ai-engine-runtimes/, {
    status: 200,
    body: {
      engine_runtimes: [
        {
          ai_engine: "Caffe",
          runtimes: ["python3.7"],
          runtime_states: [
            { runtime: "python3.7", python: "3.7", release: null, state: "fetchable", runs: null },
          ],
        },
      ],
    },
  });
  const { code, stdout, stderr } = await cli.run(["runtimes"]);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/Caffe +python3\.7 +3\.7 +- +can be fetched/);
});

test.each([
  ["nobody ever logged in", () => rm(cli.profilePath)],
  ["the platform of this machine does not run", () => cli.writeProfile({ endpoint: "http://127.0.0.1:1" })],
])("answers from this machine where %s", async (_, prepare) => {
  await prepare();
  const { code, stdout, stderr } = await cli.run(["runtimes", "--engine", "Scikit_Learn"]);
  expect([code, stderr]).toEqual([0, "No platform runs here; this is what this machine has.\n"]);
  expect(stdout).toMatch(HERE);
  expect(stdout).toMatch(STANDS_IN);
  expect(stdout).not.toContain("PyTorch");
});

test("answers from this machine where that is asked for, in the API's form for scripts", async () => {
  const { code, stdout, stderr } = await cli.run(["runtimes", "--local", "--json"]);
  expect([code, stderr]).toEqual([0, ""]);
  const engines = JSON.parse(stdout) as { ai_engine: string; runtimes: string[]; runtime_states: object[] }[];
  const caffe = engines.find(({ ai_engine }) => ai_engine === "Caffe");
  expect(caffe?.runtimes).toContain("python3.6");
  expect(caffe?.runtime_states).toContainEqual(
    expect.objectContaining({ runtime: "python3.11", state: "here" }),
  );
  expect(cli.server.requests).toEqual([]);
});

test.each(["scikit-learn", "SCIKIT_LEARN"])("knows the engine by %s", async (word) => {
  const { code, stdout } = await cli.run(["runtimes", "--local", "--engine", word]);
  expect(code).toBe(0);
  expect(stdout).toMatch(HERE);
});

test("names the engines when there is none of that name", async () => {
  const { code, stdout, stderr } = await cli.run(["runtimes", "--local", "--engine", "onnx"]);
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain("There is no engine called onnx.");
  expect(stderr).toMatch(/The engines are .*PyTorch/);
});

test("says that a platform elsewhere does not answer, and not what this machine has", async () => {
  // A name that no resolver knows (RFC 2606).
  await cli.writeProfile({ endpoint: "http://platform.invalid", password: undefined, token: "t" });
  const { code, stdout, stderr } = await cli.run(["runtimes"]);
  expect([code, stdout]).toEqual([7, ""]);
  expect(stderr).toContain("The platform at http://platform.invalid cannot be reached");
});

/** The command line as a user meets it: against a server that answers in the contract's shapes. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CliHarness } from "../../test/support/cli-harness.ts";
import packageJson from "../../package.json" with { type: "json" };
import { EXIT_CODES } from "./failures.ts";
import { VERSION } from "../core/version.ts";

let cli: CliHarness;
beforeEach(async () => {
  cli = await new CliHarness().start();
});
afterEach(() => cli.stop());

const REQUEST = '{"data":{"req_data":[{"sepal_length":5.1}]}}';
const json = (text: string): Record<string, unknown> => JSON.parse(text) as Record<string, unknown>;

describe("every command", () => {
  const commands: readonly (readonly string[])[] = [
    ["up"],
    ["down"],
    ["status"],
    ["doctor"],
    ["demo"],
    ["login"],
    ["token"],
    ["whoami"],
    ["completion"],
    ...["import", "list", "show", "delete", "events"].map((verb) => ["model", verb]),
    ...[
      "deploy",
      "list",
      "show",
      "update",
      "start",
      "stop",
      "restart",
      "delete",
      "predict",
      "events",
      "logs",
    ].map((verb) => ["service", verb]),
    ...["cp", "ls", "rm"].map((verb) => ["obs", verb]),
  ];
  test.each(commands.map((words) => [words.join(" "), words] as const))(
    "%s has help with examples",
    async (_name, words) => {
      const { code, stdout, stderr } = await cli.run([...words, "--help"]);
      expect([code, stderr]).toEqual([0, ""]);
      expect(stdout).toContain("Examples:\n  $ ");
      expect(stdout).not.toContain("(default) (default");
    },
  );

  test("the help names every exit code", async () => {
    const { stdout } = await cli.run(["--help"]);
    for (const [code, meaning] of Object.values(EXIT_CODES)) expect(stdout).toContain(`${code}  ${meaning}`);
  });

  test("the version is the package's", async () => {
    expect((await cli.run(["--version"])).stdout).toBe(`${packageJson.version}\n`);
    expect(VERSION).toBe(packageJson.version);
  });
});

describe("a wrong command line", () => {
  test.each([
    [["modle", "list"], "(Did you mean model?)"],
    [["service", "predit", "x"], "(Did you mean predict?)"],
    [["model", "list", "--jsn"], "(Did you mean --json?)"],
  ])("suggests the nearest: %j", async (argv, suggestion) => {
    const { code, stdout, stderr } = await cli.run(argv);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(suggestion.slice(1, -1));
  });

  test.each([
    [["model", "import"], "missing required argument"],
    [["service", "deploy", "iris", "--instances", "0"], "whole number from 1 to 128"],
    [["service", "deploy", "iris", "--env", "NOVALUE"], "KEY=VALUE"],
    [["service", "deploy", "a", "b"], "2 versions need 2 weights"],
    [["service", "deploy", "a", "b", "--weight", "50", "--weight", "40"], "The weights make 90, not 100"],
    [["service", "update", "iris"], "Nothing to change"],
    [["service", "logs", "iris", "-f", "--json"], "do not go together"],
    [["obs", "cp", "a", "b"], "One of the two must be an obs:// address"],
  ])("is refused with exit code 2: %j", async (argv, message) => {
    const { code, stderr, stdout } = await cli.run(argv);
    expect(code).toBe(2);
    expect((stderr + stdout).toLowerCase()).toContain(message.toLowerCase());
  });

  test("a noun without a verb shows its help and fails", async () => {
    const { code, stderr } = await cli.run(["model"]);
    expect(code).toBe(2);
    expect(stderr).toContain("import [options] <source>");
  });
});

describe("--json", () => {
  test("prints one document and nothing else, also for failures", async () => {
    cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"));
    const runs = [
      ["model", "list"],
      ["model", "show", "iris"],
      ["model", "events", "iris"],
      ["model", "import", join(cli.dir, "iris"), "--name", "other"],
      ["service", "list"],
      ["service", "show", "iris"],
      ["service", "url", "iris"],
      ["service", "events", "iris"],
      ["service", "logs", "iris"],
      ["service", "predict", "iris", "-d", REQUEST],
      ["service", "update", "iris", "--instances", "2"],
      ["service", "restart", "iris"],
      ["service", "stop", "iris"],
      ["service", "delete", "iris"],
      ["obs", "ls"],
      ["obs", "ls", "-r", "obs://modelport"],
      ["token"],
      ["whoami"],
      ["status"],
      ["doctor"],
      ["model", "show", "nothing"],
      ["service", "frobnicate"],
    ];
    for (const argv of runs) {
      const { stdout, stderr } = await cli.run([...argv, "--json"]);
      expect(stderr, argv.join(" ")).toBe("");
      expect(() => JSON.parse(stdout) as unknown, argv.join(" ")).not.toThrow();
    }
  });

  test("tells a failure with its exit code and next step", async () => {
    const { code, stdout } = await cli.run(["--json", "service", "show", "iris"]);
    expect(code).toBe(3);
    expect(json(stdout)["error"]).toMatchObject({
      exit_code: 3,
      message: "There is no service called iris.",
    });
  });
});

describe("exit codes", () => {
  test("7 when nothing answers, with the way to start it", async () => {
    await cli.writeProfile({ endpoint: "http://127.0.0.1:1" });
    const { code, stderr } = await cli.run(["model", "list"]);
    expect(code).toBe(7);
    expect(stderr).toContain("cannot be reached: nothing answers there");
    expect(stderr).toContain("modelport up");
  });

  test("4 when not logged in, when the password is wrong and when the token has expired", async () => {
    cli.server.password = "changed";
    expect((await cli.run(["model", "list"])).code).toBe(4);
    await cli.writeProfile({ password: undefined, token: "old", expiresAt: 0 });
    const expired = await cli.run(["model", "list"]);
    expect([expired.code, expired.stderr.includes("modelport login")]).toEqual([4, true]);
    await rm(cli.profilePath);
    expect((await cli.run(["model", "list"])).code).toBe(4);
  });

  test("3 for what is not there, with the nearest name", async () => {
    cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"));
    const { code, stderr } = await cli.run(["service", "show", "irs"]);
    expect(code).toBe(3);
    expect(stderr).toContain("Did you mean iris?");
    const version = await cli.run(["model", "show", "iris:9.9.9"]);
    expect([version.code, version.stderr.includes("It has 0.0.1.")]).toEqual([3, true]);
  });

  test("5 for what exists and for a state that does not allow it", async () => {
    cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"));
    expect((await cli.run(["service", "deploy", "iris"])).code).toBe(5);
    expect((await cli.run(["service", "start", "iris"])).code).toBe(5);
    expect((await cli.run(["model", "import", join(cli.dir, "iris"), "--version", "0.0.1"])).code).toBe(5);
    cli.server.addModel("slow", "0.0.1", "publishing");
    expect((await cli.run(["service", "deploy", "slow"])).code).toBe(5);
  });

  test("6 when waiting takes longer than allowed", async () => {
    cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"), "stopped");
    cli.server.startEnds = false;
    const { code, stderr } = await cli.run(["service", "start", "iris", "--timeout", "2s"]);
    expect(code).toBe(6);
    expect(stderr).toContain("goes on without this command");
  });

  test("8 when there is no capacity", async () => {
    cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"));
    cli.server.break("POST", /^\/v1\/infers/, {
      status: 429,
      body: { error_code: "APIG.0308", error_msg: "busy" },
    });
    expect((await cli.run(["service", "predict", "iris", "-d", REQUEST])).code).toBe(8);
  });

  test("130 when Ctrl-C stops the watching, and the work goes on", async () => {
    cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"), "stopped");
    cli.server.startEnds = false;
    const waiting = cli.run(["service", "start", "iris"]);
    await expect.poll(() => cli.server.services[0]?.status).toBe("deploying");
    cli.interrupt.abort();
    const { code, stderr } = await waiting;
    expect(code).toBe(130);
    expect(stderr).not.toContain("error:");
    expect(cli.server.services[0]?.status).toBe("deploying");
  });
});

describe("completion", () => {
  const complete = async (...words: string[]): Promise<string[]> =>
    (await cli.run(["__complete", "--", ...words])).stdout.split("\n").filter((line) => line !== "");

  test("follows the tree of commands, their options and the names on the platform", async () => {
    cli.server.addService("iris", cli.server.addModel("flowers", "0.0.1"));
    expect(await complete("ser")).toEqual(["service"]);
    expect(await complete("service", "st")).toEqual(["start", "stop"]);
    expect(await complete("service", "logs", "--")).toEqual(["--follow", "--tail", "--json", "--help"]);
    expect(await complete("service", "show", "")).toEqual(["iris"]);
    expect(await complete("model", "show", "f")).toEqual(["flowers"]);
    expect(await complete("")).not.toContain("__complete");
  });

  test.each(["bash", "zsh", "fish"])("prints a script for %s", async (shell) => {
    expect((await cli.run(["completion", shell])).stdout).toContain("modelport __complete");
  });
});

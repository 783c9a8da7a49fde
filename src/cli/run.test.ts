/** What `modelport run` shows, on packages that are made of events. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { CliHarness } from "../../test/support/cli-harness.ts";
import { sampleCall } from "./call-sample.ts";
import type { CommandOptions, PackageRun, ServeOptions } from "./package-run.ts";

let cli: CliHarness;
let asked: ServeOptions[] = [];
let ran: CommandOptions[] = [];
beforeEach(async () => {
  asked = [];
  ran = [];
  cli = await new CliHarness().start();
  cli.packageRun = {
    serve: async (options) => {
      asked.push(options);
      const { onEvent } = options;
      onEvent({ kind: "warning", text: "Python 3.11 stands in" });
      onEvent({
        kind: "ready",
        url: "http://127.0.0.1:9/",
        isFirst: true,
        isAgain: false,
        ms: 5,
        home: cli.dir,
        api: null,
      });
      onEvent({ kind: "output", stream: "stdout", line: "printed by the package" });
      onEvent({ kind: "request", method: "POST", path: "/", status: 200, ms: 4 });
      const problems = [{ path: "runtime", message: "is not known", fix: "name another" }];
      onEvent({ kind: "failed", message: "The package has a problem.", problems, answers: "before" });
    },
    command: async (options) => {
      ran.push(options);
      const signal = options.command[0] === "killed" ? "SIGKILL" : null;
      return { code: signal === null ? options.command.length : 137, signal };
    },
  };
});
afterEach(() => cli.stop());

test("run shows prints, requests and problems, and where it serves", async () => {
  const { code, stdout, stderr } = await cli.run(["run", "./iris", "-p", "9", "-e", "A=b=c"]);
  expect(code).toBe(0);
  expect(asked).toMatchObject([{ folder: "./iris", port: 9, host: "127.0.0.1", envs: { A: "b=c" } }]);
  expect(stdout).toBe("printed by the package\n");
  for (const words of [
    "Python 3.11 stands in",
    "Serving ./iris at http://127.0.0.1:9/",
    "curl ",
    "POST / 200 4 ms",
  ])
    expect(stderr).toContain(words);
  expect(stderr).toContain("fix: name another");
  expect(stderr).toContain("The version before goes on answering");
});

test("run that is stopped before it serves says so, and without a terminal what it is at", async () => {
  const serve: PackageRun["serve"] = async ({ onEvent }) =>
    onEvent({ kind: "step", text: "looking for the environment" });
  cli.packageRun = { ...cli.packageRun, serve };
  const { code, stderr } = await cli.run(["run", "./iris"]);
  expect([code, stderr]).toEqual([
    130,
    "looking for the environment\nStopped before the package could be served.\n",
  ]);
});

test("run --json prints one document on stdout, everything else on stderr", async () => {
  const { stdout, stderr } = await cli.run(["run", "./iris", "--json"]);
  expect(JSON.parse(stdout)).toMatchObject({ url: "http://127.0.0.1:9/" });
  expect(stderr).toContain("printed by the package");
});

test("run with a command ends with its exit code, and names the signal that ended it", async () => {
  const failed = await cli.run(["run", "./iris", "--", "python", "-m", "unittest"]);
  expect([failed.code, failed.stderr.includes("python ended with exit code 3.")]).toEqual([3, true]);
  const killed = await cli.run(["run", "./iris", "--", "killed"]);
  expect([killed.code, killed.stderr.includes("killed was ended by SIGKILL.")]).toEqual([137, true]);
});

test("run --json with a command keeps standard output for the document", async () => {
  const { code, stdout } = await cli.run(["run", "--json", "./iris", "--", "killed"]);
  expect([code, JSON.parse(stdout)]).toEqual([137, { exit_code: 137, signal: "SIGKILL" }]);
  await cli.run(["run", "./iris", "--", "python"]);
  expect(ran.map((options) => options.stdout)).toEqual(["stderr", "stdout"]);
});

test("the line to try sends the request at hand, else one that fits the schema", () => {
  const api = (type: string, data: unknown) => ({
    url: "/",
    method: "POST",
    request: { "Content-type": type, data },
    response: {},
  });
  const rows = { type: "object", properties: { rows: { type: "array", items: [{ type: "number" }] } } };
  const form = { type: "object", properties: { images: { type: "file" }, name: { type: "string" } } };
  const call = (one: ReturnType<typeof api>, file: string | null): string =>
    sampleCall("http://h/", one, file);
  expect(call(api("application/json", rows), null)).toContain(`-d '{"rows":[0]}' http://h/`);
  expect(call(api("application/json", rows), "it's.json")).toContain(String.raw`-d '@it'\''s.json'`);
  expect(call(api("multipart/form-data", form), "a.png")).toBe(
    "curl -F images=@a.png -F name=TEXT http://h/",
  );
});

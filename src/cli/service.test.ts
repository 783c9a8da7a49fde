/** Deploying, changing and calling services. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CliHarness } from "../../test/support/cli-harness.ts";

let cli: CliHarness;
beforeEach(async () => {
  cli = await new CliHarness().start();
});
afterEach(() => cli.stop());

const REQUEST = '{"data":{"req_data":[{"sepal_length":5.1}]}}';

describe("service", () => {
  test("deploys the newest published version and says where it is", async () => {
    cli.server.addModel("iris", "0.0.1");
    const newest = cli.server.addModel("iris", "0.0.10");
    cli.server.addModel("iris", "0.0.11", "failed");
    const { code, stdout } = await cli.run([
      "service",
      "deploy",
      "iris",
      "--env",
      "A=1=2",
      "--instances",
      "2",
    ]);
    expect(code).toBe(0);
    expect(stdout).toContain(`iris is running at ${cli.server.url}/v1/infers/`);
    expect(cli.server.services[0]?.config).toEqual([
      {
        model_id: newest.model_id,
        specification: "modelarts.vm.cpu.2u",
        weight: 100,
        instance_count: 2,
        envs: { A: "1=2" },
      },
    ]);
  });

  test("a deployment that fails tells why", async () => {
    cli.server.addModel("iris", "0.0.1");
    cli.server.deployEnds = { status: "failed", because: "KeyError: 'sepal'" };
    const { code, stderr } = await cli.run(["service", "deploy", "iris"]);
    expect(code).toBe(1);
    expect(stderr).toContain("error: iris is failed, not running.\n  KeyError: 'sepal'");
  });

  test("a deployment that failed before its first instance points to the events only", async () => {
    cli.server.addModel("iris", "0.0.1");
    cli.server.deployEnds = { status: "failed", because: "no room" };
    const deploy = ["service", "deploy", "iris"];
    expect((await cli.run([...deploy, "--name", "one"])).stderr).toContain("`modelport service logs one`");
    cli.server.logs = "";
    const { stderr } = await cli.run([...deploy, "--name", "two"]);
    expect(stderr).toContain("next: `modelport service events two` shows every step.");
    expect(stderr).not.toContain("service logs");
  });

  test("an update keeps what was not named, and a rollback is a failure that says so", async () => {
    const old = cli.server.addModel("iris", "0.0.1");
    const next = cli.server.addModel("iris", "0.0.2");
    const service = cli.server.addService("iris", old);
    service.config = [{ ...service.config[0], envs: { A: "1", B: "2" }, instance_count: 3 }];
    const updated = await cli.run(["service", "update", "iris", "--model", "iris:0.0.2", "--unset-env", "B"]);
    expect([updated.code, updated.stdout]).toEqual([0, "iris is running.\n"]);
    expect(service.config).toMatchObject([
      { model_id: next.model_id, weight: 100, instance_count: 3, envs: { A: "1" } },
    ]);
    cli.server.deployEnds = { status: "rolled-back", because: "exited with 1" };
    const { code, stderr } = await cli.run(["service", "update", "iris", "--env", "A=2"]);
    expect(code).toBe(1);
    expect(stderr).toContain(
      "The update of iris was rolled back; it goes on serving as before.\n  exited with 1",
    );
  });

  test("tells what is wrong by the options that were given, once for all versions, and leaves other failures alone", async () => {
    cli.server.addModel("iris", "0.0.1");
    cli.server.addService("iris", cli.server.addModel("iris", "0.0.2"));
    const wrong = (path: string) => {
      const said = path.endsWith("count") ? "The param" : path.endsWith("1X") ? "The parameter" : "The field";
      return { path, message: `${said} [${path}] is "yes".`, fix: "use one of on, off" };
    };
    const refuse = (method: string, ...paths: readonly string[]): void =>
      cli.server.break(method, /\/services/, {
        status: 400,
        body: {
          error_code: "ModelArts.0104",
          error_msg: "Invalid argument. The field [config[0].envs.X] is yes.",
          problems: paths.map(wrong),
          hint: "use one of on, off",
        },
      });
    const deploy = ["service", "deploy", "iris:0.0.1", "iris:0.0.2", "--weight", "50", "--weight", "50"];
    deploy.push("--env", "X=yes", "--env", "1X=yes", "--instances", "2");
    const envs = [0, 1].flatMap((at) => [`config[${at}].envs.X`, `config[${at}].envs.1X`]);
    refuse("POST", ...envs, "config[1].instance_count");
    const { code, stderr } = await cli.run(deploy);
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining(
        "error: The service cannot be deployed like this.\n\n" +
          '  --env X\n    is "yes".\n    fix: use one of on, off\n\n' +
          '  --env 1X\n    is "yes".\n    fix: use one of on, off\n\n' +
          '  --instances\n    is "yes".\n    fix: use one of on, off\n',
      ),
    ]);
    expect(stderr).not.toContain("config[");
    refuse("PUT", "config[0].envs.X", "infer_type");
    const updated = await cli.run(["service", "update", "iris", "--env", "X=yes"]);
    expect(updated.stderr).toContain("error: Invalid argument.");
    // What it has from before was not given here.
    const kept = await cli.run(["service", "update", "iris", "--description", "d"]);
    expect(kept.stderr).toContain("error: Invalid argument.");
  });

  test("a restart sends the same configuration again", async () => {
    const service = cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"));
    const before = structuredClone(service.config);
    expect((await cli.run(["service", "restart", "iris"])).code).toBe(0);
    expect(service.config).toEqual(before);
  });

  test("stop, start and delete wait for their end", async () => {
    cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"));
    expect((await cli.run(["service", "stop", "iris"])).stdout).toBe("iris is stopped.\n");
    expect((await cli.run(["service", "start", "iris"])).stdout).toBe("iris is running.\n");
    expect((await cli.run(["service", "delete", "iris"])).stdout).toBe("iris is deleted.\n");
    expect(cli.server.services).toEqual([]);
  });

  test("predict sends the body as it is and prints the answer as it is", async () => {
    cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"));
    await writeFile(join(cli.dir, "request.json"), REQUEST);
    const answer = '{"data":{"resp_data":[{"predictresult":"setosa"}]}}';
    for (const [argv, stdin] of [
      [["-d", REQUEST], undefined],
      [["-d", `@${join(cli.dir, "request.json")}`], undefined],
      [[], REQUEST],
    ] as const) {
      const { code, stdout, stderr } = await cli.run(
        ["service", "predict", "iris", ...argv],
        stdin === undefined ? {} : { stdin },
      );
      expect([code, stdout, stderr]).toEqual([0, answer, ""]);
      expect(cli.server.requests.at(-1)?.body).toBe(REQUEST);
    }
    const verbose = await cli.run([
      "service",
      "predict",
      "iris",
      "-v",
      "-d",
      REQUEST,
      "--path",
      "sub",
      "-H",
      "X-A: b",
    ]);
    expect(verbose.stdout).toBe(answer);
    expect(verbose.stderr).toContain("200 in");
    expect(cli.server.requests.at(-1)).toMatchObject({ headers: { "x-a": "b" } });
    expect(cli.server.requests.at(-1)?.path).toMatch(/\/sub$/);
  });

  test.each(['{"id":12345678901234567890,"p":1.0,"2":[1e2],"1":"\\u00e4"}', "7.50", "null"])(
    "predict --json holds the model's answer letter by letter: %s",
    async (body) => {
      cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"));
      cli.server.break("POST", /^\/v1\/infers/, { status: 200, body });
      const { code, stdout } = await cli.run(["service", "predict", "iris", "-d", REQUEST, "--json"]);
      expect(code).toBe(0);
      expect(stdout).toContain(`"body": ${body}\n`);
      expect(JSON.parse(stdout)).toMatchObject({ status: 200, body: JSON.parse(body) as unknown });
    },
  );

  test("predict --json holds an answer that is not JSON as a string", async () => {
    cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"));
    cli.server.break("POST", /^\/v1\/infers/, { status: 200, body: 'a "word"\n' });
    const { stdout } = await cli.run(["service", "predict", "iris", "-d", REQUEST, "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ body: 'a "word"\n' });
  });

  const streams = (pieces: () => AsyncGenerator<string>): void => {
    cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"));
    const headers = { "content-type": "text/event-stream" };
    cli.server.break("POST", /^\/v1\/infers/, { status: 200, headers, body: Readable.from(pieces()) });
  };
  const predict = ["service", "predict", "iris", "-d", REQUEST];

  test("predict prints a stream as it comes", async () => {
    const seen = Promise.withResolvers<void>();
    streams(async function* () {
      yield "data: 1\n\n";
      await seen.promise;
      yield "data: 2\n\n";
    });
    const { code, stdout } = await cli.run(predict, { onStdout: () => seen.resolve() });
    expect([code, stdout]).toEqual([0, "data: 1\n\ndata: 2\n\n"]);
  });

  test.each([[[]], [["--json"]]])("predict fails when a stream ends in an error: %j", async (more) => {
    streams(async function* () {
      yield "data: 1\n\nevent: error\n";
      yield 'data: {"erno":"PR.0101"}\n\n';
    });
    const { code, stdout, stderr } = await cli.run([...predict, ...more]);
    expect([code, stdout.includes("PR.0101")]).toEqual([1, true]);
    if (more.length === 0) expect(stderr).toContain("The answer ended in an error");
    else expect(JSON.parse(stdout)).toMatchObject({ status: 200 });
  });

  test.each([[[]], [["--json"]]])(
    "predict says that the connection was cut, and what came: %j",
    async (more) => {
      cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"));
      cli.server.break("POST", /^\/v1\/infers/, {
        status: 200,
        headers: { "content-type": "text/event-stream", "content-length": "100", connection: "close" },
        body: "data: 1\n\n",
      });
      const { code, stdout, stderr } = await cli.run([...predict, ...more]);
      expect(code).toBe(1);
      expect(more.length === 0 ? stderr : stdout).toContain(
        "The connection was cut before the answer's end.",
      );
      if (more.length === 0) expect(stdout).toBe("data: 1\n\n");
      else expect(JSON.parse(stdout)).toMatchObject({ error: { detail: "data: 1\n\n" } });
    },
  );

  test("predict on a stopped service names the way to start it", async () => {
    cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"), "stopped");
    const { code, stderr } = await cli.run(["service", "predict", "iris", "-d", REQUEST]);
    expect(code).toBe(5);
    expect(stderr).toContain("next: Start it with `modelport service start`.");
  });

  test("logs asks for no more lines than the platform gives", async () => {
    cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"));
    expect((await cli.run(["service", "logs", "iris", "--tail", "10000"])).code).toBe(0);
    const { code, stderr } = await cli.run(["service", "logs", "iris", "--tail", "10001"]);
    expect([code, stderr.includes("from 0 to 10000")]).toEqual([2, true]);
  });

  test("logs are passed on as they come", async () => {
    cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"));
    expect((await cli.run(["service", "logs", "iris"])).stdout).toBe(cli.server.logs);
  });
});

describe("tables", () => {
  test("are coloured and fitted on a terminal, plain and whole elsewhere", async () => {
    const model = cli.server.addModel("iris", "0.0.1");
    cli.server.addService("iris", model);
    const plain = await cli.run(["service", "list"]);
    expect(plain.stdout).not.toContain("\u001b");
    expect(plain.stdout).toContain(cli.server.services[0]?.service_id);
    expect(plain.stdout).toContain("(1 h ago)");
    const fitted = await cli.run(["service", "list"], { isTty: true, columns: 60 });
    expect(fitted.stdout).toContain("\u001b[32mrunning");
  });
});

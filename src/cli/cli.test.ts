/** The command line as a user meets it: against a server that answers in the contract's shapes. */
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CliHarness } from "../../test/support/cli-harness.ts";
import packageJson from "../../package.json" with { type: "json" };
import { EXIT_CODES } from "./failures.ts";
import { VERSION } from "./main.ts";

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

  test("says at once when there is no model folder, and when its parent was meant", async () => {
    const missing = await cli.run(["model", "import", cli.dir]);
    expect([missing.code, missing.stderr.includes("does not hold a folder named model")]).toEqual([2, true]);
    const inner = await cli.run(["model", "import", join(cli.dir, "iris", "model")]);
    expect(inner.stderr).toContain(`name its parent: modelport model import ${join(cli.dir, "iris")}`);
    const broken = await cli.writePackage("broken", { "model/config.json": "{" });
    expect((await cli.run(["model", "import", broken])).stderr).toContain("is not valid JSON");
    expect(cli.server.requests).toEqual([]);
  });

  test("fails with the platform's reason", async () => {
    cli.server.importEnds = { status: "failed", because: "numpy==0.0.1 does not exist" };
    const { code, stderr } = await cli.run(["model", "import", join(cli.dir, "iris")]);
    expect(code).toBe(1);
    expect(stderr).toContain("error: iris 0.0.1 could not be imported.\n  numpy==0.0.1 does not exist");
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
});

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

  test("predict on a stopped service names the way to start it", async () => {
    cli.server.addService("iris", cli.server.addModel("iris", "0.0.1"), "stopped");
    const { code, stderr } = await cli.run(["service", "predict", "iris", "-d", REQUEST]);
    expect(code).toBe(5);
    expect(stderr).toContain("next: Start it with `modelport service start`.");
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

describe("tokens", () => {
  test("are renewed from the stored password, kept, and used until shortly before they end", async () => {
    const first = await cli.run(["token"]);
    expect(cli.server.tokens.has(first.stdout.trim())).toBe(true);
    expect((await cli.run(["token"])).stdout).toBe(first.stdout);
    expect((await stat(cli.profilePath)).mode & 0o777).toBe(0o600);
    await cli.writeProfile({ token: first.stdout.trim(), expiresAt: Date.UTC(2026, 10, 23, 18, 31, 0) });
    expect((await cli.run(["token"])).stdout).not.toBe(first.stdout);
  });

  test("that are refused before their time are renewed once", async () => {
    await cli.writeProfile({ token: "revoked", expiresAt: Date.UTC(2027, 0, 1) });
    expect((await cli.run(["model", "list"])).code).toBe(0);
  });
});

describe("login", () => {
  test("keeps the token and not the password, and the administrator's profile beside it", async () => {
    const { code, stdout } = await cli.run(["login", "--user", "alice", "--password-stdin"], {
      stdin: `${cli.server.password}\n`,
    });
    expect([code, stdout.startsWith("You are alice in project default")]).toEqual([0, true]);
    const profile = json(await readFile(cli.profilePath, "utf8"));
    expect(profile).toMatchObject({ user: "alice", endpoint: cli.server.url });
    expect(profile).not.toHaveProperty("password");
    expect((await cli.run(["login", "--administrator"])).stdout).toBe("You are admin again.\n");
    expect(json(await readFile(cli.profilePath, "utf8"))).toHaveProperty("password");
  });

  test("says that a password is wrong and changes nothing", async () => {
    const before = await readFile(cli.profilePath, "utf8");
    const { code, stderr } = await cli.run(["login", "--password-stdin"], { stdin: "no" });
    expect([code, stderr.includes("The username or password is wrong.")]).toEqual([4, true]);
    expect(await readFile(cli.profilePath, "utf8")).toBe(before);
  });

  test("whoami tells user, project and endpoint", async () => {
    const { stdout } = await cli.run(["whoami"]);
    for (const part of ["admin", "modelport", "default", cli.server.url]) expect(stdout).toContain(part);
  });
});

describe("obs", () => {
  test("copies a folder there and back", async () => {
    expect((await cli.run(["obs", "cp", "-r", join(cli.dir, "iris"), "obs://b/x"])).stdout).toMatch(
      /^3 files copied/,
    );
    expect((await cli.run(["obs", "cp", "-r", "obs://b/x", join(cli.dir, "copy")])).code).toBe(0);
    expect(await readFile(join(cli.dir, "copy", "model", "iris.m"), "utf8")).toBe("weights");
    expect((await cli.run(["obs", "cp", "obs://b/x/model/iris.m", "-"])).stdout).toBe("weights");
    expect((await cli.run(["obs", "rm", "-r", "obs://b/x"])).stdout).toBe("3 objects deleted.\n");
    expect(cli.server.objects.size).toBe(0);
  });

  test("a folder needs -r, and rm -r of one name leaves its longer namesakes alone", async () => {
    expect((await cli.run(["obs", "cp", cli.dir, "obs://b/x"])).code).toBe(2);
    cli.server.objects.set("b/a/1", Buffer.from("x"));
    cli.server.objects.set("b/ab", Buffer.from("x"));
    await cli.run(["obs", "rm", "-r", "obs://b/a"]);
    expect([...cli.server.objects.keys()]).toEqual(["b/ab"]);
  });

  test("writes no object outside the folder it was told", async () => {
    cli.server.break("GET", /\/objects$/, {
      status: 200,
      body: {
        count: 1,
        objects: [{ key: "x/../../evil", size: 1, etag: "", modified_at: 0 }],
        prefixes: [],
        next: null,
      },
    });
    const { code, stderr } = await cli.run(["obs", "cp", "-r", "obs://b/x", join(cli.dir, "copy")]);
    expect([code, stderr.includes("leads out of")]).toEqual([1, true]);
  });
});

describe("the platform of this machine", () => {
  test("status fails with 7 when it is down", async () => {
    expect((await cli.run(["status"])).stdout).toContain("gateway");
    cli.isRunning = false;
    await cli.writeProfile({ endpoint: "http://127.0.0.1:1" });
    const { code, stderr } = await cli.run(["status"]);
    expect([code, stderr.includes("Modelport is not running.")]).toEqual([7, true]);
  });

  test("up serves until Ctrl-C and then stops what it started", async () => {
    cli.isRunning = false;
    const running = cli.run(["up"]);
    await expect.poll(() => cli.platformCalls).toEqual(["up"]);
    cli.interrupt.abort();
    expect((await running).code).toBe(0);
    expect(cli.platformCalls).toEqual(["up", "stop"]);
  });

  test("doctor fails when a probe does, and says what to do", async () => {
    cli.probes = [
      {
        name: "python",
        run: async () => ({ state: "failed", found: "not found", fix: "Install Python 3." }),
      },
    ];
    const { code, stdout } = await cli.run(["doctor"]);
    expect(code).toBe(1);
    expect(stdout).toContain("✗ python");
    expect(stdout).toContain("next: Install Python 3.");
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

describe("demo", () => {
  test("goes from nothing to an answer, and the second run says what it reused", async () => {
    cli.isRunning = false;
    const first = cli.run(["demo"]);
    await expect
      .poll(() => cli.server.requests.some(({ path }) => path.startsWith("/v1/infers/")))
      .toBe(true);
    cli.interrupt.abort();
    const { code, stdout } = await first;
    expect(code).toBe(0);
    expect(stdout).toMatch(/✓ Platform started at http/);
    expect(stdout).toMatch(/✓ AI application iris 0\.0\.1 imported from examples\/iris/);
    expect(stdout).toMatch(/✓ Service iris deployed/);
    expect(stdout).toContain('Answer:       {"data":{"resp_data":[{"predictresult":"setosa"}]}}');
    expect(stdout).toMatch(
      /curl -H 'Content-Type: application\/json' -H 'X-Auth-Token: MP1\.[^']+' -d '{.*}' http/,
    );
    expect(stdout).not.toContain("\u001b");
    expect(cli.platformCalls).toEqual(["up", "stop"]);

    cli.interrupt = new AbortController();
    cli.isRunning = true;
    const second = await cli.run(["demo"]);
    expect(second.stdout).toMatch(/Platform reused, it was running/);
    expect(second.stdout).toMatch(/iris 0\.0\.1 reused, the package is unchanged/);
    expect(second.stdout).toMatch(/Service iris reused/);
    expect(cli.server.models).toHaveLength(1);
    expect(cli.server.services).toHaveLength(1);
  });

  test("a changed package becomes a new version and the service is updated to it", async () => {
    await cli.run(["demo"]);
    await cli.writePackage("iris", { "model/iris.m": "other weights" });
    const { stdout } = await cli.run(["demo"]);
    expect(stdout).toMatch(/iris 0\.0\.2 imported/);
    expect(stdout).toMatch(/Service iris updated to version 0\.0\.2/);
  });

  test("leaves a service of the same name alone that runs something else", async () => {
    const mine = cli.server.addService("iris", cli.server.addModel("mine", "0.0.1"));
    const before = structuredClone(mine.config);
    expect((await cli.run(["demo"])).stdout).toMatch(/Service iris-demo deployed/);
    expect(mine.config).toEqual(before);
  });

  test("stops what it started when a step fails", async () => {
    cli.isRunning = false;
    cli.server.importEnds = { status: "failed", because: "no network" };
    const { code, stderr } = await cli.run(["demo"]);
    expect([code, stderr.includes("no network")]).toEqual([1, true]);
    expect(cli.platformCalls).toEqual(["up", "stop"]);
  });

  test("a failed probe ends it with what to do, before anything is started", async () => {
    cli.isRunning = false;
    cli.probes = [
      {
        name: "python",
        run: async () => ({ state: "failed", found: "not found", fix: "Install Python 3." }),
      },
    ];
    const { code, stderr } = await cli.run(["demo"]);
    expect(code).toBe(1);
    expect(stderr).toContain("python: not found");
    expect(stderr).toContain("next: Install Python 3.");
    expect(cli.platformCalls).toEqual([]);
  });
});

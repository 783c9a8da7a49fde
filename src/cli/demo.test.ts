/** The demo: what it does, what it says, what it reuses, and how it ends. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CliHarness } from "../../test/support/cli-harness.ts";

let cli: CliHarness;
beforeEach(async () => {
  cli = await new CliHarness().start();
});
afterEach(() => cli.stop());

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
    const { code, stdout, stderr } = await cli.run(["demo"]);
    expect([code, stdout]).toEqual([1, expect.stringContaining("✗ no network")]);
    expect(stderr).toContain("error: iris 0.0.1 could not be imported.");
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

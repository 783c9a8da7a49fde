/** The platform of this machine: up, down, status, doctor. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CliHarness } from "../../test/support/cli-harness.ts";

let cli: CliHarness;
beforeEach(async () => {
  cli = await new CliHarness().start();
});
afterEach(() => cli.stop());

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

  test("upgrade says which process runs now, and fails with 7 when there is nothing to upgrade", async () => {
    const { code, stdout } = await cli.run(["upgrade", "--json"]);
    expect([code, JSON.parse(stdout)]).toEqual([
      0,
      { url: cli.server.url, supervisor: { before: 41, after: 42 } },
    ]);
    cli.isRunning = false;
    const refused = await cli.run(["upgrade"]);
    expect([refused.code, refused.stderr.includes("Modelport is not running")]).toEqual([7, true]);
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

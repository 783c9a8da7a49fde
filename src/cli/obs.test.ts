/** Copying objects to and fro. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CliHarness } from "../../test/support/cli-harness.ts";

let cli: CliHarness;
beforeEach(async () => {
  cli = await new CliHarness().start();
});
afterEach(() => cli.stop());

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

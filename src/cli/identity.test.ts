/** Logging in, and tokens that renew themselves. */
import { readFile, stat } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CliHarness } from "../../test/support/cli-harness.ts";

let cli: CliHarness;
beforeEach(async () => {
  cli = await new CliHarness().start();
});
afterEach(() => cli.stop());

const json = (text: string): Record<string, unknown> => JSON.parse(text) as Record<string, unknown>;

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

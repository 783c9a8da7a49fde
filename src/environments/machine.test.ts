/** A machine with many interpreters runs what a runtime names; one with a single one says what stands in. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FakeClock } from "../../test/support/clock.ts";
import { PythonFetcher } from "./fetch-python.ts";
import { Interpreters } from "./interpreters.ts";
import { hasAccelerator } from "./machine.ts";
import { linesOfPython2 } from "./python2.ts";
import { runCommand } from "./command.ts";

let home = "";
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "modelport-machine-"));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

/** A file that says which version it is, in place of an interpreter. */
const install = (folder: string, name: string, version: string, more: { implementation?: string } = {}) => {
  mkdirSync(join(home, folder), { recursive: true });
  writeFileSync(join(home, folder, name), JSON.stringify({ version, implementation: "CPython", ...more }));
};

const open = (named: string | null = null) => {
  const probed: string[] = [];
  const interpreters = new Interpreters({
    named,
    environment: { HOME: home, PATH: [join(home, "shims"), join(home, "bin")].join(":") },
    fetched: join(home, "fetched"),
    probe: (program) => {
      const path = program.startsWith("/") ? program : join(home, "bin", program);
      probed.push(path);
      if (!path.startsWith(home)) return Promise.resolve({ code: 127, stdout: "", stderr: "" });
      let said: { version: string; implementation: string };
      try {
        said = JSON.parse(readFileSync(path, "utf8")) as typeof said;
      } catch {
        return Promise.resolve({ code: 127, stdout: "", stderr: "" });
      }
      const [major, minor] = said.version.split(".").map(Number);
      const stdout = JSON.stringify({
        ...said,
        command: path,
        executable: path,
        major,
        minor,
        platform: "x",
      });
      return Promise.resolve({ code: 0, stdout, stderr: "" });
    },
  });
  return { interpreters, probed };
};

test("finds the interpreters of version managers, uv and conda beside the machine's own, one of each minor", async () => {
  install("bin", "python3", "3.11.2");
  install("shims", "python3.7", "3.7.0");
  install(".pyenv/versions/3.6.15/bin", "python3.6", "3.6.15");
  install(".pyenv/versions/3.6.14/bin", "python3.6", "3.6.14");
  install(".pyenv/versions/2.7.18/bin", "python2.7", "2.7.18");
  install(".pyenv/versions/pypy/bin", "python3.9", "3.9.1", { implementation: "PyPy" });
  install(".local/share/uv/python/cpython-3.12/bin", "python3.12", "3.12.1");
  install("miniconda3/envs/old/bin", "python3.8", "3.8.5");
  install("fetched/cpython-3.10/bin", "python3.10", "3.10.1");
  const found = await open().interpreters.all();
  expect(found.map(({ minor }) => minor)).toEqual([11, 6, 8, 10, 12]);
  expect(found.every(({ executable }) => !executable.includes("shims"))).toBe(true);
});

test("a machine with one interpreter has that one, and one that is set is the only one", async () => {
  install("bin", "python3", "3.11.2");
  expect((await open().interpreters.all()).map(({ version }) => version)).toEqual(["3.11.2"]);
  install(".pyenv/versions/3.6.15/bin", "python3.6", "3.6.15");
  const { interpreters } = open(join(home, "bin/python3"));
  expect((await interpreters.all()).map(({ version }) => version)).toEqual(["3.11.2"]);
});

test("fetches an interpreter once for all who ask, and does not ask again for an hour after a failure", async () => {
  const clock = new FakeClock();
  const asked: string[] = [];
  const fetcher = new PythonFetcher({
    dir: home,
    isAllowed: true,
    clock,
    uv: (args) => {
      asked.push(args[2] ?? "");
      return Promise.resolve({ code: args[2] === "cpython-3.9" ? 0 : 1, stdout: "", stderr: "dns error" });
    },
  });
  expect(await Promise.all([fetcher.fetch(9), fetcher.fetch(9)])).toEqual([true, true]);
  expect([await fetcher.fetch(10), await fetcher.fetch(10), await fetcher.fetch(6)]).toEqual([
    false,
    false,
    false,
  ]);
  expect(asked).toEqual(["cpython-3.9", "cpython-3.10"]);
  expect(fetcher.fetchable()).not.toContain(10);
  await clock.advance(3_600_001);
  expect(fetcher.fetchable()).toContain(10);
});

test("gives up a fetch that lasts too long", async () => {
  const clock = new FakeClock();
  const fetcher = new PythonFetcher({
    dir: home,
    isAllowed: true,
    clock,
    uv: (_args, _env, signal) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      }),
  });
  const outcome = fetcher.fetch(9);
  await clock.advance(120_000);
  expect(await outcome).toBe(false);
});

test("fetches nothing where that is switched off", async () => {
  const uv = () => Promise.reject(new Error("must not be asked"));
  const fetcher = new PythonFetcher({ dir: home, isAllowed: false, clock: new FakeClock(), uv });
  expect(await fetcher.fetch(9)).toBe(false);
});

test("names each line that is not Python 3, and passes what both read", async () => {
  const run = (program: string, args: readonly string[]) =>
    runCommand(program, args, { cwd: "/", env: {}, signal: new AbortController().signal });
  writeFileSync(
    join(home, "customize_service.py"),
    'import os\nprint "a"\ntry:\n    pass\nexcept ValueError, e:\n    raise e\nif 1 <> 2:\n    exec "x = 1"\n',
  );
  writeFileSync(join(home, "both.py"), 'from __future__ import print_function\nprint("a")\n');
  const files = ["customize_service.py", "both.py"];
  const problems = await linesOfPython2(run, "/usr/bin/python3", { dir: home, files });
  expect(problems.map(({ path }) => path)).toEqual(
    [2, 5, 7, 8].map((line) => `customize_service.py:${line}`),
  );
  expect(problems[0]?.message).toContain('print "a"');
  expect(await linesOfPython2(run, "/usr/bin/python3", { dir: home, files: ["both.py"] })).toEqual([]);
});

test("builds for accelerators are for a machine that has one and grants one", async () => {
  const driver = import.meta.filename;
  const granted = [null, ["0"], []].map((devices) => hasAccelerator(devices, driver));
  expect(await Promise.all(granted)).toEqual([true, true, false]);
  expect(await hasAccelerator(null, join(home, "none"))).toBe(false);
});

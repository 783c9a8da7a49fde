/** `modelport run` as a process of its own, on a copy of the example: what its author does with it. */
import { mkdtempSync } from "node:fs";
import { cp, mkdtemp, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Platform, REPO, processesOf, until } from "../test/support/platform.ts";
import type { Ongoing } from "../test/support/platform.ts";

/** Holds the package and every temporary file, so that whatever is left of a run names it. */
const home = mkdtempSync(join(tmpdir(), "modelport-author-"));
// Never started: only its data directory and its way to start commands are used.
const platform = new Platform({ TMPDIR: home });
const folder = join(home, "iris");
let script = "";
let original = "";
let running: Ongoing;
let url = "";

const START = join(REPO, "src/start.js");
const run = (...args: string[]): Promise<Ongoing> =>
  platform.startUntil(process.execPath, [START, "run", folder, ...args], "Try it:");
const urlOf = ({ output }: Ongoing): string => /http:\/\/127\.0\.0\.1:\d+\//.exec(output())?.[0] ?? "";
const predict = async (): Promise<unknown> => {
  const body = await readFile(join(folder, "request.json"));
  const answer = await fetch(url, { method: "POST", body, headers: { "content-type": "application/json" } });
  return answer.json();
};
const species = (...names: string[]): unknown => ({
  data: { resp_data: names.map((predictresult) => ({ predictresult })) },
});
const answers = species("setosa", "versicolor", "virginica");

beforeAll(async () => {
  script = join(folder, "model", "customize_service.py");
  await cp(join(REPO, "examples", "iris"), folder, { recursive: true });
  original = await readFile(script, "utf8");
  running = await run("--port", "0");
  url = urlOf(running);
});
afterAll(async () => {
  running.pressCtrlC();
  await running.ended;
  await platform.stop();
  await rm(home, { recursive: true, force: true });
});

test("serves the folder, shows prints and requests, and takes a change without losing an answer", async () => {
  expect(await predict()).toEqual(answers);
  const changed = original.replace("list_data = []", 'list_data = []\n        print("seen by the author")');
  await writeFile(script, changed.replace('"predictresult": element', '"predictresult": element.upper()'));
  await until("the change to answer", async () => {
    const now = JSON.stringify(await predict());
    // One of the two versions, at any moment.
    expect(
      [answers, species("SETOSA", "VERSICOLOR", "VIRGINICA")].map((one) => JSON.stringify(one)),
    ).toContain(now);
    return now.includes("SETOSA");
  });
  await until("the print", () => running.output().includes("seen by the author"));
  expect(running.output()).toContain("reloaded in");
  expect(running.output()).toContain("POST / 200");
});

test("goes on with the old version while the new one cannot be loaded, and says why", async () => {
  const before = await predict();
  await writeFile(script, `${original}\nraise ValueError("broken on purpose")\n`);
  await until("the traceback", () => running.output().includes("The version before goes on answering"));
  expect(running.output()).toContain("ValueError: broken on purpose");
  expect(await predict()).toEqual(before);
  await writeFile(script, original);
  await until(
    "the repaired version",
    async () => JSON.stringify(await predict()) === JSON.stringify(answers),
  );
});

test("starts again by itself when its instance is ended from outside", async () => {
  const instances = (): readonly number[] =>
    processesOf(home)
      .filter((line) => line.includes(" modelserver --spec "))
      .map((line) => Number(line.split(" ")[0]));
  // Those of earlier versions have ended.
  await until("one instance", () => instances().length === 1);
  const [before = 0] = instances();
  process.kill(before, "SIGKILL");
  await until("another instance to answer", async () => {
    const answer = await predict().catch(() => null);
    return !instances().includes(before) && JSON.stringify(answer) === JSON.stringify(answers);
  });
  expect(running.output()).toContain("The instance was ended by SIGKILL.");
  expect(running.output()).toContain("It is started again by itself.");
  await until("it to be told", () => running.output().includes("started again in "));
});

test("goes on while the folder is away, and takes it up again when it is back", async () => {
  const away = join(folder, "away");
  await rename(join(folder, "model"), away);
  await until("it to be told", () => running.output().includes("model\n    cannot be read (ENOENT)"));
  expect(await predict()).toEqual(answers);
  await rename(away, join(folder, "model"));
  await until("it to be loaded", () => (running.output().match(/reloaded in /g) ?? []).length >= 3);
  expect(await predict()).toEqual(answers);
});

test("names every problem of a package at once, and a port that is taken", async () => {
  const broken = await mkdtemp(join(tmpdir(), "modelport-broken-"));
  await cp(join(REPO, "examples", "iris"), broken, { recursive: true });
  const config = await readFile(join(broken, "model", "config.json"), "utf8");
  await writeFile(
    join(broken, "model", "config.json"),
    config.replace('"post"', '"past"').replace('"f1": 0', '"f1": "x", "g": 0'),
  );
  await rm(join(broken, "model", "sklearn.m"));
  const refused = await platform.cli("run", broken, "--port", "0");
  await rm(broken, { recursive: true, force: true });
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("apis[0].method")]);
  expect(refused.stderr).toContain("metrics.f1");
  expect(refused.stderr).toContain("no model file");

  const other = createServer();
  await new Promise<void>((done) => other.listen(0, "127.0.0.1", done));
  const address = other.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const taken = await platform.cli("run", folder, "--port", String(port));
  await new Promise((done) => other.close(done));
  expect([taken.code, taken.stderr]).toEqual([
    5,
    expect.stringContaining(`Port ${port} of 127.0.0.1 is taken`),
  ]);
});

test("runs the package's own test in its environment", async () => {
  const { code, output } = await platform.cli("run", folder, "--", "python", "-m", "unittest");
  expect([code, output]).toEqual([0, expect.stringContaining("OK")]);
});

test("waits for no program that the package left running", async () => {
  const left = join(home, "left");
  const starts = `import subprocess\nwith open(${JSON.stringify(left)}, "w") as file:\n    file.write(str(subprocess.Popen(["sleep", "600"], start_new_session=True).pid))\n`;
  await cp(folder, join(home, "leaves"), { recursive: true });
  await writeFile(join(home, "leaves", "model", "customize_service.py"), starts + original);
  const command = [START, "run", join(home, "leaves"), "--port", "0"];
  const leaving = await platform.startUntil(process.execPath, command, "Try it:");
  const pid = Number(await readFile(left, "utf8"));
  leaving.pressCtrlC();
  try {
    await leaving.ended;
    expect(processesOf(home).some((line) => line.startsWith(`${pid} `))).toBe(true);
  } finally {
    process.kill(pid, "SIGKILL");
    await until("it to end", () => !processesOf(home).some((line) => line.startsWith(`${pid} `)));
  }
});

/** Marks of environments in use, temporary folders of instances, processes. */
const traces = async (): Promise<readonly string[]> => {
  const marks = await readdir(join(platform.dataDir, "environments", ".scratch"), { recursive: true });
  const folders = (await readdir(home)).filter((name) => name.startsWith("modelport-run-"));
  return [...processesOf(home), ...marks.filter((name) => name.endsWith("held.json")), ...folders];
};

test("leaves nothing behind when it is interrupted, and no process when it is killed", async () => {
  const before = await traces();
  const processes = processesOf(home);
  // Of the run that serves here: itself, its instance, its worker; the mark and the folder.
  expect(before).toHaveLength(5);
  const second = await run("--port", "0");
  expect((await traces()).length).toBe(10);
  second.pressCtrlC();
  expect(await second.ended).toBe(0);
  expect(second.output()).toContain("Stopped.");
  expect([...(await traces())].sort()).toEqual([...before].sort());

  const third = await run("--port", "0");
  const killed = processesOf(home).find(
    (line) => line.includes(START) && !processes.includes(line) && line.includes(" run "),
  );
  process.kill(Number(killed?.split(" ")[0]), "SIGKILL");
  await third.ended;
  await until("its instance and its worker to end", () => processesOf(home).length === processes.length);
});

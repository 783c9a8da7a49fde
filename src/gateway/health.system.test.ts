/** Two instances as processes of their own behind a gateway; one is stopped, continued and killed under load. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../telemetry/clock.ts";
import { createWorld, group, service, until } from "./world.fixture.ts";
import type { Answer } from "./transports.fixture.ts";
import type { World } from "./world.fixture.ts";

const PROGRAM = `
  require("node:http").createServer({ keepAliveTimeout: 0 }, (request, response) => {
    if (request.url === "/health") return response.end();
    setTimeout(() => response.end(process.argv[1]), 2);
  }).listen(0, "127.0.0.1", function () { console.log(this.address().port); });
  process.stdin.on("end", () => process.exit()).resume();`;

let world: World;
const children: ChildProcess[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  await world.close();
});

const startInstance = async (name: string): Promise<{ child: ChildProcess; url: string }> => {
  const child = spawn(process.execPath, ["-e", PROGRAM, name], { stdio: ["pipe", "pipe", "inherit"] });
  children.push(child);
  const [port] = (await once(child.stdout, "data")) as [Buffer];
  return { child, url: `http://127.0.0.1:${port.toString().trim()}` };
};

test("a stopped instance gets no request once its probes went unanswered, loses none, and gets its share when it goes on", async () => {
  world = await createWorld({ predictTimeoutMs: 60_000 });
  const [a, b] = [await startInstance("a"), await startInstance("b")];
  const one = service([group([a.url, b.url], { concurrency: 8 })]);
  await world.control.acknowledged(world.control.publish({ services: [one] }));
  const call = (): Promise<Answer> => world.call(`/v1/infers/${one.id}`, { body: "{}" });
  const names = async (count: number): Promise<Set<string>> =>
    new Set((await Promise.all(Array.from({ length: count }, call))).map((answer) => answer.body.toString()));
  expect(await names(8)).toEqual(new Set(["a", "b"]));

  a.child.kill("SIGSTOP");
  const held: { readonly answer: Promise<Answer>; isOver: boolean }[] = [];
  // Load goes on until ten rounds in a row have gone to the other instance alone. One may do so by chance: while the one
  // that stands has more in hand, the other is the less loaded.
  for (let rounds = 0; rounds < 10;) {
    const round = Array.from({ length: 6 }, () => {
      const entry = { answer: call(), isOver: false };
      void entry.answer.then(() => (entry.isOver = true));
      return entry;
    });
    held.push(...round);
    const isOver = Promise.all(round.map(({ answer }) => answer)).then(() => true);
    rounds = (await Promise.race([isOver, systemClock.sleep(500).then(() => false)])) ? rounds + 1 : 0;
  }
  // What a round did not wait for may be slow and not stuck: only the eight slots of the one that stands can hold.
  const stuck = () => held.filter(({ isOver }) => !isOver);
  await until(() => stuck().length <= 8);
  expect(stuck().length).toBeGreaterThan(0);
  for (let n = 0; n < 10; n += 1) expect(await names(6)).toEqual(new Set(["b"]));

  a.child.kill("SIGCONT");
  const answers = await Promise.all(held.map(({ answer }) => answer));
  expect(answers.every(({ status }) => status === 200)).toBe(true);
  let seen = new Set<string>();
  while (!seen.has("a")) seen = await names(6);
});

test("a killed instance fails only what it had; nobody else hears of it", async () => {
  world = await createWorld();
  const [a, b] = [await startInstance("a"), await startInstance("b")];
  const one = service([group([a.url, b.url])]);
  await world.control.acknowledged(world.control.publish({ services: [one] }));
  const call = (): Promise<Answer> => world.call(`/v1/infers/${one.id}`, { body: "{}" });
  await Promise.all(Array.from({ length: 8 }, call));
  a.child.kill("SIGKILL");
  await once(a.child, "exit");
  // It had nothing in flight. What is chosen for it is refused on connecting and goes to the other.
  for (let n = 0; n < 40; n += 1) {
    const answer = await call();
    expect([answer.status, answer.body.toString()]).toEqual([200, "b"]);
  }
  await until(() => world.records.length >= 48);
  expect(world.records.filter(({ attempts }) => attempts > 1).length).toBeLessThanOrEqual(2);
});

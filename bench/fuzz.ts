/**
 * The long fuzz of the gateway's HTTP: `node bench/fuzz.ts [requests] [first seed]`, 200,000 mutated requests and a fifth
 * as many mutated answers when nothing is said. Prints what it did and every finding with its seed; fails when there is
 * one. The texts of bench/fuzz.txt are its output. What is looked for is in test/fuzz/http/run.ts.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createWorld } from "../src/gateway/world.fixture.ts";
import { answerCase, requestCase } from "../test/fuzz/http/mutate.ts";
import {
  closeLanes,
  isAlive,
  newTally,
  onLanes,
  openLanes,
  tryAnswer,
  tryCase,
} from "../test/fuzz/http/run.ts";
import type { Tally } from "../test/fuzz/http/run.ts";

const [wanted = "200000", firstSeed = "1"] = process.argv.slice(2);
const LANES = 16;
const CASES_PER_SEED = 20_000;
const ANSWERS_PER_SEED = 4_000;
const ALIVE_EVERY = 1_000;

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void;

interface State {
  readonly heapMb: number;
  readonly rssMb: number;
  readonly handles: number;
}
/** What the process holds once everything in flight is over. */
const state = async (): Promise<State> => {
  for (let n = 0; n < 5; n += 1) {
    await new Promise((resolve) => setTimeout(resolve, 400));
    gc();
  }
  const { heapUsed, rss } = process.memoryUsage();
  const handles = process.getActiveResourcesInfo().filter((name) => name.startsWith("TCP")).length;
  return { heapMb: Math.round(heapUsed / 2 ** 20), rssMb: Math.round(rss / 2 ** 20), handles };
};

const crashes: string[] = [];
process.on("uncaughtException", (error) => crashes.push(`uncaught: ${error.stack ?? error.message}`));
process.on("unhandledRejection", (error) => crashes.push(`unhandled: ${String(error)}`));

const sorted = (map: ReadonlyMap<string | number, number>): string =>
  [...map]
    .toSorted(([, a], [, b]) => b - a)
    .map(([key, n]) => `${key}: ${n}`)
    .join(", ");

const requestsWorld = await createWorld({ predictTimeoutMs: 5_000 });
const lanes = await openLanes(requestsWorld, LANES);
const answersWorld = await createWorld({ predictTimeoutMs: 500 });
const answerLanes = await openLanes(answersWorld, LANES);
const requests = newTally();
const answers = newTally();
const startedAt = performance.now();
const seeds: number[] = [];
const states: State[] = [];

for (let seed = Number(firstSeed); requests.requests < Number(wanted); seed += 1) {
  seeds.push(seed);
  await onLanes(lanes, CASES_PER_SEED, async (lane, n) => {
    await tryCase(
      requestsWorld.port,
      lane,
      requestCase(seed, n, lane.aim),
      `seed ${seed} case ${n}`,
      requests,
    );
    if (n % ALIVE_EVERY === 0 && !(await isAlive(requestsWorld.port, lane.aim))) {
      requests.findings.push({
        what: "a plain request is not answered",
        from: `seed ${seed} case ${n}`,
        text: "",
      });
    }
  });
  await onLanes(answerLanes, ANSWERS_PER_SEED, (lane, n) =>
    tryAnswer(answersWorld.port, lane, answerCase(seed, n), `seed ${seed} answer ${n}`, answers),
  );
  requestsWorld.records.length = 0;
  answersWorld.records.length = 0;
  states.push(await state());
  const found = requests.findings.length + answers.findings.length;
  process.stderr.write(`seed ${seed}: ${requests.requests} requests, ${found} findings\n`);
}
const seconds = (performance.now() - startedAt) / 1000;

const report = (name: string, tally: Tally): void => {
  console.log(`\n${name}`);
  console.log(`  connections ${tally.cases}, requests ${tally.requests}, forwarded ${tally.forwarded}`);
  console.log(
    `  answers by status: ${sorted(tally.statuses)}; ended without an answer ${tally.closedWithoutAnswer}`,
  );
  console.log(`  findings ${tally.findings.length}`);
  for (const { what, from, text } of tally.findings.slice(0, 20)) {
    console.log(`    ${from}: ${what}\n      ${JSON.stringify(text.slice(0, 1_000))}`);
  }
};
console.log(
  `Fuzz of the gateway's HTTP, Node ${process.version}, llhttp ${process.versions["llhttp"] ?? "?"}`,
);
console.log(
  `seeds ${seeds[0] ?? ""}..${seeds.at(-1) ?? ""}, ${seconds.toFixed(0)} s, ${LANES} connections at a time`,
);
report("Mutated requests", requests);
console.log(`  forwarded where llhttp refuses: ${sorted(requests.beyondLlhttp) || "none"}`);
console.log(`  refused with 400 where llhttp takes all: ${requests.strictThanLlhttp}`);
report("Mutated answers", answers);
console.log(`\ncrashes ${crashes.length}`);
for (const crash of crashes.slice(0, 5)) console.log(`  ${crash}`);
console.log("after each seed (gateway, instances and fuzz in one process)");
for (const [n, { heapMb, rssMb, handles }] of states.entries()) {
  console.log(`  seed ${seeds[n] ?? ""}: heap ${heapMb} MB, resident ${rssMb} MB, sockets ${handles}`);
}
await closeLanes([...lanes, ...answerLanes]);
await requestsWorld.close();
await answersWorld.close();
process.exitCode = requests.findings.length + answers.findings.length + crashes.length === 0 ? 0 : 1;

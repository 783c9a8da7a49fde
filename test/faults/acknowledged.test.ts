/**
 * No acknowledged write is lost. Control is killed with SIGKILL at random moments while callers write through its API;
 * after every restart everything that was answered is there, nothing that was refused is half there, and what was not
 * answered is there whole or not at all. Instances exist in memory only, so a round costs what control's start costs.
 *
 *   ACKNOWLEDGED_KILLS=1000    how many kills on SQLite (40 without it) and, a quarter of it, on PostgreSQL
 *   ACKNOWLEDGED_SEED=7        the choices of an earlier run (the moments of the kills depend on the machine too)
 *   ACKNOWLEDGED_REPORT=FILE   appends what the run came to; bench/acknowledged.txt was made with it
 */
import { appendFileSync } from "node:fs";
import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Actor } from "../support/acknowledged/belief.ts";
import { createDice } from "../support/acknowledged/dice.ts";
import { projectActor, userActor } from "../support/acknowledged/identity.ts";
import { modelActor } from "../support/acknowledged/models.ts";
import { BUCKET, bucketActor, noScratch, objectActor } from "../support/acknowledged/objects.ts";
import { checkRows } from "../support/acknowledged/rows.ts";
import { serviceActor } from "../support/acknowledged/services.ts";
import { World } from "../support/acknowledged/world.ts";
import { startPostgres } from "../support/postgres.ts";
import type { TestPostgres } from "../support/postgres.ts";
import { until } from "../support/until.ts";

const KILLS = Number(process.env["ACKNOWLEDGED_KILLS"] ?? 40);
const SEED = Number(process.env["ACKNOWLEDGED_SEED"] ?? Math.floor(Math.random() * 1e9));
const REPORT = process.env["ACKNOWLEDGED_REPORT"];
/** Longest time that callers go on before a kill. */
const ROUND_MS_MAX = 400;

const WARM_MS_MAX = 3000;

const run = async (database: string, databaseUrl: string | null, kills: number): Promise<void> => {
  const began = performance.now();
  const dice = createDice(SEED);
  const world = new World(databaseUrl);
  let keep = true;
  try {
    await world.prepare();
    await world.client.call("PUT", `/v1/${world.project}/buckets/${BUCKET}`);
    await world.client.call(
      "PUT",
      `/v1/${world.project}/buckets/${BUCKET}/objects/package/model/config.json`,
      {
        pieces: [Buffer.from("{}")],
      },
    );
    const services = Array.from({ length: 4 }, (_, i) =>
      serviceActor(world, createDice(SEED + 100 + i), `svc-${i}`, i === 3),
    );
    const actors: readonly Actor[] = [
      ...services,
      ...Array.from({ length: 4 }, (_, i) => modelActor(world, createDice(SEED + 200 + i), `m${i}`)),
      ...["flat", "deep/er/one", "deep/er/two", "deep/other", "Ünï cöde", `long/${"x".repeat(300)}`].map(
        (key, i) =>
          objectActor(world, createDice(SEED + 300 + i), key.split("/").map(encodeURIComponent).join("/")),
      ),
      bucketActor(world, createDice(SEED + 400), "comes-and-goes"),
      ...Array.from({ length: 3 }, (_, i) => userActor(world, createDice(SEED + 500 + i), `user-${i}`)),
      projectActor(world, createDice(SEED + 600)),
    ];
    while (world.kills < kills) {
      const round = new AbortController();
      const isOver = new Promise<void>((resolve) => round.signal.addEventListener("abort", () => resolve()));
      // At once after an answer is when a write that was answered too early is lost.
      const answers = dice.chance(0.4) ? dice.whole(1, 120) : Infinity;
      // Not before some calls were answered: a cold process would be killed before it has done anything.
      const least = dice.whole(0, 20);
      const warm = Promise.withResolvers<void>();
      let seen = 0;
      world.client.onAnswer = () => {
        seen += 1;
        if (seen >= least) warm.resolve();
        if (seen >= answers) round.abort();
      };
      const working = actors.map(async (actor) => {
        while (!round.signal.aborted && !world.client.isLost) await actor.step();
      });
      const all = Promise.all(working);
      await Promise.race([isOver, warm.promise, sleep(WARM_MS_MAX), all]);
      await Promise.race([isOver, sleep(dice.whole(0, ROUND_MS_MAX)), all]);
      const killed = world.kill();
      round.abort();
      await killed;
      await all;
      // Killed while it starts, too.
      if (dice.chance(0.15)) {
        await world.begin();
        await sleep(dice.whole(0, 150));
        await world.kill();
      }
      await world.start();
      noScratch(world);
      await checkRows(world);
      await Promise.all(actors.map((actor) => actor.check()));
    }
    for (const actor of services) {
      await until("the services to be as the last answers said", async () => {
        const wrong = await actor.final();
        if (wrong !== null) throw new Error(wrong);
        return true;
      });
    }
    await checkRows(world);
    await Promise.all(actors.map((actor) => actor.check()));
    keep = false;
    report(database, world, (performance.now() - began) / 1000);
  } catch (error) {
    throw new Error(`seed ${SEED}, after ${world.kills} kills, data in ${world.dataDir}: ${String(error)}`, {
      cause: error,
    });
  } finally {
    await world.close({ keep });
  }
};

const report = (database: string, world: World, seconds: number): void => {
  const { acknowledged, refused, unanswered } = world.tally;
  expect(acknowledged).toBeGreaterThan(0);
  if (REPORT === undefined) return;
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? "CPU"}, Node ${process.version}`;
  appendFileSync(
    REPORT,
    `${database}: kills ${world.kills}, writes acknowledged ${acknowledged}, refused ${refused}, ` +
      `unanswered ${unanswered}, acknowledged and lost 0, half there 0; seed ${SEED}, ${seconds.toFixed(0)} s, ${machine}\n`,
  );
};

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.stop());

test(
  "keeps every acknowledged write on SQLite, wherever control is killed",
  () => run("SQLite", null, KILLS),
  Math.max(180_000, KILLS * 5000),
);

test(
  "keeps every acknowledged write on PostgreSQL, wherever control is killed",
  async () => run("PostgreSQL", await postgres.createDatabase(), Math.ceil(KILLS / 4)),
  Math.max(180_000, KILLS * 5000),
);

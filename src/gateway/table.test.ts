import { expect, test } from "vitest";
import type { GroupRoute, RoutingTable } from "../core/routing-table.ts";
import type { InstanceState } from "./admit.ts";
import { FRESH } from "./health-state.ts";
import { Shared } from "./shared.ts";
import { Table } from "./table.ts";
import { group, service } from "./world.fixture.ts";

const ignore = (): void => undefined;
const THREADS = 2;

/** The tables of two threads; `ring` of one calls the other at once. */
const createTables = (): [first: Table, second: Table] => {
  const tables: Table[] = [];
  class Rung extends Shared {
    override ring(thread: number): void {
      tables[thread]?.wake();
    }
  }
  let memory: Shared["memory"] | undefined;
  for (let thread = 0; thread < THREADS; thread += 1) {
    const shared = new Rung({ threads: THREADS, thread, ...(memory === undefined ? {} : { memory }) });
    memory = shared.memory;
    tables.push(
      new Table({
        timer: { after: () => ({ cancel: ignore }) },
        monotonicMs: () => 0,
        shared,
        watch: () => ({ hurry: ignore, stop: ignore }),
      }),
    );
  }
  const [first, second] = tables;
  if (first === undefined || second === undefined) throw new Error("two tables were made");
  return [first, second];
};

let version = 0;
const tableOf = (...groups: readonly GroupRoute[]): RoutingTable => ({
  version: (version += 1),
  identity: { keys: {}, revokedTokens: [], refusedUsers: {} },
  services: [service(groups, { id: "s" })],
});

const route = group(["http://10.0.0.1:8000"], { id: "g", concurrency: 1, queueMax: 10 });
const open = (table: Table) => {
  const state = table.service("s")?.choose() ?? null;
  if (state === null) throw new Error("the service takes requests");
  return state;
};

test.for(["in the same thread", "in the other thread"])(
  "a slot taken before its group left the table lets in who waits once the group is back, %s",
  (where) => {
    const [here, other] = createTables();
    for (const table of [other, here]) table.apply(tableOf(route));
    const before = open(here);
    const slot = before.take();
    for (const groups of [[], [route]]) for (const table of [other, here]) table.apply(tableOf(...groups));
    const admitted: InstanceState[] = [];
    const back = open(where === "in the same thread" ? here : other);
    expect(back.take()).toBeNull();
    expect(back.wait({ admitted: (one) => admitted.push(one), rerouted: ignore, expired: ignore })).toBe(
      true,
    );
    expect(admitted).toHaveLength(0);
    if (slot !== null) before.release(slot, 1);
    expect(admitted).toHaveLength(1);
  },
);

test("a slot given back while its thread does not know yet that the group is back lets in who waits in another", () => {
  const [here, other] = createTables();
  for (const table of [other, here]) table.apply(tableOf(route));
  const before = open(here);
  const slot = before.take();
  for (const table of [other, here]) table.apply(tableOf());
  const back = tableOf(route);
  other.apply(back);
  const admitted: InstanceState[] = [];
  open(other).wait({ admitted: (one) => admitted.push(one), rerouted: ignore, expired: ignore });
  if (slot !== null) before.release(slot, 1);
  here.apply(back);
  expect(admitted).toHaveLength(1);
});

test("what another thread learns of an instance before the first one knows it does not outlast the first one's belief", () => {
  const [first, second] = createTables();
  const next = tableOf(route);
  second.apply(next);
  const key = open(second).instances[0]?.key ?? "";
  const instance = second.instance(key);
  instance?.failed("dial");
  expect(instance?.health.is).toBe("out");
  instance?.believe(first.hear(key, { kind: "failed", how: "dial" }));
  first.apply(next);
  expect(instance?.health).toEqual(FRESH);
  expect(first.instance(key)?.health).toEqual(FRESH);
});

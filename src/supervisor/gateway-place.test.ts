import { expect, test } from "vitest";
import { GatewayPlace } from "./gateway-place.ts";
import type { PlaceRole } from "./gateway-place.ts";

/** A role whose process comes and goes as the test says. */
class FakeRole implements PlaceRole {
  identity: PlaceRole["identity"] = null;
  restarts = 0;
  endedHow: string | null = null;
  readonly leave: () => void;
  readonly #pid: number;
  readonly #ready = Promise.withResolvers<void>();
  readonly #gone = Promise.withResolvers<void>();

  constructor(pid: number, leave: () => void) {
    this.#pid = pid;
    this.leave = leave;
  }

  start(): Promise<void> {
    this.identity = { pid: this.#pid, startedAt: "then" };
    return this.#ready.promise;
  }

  startInTheEnd(): Promise<void> {
    return this.start();
  }

  ready(): void {
    this.#ready.resolve();
  }

  gone(): void {
    this.identity = null;
    this.#gone.resolve();
  }

  end(how: "stop" | "retire"): Promise<void> {
    this.endedHow = how;
    // As the role does: whoever waits for its start waits no longer.
    this.#ready.resolve();
    return this.identity === null ? Promise.resolve() : this.#gone.promise;
  }
}

const setUp = async (): Promise<{ place: GatewayPlace; roles: FakeRole[]; first: FakeRole }> => {
  const roles: FakeRole[] = [];
  const create = (onLeaving: () => void): FakeRole => {
    const role = new FakeRole(roles.length + 1, onLeaving);
    roles.push(role);
    return role;
  };
  const nothing = (): void => undefined;
  const place = new GatewayPlace({ create, graceMs: 1000, onStep: nothing, onChange: nothing });
  const started = place.start();
  const first = nth(roles, 1);
  first.ready();
  await started;
  return { place, roles, first };
};

const nth = (roles: readonly FakeRole[], n: number): FakeRole => {
  const role = roles[n - 1];
  if (role === undefined) throw new Error(`there is no gateway ${n}`);
  return role;
};

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const pids = (place: GatewayPlace): unknown => [place.identity?.pid, place.beside.map(({ pid }) => pid)];

test("a gateway that leaves keeps its place until the next is ready, and is retired only then", async () => {
  const { place, roles, first } = await setUp();
  first.leave();
  await turn();
  expect(pids(place)).toEqual([1, [2]]);
  expect(first.endedHow).toBeNull();
  nth(roles, 2).ready();
  await turn();
  expect(pids(place)).toEqual([2, [1]]);
  expect(first.endedHow).toBe("retire");
  first.gone();
  await turn();
  expect(pids(place)).toEqual([2, []]);
  expect(place.restarts).toBe(1);
});

test("asking twice starts one, and the one that came may leave in its turn", async () => {
  const { place, roles, first } = await setUp();
  first.leave();
  first.leave();
  nth(roles, 2).ready();
  await turn();
  first.leave();
  expect(roles).toHaveLength(2);
  nth(roles, 2).leave();
  nth(roles, 3).ready();
  await turn();
  expect(pids(place)).toEqual([3, [1, 2]]);
  expect(place.restarts).toBe(2);
});

test("restarts of one that died while it left stay counted", async () => {
  const { place, roles, first } = await setUp();
  first.leave();
  first.restarts = 1;
  expect(place.restarts).toBe(1);
  nth(roles, 2).ready();
  await turn();
  expect(place.restarts).toBe(2);
});

test("an end ends the one that comes and those that go as well, and starts no other", async () => {
  const { place, roles, first } = await setUp();
  first.leave();
  nth(roles, 2).ready();
  await turn();
  nth(roles, 2).leave();
  const ended = place.end("stop", 1000);
  nth(roles, 2).leave();
  expect(roles.map(({ endedHow }) => endedHow)).toEqual(["stop", "stop", "stop"]);
  for (const role of roles) role.gone();
  await ended;
  await turn();
  expect(roles).toHaveLength(3);
  expect(pids(place)).toEqual([undefined, []]);
});

/** Callers that deploy, change, scale, stop, start and delete services, two at a time where the API can. */
import { Belief } from "./belief.ts";
import type { Actor } from "./belief.ts";
import type { Answered } from "./client.ts";
import type { Dice } from "./dice.ts";
import type { World } from "./world.ts";

interface ServiceState {
  readonly id: string | null;
  readonly description: string;
  /** The configuration in one text. */
  readonly config: string;
  readonly runs: boolean;
  /** The configurations of the update history, newest first. */
  readonly history: readonly string[];
}

/** An actor has two services; null: it does not exist, or is being deleted. */
type Pair = readonly [ServiceState | null, ServiceState | null];

interface Entry {
  readonly model_id: string;
  readonly weight: number;
  readonly instance_count: number;
  readonly envs: Readonly<Record<string, string>>;
}

const textOf = (config: readonly Entry[]): string =>
  JSON.stringify(config.map(({ model_id: id, weight, instance_count: n, envs }) => [id, weight, n, envs]));

const isBroken = (config: string): boolean => config.includes('"BREAK":"yes"');

const sameService = (believed: ServiceState | null, seen: ServiceState | null): boolean => {
  if (believed === null || seen === null) return believed === seen;
  const shown =
    believed.config === seen.config ||
    // What cannot start is rolled back to what served before it.
    (isBroken(believed.config) && believed.history.includes(seen.config) && !isBroken(seen.config));
  return (
    (believed.id === null || believed.id === seen.id) &&
    believed.description === seen.description &&
    believed.runs === seen.runs &&
    shown &&
    JSON.stringify(believed.history) === JSON.stringify(seen.history)
  );
};

export const serviceActor = (
  world: World,
  dice: Dice,
  name: string,
  breaks: boolean,
): Actor & { final(): Promise<string | null> } => {
  const names = [`${name}-a`, `${name}-b`] as const;
  const belief = new Belief<Pair>(
    `services ${name}`,
    [null, null],
    (a, b) => sameService(a[0], b[0]) && sameService(a[1], b[1]),
  );
  let count = 0;
  const root = (): string => `/v1/${world.project}/services`;
  const path = (service: ServiceState): string => `${root()}/${service.id}`;

  const configOf = (): readonly Entry[] => {
    const envs = {
      MARK: String((count += 1)),
      ...(breaks && dice.chance(0.3) ? { BREAK: "yes" } : {}),
    };
    const [a = "", b = ""] = dice.chance(0.5) ? world.models : world.models.toReversed();
    const one = { weight: 100, specification: "modelarts.vm.cpu.2u", instance_count: dice.whole(1, 3), envs };
    return dice.chance(0.6)
      ? [{ ...one, model_id: a }]
      : [
          { ...one, model_id: a, weight: 30 },
          { ...one, model_id: b, weight: 70 },
        ];
  };

  const become = (
    which: 0 | 1,
    what: string,
    answer: Answered | null,
    after: ServiceState | null,
    allowed: readonly number[] = [200, 400],
  ): void => {
    belief.note(
      `${names[which]} ${what}: ${answer?.status} ${answer !== null && answer.status >= 400 ? answer.bytes.toString() : ""}`,
    );
    const pair: Pair = which === 0 ? [after, belief.state[1]] : [belief.state[0], after];
    if (answer === null) belief.maybe(pair);
    else if (!allowed.includes(answer.status))
      throw new Error(`${names[which]} ${what} was answered ${answer.status}: ${answer.bytes.toString()}`);
    else if (answer.status === 200) belief.know(pair);
  };

  const create = async (which: 0 | 1): Promise<void> => {
    const entries = configOf();
    const config = textOf(entries);
    const description = `made ${count}`;
    const answer = await world.client.call("POST", root(), {
      body: { service_name: names[which], infer_type: "real-time", description, config: entries },
    });
    const id: string | null = answer?.status === 200 ? answer.body.service_id : null;
    // 409: the one before is still being deleted.
    become(
      which,
      `create ${count}`,
      answer,
      { id, description, config, runs: true, history: [config] },
      [200, 409],
    );
  };

  const update = async (which: 0 | 1, service: ServiceState): Promise<void> => {
    const entries = configOf();
    const config = textOf(entries);
    const also = dice.chance(0.3) ? { description: `changed ${count}` } : {};
    const answer = await world.client.call("PUT", path(service), { body: { config: entries, ...also } });
    become(which, `configure ${count}`, answer, {
      ...service,
      ...also,
      config,
      runs: true,
      history: [config, ...service.history],
    });
  };

  const change = async (which: 0 | 1, service: ServiceState): Promise<void> => {
    const what = dice.next();
    if (what < 0.3) return update(which, service);
    if (what < 0.5) {
      const description = `described ${(count += 1)}`;
      const answer = await world.client.call("PUT", path(service), { body: { description } });
      return become(which, `describe ${count}`, answer, { ...service, description });
    }
    if (what < 0.62) {
      const answer = await world.client.call("PUT", path(service), { body: { status: "stopped" } });
      return become(which, "stop", answer, { ...service, runs: false });
    }
    if (what < 0.75) {
      const answer = await world.client.call("PUT", path(service), { body: { status: "running" } });
      // A failed one that is started again is a new revision of the same configuration; only these fail.
      if (breaks && answer !== null && answer.status === 200) {
        const shown = await see(which);
        if (shown === "unanswered" || shown === null) return remember(which, service, answer);
        return become(which, "start", answer, shown);
      }
      if (breaks && answer === null) return remember(which, service, null);
      return become(which, "start", answer, { ...service, runs: true });
    }
    if (what < 0.88 && !breaks) {
      const entries = (JSON.parse(service.config) as [string, number, number, Record<string, string>][]).map(
        ([model_id, weight, instance_count, envs]) => ({ model_id, weight, instance_count, envs }),
      );
      const n = dice.whole(1, 3);
      if (entries[0] === undefined || entries[0].instance_count === n) return;
      const config = textOf(entries.with(0, { ...entries[0], instance_count: n }));
      const after = { ...service, config, runs: true, history: [config, ...service.history] };
      const answer = dice.chance(0.5)
        ? await world.client.call("PUT", `${path(service)}/property`, {
            body: {
              changed_property: "instance_count",
              configs: [{ model_id: entries[0].model_id, changed_value: n }],
            },
          })
        : await world.client.call("PATCH", path(service), {
            body: [{ op: "replace", path: "/config/0/instance_count", value: n }],
          });
      return become(which, `scale to ${n}`, answer, after);
    }
    const answer = await world.client.call("DELETE", path(service));
    return become(which, "delete", answer, null);
  };

  /** After a start that may or may not have made a revision, both are possible. */
  const remember = (which: 0 | 1, service: ServiceState, answer: Answered | null): void => {
    belief.note(`${names[which]} start: ${answer?.status}, not looked at`);
    const stays = belief.state;
    const put = (after: ServiceState): Pair => (which === 0 ? [after, stays[1]] : [stays[0], after]);
    const plain = put({ ...service, runs: true });
    const again = put({ ...service, runs: true, history: [service.config, ...service.history] });
    if (answer === null) belief.maybe(plain);
    else belief.know(plain);
    belief.maybe(again);
  };

  const removeBoth = async (a: ServiceState, b: ServiceState): Promise<void> => {
    const answer = await world.client.call("DELETE", `${root()}/${a.id},${b.id}`);
    belief.note(`delete both: ${answer?.status}`);
    if (answer === null) belief.maybe([null, null]);
    else if (answer.status === 200) belief.know([null, null]);
    else throw new Error(`both of ${name} could not be deleted: ${answer.bytes.toString()}`);
  };

  const see = async (which: 0 | 1): Promise<ServiceState | null | "unanswered"> => {
    const list = await world.client.call("GET", `${root()}?service_name=${names[which]}`);
    if (list === null) return "unanswered";
    const [item] = list.body.services as { service_id: string; status: string }[];
    if (item === undefined || item.status === "deleting") return null;
    const [now, logs] = await Promise.all([
      world.client.call("GET", `${root()}/${item.service_id}`),
      world.client.call("GET", `${root()}/${item.service_id}/logs`),
    ]);
    if (now === null || logs === null || now.status !== 200 || logs.status !== 200) return "unanswered";
    return {
      id: item.service_id,
      description: now.body.description,
      config: textOf(now.body.config),
      runs: !["stopping", "stopped"].includes(now.body.status),
      history: (logs.body.logs as { config: Entry[] }[]).map((log) => textOf(log.config)),
    };
  };

  return {
    step: async () => {
      const [a, b] = belief.state;
      if (a !== null && b !== null && a.id !== null && b.id !== null && dice.chance(0.12))
        return removeBoth(a, b);
      const which = dice.chance(0.5) ? 0 : 1;
      const service = belief.state[which];
      if (service === null) return create(which);
      if (service.id !== null) return change(which, service);
    },
    check: async () => {
      const [a, b] = [await see(0), await see(1)];
      if (a !== "unanswered" && b !== "unanswered") belief.settle([a, b]);
    },
    /** Null once everything is where the last answered calls want it; else what is not. */
    final: async () => {
      for (const which of [0, 1] as const) {
        const list = await world.client.call("GET", `${root()}?service_name=${names[which]}`);
        const [item] = (list?.body.services ?? []) as { service_id: string; status: string }[];
        const service = belief.state[which];
        if (service === null) {
          if (item !== undefined) return `${names[which]} is ${item.status} and should be gone`;
          continue;
        }
        const wanted = !service.runs ? ["stopped"] : breaks ? ["running", "failed"] : ["running"];
        if (item === undefined || !wanted.includes(item.status))
          return `${names[which]} is ${item?.status} and should be ${wanted.join(" or ")}`;
      }
      return null;
    },
  };
};

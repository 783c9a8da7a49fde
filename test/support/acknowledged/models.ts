/**
 * Callers that make versions of AI applications and delete them, one by one and all of a name at once. The package is a
 * bad one, so an import ends soon and builds nothing.
 */
import { Belief } from "./belief.ts";
import type { Actor } from "./belief.ts";
import type { Dice } from "./dice.ts";
import { BUCKET } from "./objects.ts";
import type { World } from "./world.ts";

interface VersionView {
  readonly model_id: string;
  readonly model_version: string;
  readonly model_status: string;
}

/** The versions of one name: each `version description`, sorted. */
export const modelActor = (world: World, dice: Dice, name: string): Actor => {
  const belief = new Belief<readonly string[]>(
    `AI application ${name}`,
    [],
    (a, b) => JSON.stringify(a) === JSON.stringify(b),
  );
  const ids = new Map<string, string>();
  let count = 0;
  const root = (): string => `/v1/${world.project}/models`;

  const create = async (): Promise<void> => {
    count += 1;
    const version = `${Math.floor(count / 10_000) % 100}.${Math.floor(count / 100) % 100}.${count % 100}`;
    const answer = await world.client.call("POST", root(), {
      body: {
        model_name: name,
        model_version: version,
        model_type: "Scikit_Learn",
        source_location: `obs://${BUCKET}/package`,
        description: version,
      },
    });
    belief.note(`create ${version}: ${answer?.status}`);
    const after = [...belief.state, version].toSorted();
    if (answer === null) belief.maybe(after);
    else if (answer.status === 200) {
      ids.set(version, answer.body.model_id);
      belief.know(after);
    } else throw new Error(`version ${version} of ${name} was refused: ${answer.bytes.toString()}`);
  };
  const duplicate = async (version: string): Promise<void> => {
    const answer = await world.client.call("POST", root(), {
      body: {
        model_name: name,
        model_version: version,
        model_type: "Scikit_Learn",
        source_location: `obs://${BUCKET}/package`,
        description: "a second one",
      },
    });
    belief.note(`create ${version} again: ${answer?.status}`);
    if (answer !== null && answer.status !== 409)
      throw new Error(`version ${version} of ${name} exists twice`);
  };
  const remove = async (version: string, cascade: boolean): Promise<void> => {
    const answer = await world.client.call("DELETE", `${root()}/${ids.get(version)}?cascade=${cascade}`);
    belief.note(`delete ${cascade ? "all" : version}: ${answer?.status}`);
    const after = cascade ? [] : belief.state.filter((v) => v !== version);
    if (answer === null) belief.maybe(after);
    else if (answer.status === 200) belief.know(after);
    else throw new Error(`${name} ${version} could not be deleted: ${answer.bytes.toString()}`);
  };
  return {
    step: async () => {
      const known = belief.state.filter((version) => ids.has(version));
      if (known.length === 0 || (belief.state.length < 6 && dice.chance(0.55))) return create();
      const version = dice.pick(known);
      const what = dice.next();
      if (what < 0.15) return duplicate(version);
      return remove(version, what < 0.5);
    },
    check: async () => {
      const answer = await world.client.call(
        "GET",
        `${root()}?model_name=${name}&exact_match=true&limit=100`,
      );
      if (answer === null) return;
      const seen = answer.body.models as VersionView[];
      belief.settle(seen.map((m) => m.model_version).toSorted());
      for (const model of seen) {
        const known = ids.get(model.model_version);
        if (known !== undefined && known !== model.model_id)
          throw new Error(
            `${name} ${model.model_version} is ${model.model_id} and was acknowledged as ${known}`,
          );
        ids.set(model.model_version, model.model_id);
      }
      if (seen.length > 0) await checkHistory(world, dice.pick(seen));
    },
  };
};

/** A status and the line that says so are one write. */
const checkHistory = async (world: World, model: VersionView): Promise<void> => {
  const path = `/v1/${world.project}/models/${model.model_id}`;
  const answer = await world.client.call("GET", `${path}/events?order=asc&limit=500`);
  const now = await world.client.call("GET", path);
  if (answer === null || now === null || answer.status !== 200 || now.status !== 200) return;
  const lines = (answer.body.events as { event_info: string }[]).map((event) => event.event_info);
  const failed = lines.filter((line) => line.startsWith("Failed to import the model.")).length;
  const status = now.body.model_status;
  if (lines[0] !== "The model starts to import.")
    throw new Error(`${model.model_id} begins with ${lines[0]}`);
  // Read after the lines, so that only one order of the two can be seen.
  if (failed > (status === "failed" ? 1 : 0) || (failed === 0 && model.model_status === "failed"))
    throw new Error(`${model.model_id} is ${status} and its history says so ${failed} times`);
};

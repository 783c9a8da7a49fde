/** Callers that put, replace, cut off and delete objects, and make and delete buckets. */
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { Belief } from "./belief.ts";
import type { Actor } from "./belief.ts";
import type { Dice } from "./dice.ts";
import type { World } from "./world.ts";

const hashOf = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex").slice(0, 16);
/** No hash is this. */
const UNANSWERED = "unanswered";
const SIZES = [0, 1, 900, 40_000, 300_000];

const inPieces = (bytes: Buffer, count: number): readonly Buffer[] => {
  const size = Math.max(1, Math.ceil(bytes.length / count));
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  );
};

export const BUCKET = "acknowledged";

/** One key. Null: no such object; else the hash of its whole content. */
export const objectActor = (world: World, dice: Dice, key: string): Actor => {
  const belief = new Belief<string | null>(`object ${key}`, null, (a, b) => a === b);
  const path = (): string => `/v1/${world.project}/buckets/${BUCKET}/objects/${key}`;

  const put = async (): Promise<void> => {
    const bytes = dice.bytes(dice.pick(SIZES) + dice.whole(0, 50));
    const hash = hashOf(bytes);
    const pieces = inPieces(bytes, dice.whole(1, 12));
    const leaves = pieces.length > 1 && dice.chance(0.15);
    const answer = await world.client.call("PUT", path(), {
      pieces,
      ...(leaves ? { leaveAfter: dice.whole(0, pieces.length - 1) } : {}),
    });
    belief.note(`put ${hash} of ${bytes.length} bytes${leaves ? ", cut off" : ""}: ${answer?.status}`);
    // A body that was cut off never becomes an object, whatever is killed when.
    if (leaves) return;
    if (answer === null) belief.maybe(hash);
    else if (answer.status === 200) belief.know(hash);
    else throw new Error(`put of ${key} was refused: ${answer.status} ${answer.bytes.toString()}`);
  };
  const remove = async (): Promise<void> => {
    const answer = await world.client.call("DELETE", path());
    belief.note(`delete: ${answer?.status}`);
    if (answer === null) belief.maybe(null);
    else if (answer.status === 204 || answer.status === 404) belief.know(null);
    else throw new Error(`delete of ${key} was refused: ${answer.status}`);
  };
  /** What is there, read whole and compared with the hash that the platform itself says it has. */
  const see = async (): Promise<string | null> => {
    const answer = await world.client.call("GET", path());
    if (answer === null) return UNANSWERED;
    if (answer.status === 404) return null;
    const etag = createHash("md5").update(answer.bytes).digest("hex");
    if (answer.headers.etag !== `"${etag}"`) throw new Error(`object ${key} is not the one that was put`);
    return hashOf(answer.bytes);
  };
  return {
    step: () => (dice.chance(0.75) ? put() : remove()),
    check: async () => {
      const seen = await see();
      if (seen !== UNANSWERED) belief.settle(seen);
    },
  };
};

/** A bucket that comes and goes, with at most one object in it. */
export const bucketActor = (world: World, dice: Dice, name: string): Actor => {
  const belief = new Belief<"absent" | "empty" | "holding">(`bucket ${name}`, "absent", (a, b) => a === b);
  const path = (): string => `/v1/${world.project}/buckets/${name}`;
  const object = (): string => `${path()}/objects/deep/er/object`;
  const act = async (
    what: string,
    call: Promise<{ status: number } | null>,
    after: "absent" | "empty" | "holding",
  ): Promise<void> => {
    const answer = await call;
    belief.note(`${what}: ${answer?.status}`);
    if (answer === null) belief.maybe(after);
    else if (answer.status < 300) belief.know(after);
  };
  return {
    step: async () => {
      const { state } = belief;
      if (state === "absent") return act("create", world.client.call("PUT", path()), "empty");
      if (state === "holding") {
        if (dice.chance(0.4)) {
          // Refused: it is not empty, and stays whole.
          const answer = await world.client.call("DELETE", path());
          belief.note(`delete while it holds something: ${answer?.status}`);
          if (answer !== null && answer.status !== 409)
            throw new Error(`bucket ${name} was deleted with an object`);
          return;
        }
        return act("delete the object", world.client.call("DELETE", object()), "empty");
      }
      return dice.chance(0.5)
        ? act("put an object", world.client.call("PUT", object(), { pieces: [dice.bytes(2000)] }), "holding")
        : act("delete", world.client.call("DELETE", path()), "absent");
    },
    check: async () => {
      const list = await world.client.call("GET", `${path()}/objects`);
      if (list === null) return;
      belief.settle(list.status === 404 ? "absent" : list.body.count === 0 ? "empty" : "holding");
    },
  };
};

/** Nothing that was being received is left when control has started again. */
export const noScratch = (world: World): void => {
  const left = readdirSync(join(world.dataDir, "objects", ".tmp"));
  if (left.length > 0) throw new Error(`unfinished objects were left: ${left.join(", ")}`);
};

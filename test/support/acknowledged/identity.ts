/** Callers that make, change and delete users and projects, log in, and revoke tokens. */
import { Belief } from "./belief.ts";
import type { Actor } from "./belief.ts";
import type { Dice } from "./dice.ts";
import type { World } from "./world.ts";

interface UserState {
  /** Null: answered by nobody yet. */
  readonly id: string | null;
  readonly description: string;
  readonly enabled: boolean;
}

type TokenState = "valid" | "refused";

const sameUser = (believed: UserState | null, seen: UserState | null): boolean =>
  believed === null || seen === null
    ? believed === seen
    : (believed.id === null || believed.id === seen.id) &&
      believed.description === seen.description &&
      believed.enabled === seen.enabled;

/** One user name and the last token it got. */
export const userActor = (world: World, dice: Dice, name: string): Actor => {
  const belief = new Belief<UserState | null>(`user ${name}`, null, sameUser);
  let password = "";
  let isPasswordSure = true;
  let token: { text: string; belief: Belief<TokenState> } | null = null;
  let count = 0;

  const ends = (answered: boolean): void => {
    if (answered) token?.belief.know("refused");
    else token?.belief.maybe("refused");
  };
  const create = async (): Promise<void> => {
    const description = `made ${(count += 1)}`;
    password = `Passw0rd!${count}`;
    isPasswordSure = true;
    token = null;
    const answer = await world.client.call("POST", "/v3/users", {
      body: { user: { name, password, description } },
    });
    belief.note(`create ${description}: ${answer?.status}`);
    if (answer === null) belief.maybe({ id: null, description, enabled: true });
    else if (answer.status === 201) belief.know({ id: answer.body.user.id, description, enabled: true });
    else throw new Error(`user ${name} was refused: ${answer.bytes.toString()}`);
  };
  const change = async (user: UserState): Promise<void> => {
    const kind = dice.pick(["describe", "describe", "enable", "disable", "password"] as const);
    const fresh = `Passw0rd!${(count += 1)}`;
    const patch =
      kind === "describe"
        ? { description: `changed ${count}` }
        : kind === "password"
          ? { password: fresh }
          : { enabled: kind === "enable" };
    const after = {
      ...user,
      ...("description" in patch ? { description: patch.description } : {}),
      ...("enabled" in patch ? { enabled: patch.enabled } : {}),
    };
    const answer = await world.client.call("PATCH", `/v3/users/${user.id}`, { body: { user: patch } });
    belief.note(`${kind} ${count}: ${answer?.status}`);
    if (answer === null) belief.maybe(after);
    else if (answer.status === 200) belief.know(after);
    else throw new Error(`user ${name} could not be changed: ${answer.bytes.toString()}`);
    if (kind === "password") {
      if (answer === null) isPasswordSure = false;
      else password = fresh;
    }
    if (kind === "password" || kind === "disable") ends(answer !== null);
  };
  const remove = async (user: UserState): Promise<void> => {
    const answer = await world.client.call("DELETE", `/v3/users/${user.id}`);
    belief.note(`delete: ${answer?.status}`);
    if (answer === null) belief.maybe(null);
    else if (answer.status === 204) belief.know(null);
    else throw new Error(`user ${name} could not be deleted: ${answer.bytes.toString()}`);
    ends(answer !== null);
  };
  const login = async (user: UserState): Promise<void> => {
    if (!user.enabled || !isPasswordSure) return change(user);
    const text = await world.login(name, password);
    belief.note(`login: ${text !== null}`);
    if (text !== null)
      token = { text, belief: new Belief<TokenState>(`token of ${name}`, "valid", (a, b) => a === b) };
  };
  const revoke = async (): Promise<void> => {
    if (token === null) return;
    const answer = await world.client.call("DELETE", "/v3/auth/tokens", {
      headers: { "x-subject-token": token.text },
    });
    token.belief.note(`revoke: ${answer?.status}`);
    if (answer !== null && answer.status !== 204 && answer.status !== 404)
      throw new Error(`a token of ${name} could not be revoked: ${answer.bytes.toString()}`);
    ends(answer !== null);
  };
  return {
    step: async () => {
      const { state } = belief;
      if (state === null) return create();
      if (state.id === null) return;
      const what = dice.next();
      if (what < 0.2) return remove(state);
      if (what < 0.4) return login(state);
      if (what < 0.5 && token !== null) return revoke();
      return change(state);
    },
    check: async () => {
      const answer = await world.client.call("GET", `/v3/users?name=${name}`);
      if (answer === null) return;
      const [user] = answer.body.users as { id: string; description: string; enabled: boolean }[];
      belief.settle(
        user === undefined ? null : { id: user.id, description: user.description, enabled: user.enabled },
      );
      if (token === null) return;
      const seen = await world.client.call("GET", "/v3/auth/tokens", {
        headers: { "x-subject-token": token.text },
      });
      if (seen !== null) token.belief.settle(seen.status === 200 ? "valid" : "refused");
    },
  };
};

const PROJECTS_MAX = 60;

/** Projects are only ever made: every answered one is there, and of the unanswered ones whole ones or none. */
export const projectActor = (world: World, dice: Dice): Actor => {
  const known = new Map<string, string>();
  const unsure = new Set<string>();
  return {
    step: async () => {
      if (known.size >= PROJECTS_MAX || dice.chance(0.6)) {
        await world.client.call("GET", "/v3/projects");
        return;
      }
      const name = `project-${known.size + unsure.size}-${dice.whole(0, 1e9)}`;
      const answer = await world.client.call("POST", "/v3/projects", { body: { project: { name } } });
      if (answer === null) unsure.add(name);
      else if (answer.status === 201) known.set(name, answer.body.project.id);
      else throw new Error(`project ${name} was refused: ${answer.bytes.toString()}`);
    },
    check: async () => {
      const answer = await world.client.call("GET", "/v3/projects");
      if (answer === null) return;
      const seen = new Map(
        (answer.body.projects as { id: string; name: string }[]).map((p) => [p.name, p.id]),
      );
      for (const [name, id] of known) {
        if (seen.get(name) !== id)
          throw new Error(`project ${name} (${id}) was acknowledged and is ${seen.get(name)}`);
      }
      for (const name of unsure) {
        const id = seen.get(name);
        if (id !== undefined) known.set(name, id);
      }
      unsure.clear();
    },
  };
};

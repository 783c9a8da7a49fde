/** What the store promises about domains, projects, users and tokens; part of store.suite.ts. */
import { describe, expect, test } from "vitest";
import { instant } from "../core/ids.ts";
import { sampleIdentity, sampleUser } from "../../test/support/store-samples.ts";
import type { StoreUnderTest } from "./store.suite.ts";

export const identitySuite = (given: () => StoreUnderTest): void => {
  describe("identity", () => {
    test("bootstraps once, whole, when many processes start at the same time", async () => {
      const { store } = given();
      const other = await given().reopen();
      const firsts = Array.from({ length: 10 }, sampleIdentity);
      const results = await Promise.all(
        firsts.map((first, n) => (n % 2 === 0 ? store : other).identity.bootstrap(first)),
      );
      expect(results.filter(Boolean)).toHaveLength(1);
      const winner = firsts[results.indexOf(true)];
      for (const first of firsts) {
        const wanted = first === winner;
        expect((await store.identity.domainByName(first.domain.name)) !== null).toBe(wanted);
        expect((await store.identity.project(first.project.id)) !== null).toBe(wanted);
        expect((await store.identity.user(first.user.id)) !== null).toBe(wanted);
      }
      expect(await store.identity.bootstrap(sampleIdentity())).toBe(false);
    });

    test("finds projects and users by domain and name only", async () => {
      const { identity } = given().store;
      const first = sampleIdentity();
      await identity.bootstrap(first);
      const { domain, project, user } = first;
      const second = { ...project, id: "f".repeat(32) as typeof project.id, name: "another" };
      expect(await identity.createProject(second)).toBe("created");
      expect(await identity.createProject({ ...second, id: "0".repeat(32) as typeof project.id })).toBe(
        "exists",
      );
      expect((await identity.projects(domain.id)).map((p) => p.name)).toEqual(["another", "local"]);
      expect(await identity.projects(domain.id, { name: "local" })).toEqual([project]);
      expect(await identity.projects("c".repeat(32) as typeof domain.id)).toEqual([]);
      expect(await identity.userByName(domain.id, user.name)).toEqual(user);
      expect(await identity.userByName("c".repeat(32) as typeof domain.id, user.name)).toBeNull();
      expect(await identity.user("c".repeat(32) as typeof user.id)).toBeNull();
    });

    test("creates a user name once in a domain, also in a race", async () => {
      const { identity } = given().store;
      const { domain, ...rest } = sampleIdentity();
      await identity.bootstrap({ domain, ...rest });
      const results = await Promise.all(
        Array.from({ length: 20 }, () => identity.createUser(sampleUser(domain, { name: "ann" }))),
      );
      expect(results.filter((result) => result === "created")).toHaveLength(1);
      expect(await identity.users(domain.id, { name: "ann" })).toHaveLength(1);
    });

    test("refuses to rename a user to a name that is taken, and changes nothing then", async () => {
      const { identity } = given().store;
      const first = sampleIdentity();
      await identity.bootstrap(first);
      const ann = sampleUser(first.domain, { name: "ann" });
      const bob = sampleUser(first.domain, { name: "bob" });
      await identity.createUser(ann);
      await identity.createUser(bob);
      expect(await identity.updateUser(bob.id, { name: "ann", description: "x" }, instant(5))).toBe("exists");
      expect(await identity.user(bob.id)).toEqual(bob);
      expect(await identity.updateUser(bob.id, { name: "bert", passwordHash: "new" }, instant(5))).toEqual({
        ...bob,
        name: "bert",
        passwordHash: "new",
        refusedBefore: 5,
      });
      expect(await identity.updateUser(bob.id, {}, instant(5))).toMatchObject({ name: "bert" });
      expect(
        await identity.updateUser("c".repeat(32) as typeof bob.id, { name: "x" }, instant(5)),
      ).toBeNull();
    });

    test("refuses the tokens of a disabled user also after the user is enabled again", async () => {
      const { identity, routes } = given().store;
      const first = sampleIdentity();
      await identity.bootstrap(first);
      const user = sampleUser(first.domain);
      await identity.createUser(user);
      const before = await routes.version();
      expect(await identity.updateUser(user.id, { enabled: false }, instant(77))).toMatchObject({
        enabled: false,
        refusedBefore: 77,
      });
      expect(await routes.version()).toBeGreaterThan(before);
      expect(await identity.users(first.domain.id, { enabled: true })).toEqual([first.user]);
      await identity.updateUser(user.id, { enabled: true }, instant(99));
      expect((await routes.table()).identity.refusedUsers).toEqual({ [user.id]: 77 });
    });

    test("refuses the tokens that a user got with an earlier password", async () => {
      const { identity, routes } = given().store;
      const first = sampleIdentity();
      await identity.bootstrap(first);
      const before = await routes.version();
      await identity.updateUser(first.user.id, { passwordHash: "new" }, instant(66));
      expect(await routes.version()).toBeGreaterThan(before);
      expect((await routes.table()).identity.refusedUsers).toEqual({ [first.user.id]: 66 });
    });

    test("refuses the tokens of a deleted user until none can be valid any more", async () => {
      const { identity, routes } = given().store;
      const first = sampleIdentity();
      await identity.bootstrap(first);
      const before = await routes.version();
      expect(await identity.deleteUser(first.user.id, instant(88))).toBe(true);
      expect(await identity.deleteUser(first.user.id, instant(89))).toBe(false);
      expect(await identity.user(first.user.id)).toBeNull();
      expect(await routes.version()).toBeGreaterThan(before);
      await identity.pruneRevocations(instant(1000));
      expect((await routes.table()).identity.refusedUsers).toEqual({ [first.user.id]: 88 });
      await identity.pruneRevocations(instant(400 * 24 * 3600 * 1000));
      expect((await routes.table()).identity.refusedUsers).toEqual({});
    });

    test("keeps a revocation until the token expires by itself, and its changes in one row", async () => {
      const { identity, routes, changes } = given().store;
      const before = await routes.version();
      await identity.revokeToken("t1", instant(100));
      await identity.revokeToken("t2", instant(200));
      await identity.revokeToken("t2", instant(200));
      expect(await routes.version()).toBe(before + 2);
      expect(await changes.after(0, 100)).toHaveLength(1);
      expect(await identity.isRevoked("t1")).toBe(true);
      expect(await identity.isRevoked("t3")).toBe(false);
      expect((await routes.table()).identity.revokedTokens).toEqual(["t1", "t2"]);
      await identity.pruneRevocations(instant(150));
      expect((await routes.table()).identity.revokedTokens).toEqual(["t2"]);
    });
  });
};

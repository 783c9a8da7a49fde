/**
 * Whether another user of this machine could read what is at a path, by the modes of everything on the way to it.
 * Access lists are not looked at: where they are what forbids it, the program itself fails and says so.
 */
import { existsSync, realpathSync, statSync } from "node:fs";
import { dirname } from "node:path";

const ENTER = 0o1;
const READ = 0o4;

/** In words what keeps this user from the first of the paths that it cannot get at; null: nothing does. */
export const unreachable = (
  user: { readonly uid: number; readonly gid: number },
  paths: readonly string[],
): string | null => {
  for (const path of paths) {
    let real: string;
    try {
      real = realpathSync(path);
    } catch {
      // Not there: that is told better by who needs it.
      continue;
    }
    for (const way of new Set([path, real])) {
      const closed = ancestors(way).find((directory) => !may(user, directory, ENTER));
      if (closed !== undefined) return `user ${user.uid} cannot enter ${closed}, where ${path} is`;
    }
    const wanted = statSync(real).isDirectory() ? READ | ENTER : ENTER;
    if (!may(user, real, wanted)) return `user ${user.uid} cannot read ${real}`;
  }
  return null;
};

/** The first directory on the way to a path, whether it exists yet or not, that this user cannot enter; null: none. */
export const closedOnTheWay = (
  user: { readonly uid: number; readonly gid: number },
  path: string,
): string | null => ancestors(path).find((one) => existsSync(one) && !may(user, one, ENTER)) ?? null;

const may = (user: { uid: number; gid: number }, path: string, wanted: number): boolean => {
  const { mode, uid, gid } = statSync(path);
  const bits = uid === user.uid ? mode >> 6 : gid === user.gid ? mode >> 3 : mode;
  return (bits & wanted) === wanted;
};

const ancestors = (path: string): readonly string[] => {
  const above: string[] = [];
  for (let at = dirname(path); ; at = dirname(at)) {
    above.push(at);
    if (at === dirname(at)) return above.toReversed();
  }
};

/** Finding an engine by what people write for its name. */
import { NICKNAMES } from "../core/config-json.ts";
import { nearest } from "../core/nearest.ts";
import { CliError } from "./failures.ts";

const letters = (word: string): string => word.toLowerCase().replaceAll(/[^a-z0-9]/g, "");

/** The one of `engines` that is meant, whatever its case and punctuation; throws `usage` with the names there are. */
export const engineNamed = <Name extends string>(word: string, engines: readonly Name[]): Name => {
  const same = engines.find((name) => letters(name) === letters(word));
  if (same !== undefined) return same;
  const part = letters(word);
  const known = Object.hasOwn(NICKNAMES, part) ? NICKNAMES[part] : undefined;
  const near =
    engines.find((name) => name === known) ??
    nearest(word, engines) ??
    engines.find((name) => part.length > 2 && letters(name).includes(part)) ??
    null;
  throw new CliError("usage", `There is no engine called ${word}.`, {
    next: `${near === null ? "" : `Did you mean ${near}? `}The engines are ${engines.join(", ")}.`,
  });
};

/**
 * Why uv found no set, in one clause: its proof without the conclusions, in a user's words. Knows what uv 0.13 writes on
 * stderr (`error:`, `cause:`, `hint:`); pure.
 */

const CLAUSE_CHARS_MAX = 400;

/** The first line of what uv complains of, continuation lines joined. */
export const causeOf = (stderr: string): string => {
  const cause =
    /cause: ([^\n]+(?:\n {4,}[^\n]+)*)/.exec(stderr)?.[1] ??
    /error: ([^\n]+)/.exec(stderr)?.[1] ??
    "uv gave no reason";
  return cause.replaceAll(/\s+/g, " ").trim();
};

/** Premises of uv's proof that only repeat what was asked for, or how few releases there are. */
const RESTATED = /^(?:you require|only) |^your requirements /;
const REQUIRED = /,? and you require [^,]+$/;
/** How few releases there are says nothing beside what is wrong with that very release. */
const ONLY_BEFORE = /^only (\S+) is available and (?=\1 )/;
const ONLY_AFTER = /^((\S+) .*) and only \2 is available$/;

/** What each step of the proof rests on. */
const premisesOf = (proof: string): readonly string[] => {
  const steps = proof
    .split(/(?:^|\. )(?:And because|Because) /)
    .filter((step) => step !== "")
    .map((step) =>
      step
        .replace(/,? we can conclude that .*$/, "")
        .replaceAll(/we know from \(\d+\)(?: and \(\d+\))? that [^,]*, (?:and )?/g, "")
        .replace(ONLY_BEFORE, "")
        .replace(ONLY_AFTER, "$1"),
    );
  const told = steps.map((step) => step.replace(REQUIRED, "")).filter((step) => !RESTATED.test(step));
  return told.length === 0 ? steps.slice(0, 1) : [...new Set(told)];
};

/** The tags that uv found in place of the one it needs, from its hint; empty where it names none. */
const foundTags = (stderr: string): string => {
  const hint =
    /hint: (?:You require .* but we only found wheels|Wheels are available) for [^\n]*?: (.*)/.exec(
      stderr,
    )?.[1];
  return (hint ?? "").replaceAll("`", "");
};

const inWords = (premise: string, stderr: string): string =>
  premise
    .replace(
      /(\S+) has no wheels with a matching (?:Python \w+|platform) tag \(e\.g\., `([^`]+)`\)/,
      (_, what: string, needed: string) => {
        const found = foundTags(stderr);
        return `${what} has wheels for ${found === "" ? "others" : found} only, and what runs here needs ${needed}`;
      },
    )
    .replace(
      /the current Python version \((\S+)\) does not satisfy (\S+) and (\S+) depends on Python\S+/,
      (_, version: string, range: string, what: string) =>
        `${what} needs ${range}, and what runs here is Python ${version}`,
    )
    .replace(/(\S+) was yanked(?: \(reason: (.*?)\))?(?= and |$)/, (_, what: string, why?: string) =>
      why === undefined
        ? `${what} was withdrawn by its authors`
        : `${what} was withdrawn by its authors (${why})`,
    );

const short = (text: string): string =>
  text.length > CLAUSE_CHARS_MAX ? `${text.slice(0, CLAUSE_CHARS_MAX - 3)}…` : text;

/** The reason why nothing fits, without uv's conclusion. */
export const reasonOf = (stderr: string): string => {
  if (/Couldn't parse requirement/.test(stderr)) return "it is not written as a name and a version are";
  const cause = causeOf(stderr);
  if (!cause.startsWith("Because ")) return short(cause);
  return short(
    premisesOf(cause)
      .map((premise) => inWords(premise, stderr))
      .join("; "),
  );
};

/** True where the reason is that a project has no release in the bounds asked for. */
export const lacksVersion = (reason: string, project: string): boolean =>
  [`there is no version of ${project}`, `only ${project}`, `only the following versions of ${project} `].some(
    (start) => reason.startsWith(start),
  );

/** A project that the index has not, by a proof; and how the index refused, where it did. */
export const missingIn = (stderr: string): { project: string; refusal: string | null } | null => {
  const project = /([\w.-]+) was not found in the (?:package registry|provided package locations|cache)/.exec(
    stderr,
  )?.[1];
  if (project === undefined) return null;
  return { project, refusal: /returned an? (40[13] \w+) error/.exec(stderr)?.[1] ?? null };
};
